"""ResNet-18 for small pictures (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from torch import Tensor, nn

from imu_core.networks.registry import ImageShape, register_network


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut. Each rectifier is its own module, because attribution
    methods that hook rectifiers go wrong where one is used twice."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.norm2(self.conv2(inner)) + self.shortcut(x))


@register_network(
    "resnet18",
    title="ResNet-18",
    sentence="The residual network of most unlearning papers, with a 3×3 first convolution and no "
    "max-pool, as is usual for 32×32 pictures.",
    for_device="gpu",
)
def resnet18(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """Four stages of two blocks, 64–128–256–512; 11.2 million parameters."""
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    ]
    inputs = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [ResidualBlock(inputs, width, stride), ResidualBlock(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs
