"""Drawing weights from an explicit generator, module by module."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def draw_usual(module: nn.Module, generator: torch.Generator) -> bool:
    """Whether the module draws itself or is of a usual kind; then its weights are drawn anew.

    Convolutions as in He et al. 2015 (arXiv 1502.01852), linear layers uniform within ±1/√inputs; a
    module with `draw_weights(generator)` draws itself.
    """
    drawn = getattr(module, "draw_weights", None)
    if callable(drawn):
        drawn(generator)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        for p in module.parameters(recurse=False):
            nn.init.uniform_(p, -bound, bound, generator=generator)
    else:
        return False
    return True
