"""Targeted L2 attacks in batches over all pictures at once, for L2UL's regulariser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.networks.classifier import Classifier

BATCH = 1024
REFERENCE_NUMBERS = 3 * 32 * 32


def scaled(length: float, image_shape: Sequence[int]) -> float:
    """An L2 length meant for 3×32×32 pictures, for pictures of this shape.

    The length grows with the root of the count of pixel values, so the mean change of a pixel is
    the same.
    """
    return length * (math.prod(image_shape) / REFERENCE_NUMBERS) ** 0.5


def start_points(images: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Points drawn uniformly from the L2 ball around each picture, within 0–1: (n, c, h, w)."""
    direction = torch.randn(images.shape, generator=generator).flatten(1)
    direction /= direction.norm(dim=1, keepdim=True).clamp_min(1e-12)
    share = torch.rand(len(images), 1, generator=generator) ** (1 / direction.shape[1])
    offset = (radius * share * direction).view(images.shape).to(images.device)
    return (images + offset).clamp(0, 1)


def n_reports(n: int, iterations: int, report_every: int) -> int:
    """How often an attack on `n` pictures reports: every so many iterations of a batch, and at its
    end."""
    return -(-n // BATCH) * -(-iterations // report_every)


@dataclass
class Attack:
    """A targeted L2-PGD on a fixed model in eval mode; `points` are the pictures as they stand.

    Each iteration goes `step` along the normalised gradient towards the target class, then back
    into the ball of `radius` around the picture and into the range of pixels, 0–1.
    """

    model: Classifier
    images: Tensor
    """float32 (n, c, h, w) in 0–1"""
    targets: Tensor
    radius: float
    step: float
    iterations: int
    report_every: int
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.points = start_points(self.images, self.radius, self.generator)

    def run(self) -> Iterator[float]:
        """Mean loss of the target class in the current batch, at each report."""
        for start in range(0, len(self.images), BATCH):
            rows = slice(start, start + BATCH)
            centre, targets, points = self.images[rows], self.targets[rows], self.points[rows]
            for iteration in range(1, self.iterations + 1):
                points, loss = self._step(points, centre, targets)
                if iteration % self.report_every == 0 or iteration == self.iterations:
                    self.points[rows] = points
                    yield loss / len(targets)

    def _step(self, points: Tensor, centre: Tensor, targets: Tensor) -> tuple[Tensor, float]:
        points = points.detach().requires_grad_(True)
        loss = functional.cross_entropy(self.model(points), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        with torch.no_grad():
            norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
            offset = points - self.step * gradient / norms - centre
            lengths = offset.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
            offset *= (self.radius / lengths).clamp_max(1)
            return (centre + offset).clamp(0, 1), loss.item()
