"""What the methods are made of: Fisher, layers, labels, weights, batches, expected accuracy."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.answers import accuracy, nearest_wrong, without_class
from imu_core.methods.descent import DescentConfig, descend, join
from imu_core.methods.fisher import diagonal_fisher
from imu_core.methods.forget_term import ForgetTerm
from imu_core.methods.heldout import expected_accuracy
from imu_core.methods.labels import random_wrong, relabel_targets
from imu_core.methods.layers import fresh_copy, last_layers, layers_of, redraw, weight_matrices
from imu_core.methods.task import n_batches, set_batch_norm, split_batches
from imu_core.networks import Classifier, build_network


@pytest.mark.parametrize("network", ["digits-cnn", "small-cnn", "vit-small"])
def test_fisher_is_the_mean_square_of_each_pictures_gradient(network, digits):
    """The oracle takes one picture at a time; convolutions, both norms, attention."""
    model = build_network(
        network, image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=2
    ).double()
    images, labels = digits.train_images[:5].double() / 255, digits.train_labels[:5]
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for image, label in zip(images, labels, strict=True):
        loss = functional.cross_entropy(model(image[None]), label[None])
        for name, g in zip(expected, torch.autograd.grad(loss, model.parameters()), strict=True):
            expected[name] += g.square() / 5
    for batch_size in (2, 100):
        found = diagonal_fisher(model, images, labels, batch_size)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-15)


def test_fisher_leaves_the_model_as_it_was(digits):
    model = build_network(
        "small-cnn", image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=2
    ).train()
    before = copy.deepcopy(model.state_dict())
    diagonal_fisher(model, digits.train_images[:4], digits.train_labels[:4])
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(),
                                                 strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("network", "n_layers"), [("digits-cnn", 4), ("small-cnn", 6), ("vit-small", 1 + 1 + 4 * 6 + 1)]
)
def test_layers_hold_every_parameter_once_in_order(network, n_layers):
    model = build_network(
        network, image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=0
    )
    layers = layers_of(model)
    assert len(layers) == n_layers
    assert layers[-1].name == "head"
    held = [id(p) for layer in layers for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert len(set(held)) == len(held)
    with pytest.raises(BadInput, match=rf"has {n_layers} layers, so k must be from 1 to"):
        last_layers(model, n_layers + 1)


def test_a_scale_is_no_layer_of_its_own_whatever_its_shape():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 1, 1))
            self.convolution = nn.Conv2d(4, 4, 3)

    body = nn.Sequential(nn.Conv2d(1, 4, 3), Scaled(), nn.Flatten())
    layers = layers_of(Classifier(body, nn.Linear(4, 1), [0.5], [0.3]))
    assert [layer.name for layer in layers] == ["body.0", "body.1.convolution", "head"]


@pytest.mark.parametrize("network", ["digits-cnn", "small-cnn", "vit-small"])
def test_a_fresh_copy_owes_nothing_to_the_weights_it_copies(network, digits):
    """From two models of other weights and statistics the same fresh copy comes; and it is drawn by
    the law of a new network: equal spread of each tensor."""
    copies = []
    for seed in (1, 2):
        model = build_network(
            network, image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=seed
        )
        model.train()(digits.train_images[seed * 50 : seed * 50 + 50])
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(3).add_(seed)
        copies.append(fresh_copy(model.eval(), torch.Generator().manual_seed(9)))
    assert all(torch.equal(a, b) for a, b in zip(*(c.state_dict().values() for c in copies),
                                                 strict=True))  # fmt: skip
    new = build_network(network, image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=5)
    for (name, mine), theirs in zip(copies[0].named_parameters(), new.parameters(), strict=True):
        if mine.numel() >= 640:
            assert mine.std().item() == pytest.approx(theirs.std().item(), rel=0.15), name
        elif not theirs.std() > 0:
            assert torch.equal(mine, theirs), name


def test_redrawing_leaves_the_other_modules_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = copy.deepcopy(model.state_dict())
    redraw([model[1]], torch.Generator().manual_seed(0))
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[1].weight, before["1.weight"])
    assert model[1].weight.abs().max() <= 0.5


def test_weight_matrices_are_kernels_and_matrices_only():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    assert list(weight_matrices(model)) == ["0.weight", "3.weight"]


def test_a_wrong_label_is_never_true_and_every_other_is_drawn_alike():
    labels = torch.arange(5).repeat(4000)
    wrong = random_wrong(labels, 5, torch.Generator().manual_seed(0))
    assert not bool((wrong == labels).any())
    for label in range(5):
        shares = torch.bincount(wrong[labels == label], minlength=5) / 4000
        others = shares[torch.arange(5) != label]
        # 4 standard deviations of a share of 1/4 among 4,000
        assert (others - 0.25).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5
    two = random_wrong(torch.tensor([0, 1, 1]), 2, torch.Generator().manual_seed(3))
    assert two.tolist() == [1, 0, 0]


def test_nearest_wrong_is_the_best_of_the_others():
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, -5.0, -9.0]])
    labels = torch.tensor([0, 1, 0])
    assert nearest_wrong(logits, labels).tolist() == [1, 0, 1]
    assert torch.softmax(without_class(logits, labels), 1)[0, 0] == 0


def test_relabel_targets_in_all_their_forms(linear_case):
    labels, ids = linear_case.forget.labels, linear_case.forget.ids
    assert labels.unique().tolist() == [0, 1, 2]
    by_class = relabel_targets("0:2, 1:0,2:1", linear_case)
    assert by_class.tolist() == [{0: 2, 1: 0, 2: 1}[label] for label in labels.tolist()]
    by_id = {i: (label + 1) % 3 for i, label in zip(ids.tolist(), labels.tolist(), strict=True)}
    text = ",".join(f"id{i}:{target}" for i, target in by_id.items())
    assert relabel_targets(text, linear_case).tolist() == list(by_id.values())
    # Without “id” the keys 0–11 cannot all be classes, so they are ids as well.
    plain = relabel_targets(text.replace("id", ""), linear_case)
    assert plain.tolist() == list(by_id.values())
    with torch.no_grad():
        logits = linear_case.original(linear_case.forget.images)
    nearest = relabel_targets("nearest", linear_case)
    assert torch.equal(nearest, nearest_wrong(logits, labels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "is its true label"),
        ("0:0,1:2,2:1", "relabel target of picture 0 is its true label"),
        ("0:1,1:2", "nothing about class 2"),
        ("0:1,1:2,2:9", "target 9 is no class; classes are 0–2"),
        ("id3:1", "nothing about picture 0, 1, 2, 4, 5, …"),
        ("0:1,0:2,1:2,2:1", "twice"),
        ("far", "gives no relabel targets"),
        ("", "gives no relabel targets"),
    ],
)
def test_bad_relabel_targets_are_one_sentence(text, message, linear_case):
    with pytest.raises(BadInput, match=message) as caught:
        relabel_targets(text, linear_case)
    assert "\n" not in str(caught.value)


LOSSES, ROWS = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([4, 0, 7])


def by_hand(task, model):
    """exp(−loss) of each forget picture under the model."""
    with torch.no_grad():
        logits = model(task.forget.images)
        return torch.exp(-functional.cross_entropy(logits, task.forget.labels, reduction="none"))


def test_weights_on_the_forget_term_are_a_weighted_mean(linear_case):
    logits = linear_case.original(linear_case.forget.images[ROWS])
    uniform = ForgetTerm(linear_case, "uniform")
    assert uniform.statistics is None
    assert uniform.mean(LOSSES, ROWS, logits) == pytest.approx(7 / 3)
    term = ForgetTerm(linear_case, "loss")
    w = by_hand(linear_case, linear_case.original)[ROWS]
    expected = pytest.approx(float((w * LOSSES).sum() / w.sum()), rel=1e-5)
    assert term.mean(LOSSES, ROWS, logits) == expected
    # Static: what the moving model says now changes nothing.
    assert term.mean(LOSSES, ROWS, -logits) == expected
    assert term.statistics is not None
    assert term.statistics.n == 12


def test_dynamic_weights_follow_the_moving_model(linear_case):
    term = ForgetTerm(linear_case, "dynamic_loss")
    assert term.statistics is None
    with torch.no_grad():
        linear_case.model.head.weight.mul_(-2)
    w = by_hand(linear_case, linear_case.model)[ROWS]
    before = by_hand(linear_case, linear_case.original)[ROWS]
    assert not torch.allclose(w / w.sum(), before / before.sum(), rtol=0.1)
    logits = linear_case.model(linear_case.forget.images[ROWS])
    found = term.mean(LOSSES, ROWS, logits)
    assert found == pytest.approx(float((w * LOSSES).sum() / w.sum()), rel=1e-5)
    assert not term.weights(ROWS, logits).requires_grad


def test_in_a_joint_batch_forget_pictures_are_weighed_among_themselves(linear_case):
    """Rows 4 and 0 are of the forget set (12 pictures), 12 and 15 of the retain set behind it."""
    rows, losses = torch.tensor([4, 12, 0, 15]), torch.tensor([1.0, 10.0, 3.0, 20.0])
    logits = torch.zeros(4, 3)
    assert ForgetTerm(linear_case, "uniform").mean_of_both(losses, rows, logits) == 34 / 4
    term = ForgetTerm(linear_case, "loss")
    w = by_hand(linear_case, linear_case.original)[[4, 0]]
    own = float((w * torch.tensor([1.0, 3.0])).sum() / w.sum())
    found = term.mean_of_both(losses, rows, logits)
    assert found == pytest.approx((30 + 2 * own) / 4, rel=1e-5)
    assert term.mean_of_both(losses[[1, 3]], rows[[1, 3]], logits[:2]) == 15


def test_weights_by_influence_may_drop_a_whole_batch_and_the_mean_is_then_0(linear_case):
    everything = torch.arange(12)
    logits = linear_case.original(linear_case.forget.images)
    weights = ForgetTerm(linear_case, "influence").weights(everything, logits)
    dropped = (weights == 0).nonzero().flatten()
    assert len(dropped)
    term = ForgetTerm(linear_case, "influence")
    assert term.mean(torch.ones(len(dropped)), dropped, logits[dropped]) == 0
    shuffled = ForgetTerm(linear_case, "permuted").weights(everything, logits)
    assert torch.equal(weights.sort().values, shuffled.sort().values)
    assert not torch.equal(weights, shuffled)


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (1, 4, [1]), (4, 4, [4]), (3, 1, [1, 1, 1]), (5, 9, [5])],
)
def test_one_picture_left_over_joins_the_last_batch(n, size, sizes):
    batches = split_batches(torch.arange(n), size)
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), torch.arange(n))
    assert n_batches(n, size) == len(sizes)


def test_batch_norm_alone_goes_into_train_mode():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), nn.ReLU())
    set_batch_norm(model, "train")
    assert [module.training for module in model] == [True, False, False]
    set_batch_norm(model, "eval")
    assert not any(module.training for module in model.modules())


def test_descent_is_plain_sgd_and_the_cosine_ends_near_0(linear_case):
    """Against the formula written out, with momentum and decay, batch for batch."""
    task = linear_case
    task.trainable("all")
    config = DescentConfig(lr=0.05, epochs=2, batch_size=5)
    oracle = copy.deepcopy(task.model)
    rows_seen = []

    def loss_of(rows):
        rows_seen.append(rows)
        return functional.cross_entropy(task.model(task.forget.images[rows]),
                                        task.forget.labels[rows])  # fmt: skip

    steps = list(descend(task, config, task.forget, loss_of, cosine=True, done=3, after=2))
    assert [(s.number, s.of) for s in steps] == [(i, 11) for i in range(4, 10)]
    velocity = [torch.zeros_like(p) for p in oracle.parameters()]
    for i, rows in enumerate(rows_seen):
        lr = 0.05 * (1 + math.cos(math.pi * i / 6)) / 2
        logits = oracle(task.forget.images[rows])
        loss = functional.cross_entropy(logits, task.forget.labels[rows])
        gradients = torch.autograd.grad(loss, list(oracle.parameters()))
        with torch.no_grad():
            for p, v, g in zip(oracle.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_(lr * v)
    for a, b in zip(task.model.parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_joined_parts_keep_their_order(linear_case):
    both = join(linear_case.forget, linear_case.retain)
    assert both.ids.tolist() == list(range(30))
    assert torch.equal(both.take(torch.tensor([13, 2])).ids, torch.tensor([13, 2]))


def test_expected_accuracy_follows_the_class_mix_and_counts_lost_classes_as_0(linear_case):
    task, model = linear_case, linear_case.original
    hits = [
        accuracy(model, task.heldout.take((task.heldout.labels == c).nonzero().flatten()))
        for c in range(3)
    ]
    task.forget = task.forget.take(torch.tensor([0, 3, 1, 2]))  # classes 0, 0, 1, 2
    assert expected_accuracy(model, task) == pytest.approx((2 * hits[0] + hits[1] + hits[2]) / 4)
    without_0 = (task._retain.labels != 0).nonzero().flatten()
    task._retain = task._retain.take(without_0)
    assert expected_accuracy(model, task) == pytest.approx((hits[1] + hits[2]) / 4)
    # Class 1 is known but has no held-out picture: it says nothing.
    task._heldout = task._heldout.take((task._heldout.labels != 1).nonzero().flatten())
    assert expected_accuracy(model, task) == pytest.approx(hits[2] / 3)
