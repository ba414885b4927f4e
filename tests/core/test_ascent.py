"""IMU and its relatives: the fast path, weights, controls, determinism."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from imu_core.errors import NotGiven
from imu_core.methods import weighting
from imu_core.methods.ascent import AscentConfig, weighted_ascent
from imu_core.methods.imu import ImuConfig
from imu_core.methods.registry import get_method
from imu_core.methods.task import Task, pictures_of
from imu_core.networks import build_network


@pytest.fixture(scope="module")
def network(digits):
    """An untrained small CNN with batch norm whose running statistics are those of the digits."""
    mean, std = digits.pixel_statistics
    network = build_network(
        "small-cnn", image_shape=digits.image_shape, n_classes=10, mean=mean, std=std, seed=1
    )
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(digits.train_images[:512])
    return network.eval()


def task_of(network, digits, *, seed=0, label=3, n=40):
    return Task(
        copy.deepcopy(network),
        pictures_of(digits, digits.ids_of_class(label)[:n], torch.device("cpu")),
        generator=torch.Generator().manual_seed(seed),
    )


def run(name, task, **parameters):
    method = get_method(name)
    return list(method.steps(task, method.config.from_mapping(parameters)))


def plain_imu(task, config):
    """IMU as a plain loop through the whole network: the oracle of the fast path."""
    model, forget = task.model, task.forget
    model.eval()
    with torch.no_grad():
        features = model.features(forget.images)
        weights = weighting.by_influence(
            damping=config.damping,
            damping_mode=config.damping_mode,
            select=config.select,
            share=config.share,
            law=config.weight,
            clip_quantile=config.clip_quantile,
        )(features, model.head(features), forget.labels)
    optimiser = torch.optim.SGD(
        model.head.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    used = weights.nonzero().flatten()
    for _ in range(config.epochs):
        order = used[torch.randperm(len(used), generator=task.generator)]
        for batch in order.split(config.batch_size):
            losses = functional.cross_entropy(
                model(forget.images[batch]), forget.labels[batch], reduction="none"
            )
            w = weights[batch]
            l1 = sum(p.abs().sum() for p in model.head.parameters())
            loss = -(w * losses).sum() / w.sum() + config.alpha * l1
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@pytest.mark.parametrize("alpha", [0.0, 1e-3])
def test_cached_features_equal_the_plain_loop(network, digits, alpha):
    config = ImuConfig(lr=0.05, epochs=4, batch_size=16, alpha=alpha)
    fast, slow = task_of(network, digits), task_of(network, digits)
    list(get_method("imu").steps(fast, config))
    assert fast.body_is_constant
    plain_imu(slow, config)
    torch.testing.assert_close(fast.model.head.weight, slow.model.head.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fast.model.head.bias, slow.model.head.bias, rtol=1e-5, atol=1e-6)
    assert not torch.equal(fast.model.head.weight, network.head.weight)


def test_scope_head_leaves_the_body_alone(network, digits):
    task = task_of(network, digits)
    run("imu", task, lr=0.1, epochs=3)
    before, after = network.body.state_dict(), task.model.body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_batch_norm_in_train_mode_drifts_although_the_body_is_frozen(network, digits):
    task = task_of(network, digits)
    run("imu", task, lr=0.1, epochs=3, batch_norm="train")
    assert not task.body_is_constant
    before, after = network.body.state_dict(), task.model.body.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("running_" in name or "num_batches" in name for name in moved)


def test_scope_all_moves_the_body(network, digits):
    task = task_of(network, digits)
    run("imu", task, lr=1e-3, epochs=2, scope="all")
    before, after = network.body.state_dict(), task.model.body.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", ["imu", "imu_permuted", "gradient_ascent"])
def test_ascent_raises_the_forget_loss_and_repeats_exactly(network, digits, name):
    first, again, other = (task_of(network, digits, seed=seed) for seed in (0, 0, 1))
    for task in (first, again, other):
        steps = run(name, task, lr=0.05, epochs=3, batch_size=16)
        assert [step.number for step in steps] == list(range(1, steps[-1].of + 1))
        with torch.inference_mode():
            loss = functional.cross_entropy(task.model(task.forget.images), task.forget.labels)
            start = functional.cross_entropy(network(task.forget.images), task.forget.labels)
        assert loss > start
    assert torch.equal(first.model.head.weight, again.model.head.weight)
    assert not torch.equal(first.model.head.weight, other.model.head.weight)


def test_the_original_is_never_touched(network, digits):
    task = task_of(network, digits)
    before = copy.deepcopy(task.original.state_dict())
    run("imu", task, lr=0.5, epochs=5, scope="all", batch_norm="train")
    assert all(torch.equal(before[k], v) for k, v in task.original.state_dict().items())


@pytest.mark.parametrize("refresh", ["once", "epoch", "batch"])
def test_refresh_changes_the_weights_only_when_asked(network, digits, refresh):
    steps = run("imu", task_of(network, digits), lr=0.2, epochs=3, batch_size=64, refresh=refresh)
    means = {round(step.weights.mean, 9) for step in steps}
    assert (len(means) == 1) == (refresh == "once")


def test_share_keeps_the_most_influential(network, digits):
    few = run("imu", task_of(network, digits), share=0.1, epochs=1)[0].weights
    many = run("imu", task_of(network, digits), share=1.0, epochs=1)[0].weights
    assert few.n == many.n == 40
    assert 1 <= few.used < many.used
    assert few.mean > many.mean


def test_permuted_weights_are_the_same_weights_on_other_samples():
    generator = torch.Generator().manual_seed(0)
    given = torch.arange(1.0, 21.0)
    shuffled = weighting.permuted(lambda *_: given, generator)(None, None, None)
    assert sorted(shuffled.tolist()) == given.tolist()
    assert shuffled.tolist() != given.tolist()


def test_loss_weighting_prefers_the_hard_to_forget():
    logits = torch.tensor([[5.0, 0.0], [0.0, 0.0], [0.0, 5.0]])
    weights = weighting.by_loss(1.0)(None, logits, torch.zeros(3).long())
    assert weights[0] == 1
    assert weights[0] > weights[1] > weights[2] > 0


def test_a_method_without_retain_pictures_cannot_reach_them(network, digits):
    task = task_of(network, digits)
    with pytest.raises(NotGiven, match="retain"):
        _ = task.retain
    with pytest.raises(NotGiven, match="retain"):
        run("fine_tune", task)


def test_one_picture_is_a_forget_set(network, digits):
    task = task_of(network, digits, n=1)
    steps = run("imu", task, lr=0.1, epochs=3)
    assert [step.weights.used for step in steps] == [1, 1, 1]


def test_uniform_weights_are_plain_ascent_on_the_mean(network, digits):
    """One step by hand: W ← W + lr ∇mean(ℓ) − lr·decay·W."""
    task = task_of(network, digits)
    config = AscentConfig(lr=0.1, epochs=1, batch_size=64, momentum=0.0, weight_decay=0.01)
    head = copy.deepcopy(network.head)
    features = network.features(task.forget.images).detach()
    functional.cross_entropy(head(features), task.forget.labels).backward()
    expected = head.weight + 0.1 * head.weight.grad - 0.1 * 0.01 * head.weight
    list(weighted_ascent(task, config, weighting.uniform(), scope="head"))
    torch.testing.assert_close(task.model.head.weight, expected, rtol=1e-5, atol=1e-6)
