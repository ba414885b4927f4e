"""torchvision's classifiers here: split into features and head without changing what they say."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import Tensor, nn

from imu_core.errors import BadInput, UnknownName
from imu_core.images import ImageSet
from imu_core.methods.registry import get_method
from imu_core.networks import (
    Classifier,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from imu_core.networks.checkpoint_header import describe
from imu_core.networks.foreign_weights import fitted, normalised_by
from imu_core.networks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from imu_core.networks.registry import get_network, network_outline
from imu_core.networks.torchvision_networks import (
    NetworkInput,
    full_name,
    split_of,
    torchvision_names,
)
from imu_core.saliency import methods_for, saliency
from imu_core.training import Recipe, accuracy_on_test, fit

IMAGENET = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
FAMILIES = (
    ("resnet18", 32),
    ("vgg11", 32),
    ("mobilenet_v2", 32),
    ("mobilenet_v3_small", 40),
    ("efficientnet_b0", 32),
    ("densenet121", 32),
    ("vit_b_32", 64),
    ("convnext_tiny", 32),
    ("regnet_y_400mf", 32),
    ("swin_t", 48),
    ("shufflenet_v2_x0_5", 32),
    ("mnasnet0_5", 32),
    ("googlenet", 48),
    ("inception_v3", 80),
    ("alexnet", 64),
    ("maxvit_t", 224),
)


def torchvision_model(name: str, size: int, **options: object) -> nn.Module:
    """torchvision's own model for ten classes with weights of its own kind from a fixed seed, none
    of them trivial: no zero heads, no batch norm that does nothing."""
    from torchvision.models import get_model

    if name.startswith("vit"):
        options["image_size"] = size
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": True, "init_weights": False}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        model = get_model(name, weights=None, num_classes=10, **options).eval()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.8, 1.2)
                elif isinstance(module, nn.Linear) and module.out_features == 10:
                    module.weight.normal_(0, 0.05)
    return model


@pytest.mark.parametrize(("name", "size"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_head_of_features_is_what_torchvision_says(name: str, size: int, digits: ImageSet) -> None:
    other = torchvision_model(name, size)
    network = full_name(name, size)
    ours = normalised_by(fitted(other.state_dict(), network, digits, "weights.pt"), IMAGENET)
    images = digits.test_images[:3]
    assert isinstance(ours.head, nn.Linear)
    with torch.inference_mode():
        pixels = nn.functional.interpolate(
            images.float() / 255, size=(size, size), mode="bilinear", antialias=True
        ).repeat(1, 3, 1, 1)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        expected = other((pixels - mean) / std)
        features = ours.features(images)
        logits = features @ ours.head.weight.T + ours.head.bias
        assert features.shape == (3, split_of(network).n_features)
        assert expected.std() > 1e-3
        assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
        assert torch.equal(ours(images), ours.head(features))


def test_every_name_is_offered_or_refused_by_name() -> None:
    from torchvision import models

    offered = torchvision_names()
    refused = set(models.list_models(module=models)) - set(offered)
    assert refused == {"squeezenet1_0", "squeezenet1_1"}
    for name in sorted(refused):
        with pytest.raises(BadInput, match=f"“{name}” does not end in a linear layer"):
            get_network(f"torchvision:{name}@64")
    # One of each family builds; the larger ones differ in depth and width alone.
    assert {name for name, _ in FAMILIES} <= set(offered)


# The widest regnets take gigabytes and half a minute, and differ in width alone.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in torchvision_names() if not re.search(r"regnet.*(8|16|32)gf", name)]
)
def test_every_name_offered_can_be_split(name: str) -> None:
    outline = network_outline(full_name(name, 224), image_shape=(1, 28, 28), n_classes=10)
    assert outline.head.in_features == split_of(full_name(name, 224)).n_features


def test_names_sizes_and_channels_that_cannot_be() -> None:
    with pytest.raises(UnknownName, match="resnet18"):
        get_network("torchvision:resnet-18@64")
    for size in ("7", "1025", "0", "-1", "big", "", "64.5"):
        with pytest.raises(BadInput, match="8–1024"):
            get_network(f"torchvision:resnet18@{size}")
    with pytest.raises(BadInput, match="cannot take pictures of 32×32 pixels"):
        get_network("torchvision:inception_v3@32")
    with pytest.raises(BadInput, match="cannot take pictures of 50×50 pixels"):
        get_network("torchvision:vit_b_16@50")
    with pytest.raises(BadInput, match="2 channels"):
        network_outline("torchvision:resnet18@32", image_shape=(2, 8, 8), n_classes=10)
    assert get_network("torchvision:resnet18").name == "torchvision:resnet18@224"


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 8, 8), 32), ((3, 40, 64), 24), ((3, 20, 30), 20), ((3, 24, 24), 24)]
)
def test_pictures_are_stretched_as_torch_does_it(shape: tuple[int, int, int], size: int) -> None:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True
    ).expand(-1, 3, -1, -1)
    assert torch.allclose(NetworkInput(shape, size)(images), expected, atol=1e-6)


def test_three_numbers_for_grey_pictures_reach_their_channels(digits: ImageSet) -> None:
    bare = build("torchvision:shufflenet_v2_x0_5@32")
    classifier = normalised_by(bare, IMAGENET)
    pixels = digits.test_images[:2]
    seen = classifier.body.prepare(classifier.normalise(pixels))
    plain = bare.body.prepare(bare.normalise(pixels))
    for channel in range(3):
        expected = (plain[:, channel] - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert torch.allclose(seen[:, channel], expected, atol=1e-5)
    assert classifier.body.network is bare.body.network
    again = normalised_by(classifier, Normalisation((0.0,), (1.0,)))
    assert torch.allclose(again(pixels), bare(pixels), atol=1e-5)


def build(name: str, seed: int = 0, shape: tuple[int, int, int] = (1, 8, 8)) -> Classifier:
    return build_network(
        name,
        image_shape=shape,
        n_classes=10,
        mean=[0.0] * shape[0],
        std=[1.0] * shape[0],
        seed=seed,
    )


@pytest.mark.parametrize("name", ["resnet18@32", "swin_t@32", "vit_b_32@32", "convnext_tiny@32"])
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    before = torch.get_rng_state()
    first = build(f"torchvision:{name}", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        again = build(f"torchvision:{name}", seed=3)
    other = build(f"torchvision:{name}", seed=4)
    pairs = zip(first.state_dict().items(), again.state_dict().values(), strict=True)
    for (key, one), two in pairs:
        assert torch.equal(one, two), key
        assert not one.is_floating_point() or bool(torch.isfinite(one).all()), key
    pictures = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.isfinite(first(pictures)).all()
        assert not torch.allclose(first(pictures), other(pictures), atol=1e-4)


def test_nothing_in_training_draws_from_the_global_generator() -> None:
    """Dropout and stochastic depth would make equal runs differ."""
    classifier = build("torchvision:efficientnet_b0@32").train()
    pictures = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    classifier(pictures).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def trained(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory):
    """A torchvision ResNet-18 on 32×32 digits, trained for one pass, from its checkpoint."""
    mean, std = digits.pixel_statistics
    classifier = build_network(
        "torchvision:resnet18@32", image_shape=(1, 8, 8), n_classes=10, mean=mean, std=std, seed=0
    )
    fit(
        classifier,
        digits,
        Recipe(epochs=1, batch_size=32, lr=0.02),
        seed=0,
        device=torch.device("cpu"),
    )
    accuracy = accuracy_on_test(classifier, digits)
    header = describe(
        classifier,
        digits,
        network="torchvision:resnet18@32",
        recipe={},
        seed=0,
        test_accuracy=accuracy,
    )
    path = tmp_path_factory.mktemp("models") / "resnet18.safetensors"
    save_checkpoint(path, classifier, header)
    loaded, back = load_checkpoint(path, image_set=digits)
    assert back == header
    for (name, one), two in zip(
        classifier.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name
    return loaded, path


def test_one_pass_teaches_it_something(trained, digits: ImageSet) -> None:
    assert accuracy_on_test(trained[0], digits) > 0.6


def test_imu_unlearns_on_it(trained, digits: ImageSet, unlearn) -> None:
    model, ids = trained[0], digits.ids_of_class(3)
    task, steps = unlearn("imu", model, digits, ids)
    assert len(steps) >= 1
    few, three = unlearn("imu", model, digits, ids, epochs=1, scope="all", batch_size=64)
    assert len(three) == -(-len(ids) // 64)
    for changed in (task.model, few.model):
        assert not torch.equal(changed.head.weight, model.head.weight)
        assert bool(torch.isfinite(changed.head.weight).all())


@pytest.mark.parametrize("method", ["ssd", "cf_k", "eu_k", "bad_teacher", "masked_small_gradients"])
def test_methods_that_go_through_the_layers_work_on_it(
    method: str, trained, few_digits: ImageSet, unlearn
) -> None:
    known = {item["name"] for item in get_method(method).parameters()}
    short = {name: 1 for name in ("epochs", "k") if name in known}
    fewer = dataclasses.replace(
        few_digits,
        train_images=few_digits.train_images[:24],
        train_labels=few_digits.train_labels[:24],
    )
    task, _ = unlearn(method, trained[0], fewer, fewer.ids_of_class(3), **short)
    weights = task.model.state_dict()
    assert all(bool(torch.isfinite(v).all()) for v in weights.values() if v.is_floating_point())


@pytest.mark.parametrize("name", ["resnet18@32", "densenet121@32", "vit_b_32@64", "swin_t@64"])
def test_every_saliency_method_offered_gives_maps(name: str, digits: ImageSet) -> None:
    classifier = build(f"torchvision:{name}")
    offered = [method.name for method in methods_for(classifier, (1, 8, 8))]
    assert ("token-grad-cam" in offered) == name.startswith("vit")
    assert ("grad-cam" in offered) != name.startswith("vit")
    for method in ("input-x-gradient", *(name for name in offered if name.endswith("cam"))):
        found = saliency(classifier, digits.test_images[:2], method, classes=3)
        assert found.maps.shape == (2, 8, 8)
        assert bool(torch.isfinite(found.maps).all())


@pytest.mark.parametrize("name", ["convnext_tiny@32", "convnext_tiny@64", "swin_t@32", "swin_t@64"])
def test_maps_are_not_taken_where_pixels_come_before_channels(name: str) -> None:
    from imu_core.saliency.layers import find_layers

    classifier = build(f"torchvision:{name}")
    layers = find_layers(classifier, torch.zeros(1, 1, 8, 8))
    shapes: list[Tensor] = []
    hook = layers.convolution.register_forward_hook(lambda *seen: shapes.append(seen[2]))
    classifier(torch.zeros(1, 1, 8, 8))
    hook.remove()
    _, channels, height, width = shapes[-1].shape
    assert channels > height == width > 1


def test_a_checkpoint_of_an_unknown_torchvision_network_is_refused(trained, tmp_path) -> None:
    from imu_core.errors import CheckpointError
    from imu_core.networks import read_checkpoint_header

    model, path = trained
    header = read_checkpoint_header(path)
    for network in ("torchvision:resnet999@32", "torchvision:resnet18@4", "torchvision:"):
        other = tmp_path / "other.safetensors"
        save_checkpoint(other, model, dataclasses.replace(header, network=network))
        with pytest.raises(CheckpointError, match=r"other\.safetensors"):
            load_checkpoint(other)
