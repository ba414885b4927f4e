"""SGD and AdamW, as in `torch.optim` to float tolerance.

Making the first optimiser of `torch.optim` imports the whole compiler of torch, about five seconds
on two processor cores: longer than training a small network. These import nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Sgd:
    """Stochastic gradient descent with momentum, by default Nesterov's.

    Weight decay is added to the gradient (`torch.optim.SGD`).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = True,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self._velocities = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the parameters against their gradients, then drop the gradients."""
        gradients = _take_gradients(self.parameters)
        torch._foreach_add_(gradients, self.parameters, alpha=self.weight_decay)
        torch._foreach_mul_(self._velocities, self.momentum)
        torch._foreach_add_(self._velocities, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, self._velocities, alpha=self.momentum)
            torch._foreach_add_(self.parameters, gradients, alpha=-lr)
        else:
            torch._foreach_add_(self.parameters, self._velocities, alpha=-lr)


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).

    Second decay rate 0.999, ε 1e-8 (`torch.optim.AdamW`).
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, momentum: float, weight_decay: float
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.betas, self.weight_decay = (momentum, 0.999), weight_decay
        self._means = [torch.zeros_like(p) for p in self.parameters]
        self._squares = [torch.zeros_like(p) for p in self.parameters]
        self._n_steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the parameters against their gradients, then drop the gradients."""
        gradients = _take_gradients(self.parameters)
        first, second = self.betas
        self._n_steps += 1
        torch._foreach_mul_(self.parameters, 1 - lr * self.weight_decay)
        torch._foreach_lerp_(self._means, gradients, 1 - first)
        torch._foreach_mul_(self._squares, second)
        torch._foreach_addcmul_(self._squares, gradients, gradients, value=1 - second)
        roots = torch._foreach_sqrt(self._squares)
        torch._foreach_div_(roots, (1 - second**self._n_steps) ** 0.5)
        torch._foreach_add_(roots, 1e-8)
        share = -lr / (1 - first**self._n_steps)
        torch._foreach_addcdiv_(self.parameters, self._means, roots, value=share)


def _take_gradients(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients, zero where there is none, taken off the parameters."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients
