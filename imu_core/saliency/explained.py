"""The copy of a classifier that attribution works on: pixels in, one number a picture out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from imu_core.errors import BadInput, UnknownName
from imu_core.networks.classifier import Classifier

TARGETS = ("logit", "margin")
"""logit: that of the class. margin: the same minus logsumexp of all others, which can be compared
between models of different scale. Never the softmax, whose gradient dies where it is sure."""


class Explained(nn.Module):
    """A private copy in evaluation mode and float32: hooks and gradients never touch the original.

    Takes normalised pixels z (n, c, h, w), where 0 is the mean picture, and the class of each.
    """

    def __init__(self, classifier: nn.Module, target: str) -> None:
        super().__init__()
        if target not in TARGETS:
            raise UnknownName("saliency target", target, TARGETS)
        self.target = target
        self.classifier = private_copy(classifier)

    def forward(self, normalised: Tensor, classes: Tensor) -> Tensor:
        """The target (n,)"""
        logits = self.classifier.head(self.classifier.body(normalised))
        own = logits.gather(1, classes[:, None])
        if self.target == "logit":
            return own[:, 0]
        return own[:, 0] - logits.scatter(1, classes[:, None], -torch.inf).logsumexp(1)


def private_copy(classifier: nn.Module) -> Classifier:
    """A deep copy in evaluation mode, float32, its weights frozen; of the module inside a compiled
    one, because hooks do not fire in compiled code."""
    inner = getattr(classifier, "_orig_mod", classifier)
    if not isinstance(inner, Classifier):
        raise BadInput("Saliency needs a classifier with body and head; wrap the network in one.")
    copied = copy.deepcopy(inner).eval().float().requires_grad_(False)
    for name, tensor in copied.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadInput(
                f"The weights “{name}” of this network hold values that are not numbers; "
                "load a sound model."
            )
    return copied


def checked_pixels(classifier: Classifier, pixels: Tensor) -> Tensor:
    """Normalised float32 pixels on the device of the copy; `BadInput` for another shape."""
    n_channels = classifier.mean.shape[1]
    if pixels.ndim != 4 or not len(pixels) or pixels.shape[1] != n_channels:
        raise BadInput(
            f"Saliency takes pictures of shape (n, {n_channels}, height, width), at least one; "
            f"these have the shape {tuple(pixels.shape)}."
        )
    return classifier.normalise(pixels.detach().to(classifier.device)).float()


def checked_baseline(classifier: Classifier, baseline: Tensor | None, shape: torch.Size) -> Tensor:
    """A baseline (c, h, w), pixels in 0–1, as normalised (1, c, h, w); None is the mean colour."""
    if baseline is None:
        return torch.zeros(1, *shape[1:], device=classifier.device)
    if baseline.shape != shape[1:] or not bool(torch.isfinite(baseline).all()):
        raise BadInput("The baseline must be one picture of the size of the others.")
    return checked_pixels(classifier, baseline[None])


def mean_picture(images: Tensor) -> Tensor:
    """The mean of uint8 pictures (n, c, h, w) with pixels in 0–1: float32 (c, h, w), a baseline."""
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    for chunk in images.split(4096):
        total += chunk.sum(0, dtype=torch.float64).cpu()
    return (total / len(images) / 255).float()


def checked_targets(classifier: Classifier, classes: Tensor | int, n: int) -> Tensor:
    """One class a picture, int64 (n,); `BadInput` where one is no class of the network."""
    targets = torch.as_tensor(classes, dtype=torch.int64, device=classifier.device)
    targets = targets.expand(n) if targets.ndim == 0 else targets
    if targets.shape != (n,):
        raise BadInput(f"{n} pictures came with {len(targets)} classes to explain.")
    if int(targets.min()) < 0 or int(targets.max()) >= classifier.n_classes:
        raise BadInput(
            f"The class to explain must lie in 0–{classifier.n_classes - 1}, the classes this "
            "network knows."
        )
    return targets
