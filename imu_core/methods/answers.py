"""What a model answers to pictures: logits in batches, and answers without the true class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.task import Pictures
from imu_core.networks.classifier import Classifier
from imu_core.networks.modes import eval_mode

BATCH = 1024


@torch.no_grad()
def logits_of(model: Classifier, part: Pictures) -> Tensor:
    """Logits of these pictures in order, in the mode the model is in: (n, K)."""
    return torch.cat([model(images) for images in part.images.split(BATCH)])


def mean_loss(model: Classifier, part: Pictures) -> float:
    """Mean cross-entropy of these pictures with their labels."""
    return functional.cross_entropy(logits_of(model, part), part.labels).item()


@torch.no_grad()
def accuracy(model: Classifier, part: Pictures) -> float:
    """Share of these pictures that are named right in eval mode; the model is left as it was."""
    with eval_mode(model):
        return float((logits_of(model, part).argmax(1) == part.labels).double().mean())


def without_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits with each row's own label out of reach (−∞)."""
    return logits.scatter(1, labels[:, None], -torch.inf)


def nearest_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """For each row the most probable class other than its label: int64 (n,)."""
    return without_class(logits, labels).argmax(1)
