"""A split into training and test pictures, drawn by seed, for pictures that came without one."""

from __future__ import annotations

import torch
from torch import Tensor

from imu_core.errors import BadInput

TEST_SHARE = 0.2


def drawn_split(
    labels: Tensor, n_classes: int, *, seed: int = 0, share: float = TEST_SHARE
) -> Tensor:
    """bool (n,): which pictures are for testing, `share` of each class.

    At least one of a class of two or more, and never all; a class of one picture keeps it for
    training.
    """
    generator = torch.Generator().manual_seed(seed)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(n_classes):
        rows = (labels == label).nonzero().flatten()
        count = min(max(round(share * len(rows)), 1), len(rows) - 1) if len(rows) > 1 else 0
        is_test[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    if not is_test.any():
        raise BadInput(
            "Every class has a single picture, so none is left for testing; "
            "give each class at least two."
        )
    return is_test
