"""Two small convolutional networks that train in seconds on a processor."""

from __future__ import annotations

from torch import nn

from imu_core.networks.registry import ImageShape, register_network


def _pooled(layers: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@register_network(
    "digits-cnn",
    title="Digits CNN",
    sentence="Three convolutions with group norm; learns the 8×8 digits in about a second.",
    for_device="any",
)
def digits_cnn(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """3×3 convolutions 16–32–64, group norm, average pool. Group norm keeps no statistics of the
    training pictures, so that forgetting concerns the weights alone."""
    layers: list[nn.Module] = []
    inputs = image_shape[0]
    for width, stride in ((16, 1), (32, 1), (64, 2)):
        layers += [
            nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
        ]
        inputs = width
    return _pooled(layers), inputs


@register_network(
    "small-cnn",
    title="Small CNN",
    sentence="Five convolutions with batch norm; learns 10,000 pictures of 28×28 in half a minute "
    "on two processor cores.",
    for_device="any",
)
def small_cnn(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """3×3 convolutions 16–32–32–64–64, batch norm, average pool."""
    layers: list[nn.Module] = []
    inputs = image_shape[0]
    for width, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += [
            nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        inputs = width
    return _pooled(layers), inputs
