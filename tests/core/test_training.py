"""The fit loop: pairing, repeatability, augmentation, optimisers, what it says when it fails."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from imu_core.epochs import augmented, draw_epoch
from imu_core.errors import BadInput, Cancelled, RunError
from imu_core.images import ImageSet
from imu_core.networks import Classifier, build_network
from imu_core.optimisers import AdamW, Sgd
from imu_core.training import (
    Recipe,
    accuracy_on_test,
    default_recipe,
    fit,
    one_cycle,
    retrain,
    train_original,
)

CPU = torch.device("cpu")
SHORT = Recipe(epochs=1, batch_size=256)


def new_classifier(image_set: ImageSet, network: str = "digits-cnn", seed: int = 0) -> Classifier:
    mean, std = image_set.pixel_statistics
    return build_network(
        network,
        image_shape=image_set.image_shape,
        n_classes=image_set.n_classes,
        mean=mean,
        std=std,
        seed=seed,
    )


def same_weights(one: Classifier, two: Classifier) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def subset(image_set: ImageSet, n: int) -> ImageSet:
    return dataclasses.replace(
        image_set, train_images=image_set.train_images[:n], train_labels=image_set.train_labels[:n]
    )


def batches_seen(image_set: ImageSet, recipe: Recipe, forget_ids: Tensor | None) -> list[Tensor]:
    """The pictures of every step, as the network got them."""
    classifier = new_classifier(image_set)
    seen: list[Tensor] = []
    classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    fit(classifier, image_set, recipe, seed=5, forget_ids=forget_ids, device=CPU)
    return seen


def test_the_default_recipe_reaches_98_percent_on_digits(digits: ImageSet) -> None:
    counts: list[tuple[int, int, str]] = []
    classifier, header = train_original(
        digits, "digits-cnn", seed=0, device=CPU, progress=lambda *event: counts.append(event)
    )
    assert header.test_accuracy >= 0.98
    with torch.inference_mode():
        predicted = classifier(digits.test_images).argmax(1)
    assert header.test_accuracy == pytest.approx(
        float((predicted == digits.test_labels).float().mean())
    )
    assert [done for done, _, _ in counts] == list(range(1, counts[0][1] + 1))
    assert not classifier.training
    assert (header.seed, header.n_train, header.fingerprint) == (0, 1437, digits.fingerprint)


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(digits: ImageSet) -> None:
    models = []
    for seed in (1, 1, 2):
        model = new_classifier(digits)
        fit(model, digits, SHORT, seed=seed, device=CPU)
        models.append(model)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_retraining_with_nothing_forgotten_is_the_original(digits: ImageSet) -> None:
    original, header = train_original(digits, "digits-cnn", seed=3, recipe=SHORT, device=CPU)
    none = torch.empty(0, dtype=torch.int64)
    assert same_weights(original, retrain(header, digits, none, seed=3, device=CPU))
    assert not same_weights(original, retrain(header, digits, none, seed=4, device=CPU))


@pytest.mark.parametrize("augment", ["none", "shift", "shift+flip"])
def test_a_paired_fit_sees_the_same_batches_minus_the_forget_ids(
    digits: ImageSet, augment: str
) -> None:
    recipe = Recipe(epochs=2, batch_size=64, augment=augment)
    forget_ids = digits.ids_of_class(3)
    everything = batches_seen(digits, recipe, None)
    remaining = batches_seen(digits, recipe, forget_ids)
    assert len(everything) == len(remaining) == 2 * 23
    # Which rows of a batch are forgotten follows from the same draw of the order.
    generator = torch.Generator().manual_seed(5 + (1 << 32))
    for epoch in range(2):
        drawn = draw_epoch(torch.ones(1437, dtype=torch.bool), 64, augment, 1, generator)
        for place, ids in enumerate(drawn.batches):
            stays = ~torch.isin(ids, forget_ids)
            step = epoch * 23 + place
            assert torch.equal(everything[step][stays], remaining[step])
            if augment == "none":
                assert torch.equal(everything[step], digits.train_images[ids])


def test_a_retrained_model_does_not_know_the_class(digits: ImageSet) -> None:
    recipe = Recipe(epochs=6)
    original, header = train_original(digits, "digits-cnn", seed=0, recipe=recipe, device=CPU)
    retrained = retrain(header, digits, digits.ids_of_class(3), seed=0, device=CPU)
    threes = digits.train_images[digits.ids_of_class(3)]
    with torch.inference_mode():
        assert (original(threes).argmax(1) == 3).float().mean() > 0.8
        assert (retrained(threes).argmax(1) == 3).sum() == 0
    assert accuracy_on_test(retrained, digits) > 0.7


@pytest.mark.parametrize("n_kept", [0, 1])
def test_too_few_pictures_left_is_said(digits: ImageSet, n_kept: int) -> None:
    forget_ids = torch.arange(digits.n_train - n_kept)
    with pytest.raises(BadInput, match="at least two pictures"):
        fit(new_classifier(digits), digits, SHORT, seed=0, forget_ids=forget_ids, device=CPU)


def test_forget_ids_out_of_range_are_refused(digits: ImageSet) -> None:
    with pytest.raises(BadInput, match="0–1436"):
        fit(
            new_classifier(digits),
            digits,
            SHORT,
            seed=0,
            forget_ids=torch.tensor([1437]),
            device=CPU,
        )


@pytest.mark.parametrize("n", [65, 66])
def test_a_last_batch_of_one_picture_does_not_stop_batch_norm(digits: ImageSet, n: int) -> None:
    small = subset(digits, n)
    classifier = new_classifier(small, "vgg16-bn")
    recipe = Recipe(epochs=1, batch_size=64, lr=1e-3)
    # With 66 pictures it is leaving one out that makes a batch of one.
    generator = torch.Generator().manual_seed(0 + (1 << 32))
    last = draw_epoch(torch.ones(n, dtype=torch.bool), 64, "none", 1, generator).batches[-1]
    fit(classifier, small, recipe, seed=0, forget_ids=last[1:], device=CPU)
    assert all(torch.isfinite(p).all() for p in classifier.parameters())


@pytest.mark.parametrize(("n", "size"), [(1437, 128), (65, 64), (9, 4), (5, 2), (3, 2)])
def test_an_epoch_holds_each_kept_id_once_and_no_batch_of_one(n: int, size: int) -> None:
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        kept = torch.rand(n, generator=generator) < 0.4
        kept[:2] = True
        epoch = draw_epoch(kept, size, "shift+flip", 2, generator)
        assert torch.equal(torch.cat(epoch.batches).sort().values, kept.nonzero().flatten())
        assert len(epoch.batches) == -(-n // size)
        assert 1 not in [len(batch) for batch in epoch.batches]
        assert epoch.shifts.abs().max() <= 2


def test_augmentation_is_a_shift_and_a_mirror_with_the_edge_repeated(digits: ImageSet) -> None:
    images = digits.train_images[:4]
    shifts = torch.tensor([[0, 0], [1, -2], [0, 0], [-1, 1]])
    flips = torch.tensor([False, False, True, True])
    moved = augmented(images, shifts, flips)
    assert torch.equal(moved[0], images[0])
    assert torch.equal(moved[2], images[2].flip(2))
    mirrored = torch.where(flips[:, None, None, None], images.flip(3), images)
    padded = torch.nn.functional.pad(mirrored.float(), (2, 2, 2, 2), mode="replicate").byte()
    assert torch.equal(moved[1], padded[1, :, 1:9, 4:12])
    assert torch.equal(moved[3], padded[3, :, 3:11, 1:9])


def test_one_cycle_is_that_of_torch() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=50)
    for step in range(50):
        assert one_cycle(step, 50, 0.1) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        if step < 49:
            schedule.step()


@pytest.mark.parametrize("of", [1, 2, 3, 4])
def test_one_cycle_of_very_few_steps_stays_in_range(of: int) -> None:
    assert all(0 < one_cycle(step, of, 0.1) <= 0.1 for step in range(of))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_optimisers_are_those_of_torch(digits: ImageSet, kind: str) -> None:
    ours, theirs = new_classifier(digits), new_classifier(digits)
    if kind == "sgd":
        one = Sgd(ours.parameters(), momentum=0.9, weight_decay=0.01)
        two: torch.optim.Optimizer = torch.optim.SGD(
            theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True
        )
    else:
        one = AdamW(ours.parameters(), momentum=0.9, weight_decay=0.1)
        two = torch.optim.AdamW(theirs.parameters(), lr=0.05, betas=(0.9, 0.999), weight_decay=0.1)
    images, labels = digits.train_images[:64], digits.train_labels[:64]
    for _ in range(5):
        torch.nn.functional.cross_entropy(ours(images), labels).backward()
        one.step(0.05)
        two.zero_grad()
        torch.nn.functional.cross_entropy(theirs(images), labels).backward()
        two.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_training_does_not_import_the_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from imu_core.images import open_image_set\n"
        "from imu_core.training import Recipe, train_original\n"
        "train_original(open_image_set('digits'), 'digits-cnn', seed=0,\n"
        "    recipe=Recipe(epochs=1, batch_size=512), device=torch.device('cpu'))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cancelling_stops_between_two_steps(digits: ImageSet) -> None:
    steps: list[int] = []
    with pytest.raises(Cancelled):
        fit(
            new_classifier(digits),
            digits,
            SHORT,
            seed=0,
            device=CPU,
            progress=lambda done, of, text: steps.append(done),
            should_stop=lambda: len(steps) == 2,
        )
    assert steps == [1, 2]


def test_a_loss_that_is_no_number_is_one_sentence(digits: ImageSet) -> None:
    wild = Recipe(epochs=2, lr=1e30)
    with pytest.raises(RunError, match=r"epoch 1: the loss is no longer a number\. A smaller"):
        fit(new_classifier(digits, "small-cnn"), digits, wild, seed=0, device=CPU)


def test_a_model_without_a_recipe_cannot_be_retrained(digits: ImageSet) -> None:
    _, header = train_original(digits, "digits-cnn", seed=0, recipe=SHORT, device=CPU)
    forget_ids = torch.tensor([1, 2])
    with pytest.raises(BadInput, match=r"recipe .* is not known"):
        retrain(dataclasses.replace(header, recipe={}), digits, forget_ids, seed=0, device=CPU)
    with pytest.raises(BadInput, match="its own image set"):
        retrain(dataclasses.replace(header, n_classes=5), digits, forget_ids, seed=0, device=CPU)


def test_a_recipe_survives_its_header() -> None:
    recipe = Recipe(epochs=7, lr=0.02, augment="shift", label_smoothing=0.1)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(BadInput, match="unknown entry “colour”"):
        Recipe.from_dict({"epochs": 1, "colour": "red"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"batch_size": 1},
        {"lr": float("nan")},
        {"lr": -1},
        {"momentum": 1.0},
        {"weight_decay": "much"},
        {"augment": "rotate"},
        {"optimiser": "magic"},
        {"label_smoothing": 1.0},
    ],
)
def test_recipes_out_of_range_name_the_entry(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Recipe(**{"epochs": 1, **wrong})


def test_digits_are_never_mirrored(digits: ImageSet) -> None:
    for network in ("digits-cnn", "small-cnn", "resnet18", "vit-small"):
        assert "flip" not in default_recipe(network, digits).augment
    assert default_recipe("vit-small", digits).optimiser == "adamw"


@pytest.mark.parametrize("network", ["small-cnn", "vit-small"])
def test_the_other_small_networks_learn_digits(digits: ImageSet, network: str) -> None:
    small = subset(digits, 160)
    recipe = dataclasses.replace(default_recipe(network, small), epochs=4, batch_size=32)
    _, header = train_original(small, network, seed=0, recipe=recipe, device=CPU)
    # Twenty steps: far from trained. One in ten is chance, and 0.2 six deviations above it.
    assert header.test_accuracy > 0.2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_as_well_and_repeats_itself(digits: ImageSet) -> None:
    gpu = torch.device("cuda")
    one, header = train_original(digits, "digits-cnn", seed=0, device=gpu)
    two, _ = train_original(digits, "digits-cnn", seed=0, device=gpu)
    assert header.test_accuracy > 0.96
    assert same_weights(one, two)
