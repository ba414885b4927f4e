"""The trained checkpoints that come with the repository."""

from __future__ import annotations

from pathlib import Path

from imu_core.errors import CheckpointError
from imu_core.networks.checkpoint import read_checkpoint_header

MODELS = Path(__file__).resolve().parents[2] / "assets" / "models"


def bundled_checkpoints(folder: Path = MODELS) -> dict[str, Path]:
    """Image set name → checkpoint, for every readable file in the folder; empty without it."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found[read_checkpoint_header(path).image_set] = path
        except CheckpointError:
            # A stray file in the folder must not keep the others from being offered.
            continue
    return found


def bundled_checkpoint(image_set_name: str, folder: Path = MODELS) -> Path | None:
    """The checkpoint for this image set, or None."""
    return bundled_checkpoints(folder).get(image_set_name)
