"""`imu train`, and the original model that the other commands start from."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import torch

from imu_core.device import pick_device
from imu_core.errors import BadInput
from imu_core.images import ImageSet, open_image_set
from imu_core.networks import default_network, read_checkpoint_header, save_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from imu_core.networks.registry import get_network
from imu_core.terminal.console import Progress
from imu_core.terminal.store import runs_folder
from imu_core.training import train_original

ORIGINALS = "originals"
"""Folder, inside that of the runs, of the originals trained because none was given."""


def opened_images(arguments: argparse.Namespace, progress: Progress) -> ImageSet:
    """The image set that `--images` names, fetched only with `--download`."""
    return open_image_set(arguments.images, download=arguments.download, progress=progress)


def checked_out(text: str) -> Path:
    """The file of `--out`, once its ending is right and its folder there."""
    out = Path(text)
    if out.suffix != ".safetensors":
        raise BadInput(f"A checkpoint is written as “{out.stem}.safetensors”, not “{out.name}”.")
    if not out.absolute().parent.is_dir():
        raise BadInput(f"There is no folder “{out.parent}” to write the checkpoint into; make it.")
    return out


def train(arguments: argparse.Namespace) -> int:
    """Train a classifier and write its checkpoint."""
    out = checked_out(arguments.out)
    device = pick_device(arguments.device)
    with Progress() as progress:
        image_set = opened_images(arguments, progress)
        network = get_network(arguments.network or default_network(image_set)).name
        accuracy = _train(image_set, network, arguments.seed, device, out, progress)
    print(f"{out}: {network}, {100 * accuracy:.1f} % on {image_set.n_test:,} test pictures")
    return 0


def original_checkpoint(
    arguments: argparse.Namespace, image_set: ImageSet, device: torch.device, progress: Progress
) -> Path:
    """File of the original: the one given, the bundled one, or one trained now and kept."""
    if arguments.checkpoint:
        return Path(arguments.checkpoint)
    network = arguments.network or default_network(image_set)
    bundled = bundled_checkpoint(image_set.name)
    if bundled is not None:
        header = read_checkpoint_header(bundled)
        if header.network == network and header.fingerprint == image_set.fingerprint:
            return bundled
    network = get_network(network).name
    folder = runs_folder(arguments) / ORIGINALS
    folder.mkdir(parents=True, exist_ok=True)
    slug, kind = (re.sub(r"[^A-Za-z0-9.-]+", "-", name)[-40:] for name in (image_set.name, network))
    path = folder / f"{slug}-{kind}-{image_set.fingerprint[:8]}.safetensors"
    if not path.exists():
        _train(image_set, network, 0, device, path, progress)
    return path


def _train(
    image_set: ImageSet,
    network: str,
    seed: int,
    device: torch.device,
    out: Path,
    progress: Progress,
) -> float:
    """Test accuracy of the classifier that was trained and written to `out`."""
    progress.say(f"Training {network} on {image_set.title}, seed {seed}.")
    classifier, header = train_original(
        image_set, network, seed=seed, device=device, progress=progress
    )
    save_checkpoint(out, classifier, header)
    return header.test_accuracy
