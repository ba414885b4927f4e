"""The layers of a network in order, and drawing weights anew from an explicit generator."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imu_core.errors import BadInput
from imu_core.networks.classifier import Classifier
from imu_core.networks.drawing import draw_usual

OTHER_STD = 0.02


@dataclass
class Layer:
    """A module with a weight matrix or kernel, and the norms that follow it."""

    name: str
    modules: list[nn.Module] = field(default_factory=list)

    def parameters(self) -> list[nn.Parameter]:
        return [p for module in self.modules for p in module.parameters(recurse=False)]


def layers_of(model: Classifier) -> list[Layer]:
    """The layers from the pictures to the head, in the order in which the network was built.

    A layer begins at a module that owns a kernel or matrix; norms and scales belong to the layer
    before them.
    """
    layers: list[Layer] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        if not layers or isinstance(module, nn.Linear | nn.Conv2d) or any(map(_is_matrix, own)):
            layers.append(Layer(name))
        layers[-1].modules.append(module)
    return layers


def _is_matrix(weight: Tensor) -> bool:
    """Whether it has two dimensions or more; a scale (C, 1, 1) has one."""
    return sum(size > 1 for size in weight.shape) >= 2


def last_layers(model: Classifier, k: int) -> list[Layer]:
    """The last `k` layers, the head among them; too large a `k` is a `BadInput`."""
    layers = layers_of(model)
    if k > len(layers):
        raise BadInput(
            f"This network has {len(layers)} layers, so k must be from 1 to {len(layers)}, not {k}."
        )
    return layers[-k:]


def weight_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """Kernels and matrices of convolutions and linear layers by parameter name, in order."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def draw_like(module: nn.Module, generator: torch.Generator) -> None:
    """Draws the weights of this one module anew, on the CPU, from `generator`.

    As a new network does; norms go back to ones and zeros and empty statistics, and weights of any
    other kind are normal with deviation 0.02.
    """
    if draw_usual(module, generator):
        return
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
        module.reset_parameters()
    else:
        for p in module.parameters(recurse=False):
            nn.init.normal_(p, std=OTHER_STD, generator=generator)


@torch.no_grad()
def redraw(modules: Iterable[nn.Module], generator: torch.Generator) -> None:
    """Draws the weights of these modules anew in place, on whatever device they are."""
    for module in modules:
        fresh = copy.deepcopy(module).cpu()
        draw_like(fresh, generator)
        for mine, theirs in zip(_own_tensors(module), _own_tensors(fresh), strict=True):
            mine.copy_(theirs)


def _own_tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def fresh_copy(model: Classifier, generator: torch.Generator) -> Classifier:
    """The same architecture with all weights drawn anew, in eval mode, not to be trained."""
    fresh = copy.deepcopy(model).requires_grad_(False).eval()
    modules = [m for m in fresh.modules() if m is not fresh and _own_tensors(m)]
    redraw(modules, generator)
    return fresh
