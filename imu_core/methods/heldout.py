"""What accuracy a model that never saw the forget pictures could be expected to have on them."""

from __future__ import annotations

import torch

from imu_core.methods.answers import accuracy, logits_of
from imu_core.methods.task import Task
from imu_core.networks.classifier import Classifier


def expected_accuracy(model: Classifier, task: Task) -> float:
    """Accuracy of `model` on held-out pictures, weighted to the class mix of the forget set.

    A class of which no retain picture is left counts as 0: a model retrained without the class gets
    none of it right. A class without held-out pictures says nothing and is left out; where that
    leaves nothing, the plain held-out accuracy is returned. The model is to be in eval mode.
    """
    heldout, n_classes = task.heldout, task.model.n_classes
    hits, counts, mix = (torch.zeros(n_classes, dtype=torch.float64) for _ in range(3))
    right = (logits_of(model, heldout).argmax(1) == heldout.labels).double().cpu()
    hits.index_add_(0, heldout.labels.cpu(), right)
    counts.index_add_(0, heldout.labels.cpu(), torch.ones_like(right))
    mix += torch.bincount(task.forget.labels.cpu(), minlength=n_classes)
    known = torch.bincount(task.retain.labels.cpu(), minlength=n_classes) > 0
    mix[known & (counts == 0)] = 0
    if not bool(mix.any()):
        return accuracy(model, heldout)
    return float((mix * known * hits / counts.clamp_min(1)).sum() / mix.sum())
