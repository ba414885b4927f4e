"""Methods that see the forget pictures only, each on a case small enough to know the answer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.answers import without_class
from imu_core.methods.boundary_shrink import neighbours
from imu_core.methods.layer_attack import attack_features
from imu_core.methods.npo import npo_losses
from imu_core.methods.registry import get_method
from imu_core.methods.semu import Directions
from imu_core.methods.ssd import SsdConfig, dampen
from imu_core.methods.task import Pictures, Task, n_batches


def gradients_of(task, loss_of):
    """Gradients of loss_of(logits of the forget pictures) at the original."""
    model = copy.deepcopy(task.original).requires_grad_(True)
    loss = loss_of(model(task.forget.images))
    return list(torch.autograd.grad(loss, list(model.parameters())))


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# NPO


def test_npo_begins_as_ascent_and_fades(linear_case, one_step):
    labels = linear_case.forget.labels
    expected = gradients_of(linear_case, lambda z: -functional.cross_entropy(z, labels))
    assert_same(one_step("npo", linear_case, beta=2.0), expected)


def test_npo_loss_is_bounded_and_its_pull_is_the_formulas():
    beta = 0.7
    log_ratio = torch.tensor([0.0, -3.0, -60.0], requires_grad=True)
    losses = npo_losses(log_ratio, beta)
    assert losses[0].item() == pytest.approx(2 / beta * 0.6931472)
    assert losses[2].item() == pytest.approx(0, abs=1e-6)
    (pull,) = torch.autograd.grad(losses.sum(), log_ratio)
    r = torch.exp(beta * log_ratio.detach())
    torch.testing.assert_close(pull, 2 * r / (1 + r))


# masked self-distillation


def test_mask_distil_pulls_towards_the_answer_without_the_class(linear_case, one_step):
    labels = linear_case.forget.labels
    with torch.no_grad():
        logits = linear_case.original(linear_case.forget.images)
    target = torch.softmax(without_class(logits, labels), dim=1)
    assert torch.equal(target.gather(1, labels[:, None]).flatten(), torch.zeros(12))
    expected = gradients_of(
        linear_case, lambda z: -(target * functional.log_softmax(z, dim=1)).sum(1).mean()
    )
    assert_same(one_step("mask_distil", linear_case), expected)


def test_mask_distil_of_one_picture_keeps_the_ratio_of_the_other_classes(linear_case):
    one = linear_case.forget.take(torch.tensor([0]))
    task = Task(linear_case.original, one, generator=torch.Generator().manual_seed(0))
    method = get_method("mask_distil")
    config = method.config(lr=0.1, epochs=300, weight_decay=0, momentum=0)
    for _ in method.steps(task, config):
        pass
    with torch.no_grad():
        before, after = (torch.softmax(m(one.images), 1)[0] for m in (task.original, task.model))
    label = int(one.labels[0])
    others = [c for c in range(3) if c != label]
    assert after[label] < 0.01
    ratio = before[others[0]] / before[others[1]]
    assert after[others[0]] / after[others[1]] == pytest.approx(float(ratio), rel=0.05)


# SSD


def test_ssd_shrinks_where_the_forget_fisher_is_large_and_nowhere_else():
    weights = {"w": torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 4.0]))}
    of_all = {"w": torch.tensor([1.0, 1.0, 1.0, 0.0])}
    of_forget = {"w": torch.tensor([2.0, 3.0, 8.0, 0.0])}
    selected, total = dampen(weights, of_forget, of_all, SsdConfig(alpha=2.0, dampening=4.0))
    # 2 is not above 2 × 1; 3 is, but 4 × 1/3 > 1 changes nothing; 8: 4 × 1/8 = ½; 0 is not above 0
    assert (selected, total) == (2, 4)
    torch.testing.assert_close(weights["w"].data, torch.tensor([1.0, -2.0, 1.5, 4.0]))


def test_ssd_selects_nothing_when_alpha_exceeds_n_over_forget_and_says_so(linear_case):
    """12 of 30 pictures: the Fisher over them is at most 2.5 times that over all."""
    method = get_method("ssd")
    with pytest.raises(BadInput, match=r"above 2.51 times .* lower alpha"):
        list(method.steps(linear_case, method.config(alpha=2.51)))
    steps = list(method.steps(linear_case, method.config(alpha=0.5)))
    assert "of 51 weights dampened" in steps[0].note


def test_ssd_refuses_the_fisher_of_another_network(linear_case):
    linear_case._fisher = {"other": torch.ones(3)}
    method = get_method("ssd")
    with pytest.raises(BadInput, match="another network"):
        list(method.steps(linear_case, method.config()))


# layer attack


def test_the_attack_on_features_stays_in_its_box_and_raises_the_loss(linear_case):
    head, labels = linear_case.original.head, linear_case.forget.labels
    with torch.no_grad():
        features = linear_case.original.features(linear_case.forget.images)
    radius = torch.full((16,), 0.2)
    attacked = attack_features(head, features, labels, radius, 0.05 * torch.ones(16), 10)
    assert (attacked - features).abs().max() <= 0.2 + 1e-6
    losses = [
        functional.cross_entropy(head(x), labels, reduction="none") for x in (features, attacked)
    ]
    assert bool((losses[1] > losses[0]).all())


def test_layer_attack_moves_the_head_alone_and_holds_what_is_already_wrong(linear_case, one_step):
    """soft = 0 leaves the hard term: the best wrong class for pictures still right, the model's own
    answer for the others."""
    task, t = linear_case, linear_case.forget
    with torch.no_grad():
        features = task.original.features(t.images)
    spread, head = features.std(0, correction=0), task.original.head
    attacked = attack_features(head, features, t.labels, 0.3 * spread, 0.4 * spread, 40)
    with torch.no_grad():
        own, adv = head(features), head(attacked)
    right = own.argmax(1) == t.labels
    assert 0 < int(right.sum()) < 12
    target = torch.where(right, without_class(adv, t.labels).argmax(1), own.argmax(1))
    expected = gradients_of(task, lambda z: functional.cross_entropy(z, target))
    assert_same(one_step("layer_attack", task, soft=0), expected)
    assert task.body_is_constant


# boundary shrink


def test_boundary_shrink_finds_the_class_behind_the_boundary(linear_case):
    """For a linear model the sign step can be written down."""
    task = linear_case
    found = neighbours(task, task.forget, 0.1)
    assert not bool((found == task.forget.labels).any())
    w = task.original.head.weight.detach() / 0.3
    pixels = task.forget.images.float().flatten(1) / 255
    with torch.no_grad():
        p = torch.softmax(task.original(task.forget.images), 1)
    residual = p - functional.one_hot(task.forget.labels, 3)
    moved = (pixels + 0.1 * torch.sign(residual @ w)).clamp(0, 1)
    with torch.no_grad():
        logits = task.original(moved.view(-1, 1, 4, 4))
    assert torch.equal(found, without_class(logits, task.forget.labels).argmax(1))


def test_boundary_shrink_trains_on_that_class(linear_case, one_step):
    target = neighbours(linear_case, linear_case.forget, 0.1)
    expected = gradients_of(linear_case, lambda z: functional.cross_entropy(z, target))
    assert_same(one_step("boundary_shrink", linear_case), expected)


# SEMU


def test_semu_opens_as_many_directions_as_hold_the_energy():
    gradient = torch.diag(torch.tensor([3.0, 2.0, 1.0]))  # energies 9, 4, 1 of 14
    for energy, k in ((0, 1), (9 / 14 - 0.01, 1), (0.9, 2), (0.95, 3), (1, 3)):
        opened = Directions(torch.nn.Parameter(torch.zeros(3, 3)), gradient, energy)
        assert opened.core.shape == (k, k), energy


def test_semu_moves_each_weight_within_the_opened_directions_only(
    few_digits, digits_original, unlearn
):
    task, _ = unlearn(
        "semu", digits_original, few_digits, few_digits.ids_of_class(3), epochs=3, energy=0.8
    )
    labels = task.forget.labels
    model = copy.deepcopy(task.original).requires_grad_(True)
    loss = functional.cross_entropy(model(task.forget.images), labels, reduction="sum")
    gradients = dict(zip(dict(model.named_parameters()),
                         torch.autograd.grad(loss, list(model.parameters())),
                         strict=True))  # fmt: skip
    after = dict(task.model.named_parameters())
    for name, before in task.original.named_parameters():
        change = (after[name] - before).detach()
        if before.ndim < 2:
            assert not change.any(), name
            continue
        w, g = before.flatten(1), gradients[name].flatten(1)
        opened = Directions(before, g - (g * w).sum() / w.square().sum() * w, 0.8)
        left, right, change = opened.left, opened.right, change.flatten(1)
        assert left.shape[1] < min(change.shape) or name == "head.weight"
        inside = left @ (left.T @ change @ right) @ right.T
        assert change.norm() > 0
        assert (change - inside).norm() < 1e-3 * change.norm()


# weight masking and the control


def mask_class_1(linear_case, ratio):
    """Task, only step, and each unit's mean contribution to the logit of the class: (16,)."""
    one_class = linear_case.forget.take((linear_case.forget.labels == 1).nonzero().flatten())
    task = Task(linear_case.original, one_class, generator=torch.Generator())
    method = get_method("weight_masking")
    (step,) = method.steps(task, method.config(ratio=ratio))
    with torch.no_grad():
        h = task.original.features(one_class.images).mean(0)
    return task, step, task.original.head.weight[1] * h


