"""Which device the work runs on."""

from __future__ import annotations

import torch

from imu_core.errors import BadInput, UnknownName

DEVICE_NAMES = ("auto", "cpu", "cuda")


def pick_device(name: str) -> torch.device:
    """The device of this name; `auto` is a GPU where there is one, else the processor."""
    if name not in DEVICE_NAMES:
        raise UnknownName("device", name, DEVICE_NAMES)
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("There is no CUDA device on this machine; choose “cpu” or “auto”.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def forward_batch(device: torch.device | str) -> int:
    """How many pictures to give a network at once when no gradient is kept.

    Few on a processor, so that they stay in its cache (1,024 take 1.6 times as long as 128), and
    many on a GPU.
    """
    return 128 if torch.device(device).type == "cpu" else 1024
