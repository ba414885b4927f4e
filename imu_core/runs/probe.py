"""Quick looks at the moving model between two steps: forget, retain and held-out accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from imu_core.device import forward_batch
from imu_core.evaluation.outputs import Outputs
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier
from imu_core.networks.modes import eval_mode

SAMPLE_WITH_FEATURES = 4096
SAMPLE_WITH_PICTURES = 512
SAMPLE_FOR_RULE = 256


def heldout_rows(image_set: ImageSet) -> Tensor:
    """Rows of the test pictures a method or stop rule may see: every second one of each class.

    A run that uses them reports its test accuracy on the other half, so that nothing is judged on
    pictures it was steered by.
    """
    rows = [
        (image_set.test_labels == label).nonzero().flatten()[::2]
        for label in range(image_set.n_classes)
    ]
    return torch.cat(rows).sort().values


@dataclass(frozen=True)
class _Part:
    """Pictures of one part to be probed: where their outputs are found, and their labels."""

    rows: Tensor
    labels: Tensor
    images: Tensor
    features: Tensor


class Probe:
    """Accuracies of the moving model on the forget set and on samples of the other pictures.

    While the features are constant (`body_is_constant`) all forget pictures and large samples are
    looked at through the cached features of the original; otherwise smaller samples go through the
    network, and the whole forget set only where a stop rule may be met.
    """

    def __init__(
        self, image_set: ImageSet, forget_ids: Tensor, outputs: Outputs, device: torch.device
    ) -> None:
        self._device = device
        self._forget_ids = forget_ids
        self._image_set, self._outputs = image_set, outputs
        labels = image_set.train_labels
        is_forget = torch.zeros(image_set.n_train, dtype=torch.bool)
        is_forget[forget_ids] = True
        retain = (~is_forget).nonzero().flatten()
        counts = torch.bincount(labels, minlength=image_set.n_classes)
        forget_counts = torch.bincount(labels[forget_ids], minlength=image_set.n_classes)
        self.gone = (forget_counts == counts) & (counts > 0)
        heldout = heldout_rows(image_set)
        self._mix = forget_counts.double() / forget_counts.sum()
        known = heldout[~self.gone[image_set.test_labels[heldout]]]
        self._pools = {"forget": forget_ids, "retain": retain, "heldout": known}
        self._heldout = heldout
        self._parts: dict[tuple[str, int], _Part] = {}

    def __call__(self, model: Classifier, constant_body: bool) -> dict[str, float | int | None]:
        """Accuracies (fractions) on forget, retain and held-out pictures, with their counts."""
        result: dict[str, float | int | None] = {}
        cap = SAMPLE_WITH_FEATURES if constant_body else SAMPLE_WITH_PICTURES
        with torch.inference_mode(), eval_mode(model):
            for name in self._pools:
                part = self._part(
                    name, len(self._forget_ids) if self._whole(name, constant_body) else cap
                )
                right = self._right(model, part, constant_body)
                result[f"{name}_accuracy"] = float(right.float().mean()) if len(right) else None
                result[f"n_{name}"] = len(right)
        return result

    def has_forgotten(self, model: Classifier, constant_body: bool, target: float) -> bool:
        """Whether forget accuracy, over the whole forget set, is at or below `target`.

        Where every look goes through the network a sample comes first, and says no alone where it
        lies more than three standard errors above the target.
        """
        n = len(self._forget_ids)
        with torch.inference_mode(), eval_mode(model):
            if not constant_body and n > SAMPLE_FOR_RULE:
                spread = target * (1 - target) * (1 / SAMPLE_FOR_RULE - 1 / n)
                seen = self._forget_accuracy(model, constant_body, SAMPLE_FOR_RULE)
                if seen > target + 3 * math.sqrt(spread):
                    return False
            return self._forget_accuracy(model, constant_body, n) <= target

    def _forget_accuracy(self, model: Classifier, constant_body: bool, n: int) -> float:
        right = self._right(model, self._part("forget", n), constant_body)
        return float(right.double().mean())

    @cached_property
    def heldout_target(self) -> float:
        """The original's accuracy on held-out pictures, weighted to the class mix of the forget
        set: about what a model retrained without the forget pictures reaches on them.

        Of the original, not of the moving model: a method that ruins the model lowers its held-out
        accuracy too, and would chase it to the bottom.
        """
        labels = self._image_set.test_labels[self._heldout]
        logits = torch.from_numpy(self._outputs.test_logits)[self._heldout]
        right = (logits.argmax(1) == labels).double()
        total = torch.zeros_like(self._mix).index_add_(0, labels, right)
        counts = torch.bincount(labels, minlength=len(self._mix))
        mix = self._mix * (counts > 0)
        return float((mix * total / counts.clamp_min(1)).sum() / mix.sum().clamp_min(1e-12))

    def _whole(self, name: str, constant_body: bool) -> bool:
        return name == "forget" and constant_body

    def _part(self, name: str, cap: int) -> _Part:
        if (name, cap) not in self._parts:
            pool = self._pools[name]
            if len(pool) > cap:
                generator = torch.Generator().manual_seed(0)
                pool = pool[torch.randperm(len(pool), generator=generator)[:cap]]
            on_train = name in ("forget", "retain")
            source, outputs = self._image_set, self._outputs
            images = source.train_images if on_train else source.test_images
            labels = source.train_labels if on_train else source.test_labels
            features = outputs.train_features if on_train else outputs.test_features
            self._parts[name, cap] = _Part(
                pool,
                labels[pool].to(self._device),
                images[pool].to(self._device),
                torch.from_numpy(np.ascontiguousarray(features[pool.numpy()])).to(self._device),
            )
        return self._parts[name, cap]

    @staticmethod
    def _right(model: Classifier, part: _Part, constant_body: bool) -> Tensor:
        if constant_body:
            return model.head(part.features).argmax(1) == part.labels
        logits = [model(images) for images in part.images.split(forward_batch(part.images.device))]
        if not logits:
            return torch.zeros(0, dtype=torch.bool)
        return torch.cat(logits).argmax(1) == part.labels
