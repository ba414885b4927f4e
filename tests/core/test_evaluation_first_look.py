"""The first look at a model of unknown origin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from imu_core.errors import Cancelled
from imu_core.evaluation.estimate import proportion
from imu_core.evaluation.first_look import (
    confidences,
    first_look,
    predict_test,
    spread_rows,
)
from imu_core.images import ImageSet
from imu_core.networks import Classifier

NAMES = tuple("abcdefghij")


def test_a_good_model_is_not_warned_of() -> None:
    labels = np.arange(200) % 10
    predicted = np.where(np.arange(200) < 180, labels, (labels + 1) % 10)
    look = first_look(labels, predicted, 10)
    assert look.accuracy == proportion(180, 200)
    assert look.guess == pytest.approx(0.1)
    assert look.warning(NAMES) == ""


def test_guessing_is_told_with_the_name_that_is_said_most() -> None:
    labels = np.arange(200) % 10
    look = first_look(labels, np.full(200, 4), 10)
    assert look.is_like_chance
    said = look.warning(NAMES)
    assert "looks like chance" in said
    assert "100 % of the test pictures “e”" in said
    assert "10.0 %" in said


def test_one_name_for_nearly_all_is_told_though_a_little_better() -> None:
    labels = np.arange(1000) % 10
    predicted = np.where(np.arange(1000) < 150, labels, 4)
    look = first_look(labels, predicted, 10)
    assert not look.is_like_chance
    assert "little better than chance" in look.warning(NAMES)


def test_a_set_with_one_large_class_is_judged_against_it() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    assert first_look(labels, np.zeros(100, dtype=np.int64), 2).is_like_chance
    assert first_look(labels, labels, 2).warning(("a", "b")) == ""


def test_answers_that_are_no_numbers_are_told(digits: ImageSet) -> None:
    model = Classifier(nn.Flatten(), nn.Linear(64, 10), [0.0], [1.0]).eval()
    model.head.bias.data.fill_(float("nan"))
    predicted = predict_test(model, digits, device="cpu")
    assert set(predicted.tolist()) == {-1}
    look = first_look(digits.test_labels.numpy(), predicted, 10)
    assert "no number for 100 %" in look.warning(NAMES)
    named, shares = confidences(model, digits.test_images[:3])
    assert named.tolist() == [-1, -1, -1]
    assert np.isnan(shares).all()


def test_predictions_are_those_of_the_model_whatever_the_batches(digits: ImageSet) -> None:
    model = Classifier(nn.Flatten(), nn.Linear(64, 10), [0.3], [0.4]).eval()
    seen: list[tuple[int, int]] = []
    predicted = predict_test(
        model, digits, device="cpu", progress=lambda done, of, text: seen.append((done, of))
    )
    with torch.inference_mode():
        logits = model(digits.test_images)
    assert np.array_equal(predicted, logits.argmax(1).numpy())
    assert seen[-1] == (360, 360)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    named, shares = confidences(model, digits.test_images[:5])
    assert np.array_equal(named, predicted[:5])
    assert shares == pytest.approx(logits[:5].double().softmax(1).amax(1).numpy(), abs=1e-6)
    with pytest.raises(Cancelled):
        predict_test(model, digits, device="cpu", should_stop=lambda: True)


def test_rows_are_spread_over_the_classes() -> None:
    labels = np.arange(100) % 10
    assert labels[spread_rows(labels, 10)].tolist() == list(range(10))
    three = np.array([2] * 50 + [0] * 5 + [1])
    rows = spread_rows(three, 10)
    assert len(set(rows.tolist())) == 10
    assert np.bincount(three[rows]).tolist() == [5, 1, 4]
    many = np.arange(1000) % 100
    assert many[spread_rows(many, 10)].tolist() == list(range(0, 100, 10))
    assert len(spread_rows(np.array([0, 1]), 10)) == 2
