"""`imu model import`: a checkpoint of this studio from weights that were saved elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from imu_core.device import pick_device
from imu_core.display import metric_with_interval
from imu_core.errors import BadInput
from imu_core.evaluation.first_look import FirstLook, first_look, predict_test
from imu_core.images import ImageSet
from imu_core.networks import save_checkpoint
from imu_core.networks.checkpoint_header import describe
from imu_core.networks.foreign_file import pt_is_allowed
from imu_core.networks.foreign_weights import load_foreign
from imu_core.networks.normalisation import Normalisation, numbers, preset
from imu_core.networks.registry import get_network
from imu_core.networks.torchvision_networks import full_name, is_torchvision
from imu_core.terminal.console import Progress, print_json
from imu_core.terminal.training import checked_out, opened_images


def import_model(arguments: argparse.Namespace) -> int:
    """Compare the weights with the network, measure them on the test pictures, save both."""
    out = checked_out(arguments.out)
    network = _network(arguments.network, arguments.size)
    device = pick_device(arguments.device)
    with Progress() as progress:
        image_set = opened_images(arguments, progress)
        classifier = load_foreign(
            arguments.file,
            network,
            image_set,
            _normalisation(arguments, image_set, network),
            allow_pt=arguments.allow_pt or pt_is_allowed(),
        )
        predicted = predict_test(classifier, image_set, device=device, progress=progress)
        look = first_look(image_set.test_labels.numpy(), predicted, image_set.n_classes)
        header = describe(
            classifier,
            image_set,
            network=network,
            recipe={},
            seed=0,
            test_accuracy=look.accuracy.value or 0.0,
        )
        save_checkpoint(out, classifier, header)
        if warning := look.warning(image_set.class_names):
            progress.say(warning)
    _print(arguments, out, network, look)
    return 0


def _network(name: str, size: int | None) -> str:
    """The network's full name, with the size where it is one of torchvision's."""
    if size is None:
        return get_network(name).name
    if not is_torchvision(name):
        raise BadInput(
            f"--size is for torchvision's networks; “{name}” takes pictures as large as they are."
        )
    if "@" in name:
        raise BadInput(f"Give the size once: “{name}” has it already.")
    return get_network(full_name(name.removeprefix("torchvision:"), size)).name


def _normalisation(
    arguments: argparse.Namespace, image_set: ImageSet, network: str
) -> Normalisation:
    """`--mean` and `--std` where given, else those of the preset."""
    usual = preset(arguments.normalise, image_set, three_for_grey=is_torchvision(network))
    return Normalisation(
        numbers(arguments.mean, "mean") if arguments.mean else usual.mean,
        numbers(arguments.std, "deviation") if arguments.std else usual.std,
    )


def _print(arguments: argparse.Namespace, out: Path, network: str, look: FirstLook) -> None:
    accuracy = look.accuracy
    values = {"test_accuracy": accuracy.value, "detail": {"test_accuracy": accuracy.to_dict()}}
    if arguments.json:
        print_json({"checkpoint": str(out), "network": network, **values})
    else:
        print(f"{out}: {network}, {metric_with_interval('test_accuracy', values)} test pictures")
