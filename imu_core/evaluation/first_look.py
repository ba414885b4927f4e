"""The first look at a model of unknown origin: what it says to test pictures, and if it guesses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imu_core.errors import Cancelled
from imu_core.evaluation.accuracy import NO_PREDICTION, predictions
from imu_core.evaluation.estimate import Estimate, proportion
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier

Progress = Callable[[int, int, str], None]
BATCH = 64
"""Pictures a pass: few, because a model from elsewhere may be large, and Cancel should be quick."""


@dataclass(frozen=True)
class FirstLook:
    """How a model does on the test pictures."""

    accuracy: Estimate
    guess: float
    """0–1: what calling everything by the commonest name would give."""
    most_said: int
    """The class it names most often; −1 where its answers are no numbers."""
    share_said: float
    """0–1: how often it does."""

    @property
    def is_like_chance(self) -> bool:
        """Whether guessing could have done as well: the interval reaches down to `guess`."""
        return self.accuracy.low is not None and self.accuracy.low <= self.guess

    @property
    def is_one_sided(self) -> bool:
        """Whether it calls nearly everything by one name and is wrong for many of them."""
        many = (1 + self.guess) / 2
        return self.share_said > many and (self.accuracy.value or 0.0) < many

    def warning(self, class_names: Sequence[str]) -> str:
        """What to say of a model that guesses or knows one name only; empty for any other."""
        if not (self.is_like_chance or self.is_one_sided):
            return ""
        share = f"{100 * self.share_said:.0f} % of the test pictures"
        if self.most_said == NO_PREDICTION:
            said = f"it gives no number for {share}"
        else:
            said = f"it calls {share} “{class_names[self.most_said]}”"
        what = "looks like chance" if self.is_like_chance else "is little better than chance"
        return (
            f"This {what}: {said}, and calling all of them alike would be right for "
            f"{100 * self.guess:.1f} %. A wrong mean, deviation or size often looks like this."
        )


def first_look(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> FirstLook:
    """What can be said of predictions (int64, m) for pictures of these labels (int64, m)."""
    counts = np.bincount(labels, minlength=n_classes)
    said, times = np.unique(predicted, return_counts=True)
    most = int(times.argmax())
    n = len(labels)
    return FirstLook(
        accuracy=proportion(int((predicted == labels).sum()), n),
        guess=float(counts.max()) / n,
        most_said=int(said[most]),
        share_said=int(times[most]) / n,
    )


def predict_test(
    classifier: Classifier,
    image_set: ImageSet,
    *,
    device: torch.device | str,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """The class named for every test picture: int64 (m,), −1 where the answer is no number.

    Works on a copy when the device is not the classifier's own. Raises `Cancelled` when
    `should_stop` turns true between two batches.
    """
    target = torch.device(device)
    model = classifier if classifier.device == target else copy.deepcopy(classifier).to(target)
    n, found = image_set.n_test, []
    with torch.inference_mode():
        for start in range(0, n, BATCH):
            if should_stop is not None and should_stop():
                raise Cancelled
            logits = model(image_set.test_images[start : start + BATCH].to(target))
            found.append(predictions(logits.float().cpu().numpy()))
            if progress is not None:
                progress(min(start + BATCH, n), n, "Looking at the test pictures")
    return np.concatenate(found)


def confidences(classifier: Classifier, pictures: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The class named for each picture (int64, n; −1: no number) and its softmax share (n,)."""
    with torch.inference_mode():
        logits = classifier(pictures.to(classifier.device)).double().cpu()
    named = predictions(logits.numpy())
    shares = logits.softmax(1).numpy()[np.arange(len(named)), np.maximum(named, 0)]
    return named, np.where(named == NO_PREDICTION, np.nan, shares)


def spread_rows(labels: np.ndarray, n_rows: int) -> np.ndarray:
    """Up to `n_rows` positions (int64) of pictures, spread evenly over the classes there are.

    With fewer classes than rows, classes come again with their next pictures; sorted by class.
    """
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(groups) > n_rows:
        groups = [groups[i * len(groups) // n_rows] for i in range(n_rows)]
    rounds = [group[k] for k in range(n_rows) for group in groups if k < len(group)]
    chosen = np.array(rounds[:n_rows], dtype=np.int64)
    return chosen[np.argsort(labels[chosen], kind="stable")]