def test_weight_masking_cuts_the_largest_contributions_of_the_class_and_nothing_else(linear_case):
    task, step, contribution = mask_class_1(linear_case, 0.25)
    cut = contribution.argsort(descending=True)[:4]
    expected = task.original.head.weight.clone()
    expected[1, cut] = 0
    assert torch.equal(task.model.head.weight, expected)
    assert torch.equal(task.model.head.bias, task.original.head.bias)
    assert step.note == "4 units masked"


def test_weight_masking_leaves_the_units_that_speak_against_the_class(linear_case):
    task, step, contribution = mask_class_1(linear_case, 1.0)
    against = contribution <= 0
    assert 0 < int(against.sum()) < 16
    assert torch.equal(task.model.head.weight[1][against], task.original.head.weight[1][against])
    assert bool((task.model.head.weight[1][~against] == 0).all())
    assert step.note == f"{int((~against).sum())} units masked"


def test_masking_no_unit_at_all_is_refused(linear_case):
    method = get_method("weight_masking")
    with pytest.raises(BadInput, match=r"none of them; use at least 0\.062"):
        list(method.steps(linear_case, method.config(ratio=0.01)))


def test_the_attack_on_a_single_picture_has_a_reach(digits, digits_original, unlearn):
    """One picture has no spread to measure the radius by."""
    heads = []
    for radius in (0.01, 3.0):
        task, _ = unlearn(
            "layer_attack", digits_original, digits, torch.tensor([4]), radius=radius, epochs=2
        )
        heads.append(task.model.head.weight)
    assert not torch.equal(*heads)


