"""VGG-16 with batch norm for small pictures (Simonyan and Zisserman 2015, arXiv 1409.1556)."""

from __future__ import annotations

from torch import nn

from imu_core.networks.registry import ImageShape, register_network

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Width and number of convolutions, each stage followed by a max-pool."""


@register_network(
    "vgg16-bn",
    title="VGG-16 with batch norm",
    sentence="Thirteen plain convolutions in a row and one linear layer in place of the original "
    "three.",
    for_device="gpu",
)
def vgg16_bn(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """The thirteen convolutions, average pool; 14.7 million parameters."""
    layers: list[nn.Module] = []
    inputs = image_shape[0]
    for width, n_convolutions in _STAGES:
        for _ in range(n_convolutions):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            inputs = width
        # Rounding up lets pictures below 32×32 through all five pools.
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs
