"""Moments of per-sample gradients: the diagonal Fisher, and L2UL's weight importance.

Exact: `torch.func.vmap` takes the gradient of each picture apart. The square of a batch's mean
gradient, which public code often calls Fisher, is another quantity: opposing gradients cancel in
it, and it shrinks with the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from imu_core.networks.classifier import Classifier

MOST_NUMBERS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Per-sample gradients held at once, in numbers, by kind of device (256 MiB, 2 GiB of float32)."""

Moments = dict[str, Tensor]
SampleLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits (1, K), label (1,)) → loss, a scalar."""


def moments(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    loss: SampleLoss,
    moment: Callable[[Tensor], Tensor],
    batch_size: int,
) -> Iterator[tuple[int, Moments]]:
    """After each chunk: pictures done, and the mean of `moment(gradient)` over these so far.

    Eval mode, at the weights as they are; the model is left as it was. Chunks are of at most
    `batch_size` pictures and small enough for `MOST_NUMBERS`.
    """
    named = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    most = MOST_NUMBERS.get(model.device.type, MOST_NUMBERS["cpu"])
    n_numbers = sum(p.numel() for p in named.values())
    chunk = max(1, min(batch_size, most // n_numbers))
    flags = [(module, module.training) for module in model.modules()]

    def sample_loss(parameters: Moments, image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (parameters, buffers), (image[None],))
        return loss(logits, label[None])

    gradients = vmap(grad(sample_loss), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(p) for name, p in named.items()}
    done = 0
    for x, y in zip(images.split(chunk), labels.split(chunk), strict=True):
        model.eval()
        for name, g in gradients(named, x, y).items():
            sums[name] += moment(g).sum(0)
        for module, training in flags:
            module.training = training
        done += len(y)
        yield done, {name: total / done for name, total in sums.items()}


def diagonal_fisher(
    model: Classifier, images: Tensor, labels: Tensor, batch_size: int = 256
) -> Moments:
    """The diagonal empirical Fisher, mean of (∂ℓ/∂θ)² over the pictures, by parameter name.

    Exact per-sample gradients of the cross-entropy with the true label, eval mode.
    """
    result: Moments = {}
    for _, result in moments(  # noqa: B007
        model,
        images,
        labels,
        loss=functional.cross_entropy,
        moment=torch.square,
        batch_size=batch_size,
    ):
        pass
    return result
