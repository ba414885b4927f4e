"""Ensembles in a folder, trained live on real digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from imu_core.ensemble import Ensemble, model_path, open_ensemble, outputs_path, train_ensemble
from imu_core.errors import BadInput, Cancelled, RunError
from imu_core.images import ImageSet
from imu_core.networks import CheckpointHeader, build_network, load_checkpoint
from imu_core.networks.checkpoint_header import describe
from imu_core.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def few(digits: ImageSet) -> ImageSet:
    """300 digits, the first 30 of them with a wrong label: those can only be memorised."""
    labels = digits.train_labels[:300].clone()
    labels[:30] = (labels[:30] + 1) % 10
    return dataclasses.replace(digits, train_images=digits.train_images[:300], train_labels=labels)


@pytest.fixture(scope="module")
def header(few: ImageSet) -> CheckpointHeader:
    mean, std = few.pixel_statistics
    network = build_network(
        "digits-cnn", image_shape=(1, 8, 8), n_classes=10, mean=mean, std=std, seed=0
    )
    return describe(
        network,
        few,
        network="digits-cnn",
        recipe=Recipe(epochs=20, batch_size=32).to_dict(),
        seed=0,
        test_accuracy=0.1,
    )


@pytest.fixture(scope="module")
def ensemble(
    few: ImageSet, header: CheckpointHeader, tmp_path_factory: pytest.TempPathFactory
) -> Ensemble:
    folder = tmp_path_factory.mktemp("ensemble") / "halves"
    return train_ensemble(folder, header, few, n_models=4, device=CPU)


def test_wrong_labels_are_memorised_and_right_ones_are_not(ensemble: Ensemble) -> None:
    found = ensemble.memorisation()
    assert (found.n_in == 2).all()
    assert (found.n_out == 2).all()
    wrong, right = found.value[:30], found.value[30:]
    assert wrong.mean() > 0.4
    assert right.mean() < 0.25
    assert wrong.mean() - right.mean() > 4 * np.hypot(
        wrong.std() / np.sqrt(30), right.std() / np.sqrt(270)
    )


def test_models_are_whole_checkpoints_with_their_outputs(
    ensemble: Ensemble, few: ImageSet, header: CheckpointHeader
) -> None:
    classifier, own = load_checkpoint(model_path(ensemble.folder, 2), image_set=few)
    assert own.recipe == header.recipe
    assert own.seed == 3
    with torch.no_grad():
        logits = classifier(few.train_images[:20]).numpy()
    np.testing.assert_allclose(ensemble.outputs(2).train_logits[:20], logits, atol=1e-4)
    on_training, on_test = ensemble.correct()
    assert on_training.shape == (4, 300)
    assert on_test.shape == (4, few.n_test)
    assert on_test.mean() > 0.6


def test_asking_for_more_trains_the_missing_ones_only(
    ensemble: Ensemble, few: ImageSet, header: CheckpointHeader
) -> None:
    before = {path: path.stat().st_mtime_ns for path in ensemble.folder.glob("*.npz")}
    told: list[tuple[int, int, str]] = []
    larger = train_ensemble(
        ensemble.folder,
        header,
        few,
        n_models=5,
        device=CPU,
        progress=lambda *news: told.append(news),
    )
    assert larger.n_models == open_ensemble(ensemble.folder, few).n_models == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before
    np.testing.assert_array_equal(larger.included[:4], ensemble.included)
    assert all(text.startswith("model 5 of 5") for _, _, text in told[:-1])
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][:2] == (5000, 5000)


def test_a_cancelled_ensemble_goes_on_where_it_was(
    few: ImageSet, header: CheckpointHeader, tmp_path: Path
) -> None:
    short = dataclasses.replace(header, recipe=Recipe(epochs=2, batch_size=32).to_dict())
    checks = iter(range(10_000))

    def stop() -> bool:
        # Two models of halves take 2 · 10 steps and some checks while outputs are computed.
        return next(checks) > 35

    with pytest.raises(Cancelled):
        train_ensemble(tmp_path, short, few, n_models=4, device=CPU, seed=7, should_stop=stop)
    done = open_ensemble(tmp_path, few).n_models
    assert 1 <= done < 4
    assert not outputs_path(tmp_path, done).exists()
    broken_off = train_ensemble(tmp_path, short, few, n_models=4, device=CPU, seed=7)
    straight = train_ensemble(tmp_path / "other", short, few, n_models=4, device=CPU, seed=7)
    for number in range(4):
        np.testing.assert_array_equal(
            broken_off.outputs(number).train_logits, straight.outputs(number).train_logits
        )


def test_models_on_all_pictures_differ_by_seed_alone(
    few: ImageSet, header: CheckpointHeader, tmp_path: Path
) -> None:
    short = dataclasses.replace(header, recipe=Recipe(epochs=1, batch_size=32).to_dict())
    found = train_ensemble(tmp_path, short, few, n_models=2, part="all", device=CPU)
    assert found.included.all()
    assert (found.outputs(0).test_logits != found.outputs(1).test_logits).any()
    with pytest.raises(BadInput, match="trained on halves"):
        found.memorisation()


def test_folders_that_hold_something_else_are_refused(
    ensemble: Ensemble, few: ImageSet, header: CheckpointHeader, digits: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="another seed"):
        train_ensemble(ensemble.folder, header, few, n_models=4, seed=1, device=CPU)
    with pytest.raises(BadInput, match="not on “thirds”"):
        train_ensemble(tmp_path, header, few, n_models=4, part="thirds", device=CPU)
    with pytest.raises(BadInput, match="at least one model"):
        train_ensemble(tmp_path, header, few, n_models=0, part="all", device=CPU)
    with pytest.raises(RunError, match="other pictures"):
        open_ensemble(ensemble.folder, digits)
    with pytest.raises(RunError, match="train one first"):
        open_ensemble(tmp_path / "nothing", few)
    (tmp_path / "ensemble.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        open_ensemble(tmp_path, few)
