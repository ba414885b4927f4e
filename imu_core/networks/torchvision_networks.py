"""torchvision's classifiers as networks here, by names such as `torchvision:resnet18@64`.

Behind the @ stands the input size: every picture is first stretched to that many pixels a side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from imu_core.errors import BadInput, UnknownName
from imu_core.networks.registry import ImageShape, Network

PREFIX = "torchvision:"
USUAL_SIZE = 224
SMALLEST, LARGEST = 8, 1024
WITHOUT_LINEAR_HEAD = ("squeezenet",)
"""Beginnings of the names of families that end in something else than a linear layer."""

_EXTRA_HEADS = ("AuxLogits.", "aux1.", "aux2.")
_OTHER_STD = 0.02


@dataclass(frozen=True)
class Split:
    """Where torchvision keeps the last linear layer."""

    head: str
    """Its name inside the network, for example `fc` or `classifier.6`."""
    n_features: int


def torchvision_names() -> list[str]:
    """Names of torchvision's classifiers that end in a linear layer, without prefix and size."""
    return [name for name in _all_names() if not name.startswith(WITHOUT_LINEAR_HEAD)]


def full_name(name: str, size: int) -> str:
    """`torchvision:NAME@SIZE`"""
    return f"{PREFIX}{name}@{size}"


def is_torchvision(name: str) -> bool:
    return name.startswith(PREFIX)


def torchvision_network(name: str) -> Network:
    """The network of a name `torchvision:NAME@SIZE`; without a size, 224.

    `BadInput` for a name that torchvision does not have, a network without a linear layer at its
    end and a size that the network cannot take.
    """
    kind, size = _parsed(name)
    return _network(kind, size)


def split_of(name: str) -> Split:
    """Where the network of a name `torchvision:NAME@SIZE` keeps its last linear layer."""
    return _checked(*_parsed(name))


def is_extra_head(name: str) -> bool:
    """Whether a tensor of this name belongs to a second head, used in training only."""
    return name.startswith(_EXTRA_HEADS)


class NetworkInput(nn.Module):
    """Pictures as torchvision's networks take them: size×size and three channels.

    Stretched bilinearly with antialiasing, as a product with two constant matrices, which every
    device and every transform of torch can do. Grey is repeated; `scale` and `shift` then let each
    of the three channels be normalised by numbers of its own.
    """

    rows: Tensor
    columns: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, image_shape: ImageShape, size: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if channels not in (1, 3):
            raise BadInput(
                f"torchvision's networks take grey or colour pictures; these have {channels} "
                "channels."
            )
        self.stretches, self.is_grey = (height, width) != (size, size), channels == 1
        if self.stretches:
            self.register_buffer("rows", _stretch(height, size), persistent=False)
            self.register_buffer("columns", _stretch(width, size).T, persistent=False)
        if self.is_grey:
            self.register_buffer("scale", torch.ones(1, 3, 1, 1))
            self.register_buffer("shift", torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, size, size) of normalised pictures (n, c, h, w)."""
        if self.stretches:
            x = self.rows @ x @ self.columns
        return x * self.scale + self.shift if self.is_grey else x


class TorchvisionBody(nn.Module):
    """A network of torchvision without its last linear layer: (n, c, h, w) to (n, d).

    Dropout and stochastic depth are off, since they draw from the global generator; rectifiers
    write a new tensor, so that hooks see what a layer gave and not what the next made of it.
    """

    def __init__(self, prepare: NetworkInput, network: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.network = network
        self.channels_last_modules = _channels_last_modules(network)
        """Modules inside whose four-dimensional outputs are (n, h, w, c); no maps from there."""

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.prepare(x))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw what is neither a convolution, a linear layer nor a norm, from `generator`.

        Position tables and attention projections: normal with deviation 0.02. Constants (class
        tokens, layer scales) stay as torchvision has them.
        """
        usual = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
        for module in self.network.modules():
            if not isinstance(module, usual):
                for parameter in module.parameters(recurse=False):
                    if bool(parameter.min() < parameter.max()):
                        nn.init.normal_(parameter, std=_OTHER_STD, generator=generator)


