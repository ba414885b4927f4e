"""What holds for every method: it ends, is finite, repeatable, and gets only what it declares."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from imu_core.errors import BadInput, NotGiven
from imu_core.images import ImageSet
from imu_core.methods.registry import all_methods, get_method
from imu_core.methods.task import Task, pictures_of
from imu_core.networks import Classifier, build_network

METHODS = [method.name for method in all_methods()]
FORGET_ONLY = [method.name for method in all_methods() if method.needs == ("forget",)]
ISSUED = {
    "l2ul", "npo", "mask_distil", "ssd", "layer_attack", "boundary_shrink", "semu",
    "weight_masking", "mask_class", "loss_ascent", "l1_sparse", "neg_grad_plus", "random_label",
    "salun", "scrub", "bad_teacher", "cf_k", "eu_k", "convolution_transpose",
    "masked_small_gradients", "lotus", "natmu", "ugradsl", "gradient_ascent", "imu",
    "imu_permuted", "fine_tune",
}  # fmt: skip
SHORT = {"epochs": 1, "attack_steps": 5, "n_adversarial": 1}
"""Parameters that make a run short, given to the methods that have them."""
WHOLE_CLASSES = {"mask_class"}
"""Refuses a forget set of every class, and says so."""


def short(name):
    known = {item["name"] for item in get_method(name).parameters()}
    return {key: value for key, value in SHORT.items() if key in known}


def finite(model):
    return all(bool(torch.isfinite(t).all()) for t in model.state_dict().values())


def parameters_for(name, batch_norm):
    """Short, with batch norm in this mode where the method lets one choose it."""
    choices = {item["name"]: item["choices"] for item in get_method(name).parameters()}
    chosen = short(name) | ({"alpha": 0.5} if name == "ssd" else {})
    if batch_norm in (choices.get("batch_norm") or ()):
        chosen["batch_norm"] = batch_norm
    return chosen


def to_one_pixel():
    """A body with batch norm whose last map is 1×1: one picture alone is refused in train mode."""
    generator = torch.Generator().manual_seed(1)
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    network = Classifier(body, nn.Linear(16, 10), [0.3], [0.4])
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
    return network


@pytest.fixture(scope="module", params=["2×2", "1×1"])
def with_batch_norm(request, few_digits):
    """An untrained network with batch norm that has seen the digits; its last maps so large."""
    mean, std = few_digits.pixel_statistics
    network = to_one_pixel()
    if request.param == "2×2":
        network = build_network(
            "small-cnn", image_shape=(1, 8, 8), n_classes=10, mean=mean, std=std, seed=1
        )
    network.train()
    with torch.no_grad():
        network(few_digits.train_images)
    return network.eval()


def test_every_method_of_the_plan_is_there():
    assert set(METHODS) >= ISSUED


@pytest.mark.parametrize("name", METHODS)
def test_it_ends_finite_and_says_how_far_it_is(name, few_digits, digits_original, unlearn):
    ids = few_digits.ids_of_class(3)
    task, steps = unlearn(name, digits_original, few_digits, ids, **short(name))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert {step.of for step in steps} == {len(steps)}
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in steps)
    assert finite(task.model)
    moved = [
        not torch.equal(a, b)
        for a, b in zip(task.model.state_dict().values(), task.original.state_dict().values(),
                        strict=True)
    ]  # fmt: skip
    assert any(moved)
    # The original handed in is untouched, and the result is an ordinary checkpoint of it.
    assert task.original.state_dict().keys() == task.model.state_dict().keys()
    for a, b in zip(digits_original.parameters(), task.original.parameters(), strict=True):
        assert torch.equal(a, b)


BY_BATCHES = [name for name in METHODS if "batch_norm" in
              {item["name"] for item in get_method(name).parameters()}]  # fmt: skip


@pytest.mark.parametrize("name", BY_BATCHES)
def test_batches_of_one_picture_pass_through_batch_norm(name, few_digits, with_batch_norm, unlearn):
    ids = few_digits.ids_of_class(3)[:3]
    sizes = {"batch_size": 1, "forget_batch": 1, "max_batch_size": 1}
    known = {item["name"] for item in get_method(name).parameters()}
    alone = {key: size for key, size in sizes.items() if key in known} | {"epochs": 1, "lr": 1e-4}
    if name == "l2ul":
        alone["regulariser"] = "none"
    chosen = parameters_for(name, "train") | alone
    task, _ = unlearn(name, with_batch_norm, few_digits, ids, **chosen)
    assert finite(task.model)


WEIGHTED = [name for name in METHODS if "weighting" in
            {item["name"] for item in get_method(name).parameters()}]  # fmt: skip


def test_every_method_with_a_forget_term_of_its_own_takes_weights():
    """The others ascend by one weighting (IMU and its like), or have no loss of forget pictures."""
    ascents = {"gradient_ascent", "imu", "imu_permuted", "loss_ascent"}
    without = {"ssd", "weight_masking", "mask_class", "natmu", "fine_tune", "l1_sparse", "cf_k",
               "eu_k", "convolution_transpose", "masked_small_gradients"}  # fmt: skip
    assert set(WEIGHTED) == set(METHODS) - ascents - without


@pytest.mark.parametrize("name", WEIGHTED)
def test_each_weighting_moves_a_method_elsewhere(name, few_digits, digits_original, unlearn):
    ids, ends = few_digits.ids_of_class(3)[:8], {}
    for weighting in ("uniform", "influence", "loss", "dynamic_loss", "permuted"):
        chosen = short(name) | {"weighting": weighting, "batch_size": 8}
        task, _ = unlearn(name, digits_original, few_digits, ids, **chosen)
        assert finite(task.model)
        ends[weighting] = torch.cat([p.detach().flatten() for p in task.model.parameters()])
    for weighting in ("influence", "loss", "dynamic_loss"):
        assert not torch.equal(ends[weighting], ends["uniform"]), weighting
    assert not torch.equal(ends["influence"], ends["permuted"])


@pytest.mark.parametrize("name", METHODS)
def test_equal_seeds_give_equal_weights_whatever_the_global_generator(
    name, few_digits, digits_original, unlearn
):
    ids = few_digits.ids_of_class(3)
    states = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        task, _ = unlearn(name, digits_original, few_digits, ids, seed=5, **short(name))
        assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
        states.append(task.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_declares_is_what_it_is_refused_without(
    name, few_digits, digits_original, task_of
):
    method, ids = get_method(name), few_digits.ids_of_class(3)
    bare = Task(
        copy.deepcopy(digits_original),
        pictures_of(few_digits, ids, torch.device("cpu")),
        generator=torch.Generator().manual_seed(0),
    )
    steps = method.steps(bare, method.config.from_mapping(short(name)))
    if method.needs == ("forget",):
        assert len(list(steps)) >= 1
    for need in set(method.needs) - {"forget"}:
        task = task_of(name, digits_original, few_digits, ids)
        setattr(task, f"_{need}", None)
        with pytest.raises(NotGiven, match=need):
            list(method.steps(task, method.config.from_mapping(short(name))))


@pytest.mark.parametrize("name", METHODS)
def test_the_features_are_constant_where_the_task_says_so(
    name, few_digits, digits_original, unlearn
):
    task, _ = unlearn(name, digits_original, few_digits, few_digits.ids_of_class(3), **short(name))
    with torch.no_grad():
        before, after = (m.features(few_digits.test_images) for m in (task.original, task.model))
    assert task.body_is_constant == torch.equal(before, after)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_one_picture_with_batch_norm(name, batch_norm, few_digits, with_batch_norm, unlearn):
    """One picture alone has no batch statistics worth the name; on a 1×1 map it is refused."""
    parameters = parameters_for(name, batch_norm)
    task, steps = unlearn(name, with_batch_norm, few_digits, torch.tensor([4]), **parameters)
    assert steps
    assert finite(task.model)


@pytest.mark.parametrize("name", METHODS)
def test_one_picture_left_with_batch_norm(name, few_digits, with_batch_norm, unlearn):
    """All but one are to be forgotten, so a batch of retain pictures is a single one."""
    ids = torch.arange(1, 200)
    if name in WHOLE_CLASSES:
        with pytest.raises(BadInput, match="of every class"):
            unlearn(name, with_batch_norm, few_digits, ids)
        return
    parameters = parameters_for(name, "train")
    task, steps = unlearn(name, with_batch_norm, few_digits, ids, **parameters)
    assert steps
    assert finite(task.model)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_batch_norm_keeps_or_moves_its_statistics_as_asked(
    name, batch_norm, few_digits, with_batch_norm, unlearn
):
    choices = {item["name"]: item["choices"] for item in get_method(name).parameters()}
    ids = few_digits.ids_of_class(3)
    parameters = parameters_for(name, batch_norm)
    task, _ = unlearn(name, with_batch_norm, few_digits, ids, **parameters)
    assert finite(task.model)
    before, after = task.original.state_dict(), task.model.state_dict()
    moved = [k for k in before if "running" in k and not torch.equal(before[k], after[k])]
    if name == "eu_k":
        # Drawn anew, the last layer's norm is empty whatever the mode.
        moved = [k for k in moved if k.split(".")[1] != max(moved).split(".")[1]]
        assert not moved
    else:
        trains = batch_norm == "train" and batch_norm in (choices.get("batch_norm") or ())
        assert bool(moved) == trains


@pytest.mark.parametrize("name", ["gradient_ascent", "imu", "loss_ascent", "npo"])
def test_a_last_batch_of_one_joins_the_one_before(name, few_digits, with_batch_norm, unlearn):
    """Nine pictures in batches of four, batch norm in train mode."""
    ids = few_digits.ids_of_class(3)[:9]
    more = {"select": "all"} if name == "imu" else {}
    _, steps = unlearn(
        name, with_batch_norm, few_digits, ids,
        scope="all", batch_norm="train", batch_size=4, epochs=1, lr=1e-4, **more,
    )  # fmt: skip
    assert len(steps) == 2


@pytest.mark.parametrize("name", METHODS)
def test_a_class_that_has_one_picture(name, few_digits, digits_original, unlearn):
    """Its only picture is forgotten, together with some of another class."""
    labels = few_digits.train_labels.clone()
    only = int((labels == 7).nonzero()[0])
    keep = (labels != 7) | (torch.arange(len(labels)) == only)
    thin = ImageSet(
        name="digits",
        title="Thin digits",
        train_images=few_digits.train_images[keep],
        train_labels=labels[keep],
        test_images=few_digits.test_images,
        test_labels=few_digits.test_labels,
        class_names=few_digits.class_names,
    )
    ids = torch.cat([thin.ids_of_class(7), thin.ids_of_class(2)[:5]]).sort().values
    task, steps = unlearn(name, digits_original, thin, ids, **short(name))
    assert steps
    assert finite(task.model)


@pytest.mark.parametrize("name", METHODS)
def test_pictures_of_every_class(name, few_digits, digits_original, unlearn):
    ids = torch.arange(0, 200, 5)
    if name in WHOLE_CLASSES:
        with pytest.raises(BadInput, match="of every class"):
            unlearn(name, digits_original, few_digits, ids, **short(name))
        return
    parameters = short(name) | ({"alpha": 1} if name == "ssd" else {})
    task, steps = unlearn(name, digits_original, few_digits, ids, **parameters)
    assert steps
    assert finite(task.model)


@pytest.mark.parametrize("name", METHODS)
def test_ratios_outside_0_to_1_and_other_bad_values_are_one_sentence(name):
    config = get_method(name).config
    for item in get_method(name).parameters():
        if item["low"] is not None:
            with pytest.raises(BadInput, match=rf"{item['name']} must be"):
                config.from_mapping({item["name"]: item["low"] - 1})
        if item["high"] is not None:
            with pytest.raises(BadInput, match=rf"{item['name']} must be"):
                config.from_mapping({item["name"]: item["high"] + 1})


def test_ratios_and_shares_are_bounded_by_1():
    for method in all_methods():
        for item in method.parameters():
            if item["name"] in ("ratio", "share", "retain_share", "energy", "soft", "kept_rate"):
                assert (item["low"], item["high"]) == (0, 1), (method.name, item["name"])
