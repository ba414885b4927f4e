r"""Convolution transpose: swap the two axes of every kernel, then repair on the retain pictures
(CT, first among the eighteen methods of Deep Unlearn with MSG, Cadet et al., arXiv 2410.01276).

    K[o, i, y, x] ← K[o, i, x, y],   then fine-tune on R, learning rate falling by a cosine

The swap keeps all magnitudes and half of what a kernel does (symmetric kernels do not notice), so
the network is broken enough to forget single pictures and near enough to be repaired in few
passes.

Differs from public code: kernels that are not square cannot be swapped and stay; a network
without any kernel larger than 1×1 is refused, since nothing would be transposed and fine-tuning
be sold as CT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from imu_core.errors import BadInput
from imu_core.methods.descent import DescentConfig, descend_on_retain
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class ConvolutionTransposeConfig(DescentConfig):
    """Parameters of convolution transpose."""

    lr: float = parameter(0.02, "Learning rate at the start.", low=1e-8, high=100)
    epochs: int = parameter(20, "Passes over the retain pictures.", low=1, high=10_000)


@torch.no_grad()
def transpose_kernels(model: nn.Module) -> int:
    """How many kernels were swapped, in place."""
    n_swapped = 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.weight.shape[2:]
            if height == width > 1:
                module.weight.copy_(module.weight.transpose(2, 3).clone())
                n_swapped += 1
    return n_swapped


@register(
    "convolution_transpose",
    title="Convolution transpose (CT)",
    needs=("forget", "retain"),
    scope="all",
    paper="Deep Unlearn, arXiv 2410.01276",
    summary="Swaps the two axes of every convolution kernel, then fine-tunes on the retain "
    "pictures.",
    formula=r"K_{oiyx} \leftarrow K_{oixy},\quad\text{then } \min_\theta \frac1m\sum_{j\in R}"
    r"\ell_j",
    config=ConvolutionTransposeConfig,
)
def convolution_transpose(task: Task, config: ConvolutionTransposeConfig) -> Iterator[Step]:
    task.trainable("all", config.batch_norm)
    if not transpose_kernels(task.model):
        raise BadInput(
            "This network has no convolution with a square kernel larger than 1×1, so there is "
            "nothing to transpose; choose another method."
        )
    yield from descend_on_retain(task, config, cosine=True)
