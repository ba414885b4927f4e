"""Outputs are the plain forward pass, leave the model as it was, and survive the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from imu_core.errors import Cancelled, RunError
from imu_core.evaluation.outputs import Outputs, compute_outputs, load_outputs, save_outputs
from imu_core.networks.classifier import Classifier


@pytest.fixture
def classifier() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
        )
        return Classifier(body, nn.Linear(216, 10), (0.3,), (0.4,))


def test_outputs_are_the_eval_forward_pass_whatever_the_batch(classifier, digits):
    small = compute_outputs(classifier, digits, device="cpu", batch_size=100)
    large = compute_outputs(classifier, digits, device="cpu")
    with torch.no_grad():
        logits = classifier.eval()(digits.test_images).numpy()
    assert small.test_logits == pytest.approx(logits, abs=1e-5)
    assert small.train_logits == pytest.approx(large.train_logits, abs=1e-5)
    assert small.train_features.shape == (1437, 216)
    head = classifier.head
    again = small.train_features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert again == pytest.approx(small.train_logits, abs=1e-4)


def test_modes_and_running_statistics_are_left_as_they_were(classifier, digits):
    classifier.train()
    classifier.body[1].eval()
    statistics = classifier.body[1].running_mean.clone()
    compute_outputs(classifier, digits, device="cpu")
    assert classifier.training
    assert classifier.body[3].training
    assert not classifier.body[1].training
    assert torch.equal(classifier.body[1].running_mean, statistics)


def test_progress_counts_every_picture_once(classifier, digits):
    seen: list[tuple[int, int]] = []
    compute_outputs(
        classifier,
        digits,
        device="cpu",
        batch_size=500,
        progress=lambda done, of, text: seen.append((done, of)),
    )
    assert seen == [(500, 1797), (1000, 1797), (1437, 1797), (1797, 1797)]


def test_cancelling_stops_between_batches(classifier, digits):
    answers = iter([False, True])
    with pytest.raises(Cancelled):
        compute_outputs(
            classifier, digits, device="cpu", batch_size=100, should_stop=lambda: next(answers)
        )


def test_saved_outputs_come_back(classifier, digits, tmp_path):
    outputs = compute_outputs(classifier, digits, device="cpu")
    save_outputs(tmp_path / "outputs.npz", outputs)
    stored = load_outputs(tmp_path / "outputs.npz")
    assert np.array_equal(stored.train_logits, outputs.train_logits)
    assert np.array_equal(stored.test_logits, outputs.test_logits)
    assert stored.test_features.dtype == np.float32
    assert stored.test_features == pytest.approx(outputs.test_features, rel=1e-3, abs=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs.npz"]


def test_features_too_large_for_half_precision_are_kept_whole(tmp_path):
    features = np.array([[1e6, 0.0]], dtype=np.float32)
    logits = np.array([[1e9, -np.inf]], dtype=np.float32)
    save_outputs(tmp_path / "o.npz", Outputs(logits, features, logits, features))
    stored = load_outputs(tmp_path / "o.npz")
    assert np.array_equal(stored.train_features, features)
    assert np.array_equal(stored.train_logits, logits)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    array = np.ones((2, 2), dtype=np.float32)
    save_outputs(tmp_path / "o.npz", Outputs(array, array, array, array))

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(RunError, match="disk is full"):
        save_outputs(tmp_path / "o.npz", Outputs(array * 2, array, array, array))
    assert [path.name for path in tmp_path.iterdir()] == ["o.npz"]
    assert np.array_equal(load_outputs(tmp_path / "o.npz").train_logits, array)


def test_files_that_are_no_outputs_are_one_clear_error(tmp_path):
    array = np.ones((4, 2), dtype=np.float32)
    good = tmp_path / "o.npz"
    save_outputs(good, Outputs(array, array, array, array))
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:300])
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", something=array)
    np.savez(tmp_path / "pickle.npz", train_logits=np.array([{}], dtype=object))
    np.savez(
        tmp_path / "uneven.npz",
        train_logits=array,
        train_features=array[:3],
        test_logits=array,
        test_features=array,
    )
    for name in ("cut", "text", "other", "pickle", "uneven", "absent"):
        with pytest.raises(RunError, match="run the job again"):
            load_outputs(tmp_path / f"{name}.npz")
