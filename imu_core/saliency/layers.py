"""Where in a network a class activation map is right, found by watching one picture pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imu_core.errors import BadInput
from imu_core.networks.classifier import Classifier


@dataclass
class Layers:
    """The layers of a body that maps can be taken from; None where there is none."""

    convolution: nn.Module | None = None
    """Last module that gives (n, channels, height, width) with more than one place."""
    token_norm: nn.Module | None = None
    """The norm before the last attention, (n, tokens, width). The final norm is no place for maps:
    behind a mean over tokens its gradient is the same everywhere, behind a class token zero."""
    token_grid: tuple[int, int] = (0, 0)
    """Rows and columns of the patches."""


@dataclass
class _Watch:
    layers: Layers = field(default_factory=Layers)
    seen_convolution: bool = False
    last_norm: nn.Module | None = None
    last_grid: tuple[int, int] = (0, 0)
    last_is_tokens: bool = False


def find_layers(classifier: Classifier, normalised: Tensor) -> Layers:
    """The layers for class activation maps, from one pass of one picture (1, c, h, w).

    `classifier` is a private copy: hooks are put on its body and taken off again.
    """
    watch, body = _Watch(), classifier.body
    # Where pixels come before channels, a map would be read the wrong way round.
    turned = set(getattr(body, "channels_last_modules", ()))
    hooks = [module.register_forward_pre_hook(_before(watch)) for module in body.modules()]
    hooks += [
        module.register_forward_hook(_after(watch))
        for module in body.modules()
        if module not in turned
    ]
    try:
        with torch.no_grad():
            classifier.head(body(normalised[:1]))
    except RuntimeError as error:
        shape = "×".join(map(str, normalised.shape[1:]))
        raise BadInput(f"This network does not take pictures of {shape} pixels.") from error
    finally:
        for hook in hooks:
            hook.remove()
    if watch.last_is_tokens:
        # The patch embedding is a convolution, but no place for a convolutional map.
        return Layers(token_norm=watch.layers.token_norm, token_grid=watch.last_grid)
    return Layers(convolution=watch.layers.convolution)


def _before(watch: _Watch):
    def note(module: nn.Module, inputs: tuple) -> None:
        attends = isinstance(module, nn.MultiheadAttention) or "Attention" in type(module).__name__
        if attends and watch.last_norm is not None:
            watch.layers.token_norm = watch.last_norm

    return note


def _after(watch: _Watch):
    def note(module: nn.Module, inputs: tuple, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        watch.seen_convolution |= isinstance(module, nn.Conv2d)
        if output.ndim == 4 and output.shape[2] * output.shape[3] > 1 and watch.seen_convolution:
            watch.layers.convolution = module
            watch.last_grid = (int(output.shape[2]), int(output.shape[3]))
            watch.last_is_tokens = False
        if output.ndim == 3 and isinstance(module, nn.LayerNorm):
            watch.last_norm = module
            watch.last_is_tokens = True

    return note
