"""Saliency maps: completeness, closed forms, the right layer, no trace on the model explained."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from imu_core.errors import BadInput, Cancelled, UnknownName
from imu_core.images import ImageSet
from imu_core.networks import build_network
from imu_core.networks.classifier import Classifier
from imu_core.recipe import Recipe
from imu_core.saliency import (
    METHODS,
    Settings,
    infidelity,
    mean_picture,
    methods_for,
    randomisation_check,
    randomised,
    rank_correlation,
    saliency,
    sensitivity,
)
from imu_core.saliency.explained import Explained, private_copy
from imu_core.saliency.layers import find_layers
from imu_core.training import fit

CPU = torch.device("cpu")
EVERYWHERE = {"integrated-gradients", "occlusion", "smooth-grad", "input-x-gradient"}
FAST = Settings(n_steps=32, n_samples=4)


def network(name: str, shape: tuple[int, int, int]) -> Classifier:
    c = shape[0]
    return build_network(
        name, image_shape=shape, n_classes=10, mean=[0.4] * c, std=[0.3] * c, seed=0
    )


@pytest.fixture(scope="module")
def trained(digits: ImageSet) -> Classifier:
    mean, std = digits.pixel_statistics
    classifier = build_network(
        "digits-cnn", image_shape=(1, 8, 8), n_classes=10, mean=mean, std=std, seed=0
    )
    fit(classifier, digits, Recipe(epochs=6), seed=0, device=CPU)
    return classifier


@pytest.fixture(scope="module")
def linear() -> Classifier:
    """A network whose maps have a closed form."""
    head = nn.Linear(3 * 6 * 6, 4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    return Classifier(nn.Flatten(), head, [0.5, 0.4, 0.3], [0.2, 0.2, 0.1])


def colour_pictures(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "shape", "own"),
    [
        ("digits-cnn", (1, 8, 8), "grad-cam"),
        ("small-cnn", (1, 28, 28), "grad-cam"),
        ("resnet18", (3, 32, 32), "grad-cam"),
        ("vgg16-bn", (1, 28, 28), "grad-cam"),
        ("vit-small", (3, 32, 32), "token-grad-cam"),
        ("vit-small", (1, 28, 28), "token-grad-cam"),
    ],
)
def test_each_network_is_offered_what_is_right_for_it(
    name: str, shape: tuple[int, int, int], own: str
) -> None:
    classifier = network(name, shape)
    assert {method.name for method in methods_for(classifier, shape)} == EVERYWHERE | {own}
    pixels = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    found = saliency(classifier, pixels, own, "logit", torch.tensor([1, 7]))
    assert found.maps.shape == (2, *shape[1:])
    assert float(found.maps.std()) > 0
    other = ({"grad-cam", "token-grad-cam"} - {own}).pop()
    with pytest.raises(BadInput, match="is not right for this network"):
        saliency(classifier, pixels, other)


def test_networks_of_torchvision_are_seen_for_what_they_are() -> None:
    """With a class token, and with a rectifier that works in place and is used twice."""
    from torchvision.models import VisionTransformer, resnet18

    transformer = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    transformer.heads = nn.Identity()
    tokens = Classifier(transformer, nn.Linear(16, 5), [0.5] * 3, [0.2] * 3)
    copied = private_copy(tokens)
    layers = find_layers(copied, torch.zeros(1, 3, 32, 32))
    assert layers.token_norm is copied.body.encoder.layers[-1].ln_1
    assert layers.token_grid == (4, 4)
    residual = resnet18(num_classes=5)
    residual.fc = nn.Identity()
    convolutional = Classifier(residual, nn.Linear(512, 5), [0.5] * 3, [0.2] * 3)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for classifier, images, own in (
        (tokens, pixels[..., :32, :32], "token-grad-cam"),
        (convolutional, pixels, "grad-cam"),
    ):
        shape = tuple(images.shape[1:])
        assert {method.name for method in methods_for(classifier, shape)} == EVERYWHERE | {own}
        assert float(saliency(classifier, images, own).maps.std()) > 0


def test_a_network_without_convolutions_gets_no_activation_map(linear: Classifier) -> None:
    assert {method.name for method in methods_for(linear, (3, 6, 6))} == EVERYWHERE
    with pytest.raises(BadInput, match="no convolution with more than one place"):
        saliency(linear, colour_pictures(1), "grad-cam")


def test_methods_that_fail_sanity_checks_are_not_there() -> None:
    names = " ".join(method.name for method in METHODS)
    assert "guided" not in names
    assert "deep" not in names
    assert all(method.sentence.endswith(".") for method in METHODS)


def test_maps_of_a_linear_network_have_their_closed_form(linear: Classifier) -> None:
    images = colour_pictures(3)
    classes = torch.tensor([0, 2, 3])
    normalised = linear.normalise(images)
    weights = linear.head.weight.detach()[classes].view(3, 3, 6, 6)
    product = (weights * normalised).sum(1)
    for name in ("integrated-gradients", "input-x-gradient"):
        maps = saliency(linear, images, name, "logit", classes, settings=FAST).maps
        np.testing.assert_allclose(maps, product, rtol=1e-4, atol=1e-5)
    gradient = saliency(linear, images, "smooth-grad", "logit", classes, settings=FAST).maps
    np.testing.assert_allclose(gradient, weights.sum(1), rtol=1e-4, atol=1e-5)
    # A window of one pixel takes away exactly what that pixel added.
    one = saliency(linear, images, "occlusion", "logit", classes, settings=Settings(window=1))
    np.testing.assert_allclose(one.maps, product, rtol=1e-3, atol=1e-4)


def test_integrated_gradients_sum_to_the_change_of_the_target(
    trained: Classifier, digits: ImageSet
) -> None:
    images, labels = digits.test_images[:8], digits.test_labels[:8]
    start = mean_picture(digits.train_images)
    np.testing.assert_allclose(start, digits.train_images.double().mean(0) / 255, rtol=1e-5)
    for target in ("logit", "margin"):
        found = saliency(trained, images, "integrated-gradients", target, labels, baseline=start)
        model = Explained(trained, target)
        with torch.no_grad():
            change = model(trained.normalise(images), labels)
            change -= model(trained.normalise(start[None]).expand(8, -1, -1, -1), labels)
        assert found.delta is not None
        missing = found.maps.sum((1, 2)) - change
        np.testing.assert_allclose(missing, found.delta, atol=1e-3)
        assert bool((found.delta.abs() < 0.05 * change.abs()).all())


def test_the_margin_target_is_the_label_against_all_others(trained: Classifier) -> None:
    pixels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([1, 2, 3, 9])
    with torch.no_grad():
        p = trained(pixels).double().softmax(1)[torch.arange(4), classes]
        margin = Explained(trained, "margin")(trained.normalise(pixels), classes)
    np.testing.assert_allclose(margin, (p / (1 - p)).log(), rtol=1e-4, atol=1e-4)


def test_grad_cam_is_its_formula(trained: Classifier, digits: ImageSet) -> None:
    images, labels = digits.test_images[:3], digits.test_labels[:3]
    copied = private_copy(trained)
    seen = copied.body[:-2](copied.normalise(images)).detach().requires_grad_()
    logits = copied.head(copied.body[-2:](seen))
    (gradient,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), seen)
    coarse = (gradient.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True).detach()
    expected = functional.interpolate(coarse, size=(8, 8), mode="bilinear")[:, 0]
    found = saliency(trained, images, "grad-cam", "logit", labels).maps
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_token_grad_cam_takes_the_norm_before_the_last_attention() -> None:
    classifier = network("vit-small", (3, 32, 32))
    copied = private_copy(classifier)
    pixels = copied.normalise(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    layers = find_layers(copied, pixels)
    assert layers.token_norm is copied.body[6].norm1
    assert layers.token_grid == (8, 8)
    # The final norm would be the same everywhere behind the mean over tokens.
    kept: list[torch.Tensor] = []
    hook = copied.body[7].register_forward_hook(lambda *seen: kept.append(seen[2]))
    logits = copied.head(copied.body(pixels.requires_grad_()))
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), kept[0])
    assert float(gradient.std(1).max()) < 1e-7
    maps = saliency(classifier, torch.rand(1, 3, 32, 32), "token-grad-cam").maps
    assert float(maps.std()) > 0


@pytest.mark.parametrize("method", [method.name for method in METHODS[:5]])
def test_the_model_explained_is_not_touched(
    trained: Classifier, digits: ImageSet, method: str
) -> None:
    shared = copy.deepcopy(trained).train()
    before = copy.deepcopy(shared.state_dict())
    modes = [module.training for module in shared.modules()]
    images, labels = digits.test_images[:3], digits.test_labels[:3]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = saliency(shared, images, method, "logit", labels, settings=FAST)
    assert found.maps.dtype == torch.float32
    assert [module.training for module in shared.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in shared.state_dict().items())
    assert all(parameter.requires_grad for parameter in shared.parameters())
    assert all(parameter.grad is None for parameter in shared.parameters())
    hooks = [module._forward_hooks or module._forward_pre_hooks for module in shared.modules()]
    assert not any(hooks)
    # Same map as in a plain context: evaluation mode and float32 in every case.
    plain = saliency(trained, images, method, "logit", labels, settings=FAST)
    np.testing.assert_array_equal(found.maps, plain.maps)


@pytest.mark.parametrize("method", [method.name for method in METHODS[:5]])
def test_a_map_does_not_depend_on_the_rest_of_the_batch(
    trained: Classifier, digits: ImageSet, method: str
) -> None:
    images, labels = digits.test_images[:5], digits.test_labels[:5]
    together = saliency(trained, images, method, "margin", labels, settings=FAST).maps
    alone = saliency(trained, images[2:3], method, "margin", labels[2:3], settings=FAST).maps
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-3, atol=1e-4)


def test_noise_comes_from_its_seed_alone(trained: Classifier, digits: ImageSet) -> None:
    images = digits.test_images[:2]
    state = torch.get_rng_state()
    one, same, other = (
        saliency(trained, images, "smooth-grad", settings=Settings(n_samples=3, seed=seed)).maps
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_shuffled_weights_make_another_map(trained: Classifier, digits: ImageSet) -> None:
    images, labels = digits.test_images[:10], digits.test_labels[:10]
    other = randomised(trained, "all", seed=0)
    for name, parameter in trained.named_parameters():
        shuffled = other.get_parameter(name)
        assert torch.equal(parameter.flatten().sort().values, shuffled.flatten().sort().values)
    head_only = randomised(trained, "head", seed=0)
    assert torch.equal(head_only.body[0].weight, trained.body[0].weight)
    assert not torch.equal(head_only.head.weight, trained.head.weight)
    for method in ("smooth-grad", "input-x-gradient"):
        found = randomisation_check(trained, images, method, "logit", labels, settings=FAST)
        assert found.shape == (10,)
        assert np.mean(found) < 0.6
    # A map that shows the picture alone, whatever the weights, would be found out.
    same = saliency(trained, images, "input-x-gradient", "logit", labels).maps
    np.testing.assert_allclose(rank_correlation(same, 3 * same + 1), 1)


def test_rank_correlation_of_a_flat_map_cannot_be_had() -> None:
    maps = torch.arange(32.0).view(2, 4, 4)
    found = rank_correlation(maps, torch.stack([-maps[0], torch.zeros(4, 4)]))
    assert found[0] == pytest.approx(-1)
    assert np.isnan(found[1])
    with pytest.raises(BadInput, match="same pictures"):
        rank_correlation(maps, maps[:1])


def test_infidelity_is_zero_for_the_gradient_of_a_linear_network(linear: Classifier) -> None:
    images, classes = colour_pictures(3), torch.tensor([1, 0, 2])
    gradient, product = (
        infidelity(linear, images, method, "logit", classes, settings=FAST)
        for method in ("smooth-grad", "input-x-gradient")
    )
    assert gradient.shape == (3,)
    assert np.abs(gradient).max() < 1e-4
    # The noise is not the picture, so that parts of the picture's own effect foretell it worse.
    assert product.min() > 1e-3


def test_sensitivity_of_a_constant_gradient_is_zero_and_grows_with_the_radius(
    linear: Classifier, trained: Classifier, digits: ImageSet
) -> None:
    flat = sensitivity(linear, colour_pictures(2), "smooth-grad", "logit", 1, settings=FAST)
    np.testing.assert_allclose(flat, 0, atol=1e-5)
    images, labels = digits.test_images[:3], digits.test_labels[:3]
    near, far = (
        sensitivity(trained, images, "input-x-gradient", "logit", labels, radius=radius)
        for radius in (0.005, 0.1)
    )
    assert (near > 0).all()
    assert near.mean() < far.mean()


# What it refuses.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 4}, "must lie in 0–3"),
        ({"classes": torch.tensor([0, -1])}, "must lie in 0–3"),
        ({"classes": torch.tensor([0, 1, 2])}, "2 pictures came with 3 classes"),
        (
            {"method": "occlusion", "settings": Settings(window=7)},
            r"larger than the picture \(6×6\)",
        ),
        ({"pixels": torch.rand(2, 1, 6, 6)}, r"shape \(n, 3, height, width\)"),
        ({"pixels": torch.rand(0, 3, 6, 6)}, "at least one"),
        ({"pixels": torch.rand(3, 6, 6)}, "at least one"),
        ({"pixels": torch.rand(2, 3, 5, 6)}, "does not take pictures of 3×5×6"),
        ({"baseline": torch.rand(3, 6, 5)}, "one picture of the size"),
    ],
)
def test_bad_input_is_named(linear: Classifier, options: dict, said: str) -> None:
    given = {"pixels": colour_pictures(2), "classes": 0, **options}
    with pytest.raises(BadInput, match=said):
        saliency(linear, **given)


def test_unknown_names_list_the_near_ones(linear: Classifier) -> None:
    with pytest.raises(UnknownName, match="Did you mean occlusion"):
        saliency(linear, colour_pictures(1), "oclusion")
    with pytest.raises(UnknownName, match="saliency target “softmax”"):
        saliency(linear, colour_pictures(1), target="softmax")
    with pytest.raises(BadInput, match="not “body”"):
        randomised(linear, "body", 0)


@pytest.mark.parametrize(
    "options", [{"n_steps": 1}, {"n_samples": 0}, {"noise": 0.0}, {"noise": 2.0}, {"window": 0}]
)
def test_settings_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(BadInput):
        Settings(**options)


def test_broken_and_foreign_networks_are_refused(linear: Classifier) -> None:
    broken = copy.deepcopy(linear)
    with torch.no_grad():
        broken.head.bias[0] = torch.nan
    with pytest.raises(BadInput, match="not numbers"):
        saliency(broken, colour_pictures(1))
    with pytest.raises(BadInput, match="body and head"):
        saliency(nn.Flatten(), colour_pictures(1))


def test_maps_can_be_cancelled(linear: Classifier) -> None:
    with pytest.raises(Cancelled):
        saliency(linear, colour_pictures(1), should_stop=lambda: True)
