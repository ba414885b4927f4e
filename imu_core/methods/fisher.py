"""Moments of per-sample gradients: the diagonal Fisher, and L2UL's weight importance.

Exact: every picture is given its own copy of the weights (`torch.func.vmap` runs the network over
pictures and copies at once), and one backward pass yields the gradient of each copy. The square of
a batch's mean gradient, which public code often calls Fisher, is another quantity: opposing
gradients cancel in it, and it shrinks with the batch size. `torch.func.grad` would say the same in
fewer words, but its first call imports the whole compiler of torch, about five seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from imu_core.networks.classifier import Classifier
from imu_core.networks.modes import eval_mode

MOST_NUMBERS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Per-sample gradients held at once, in numbers, by kind of device (256 MiB, 2 GiB of float32)."""

Moments = dict[str, Tensor]
SampleLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, K), labels (n,)) → loss of each picture (n,)."""


def moments(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    loss: SampleLoss,
    moment: Callable[[Tensor], Tensor],
    batch_size: int,
) -> Moments:
    """The mean of `moment(gradient of loss)` over the pictures, by parameter name.

    Eval mode, at the weights as they are; the model is left as it was. Chunks are of at most
    `batch_size` pictures and small enough for `MOST_NUMBERS`.
    """
    named = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    most = MOST_NUMBERS.get(model.device.type, MOST_NUMBERS["cpu"])
    n_numbers = sum(p.numel() for p in named.values())
    chunk = max(1, min(batch_size, most // n_numbers))

    def logits_of_one(parameters: Moments, image: Tensor) -> Tensor:
        return functional_call(model, (parameters, buffers), (image[None],))[0]

    logits_of_each = vmap(logits_of_one)
    sums = {name: torch.zeros_like(p) for name, p in named.items()}
    # The fused kernels of attention cannot be batched over copies of the weights.
    with eval_mode(model), sdpa_kernel(SDPBackend.MATH):
        for x, y in zip(images.split(chunk), labels.split(chunk), strict=True):
            copies = {
                name: p.expand(len(y), *p.shape).clone().requires_grad_(True)
                for name, p in named.items()
            }
            total = loss(logits_of_each(copies, x), y).sum()
            gradients = torch.autograd.grad(total, list(copies.values()))
            for name, g in zip(copies, gradients, strict=True):
                sums[name] += moment(g).sum(0)
    return {name: total / len(labels) for name, total in sums.items()}


def diagonal_fisher(
    model: Classifier, images: Tensor, labels: Tensor, batch_size: int = 256
) -> Moments:
    """The diagonal empirical Fisher, mean of (∂ℓ/∂θ)² over the pictures, by parameter name.

    Exact per-sample gradients of the cross-entropy with the true label, eval mode.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="none")

    return moments(model, images, labels, loss=loss, moment=torch.square, batch_size=batch_size)
