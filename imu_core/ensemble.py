"""Several models by one recipe, trained live and kept in a folder: for averages and memorisation.

    FOLDER/ensemble.json             what the models have in common
    FOLDER/model-003.safetensors     weights, a checkpoint like any other
    FOLDER/outputs-003.npz           outputs on all pictures, written last: then the model is whole

The folder grows: asking for more models trains the missing ones only, also after a break. Models
trained on halves serve as shadow models of a membership attack as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imu_core.errors import BadInput, Cancelled, RunError
from imu_core.evaluation.outputs import Outputs, compute_outputs, load_outputs, save_outputs
from imu_core.files import write_json
from imu_core.images.image_set import ImageSet
from imu_core.influence.subsets import Memorisation, memorisation, random_halves
from imu_core.networks.checkpoint import load_checkpoint, save_checkpoint
from imu_core.networks.checkpoint_header import CheckpointHeader, describe
from imu_core.networks.classifier import Classifier
from imu_core.training import accuracy_on_test, retrain

PARTS = ("halves", "all")
"""halves: each model sees a random half, in complementary pairs. all: they differ by seed alone."""
Progress = Callable[[int, int, str], None]
_TICKS = 1000


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The first `n_models` whole models of a folder."""

    folder: Path
    image_set: ImageSet
    part: str
    seed: int
    n_models: int

    @property
    def included(self) -> np.ndarray:
        """bool (M, n): which training pictures each model saw."""
        return _included(self.image_set.n_train, self.n_models, self.part, self.seed)

    def outputs(self, number: int) -> Outputs:
        """Outputs of model 0…M−1."""
        return load_outputs(outputs_path(self.folder, number))

    def classifier(self, number: int) -> Classifier:
        """Model 0…M−1, on the CPU."""
        return load_checkpoint(model_path(self.folder, number), image_set=self.image_set)[0]

    def correct(self) -> tuple[np.ndarray, np.ndarray]:
        """Which training and which test pictures each model names rightly: bool (M, n), (M, m)."""
        train, test = [], []
        for number in range(self.n_models):
            outputs = self.outputs(number)
            train.append(outputs.train_logits.argmax(1) == self.image_set.train_labels.numpy())
            test.append(outputs.test_logits.argmax(1) == self.image_set.test_labels.numpy())
        return np.array(train), np.array(test)

    def memorisation(self) -> Memorisation:
        """Memorisation of every training picture; the models must have seen halves."""
        if self.part != "halves":
            raise BadInput("Memorisation needs models that were trained on halves.")
        return memorisation(self.correct()[0], self.included)


def train_ensemble(
    folder: str | Path,
    header: CheckpointHeader,
    image_set: ImageSet,
    *,
    n_models: int,
    part: str = "halves",
    seed: int = 0,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Ensemble:
    """An ensemble of `n_models` by the recipe of `header`; models already in the folder are kept.

    Raises `Cancelled` between two steps; what is whole by then stays and is not trained again.
    """
    folder = Path(folder)
    included = _included(image_set.n_train, n_models, part, seed)
    _claim(folder, header, image_set, part, seed)
    for number in range(n_models):
        if outputs_path(folder, number).is_file():
            continue

        def tell(done: int, of: int, text: str, number: int = number) -> None:
            if progress is not None:
                share = number * _TICKS + _TICKS * done // max(of, 1)
                progress(share, n_models * _TICKS, f"model {number + 1} of {n_models}: {text}")

        _train_member(
            folder, header, image_set, number, included[number], seed, device, tell, should_stop
        )
    if progress is not None:
        progress(n_models * _TICKS, n_models * _TICKS, f"{n_models} models")
    return Ensemble(folder, image_set, part, seed, n_models)


def open_ensemble(folder: str | Path, image_set: ImageSet) -> Ensemble:
    """The models that a folder holds so far; `RunError` where it holds none of these pictures."""
    folder = Path(folder)
    record = _read(folder)
    if record is None:
        raise RunError(f"There is no ensemble in {folder}; train one first.")
    if record.get("fingerprint") != image_set.fingerprint:
        raise RunError(
            f"The ensemble in {folder} was trained on other pictures than “{image_set.name}”; "
            "open the image set it belongs to."
        )
    n_models = 0
    while outputs_path(folder, n_models).is_file():
        n_models += 1
    if n_models == 0:
        raise RunError(f"No model of the ensemble in {folder} is whole yet; train it again.")
    return Ensemble(folder, image_set, record["part"], record["seed"], n_models)


def model_path(folder: Path, number: int) -> Path:
    return folder / f"model-{number:03d}.safetensors"


def outputs_path(folder: Path, number: int) -> Path:
    return folder / f"outputs-{number:03d}.npz"


def _train_member(
    folder: Path,
    header: CheckpointHeader,
    image_set: ImageSet,
    number: int,
    included: np.ndarray,
    seed: int,
    device: torch.device,
    progress: Progress,
    should_stop: Callable[[], bool] | None,
) -> None:
    member_seed = seed + 1 + number
    left_out = torch.from_numpy(np.flatnonzero(~included))
    classifier = retrain(
        header,
        image_set,
        left_out,
        seed=member_seed,
        device=device,
        progress=progress,
        should_stop=should_stop,
    )
    if should_stop is not None and should_stop():
        raise Cancelled
    outputs = compute_outputs(classifier, image_set, device=device, should_stop=should_stop)
    own = describe(
        classifier,
        image_set,
        network=header.network,
        recipe=header.recipe,
        seed=member_seed,
        test_accuracy=accuracy_on_test(classifier, image_set),
    )
    save_checkpoint(model_path(folder, number), classifier, own)
    save_outputs(outputs_path(folder, number), outputs)


def _included(n: int, n_models: int, part: str, seed: int) -> np.ndarray:
    if part not in PARTS:
        raise BadInput(f"An ensemble is trained on “halves” or on “all”, not on “{part}”.")
    if part == "halves":
        return random_halves(n, n_models, seed)
    if n_models < 1:
        raise BadInput("An ensemble needs at least one model.")
    return np.ones((n_models, n), dtype=bool)


def _claim(
    folder: Path, header: CheckpointHeader, image_set: ImageSet, part: str, seed: int
) -> None:
    """Write what the models have in common, or check that the folder says the same."""
    record = {
        "fingerprint": image_set.fingerprint,
        "network": header.network,
        "recipe": header.recipe,
        "part": part,
        "seed": seed,
    }
    found = _read(folder)
    if found is None:
        write_json(folder / "ensemble.json", record)
    elif found != json.loads(json.dumps(record)):
        differing = [name for name in record if found.get(name) != record[name]]
        raise BadInput(
            f"The folder {folder} holds an ensemble with another {' and '.join(differing)}; "
            "choose a new folder."
        )


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "ensemble.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(
            f"The record of the ensemble in {folder} is damaged; delete the folder."
        ) from error
