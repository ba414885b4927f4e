"""The registry of networks, and building one with weights drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from imu_core.errors import BadInput, UnknownName
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier
from imu_core.networks.drawing import draw_usual

ImageShape = tuple[int, int, int]
"""(channels, height, width)"""
BodyBuilder = Callable[[ImageShape], tuple[nn.Module, int]]
"""Image shape → the body, (n, c, h, w) to (n, d), and d."""


@dataclass(frozen=True)
class Network:
    """One architecture: everything before the head, which is always one linear layer."""

    name: str
    title: str
    sentence: str
    """What it is and what it is good for, in plain words."""
    for_device: Literal["any", "gpu"]
    """`gpu` where training on a processor takes minutes rather than seconds."""
    build_body: BodyBuilder


_NETWORKS: dict[str, Network] = {}


def register_network(
    name: str, *, title: str, sentence: str, for_device: Literal["any", "gpu"]
) -> Callable[[BodyBuilder], BodyBuilder]:
    """A decorator that adds a body builder to the registry under `name`."""

    def add(build_body: BodyBuilder) -> BodyBuilder:
        if name in _NETWORKS:
            raise ValueError(f"The network “{name}” is registered twice.")
        _NETWORKS[name] = Network(name, title, sentence, for_device, build_body)
        return build_body

    return add


def network_names() -> list[str]:
    """The names of all networks, in the order of registration."""
    return list(_NETWORKS)


def get_network(name: str) -> Network:
    """The network of this name, also `torchvision:NAME@SIZE`; `UnknownName` lists the near ones."""
    if name.startswith("torchvision:"):
        # Here, because that module needs this one.
        from imu_core.networks.torchvision_networks import torchvision_network

        return torchvision_network(name)
    if name not in _NETWORKS:
        raise UnknownName("network", name, _NETWORKS)
    return _NETWORKS[name]


def network_table() -> list[dict[str, Any]]:
    """One row a network; `parameters` is the count for grey 28×28 pictures of ten classes."""
    return [
        {
            "name": network.name,
            "title": network.title,
            "sentence": network.sentence,
            "parameters": count_parameters(
                network_outline(network.name, image_shape=(1, 28, 28), n_classes=10)
            ),
            "for_device": network.for_device,
        }
        for network in _NETWORKS.values()
    ]


def default_network(image_set: ImageSet) -> str:
    """The name of the network offered first for these pictures, by their size and colour."""
    channels, height, width = image_set.image_shape
    side = max(height, width)
    if side <= 16:
        return "digits-cnn"
    return "small-cnn" if channels == 1 and side <= 32 else "resnet18"


def count_parameters(classifier: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(parameter.numel() for parameter in classifier.parameters())


def build_network(
    name: str,
    *,
    image_shape: ImageShape,
    n_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
) -> Classifier:
    """A new classifier in evaluation mode on the CPU; equal arguments give equal weights.

    `mean` and `std` are those of the pixels scaled to 0–1, one number a channel.
    """
    _check(image_shape, n_classes)
    if not len(mean) == len(std) == image_shape[0]:
        raise BadInput(f"Mean and deviation need {image_shape[0]} numbers each, one a channel.")
    # Modules draw weights from the global generator as they are made; those are overwritten below
    # from a generator of our own, so that threads cannot disturb each other's weights.
    with torch.random.fork_rng(devices=[]):
        body, n_features = get_network(name).build_body(image_shape)
        classifier = Classifier(body, nn.Linear(n_features, n_classes), mean, std)
    # Norms keep their ones and zeros; weights of another kind are drawn by a module around them.
    generator = torch.Generator().manual_seed(seed)
    for module in classifier.modules():
        draw_usual(module, generator)
    return classifier.eval()


def network_outline(name: str, *, image_shape: ImageShape, n_classes: int) -> Classifier:
    """The classifier without memory for its weights: names and shapes only (device `meta`)."""
    _check(image_shape, n_classes)
    with torch.device("meta"):
        body, n_features = get_network(name).build_body(image_shape)
        zeros, ones = [0.0] * image_shape[0], [1.0] * image_shape[0]
        return Classifier(body, nn.Linear(n_features, n_classes), zeros, ones)


def _check(image_shape: ImageShape, n_classes: int) -> None:
    channels, height, width = image_shape
    if min(channels, height, width) < 1 or max(channels, height, width) > 1024:
        raise BadInput(
            f"A network for pictures of shape {channels}×{height}×{width} cannot be built: "
            "channels, height and width must lie in 1–1024."
        )
    if n_classes < 2:
        raise BadInput(f"A classifier needs at least 2 classes, not {n_classes}.")