@lru_cache(maxsize=1)
def _all_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _parsed(name: str) -> tuple[str, int]:
    """torchvision's own name, and the size."""
    kind, at, size = name.removeprefix(PREFIX).partition("@")
    if kind not in _all_names():
        raise UnknownName("network of torchvision", kind, torchvision_names())
    if not at:
        return kind, USUAL_SIZE
    if not re.fullmatch(r"[0-9]{1,6}", size) or not SMALLEST <= int(size) <= LARGEST:
        raise BadInput(
            f"The input size of “{kind}” must be a whole number of pixels in "
            f"{SMALLEST}–{LARGEST}, not “{size}”."
        )
    return kind, int(size)


def _network(kind: str, size: int) -> Network:
    split = _checked(kind, size)

    def build_body(image_shape: ImageShape) -> tuple[nn.Module, int]:
        return TorchvisionBody(NetworkInput(image_shape, size), _headless(kind, size)), (
            split.n_features
        )

    return Network(
        full_name(kind, size),
        title=f"torchvision's {kind}, {size}×{size}",
        sentence=f"{kind} as torchvision builds it; pictures are stretched to {size}×{size}.",
        for_device="gpu",
        build_body=build_body,
    )


@lru_cache(maxsize=256)
def _checked(kind: str, size: int) -> Split:
    """The split of the network, once an empty picture of this size has passed it (no memory)."""
    with torch.device("meta"):
        try:
            network = _built(kind, size).eval()
            split = _split(kind, network)
            _remove(network, split.head)
            with torch.no_grad():
                features = network(torch.zeros(2, 3, size, size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BadInput(
                f"“{kind}” cannot take pictures of {size}×{size} pixels; choose another size, "
                f"usually {USUAL_SIZE}."
            ) from error
    if features.shape != (2, split.n_features):
        raise _no_linear_head(kind)
    return split


def _headless(kind: str, size: int) -> nn.Module:
    """torchvision's network, its last linear layer replaced by nothing."""
    network = _built(kind, size)
    _remove(network, _split(kind, network).head)
    for module in network.modules():
        # Past the module's own `__setattr__`, which is for tensors and modules.
        if isinstance(module, nn.Dropout) or type(module).__name__ == "StochasticDepth":
            vars(module)["p"] = 0.0
        if "inplace" in vars(module):
            vars(module)["inplace"] = False
    if type(network).__name__ == "MNASNet":
        # Its class refuses weights that do not carry its own version number.
        return _MnasNet(network.get_submodule("layers"))
    return network


class _MnasNet(nn.Module):
    """torchvision's MNASNet without its classifier."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean([2, 3])


def _built(kind: str, size: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if kind.startswith("vit_"):
        options = {"image_size": size}
    elif kind.startswith("maxvit"):
        options = {"input_size": (size, size)}
    elif kind in ("googlenet", "inception_v3"):
        # The weights are drawn or read afterwards; the second heads serve training from scratch.
        options = {"aux_logits": False, "init_weights": False}
    if kind.startswith("regnet"):
        # Its widths are computed with tensors, which must hold numbers.
        device = torch.get_default_device()
        with torch.device("cpu"):
            return models.get_model(kind, weights=None, num_classes=2).to(device)
    return models.get_model(kind, weights=None, num_classes=2, **options)


def _split(kind: str, network: nn.Module) -> Split:
    """The linear layer registered last, all the way down."""
    path, module = [], network
    while children := list(module.named_children()):
        name, module = children[-1]
        path.append(name)
    if not isinstance(module, nn.Linear):
        raise _no_linear_head(kind)
    return Split(".".join(path), module.in_features)


def _no_linear_head(kind: str) -> BadInput:
    return BadInput(
        f"“{kind}” does not end in a linear layer, so it cannot be split into features and head; "
        "choose another network."
    )


def _remove(network: nn.Module, name: str) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())


def _channels_last_modules(network: nn.Module) -> tuple[nn.Module, ...]:
    from torchvision.models.convnext import CNBlock
    from torchvision.models.swin_transformer import SwinTransformer

    if isinstance(network, SwinTransformer):
        inside = [*network.features.modules(), network.norm]
        return tuple(module for module in inside if not isinstance(module, nn.Conv2d))
    blocks = [module for module in network.modules() if isinstance(module, CNBlock)]
    # A block is convolution, permutation, …, permutation back.
    return tuple(module for block in blocks for module in list(block.block)[1:-1])


def _stretch(length: int, size: int) -> Tensor:
    """float32 (size, length): the matrix that resamples a line of pixels."""
    lines = torch.eye(length)[None, None]
    return nn.functional.interpolate(
        lines, size=(size, length), mode="bilinear", antialias=True, align_corners=False
    )[0, 0]
