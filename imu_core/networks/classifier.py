"""A classifier as this studio sees it: `head(features(normalise(pixels)))`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """An image classifier whose last linear layer is apart from all before it.

    Pixels are always raw: uint8 (n, c, h, w), or float in 0–1. Normalisation is a layer inside the
    model, so pictures, attacks and saliency maps share one scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, head: nn.Linear, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @property
    def n_classes(self) -> int:
        return self.head.out_features

    @property
    def n_features(self) -> int:
        return self.head.in_features

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels with mean 0 and deviation 1 a channel, float32, same shape."""
        scaled = pixels.float().div(255) if pixels.dtype == torch.uint8 else pixels
        return (scaled - self.mean) / self.std

    def features(self, pixels: Tensor) -> Tensor:
        """What the head sees: (n, d)."""
        return self.body(self.normalise(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, K)."""
        return self.head(self.features(pixels))