def test_each_batch_is_drawn_from_all_forget_pictures(few_digits, digits_original, unlearn):
    """At a low temperature pictures that are hard at first weigh nothing there; later they may."""
    ids = few_digits.ids_of_class(3)
    _, steps = unlearn(
        "loss_ascent", digits_original, few_digits, ids, refresh="dynamic", temperature=0.001,
        batch_size=4, epochs=3,
    )  # fmt: skip
    assert len(steps) == steps[0].of == 3 * n_batches(len(ids), 4)


def test_mask_class_never_answers_the_class_and_leaves_every_other_logit(linear_case):
    labels = linear_case.forget.labels
    two = linear_case.forget.take((labels != 0).nonzero().flatten())
    task = Task(linear_case.original, two, generator=torch.Generator())
    method = get_method("mask_class")
    (step,) = method.steps(task, method.config())
    assert step.note == "classes masked: 1, 2"
    with torch.no_grad():
        before, after = task.original(two.images), task.model(two.images)
    assert torch.equal(before[:, 0], after[:, 0])
    assert after.argmax(1).unique().tolist() == [0]


def test_mask_class_needs_a_bias(linear_case):
    linear_case.original.head.bias = None
    labels = linear_case.forget.labels
    one = linear_case.forget.take((labels == 0).nonzero().flatten())
    method = get_method("mask_class")
    task = Task(linear_case.original, one, generator=torch.Generator())
    with pytest.raises(BadInput, match="head has no bias"):
        list(method.steps(task, method.config()))


# ascent weighted by loss


@pytest.mark.parametrize("refresh", ["static", "dynamic"])
def test_loss_ascent_weighs_by_exp_of_minus_the_loss(refresh, linear_case, one_step):
    labels = linear_case.forget.labels

    def loss_of(logits):
        losses = functional.cross_entropy(logits, labels, reduction="none")
        w = torch.exp(-losses.detach() / 0.5)
        return -(w * losses).sum() / w.sum()

    expected = gradients_of(linear_case, loss_of)
    found = one_step("loss_ascent", linear_case, temperature=0.5, refresh=refresh)
    assert_same(found, expected)


def test_dynamic_weights_leave_a_forgotten_picture_alone(linear_case):
    """After long ascent the losses differ widely, and the weights follow the moving model."""
    method = get_method("loss_ascent")
    spreads = {}
    for refresh in ("static", "dynamic"):
        task = Task(
            linear_case.original, linear_case.forget, generator=torch.Generator().manual_seed(0)
        )
        steps = list(method.steps(task, method.config(lr=0.5, epochs=30, refresh=refresh)))
        with torch.no_grad():
            losses = functional.cross_entropy(
                task.model(task.forget.images), task.forget.labels, reduction="none"
            )
        spreads[refresh] = float(losses.max() - losses.min()), steps[-1].weights
    assert spreads["dynamic"][0] < spreads["static"][0]
    assert spreads["dynamic"][1] != spreads["static"][1]


def test_pictures_are_never_changed(linear_case):
    before = linear_case.forget.images.clone()
    for name in ("boundary_shrink", "l2ul", "layer_attack"):
        task = Task(
            linear_case.original, linear_case.forget, generator=torch.Generator().manual_seed(0)
        )
        method = get_method(name)
        list(method.steps(task, method.config(epochs=1)))
    assert torch.equal(linear_case.forget.images, before)
    assert isinstance(linear_case.forget, Pictures)
