"""A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) for small pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from imu_core.networks.registry import ImageShape, register_network

WIDTH, N_BLOCKS, N_HEADS = 192, 6, 3


class PatchTokens(nn.Module):
    """Square patches as tokens (n, tokens, width), with learned positions added."""

    def __init__(self, image_shape: ImageShape, patch: int, width: int) -> None:
        super().__init__()
        channels, height, size = image_shape
        self.patch = patch
        self.grid = (math.ceil(height / patch), math.ceil(size / patch))
        self.project = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1], width))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw the positions; the convolution inside is drawn like any other."""
        nn.init.normal_(self.positions, std=0.02, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        bottom, right = (-x.shape[2]) % self.patch, (-x.shape[3]) % self.patch
        patches = self.project(functional.pad(x, (0, right, 0, bottom)))
        return patches.flatten(2).transpose(1, 2) + self.positions


class SelfAttention(nn.Module):
    """Scaled dot-product attention between all tokens of a picture."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, width = tokens.shape
        split = self.query_key_value(tokens).view(n, length, 3, self.n_heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(n, length, width))


class TransformerBlock(nn.Module):
    """Attention, then a two-layer network a token, each behind a layer norm and a shortcut."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, n_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class MeanOverTokens(nn.Module):
    """The mean token (n, width). With a class token, maps over the last tokens have no gradient."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)


@register_network(
    "vit-small",
    title="Small ViT",
    sentence="A vision transformer of six blocks over at most 8×8 patches; needs more pictures "
    "than a convolutional network to do as well.",
    for_device="gpu",
)
def vit_small(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """Width 192, three heads, no dropout, mean over tokens; 2.7 million parameters."""
    patch = max(2, math.ceil(max(image_shape[1:]) / 8))
    body = nn.Sequential(
        PatchTokens(image_shape, patch, WIDTH),
        *(TransformerBlock(WIDTH, N_HEADS) for _ in range(N_BLOCKS)),
        nn.LayerNorm(WIDTH),
        MeanOverTokens(),
    )
    return body, WIDTH
