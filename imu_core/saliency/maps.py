"""Saliency maps of a classifier, and which methods are right for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imu_core.errors import BadInput, Cancelled, UnknownName
from imu_core.saliency.explained import (
    Explained,
    checked_baseline,
    checked_pixels,
    checked_targets,
    private_copy,
)
from imu_core.saliency.layers import find_layers
from imu_core.saliency.methods import BATCH, METHODS, Request, SaliencyMethod, Settings


@dataclass(frozen=True, eq=False)
class SaliencyMaps:
    """Signed maps: positive where the picture speaks for the class."""

    maps: Tensor
    """float32 (n, h, w) on the CPU, channels summed"""
    delta: Tensor | None
    """float32 (n,): for integrated gradients, sum of the map minus the change it should sum to"""
    method: str
    target: str
    classes: Tensor
    """int64 (n,)"""


def methods_for(classifier: nn.Module, image_shape: tuple[int, int, int]) -> list[SaliencyMethod]:
    """The methods that are right for this network, found by passing one empty picture
    of (channels, height, width) through a copy of it."""
    copied = private_copy(classifier)
    layers = find_layers(copied, torch.zeros(1, *image_shape, device=copied.device))
    return [method for method in METHODS if method.fits(layers)]


def saliency(
    classifier: nn.Module,
    pixels: Tensor,
    method: str = "integrated-gradients",
    target: str = "logit",
    classes: Tensor | int = 0,
    *,
    baseline: Tensor | None = None,
    settings: Settings | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SaliencyMaps:
    """Maps of pictures (n, c, h, w), uint8 or float in 0–1, each for its class.

    Works on a private copy in evaluation mode and float32; the classifier given is not touched,
    whatever mode, precision or gradient context it is in.

    `baseline` (c, h, w) with pixels in 0–1 is what "without the picture" means: give the mean
    training picture (`mean_picture`). None takes one flat colour, at which a network with group or
    layer norm has no slope to integrate, and delta then shows that the map cannot be trusted.
    """
    values, delta, targets = attributions(
        classifier,
        pixels,
        method,
        target,
        classes,
        baseline=baseline,
        settings=settings,
        should_stop=should_stop,
    )
    return SaliencyMaps(values.sum(1).cpu(), delta, method, target, targets.cpu())


def attributions(
    classifier: nn.Module,
    pixels: Tensor,
    method: str,
    target: str,
    classes: Tensor | int,
    *,
    baseline: Tensor | None = None,
    settings: Settings | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Attributions (n, c or 1, h, w), delta (n,) or None, and the classes (n,)."""
    model = Explained(classifier, target)
    normalised = checked_pixels(model.classifier, pixels)
    targets = checked_targets(model.classifier, classes, len(normalised))
    chosen = find_method(method)
    layers = find_layers(model.classifier, normalised)
    start = checked_baseline(model.classifier, baseline, normalised.shape)
    if not chosen.fits(layers):
        raise BadInput(f"{chosen.title} is not right for this network: {chosen.unfit}.")
    parts: list[Tensor] = []
    deltas: list[Tensor] = []
    with _plain_float32(normalised.device):
        for some, wanted in zip(normalised.split(BATCH), targets.split(BATCH), strict=True):
            if should_stop is not None and should_stop():
                raise Cancelled
            request = Request(model, some, wanted, start, settings or Settings(), layers)
            values, delta = chosen.attribute(request)
            parts.append(values.detach().float())
            if delta is not None:
                deltas.append(delta.detach().float().cpu())
    return torch.cat(parts), torch.cat(deltas) if deltas else None, targets


def find_method(name: str) -> SaliencyMethod:
    """The method of this name; `UnknownName` lists the near ones."""
    for method in METHODS:
        if method.name == name:
            return method
    raise UnknownName("saliency method", name, [method.name for method in METHODS])


@contextlib.contextmanager
def _plain_float32(device: torch.device):
    """Gradients on and autocast off, whatever the caller's context: bf16 maps differ by 2 %."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        yield
