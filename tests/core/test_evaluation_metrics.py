"""Metrics on real digits: controls that must come out, floors by hand, time kept."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from imu_core.errors import BadInput
from imu_core.evaluation.alignment import movement
from imu_core.evaluation.metrics import (
    METRIC_NAMES,
    floors,
    measure,
    membership_of,
    retain_flips,
    tug_of_war,
)
from imu_core.evaluation.outputs import Outputs, compute_outputs
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier
from imu_core.optimisers import AdamW


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Matrices this small are slower on two threads, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _train(images: ImageSet, ids: torch.Tensor, seed: int, epochs: int = 60) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU())
        classifier = Classifier(body, nn.Linear(48, 10), (0.3,), (0.38,))
    optimiser = AdamW(classifier.parameters(), momentum=0.9, weight_decay=0.0)
    for _ in range(epochs):
        logits = classifier(images.train_images[ids])
        nn.functional.cross_entropy(logits, images.train_labels[ids]).backward()
        optimiser.step(0.02)
    return classifier


@pytest.fixture(scope="module")
def original(digits) -> Classifier:
    return _train(digits, torch.arange(digits.n_train), seed=0)


@pytest.fixture(scope="module")
def threes(digits) -> torch.Tensor:
    return digits.ids_of_class(3)


@pytest.fixture(scope="module")
def before(original, digits) -> Outputs:
    return compute_outputs(original, digits, device="cpu")


@pytest.fixture(scope="module")
def barred(before) -> Outputs:
    """The control that learns nothing: the logit of class 3 put out of reach."""
    train, test = before.train_logits.copy(), before.test_logits.copy()
    train[:, 3] -= 1e4
    test[:, 3] -= 1e4
    return Outputs(train, before.train_features, test, before.test_features)


@pytest.fixture(scope="module")
def retrained(digits, threes) -> list[Outputs]:
    rest = torch.from_numpy(np.setdiff1d(np.arange(digits.n_train), threes.numpy()))
    models = [_train(digits, rest, seed=seed) for seed in (0, 1)]
    return [compute_outputs(model, digits, device="cpu") for model in models]


def test_accuracies_are_counted_on_the_right_pictures(before, digits, threes):
    metrics = measure(before, digits, threes)
    train_right = before.train_logits.argmax(1) == digits.train_labels.numpy()
    test_right = before.test_logits.argmax(1) == digits.test_labels.numpy()
    others = digits.test_labels.numpy() != 3
    retain = np.setdiff1d(np.arange(digits.n_train), threes.numpy())
    assert tuple(metrics) == METRIC_NAMES
    assert metrics["forget_accuracy"].value == pytest.approx(train_right[threes].mean())
    assert metrics["retain_accuracy"].value == pytest.approx(train_right[retain].mean())
    assert metrics["test_accuracy"].value == pytest.approx(test_right[others].mean())
    assert metrics["test_accuracy"].n == others.sum()
    assert metrics["test_accuracy_all"].value == pytest.approx(test_right.mean())
    loss = nn.functional.cross_entropy(
        torch.from_numpy(before.train_logits)[threes], digits.train_labels[threes]
    )
    assert metrics["forget_loss"].value == pytest.approx(loss.item(), rel=1e-4)


def test_one_picture_of_a_class_kept_means_the_class_is_still_to_be_known(before, digits, threes):
    assert measure(before, digits, threes[1:])["test_accuracy"].n == digits.n_test


def test_barring_the_class_forgets_by_accuracy_and_not_in_the_features(
    before, barred, digits, threes
):
    plain, control = measure(before, digits, threes), measure(barred, digits, threes)
    assert plain["forget_accuracy"].value > 0.95
    assert control["forget_accuracy"].value == 0.0
    assert control["test_accuracy"].value >= plain["test_accuracy"].value
    assert control["probe_forget_accuracy"] == plain["probe_forget_accuracy"]
    assert control["probe_forget_accuracy"].value > 0.9
    assert control["membership_auc"].value == pytest.approx(plain["membership_auc"].value, abs=1e-3)
    retain = np.setdiff1d(np.arange(digits.n_train), threes.numpy())
    moved = movement(before.train_features, barred.train_features, threes.numpy(), retain)
    assert not moved.forget.any()


def test_the_flat_form_keeps_interval_count_and_reason(before, digits, threes):
    flat = measure(before, digits, threes).to_dict()
    assert set(flat) == {*METRIC_NAMES, "detail"}
    assert flat["membership_tpr_at_1"] is None
    detail = flat["detail"]["membership_tpr_at_1"]
    assert detail["n"] == int((digits.test_labels == 3).sum())
    assert detail["why"].startswith(f"too few (n = {detail['n']})")
    low, high = (flat["detail"]["forget_accuracy"][key] for key in ("low", "high"))
    assert low <= flat["forget_accuracy"] <= high


def test_test_rows_leave_out_the_other_test_pictures(before, digits, threes):
    rows = torch.arange(0, digits.n_test, 2)
    half = measure(before, digits, threes, test_rows=rows)
    assert half["test_accuracy_all"].n == len(rows)
    wrong = before.test_logits.copy()
    wrong[1::2] = np.roll(wrong[1::2], 1, axis=1)
    other = Outputs(before.train_logits, before.train_features, wrong, before.test_features)
    assert measure(other, digits, threes, test_rows=rows) == half


def test_the_attack_behind_the_number_is_the_same(before, digits, threes):
    attack = membership_of(before, digits, threes, seed=3)
    assert attack.auc == measure(before, digits, threes, seed=3)["membership_auc"]
    assert attack.fpr[0] == attack.tpr[0] == 0.0
    assert attack.fpr[-1] == attack.tpr[-1] == 1.0
    area = float((np.diff(attack.fpr) * (attack.tpr[1:] + attack.tpr[:-1]) / 2).sum())
    assert area == pytest.approx(attack.auc.value)


def test_a_memorised_forget_set_is_found_and_a_retrained_one_is_not(digits):
    """With labels at random only memory can make a model sure of one."""
    generator = np.random.default_rng(0)
    labels = torch.from_numpy(generator.integers(0, 10, digits.n_train))
    odd = ImageSet(
        "odd",
        "Digits, labels at random",
        digits.train_images,
        labels,
        digits.test_images,
        torch.from_numpy(generator.integers(0, 10, digits.n_test)),
        digits.class_names,
    )
    forget = torch.arange(0, odd.n_train, 4)
    rest = torch.tensor([i for i in range(odd.n_train) if i % 4])
    seen = compute_outputs(_train(odd, torch.arange(odd.n_train), 0, 150), odd, device="cpu")
    never = compute_outputs(_train(odd, rest, 0, 150), odd, device="cpu")
    assert membership_of(seen, odd, forget).remembered
    assert membership_of(seen, odd, forget).auc.value > 0.65
    auc = membership_of(never, odd, forget).auc
    assert auc.low <= 0.5 <= auc.high


def test_the_probe_finds_less_in_a_retrained_model_yet_far_more_than_chance(
    before, retrained, digits, threes
):
    here = measure(before, digits, threes)["probe_forget_accuracy"].value
    there = measure(retrained[0], digits, threes)["probe_forget_accuracy"].value
    assert 0.3 < there < here


def test_floors_are_differences_over_all_pairs():
    runs = [{"test_accuracy": a, "forget_accuracy": 0.0, "detail": {}} for a in (0.9, 0.94, 0.93)]
    runs[0]["membership_auc"] = None
    floor = floors(runs)
    assert floor["test_accuracy"]["mean"] == pytest.approx((0.04 + 0.03 + 0.01) / 3)
    assert floor["test_accuracy"]["max"] == pytest.approx(0.04)
    assert floor["test_accuracy"]["pairs"] == 3
    assert floor["forget_accuracy"] == {"mean": 0.0, "max": 0.0, "pairs": 3}
    assert set(floor) == {"test_accuracy", "forget_accuracy"}
    assert floors(runs[:1]) == {}
    assert floors([]) == {}


def test_tug_of_war_by_hand_and_one_against_itself():
    after = {"forget_accuracy": 0.1, "retain_accuracy": 0.9, "test_accuracy": 0.8}
    gold = {"forget_accuracy": 0.0, "retain_accuracy": 1.0, "test_accuracy": 0.9}
    assert tug_of_war(after, gold) == pytest.approx(0.9**3)
    assert tug_of_war(gold, gold) == 1.0
    assert tug_of_war({**after, "test_accuracy": None}, gold) is None


def test_retain_flips_are_the_retain_pictures_that_went_wrong(before, barred, digits, threes):
    assert retain_flips(before, before, digits, threes).size == 0
    # With one three left to be known, barring the class costs that picture and no other.
    rightly = [i for i in threes.tolist() if before.train_logits[i].argmax() == 3]
    kept = rightly[0]
    forget = threes[threes != kept]
    assert retain_flips(before, barred, digits, forget).tolist() == [kept]


def test_outputs_of_another_image_set_are_refused(before, digits, threes):
    short = Outputs(
        before.train_logits[:-1],
        before.train_features[:-1],
        before.test_logits,
        before.test_features,
    )
    with pytest.raises(BadInput, match="1436 training and 360 test pictures"):
        measure(short, digits, threes)


def test_a_diverged_model_is_measured_as_such(before, digits, threes):
    broken = Outputs(*(np.full_like(array, np.nan) for array in vars(before).values()))
    metrics = measure(broken, digits, threes)
    assert metrics["retain_accuracy"].value == 0.0
    for name in ("membership_auc", "probe_forget_accuracy", "forget_loss"):
        assert metrics[name].value is None
        assert "not finite" in metrics[name].why


def test_ten_thousand_pictures_are_measured_within_two_seconds():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 10_000)
    centres = generator.normal(size=(10, 128)) * 0.3
    features = (centres[labels] + generator.normal(size=(10_000, 128))).astype(np.float32)
    logits = features @ centres.T.astype(np.float32)
    pixels, answers = torch.zeros(10_000, 1, 1, 1, dtype=torch.uint8), torch.from_numpy(labels)
    noise = ImageSet("n", "Noise", pixels, answers, pixels, answers, tuple("0123456789"))
    outputs = Outputs(logits, features, logits, features)
    measure(outputs, noise, noise.ids_of_class(1))
    started = time.process_time()
    measure(outputs, noise, noise.ids_of_class(3))
    assert time.process_time() - started < 2.0
