"""The order and the augmentation of one pass over the training pictures.

Both are drawn for every training id, also for those that are left out. A model retrained without
the forget ids therefore sees the same pictures in the same order, shifted and mirrored alike, in
the same batches minus the forget ids: it differs from the original by what was left out and by
nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Epoch:
    """One pass. Batch i of a paired retrained model is batch i of the original minus ids."""

    batches: list[Tensor]
    """int64 ids; a batch may be empty, never of one picture (batch norm has no deviation then)."""
    shifts: Tensor
    """int64 (n, 2): pixels down and right, by id."""
    flips: Tensor
    """bool (n,): mirrored, by id."""


def draw_epoch(
    kept: Tensor, batch_size: int, augment: str, max_shift: int, generator: torch.Generator
) -> Epoch:
    """One pass over the ids that `kept` (bool (n,)) says; what is drawn depends on n alone.

    A batch of one picture joins the batch before it, the first one the batch after it.
    """
    n = len(kept)
    order = torch.randperm(n, generator=generator)
    shifts = torch.randint(-max_shift, max_shift + 1, (n, 2), generator=generator)
    flips = torch.rand(n, generator=generator) < 0.5
    if augment == "none":
        shifts = torch.zeros_like(shifts)
    if augment != "shift+flip":
        flips = torch.zeros_like(flips)
    batches = [batch[kept[batch]] for batch in order.split(batch_size)]
    return Epoch(_without_single_pictures(batches), shifts, flips)


def _without_single_pictures(batches: list[Tensor]) -> list[Tensor]:
    """The same number of batches and the same ids, no batch of exactly one."""
    batches = list(batches)
    for place, batch in enumerate(batches):
        if len(batch) != 1:
            continue
        earlier = next((i for i in range(place - 1, -1, -1) if len(batches[i])), None)
        later = next((i for i in range(place + 1, len(batches)) if len(batches[i])), None)
        neighbour = earlier if earlier is not None else later
        if neighbour is None:
            continue
        pair = (place, neighbour) if place < neighbour else (neighbour, place)
        batches[neighbour] = torch.cat([batches[pair[0]], batches[pair[1]]])
        batches[place] = batch[:0]
    return batches


def augmented(images: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    """The pictures (n, c, h, w) mirrored by `flips`, then moved by `shifts`, as one gather.

    Pixels that come in from outside repeat the edge.
    """
    n, channels, height, width = images.shape
    device = images.device
    rows = (torch.arange(height, device=device) - shifts[:, :1]).clamp_(0, height - 1)
    columns = (torch.arange(width, device=device) - shifts[:, 1:]).clamp_(0, width - 1)
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    return images[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
