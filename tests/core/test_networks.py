"""Architectures: shapes, counts, the split into features and head, weights from a seed."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from imu_core.device import pick_device
from imu_core.errors import BadInput, UnknownName
from imu_core.images import ImageSet
from imu_core.networks import (
    Classifier,
    build_network,
    count_parameters,
    default_network,
    network_names,
    network_table,
)
from imu_core.networks.registry import register_network

NAMES = ("digits-cnn", "small-cnn", "resnet18", "vgg16-bn", "vit-small")


def build(name: str, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> Classifier:
    return build_network(
        name,
        image_shape=shape,
        n_classes=10,
        mean=[0.3] * shape[0],
        std=[0.4] * shape[0],
        seed=seed,
    )


def test_the_promised_networks_are_there() -> None:
    assert set(NAMES) <= set(network_names())


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 20, 30)])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_head_of_features(name: str, shape: tuple[int, int, int]) -> None:
    classifier = build(name, shape)
    images = torch.randint(
        0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        features, logits = classifier.features(images), classifier(images)
        expected = features @ classifier.head.weight.T + classifier.head.bias
    assert features.shape == (3, classifier.n_features)
    assert logits.shape == (3, 10)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert logits.std() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    first = build(name, seed=3)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        again, other = build(name, seed=3), build(name, seed=4)
    for (key, one), two, three in zip(
        first.state_dict().items(),
        again.state_dict().values(),
        other.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, two), key
        if one.ndim > 1 and key not in ("mean", "std"):
            assert not torch.equal(one, three), key


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build("vit-small")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        # Closed forms: convolutions 9·in·out, two numbers a channel of a norm, the head.
        ("digits-cnn", (1, 8, 8), 9 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 650),
        (
            "small-cnn",
            (1, 28, 28),
            9 * (16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * (16 + 64 + 128) + 650,
        ),
        # Published for CIFAR-10: 11.17 million.
        ("resnet18", (3, 32, 32), 11_173_962),
        # torchvision's 14,728,266 without the convolutions' 4,224 biases, and the head.
        ("vgg16-bn", (3, 32, 32), 14_723_136 - 4_224 + 5_130),
    ],
)
def test_parameter_counts(name: str, shape: tuple[int, int, int], expected: int) -> None:
    assert count_parameters(build(name, shape)) == expected


def test_resnet18_equals_torchvisions_with_its_first_layers_replaced() -> None:
    from torchvision.models import resnet18

    other = resnet18(num_classes=10)
    other.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    other.maxpool = torch.nn.Identity()
    ours = build("resnet18", (3, 32, 32))
    weights = [v for k, v in ours.state_dict().items() if k not in ("mean", "std")]
    other.load_state_dict(dict(zip(other.state_dict(), weights, strict=True)))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(ours(images), other.eval()(ours.normalise(images)), atol=1e-5)


def test_vgg_equals_torchvisions_convolutions_where_the_pools_divide() -> None:
    from torchvision.models.vgg import cfgs, make_layers

    other = make_layers(cfgs["D"], batch_norm=True).eval()
    ours = build("vgg16-bn", (3, 32, 32))
    weights = iter(v for k, v in ours.body.state_dict().items())
    with torch.no_grad():
        for key, tensor in other.state_dict().items():
            # The biases ours lacks sit beside four-dimensional weights.
            is_conv_bias = key.endswith(".bias") and isinstance(
                other[int(key.split(".")[0])], torch.nn.Conv2d
            )
            tensor.copy_(torch.zeros_like(tensor) if is_conv_bias else next(weights))
        images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        expected = other(ours.normalise(images)).mean((2, 3))
        assert torch.allclose(ours.features(images), expected, atol=1e-5)


def test_vit_sees_where_a_patch_is() -> None:
    classifier = build("vit-small", (1, 8, 8))
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, :4] = 1
    with torch.inference_mode():
        assert not torch.allclose(classifier(image), classifier(image.flip(3)), atol=1e-4)


def test_table_has_a_row_a_network() -> None:
    rows = {row["name"]: row for row in network_table()}
    assert list(rows) == network_names()
    assert rows["digits-cnn"]["parameters"] == count_parameters(build("digits-cnn", (1, 28, 28)))
    for row in rows.values():
        assert row["title"]
        assert row["sentence"].endswith(".")
        assert row["for_device"] in ("any", "gpu")


def test_default_network_follows_size_and_colour(digits: ImageSet) -> None:
    assert default_network(digits) == "digits-cnn"
    for channels, side, expected in (
        (1, 28, "small-cnn"),
        (3, 32, "resnet18"),
        (1, 64, "resnet18"),
    ):
        images = torch.zeros(2, channels, side, side, dtype=torch.uint8)
        other = dataclasses.replace(
            digits,
            train_images=images,
            train_labels=torch.tensor([0, 1]),
            test_images=images,
            test_labels=torch.tensor([0, 1]),
        )
        assert default_network(other) == expected


def test_unknown_network_lists_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="resnet18"):
        build("resnet-18")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        register_network("resnet18", title="", sentence="", for_device="any")(lambda shape: None)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(BadInput, match="1–1024"):
        build("digits-cnn", (1, 0, 8))
    with pytest.raises(BadInput, match="at least 2 classes"):
        build_network("digits-cnn", image_shape=(1, 8, 8), n_classes=1, mean=[0], std=[1], seed=0)
    with pytest.raises(BadInput, match="one a channel"):
        build_network("digits-cnn", image_shape=(3, 8, 8), n_classes=2, mean=[0], std=[1], seed=0)


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UnknownName, match="cuda"):
        pick_device("cuba")


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="no CUDA device"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"
