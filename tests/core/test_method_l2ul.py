"""L2UL: the attack, the importance, both goals, requests one after another."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.adversarial import Attack, n_reports, scaled, start_points
from imu_core.methods.answers import accuracy
from imu_core.methods.forget_term import ForgetTerm
from imu_core.methods.l2ul_request import Request, weight_importance
from imu_core.methods.labels import relabel_targets
from imu_core.methods.registry import get_method
from imu_core.methods.task import Task

PLAIN = {"momentum": 0, "weight_decay": 0, "lr": 0.1, "epochs": 1, "forget_batch": 1000}


def run(task, **parameters):
    method = get_method("l2ul")
    return list(method.steps(task, method.config(**parameters)))


def fresh(task, seed=0):
    return Task(task.original, task.forget, generator=torch.Generator().manual_seed(seed))


def test_lengths_scale_with_the_root_of_the_picture_size():
    assert scaled(4.0, (3, 32, 32)) == 4.0
    assert scaled(4.0, (1, 8, 8)) == pytest.approx(4 * math.sqrt(64 / 3072))


def test_start_points_fill_the_ball_evenly():
    """A uniform draw in d dimensions lies within r of the centre with probability (r/R)^d."""
    centre = torch.full((4000, 1, 1, 3), 0.5)
    points = start_points(centre, 0.4, torch.Generator().manual_seed(0))
    lengths = (points - centre).flatten(1).norm(dim=1)
    assert lengths.max() <= 0.4 + 1e-6
    inner = float((lengths < 0.2).float().mean())
    assert inner == pytest.approx(1 / 8, abs=4 * math.sqrt(1 / 8 * 7 / 8 / 4000))


def test_the_attack_reaches_its_targets_within_ball_and_pixels(few_digits, digits_original):
    images = few_digits.train_images[:60].float() / 255
    labels = few_digits.train_labels[:60]
    targets = (labels + 1) % 10
    attack = Attack(
        copy.deepcopy(digits_original).requires_grad_(False),
        images,
        targets,
        radius=1.5,
        step=0.1,
        iterations=35,
        report_every=10,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        start = functional.cross_entropy(digits_original(attack.points), targets)
    reports = list(attack.run())
    assert len(reports) == n_reports(len(attack.images), attack.iterations, attack.report_every)
    assert len(reports) == 4
    offsets = (attack.points - images).flatten(1).norm(dim=1)
    assert offsets.max() <= 1.5 + 1e-5
    assert attack.points.min() >= 0
    assert attack.points.max() <= 1
    with torch.no_grad():
        logits = digits_original(attack.points)
    assert functional.cross_entropy(logits, targets) < start / 4
    # Random noise of the same length almost never gets there.
    reached = float((logits.argmax(1) == targets).float().mean())
    with torch.no_grad():
        noise = start_points(images, 1.5, torch.Generator().manual_seed(1))
        by_noise = float((digits_original(noise).argmax(1) == targets).float().mean())
    assert reached > 0.8 > 0.2 > by_noise


def test_importance_is_the_mean_absolute_gradient_of_the_length_of_the_logits(linear_case):
    task = linear_case
    model = copy.deepcopy(task.original).requires_grad_(True)
    expected = [torch.zeros_like(p) for p in model.parameters()]
    for image in task.forget.images:
        length = model(image[None]).norm()
        for total, g in zip(expected, torch.autograd.grad(length, model.parameters()), strict=True):
            total += g.abs() / 12
    found = weight_importance(task, task.forget)
    for omega, raw in zip(found.values(), expected, strict=True):
        scaled_01 = (raw - raw.min()) / (raw.max() - raw.min())
        torch.testing.assert_close(omega, scaled_01, rtol=1e-4, atol=1e-5)
        assert omega.min() == 0
        assert omega.max() == pytest.approx(1)


def test_misclassify_without_regulariser_is_ascent_on_the_pictures_still_right(linear_case):
    labels = linear_case.forget.labels
    for hold in (True, False):
        task = fresh(linear_case)
        (step,) = run(task, regulariser="none", hold=hold, **PLAIN)
        assert step.note == "unlearning"
        model = copy.deepcopy(task.original).requires_grad_(True)
        logits = model(task.forget.images)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        if hold:
            right = logits.argmax(1) == labels
            assert 0 < int(right.sum()) < 12
            losses = losses[right]
        gradients = torch.autograd.grad(-losses.mean(), list(model.parameters()))
        for p, p0, g in zip(
            task.model.parameters(), task.original.parameters(), gradients, strict=True
        ):
            torch.testing.assert_close((p0 - p) / 0.1, g, rtol=1e-4, atol=1e-5)


def test_relabel_trains_on_the_targets(linear_case):
    task = fresh(linear_case)
    run(task, regulariser="none", goal="relabel", targets="0:2,1:0,2:1", **PLAIN)
    wanted = torch.tensor([2, 0, 1])[task.forget.labels]
    model = copy.deepcopy(task.original).requires_grad_(True)
    loss = functional.cross_entropy(model(task.forget.images), wanted)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for p, p0, g in zip(
        task.model.parameters(), task.original.parameters(), gradients, strict=True
    ):
        torch.testing.assert_close((p0 - p) / 0.1, g, rtol=1e-4, atol=1e-5)


def test_importance_pulls_back_what_does_not_matter(linear_case):
    """Two full-batch steps by hand: the pull λ (1 − Ω̂)(θ − θ⁰) is nothing at first and enters the
    second step."""
    task, lr, strength = fresh(linear_case), 0.1, 3.0
    omega = list(weight_importance(task, task.forget).values())
    run(task, regulariser="importance", importance=strength, hold=False, **PLAIN | {"epochs": 2})
    model = copy.deepcopy(task.original).requires_grad_(True)
    start = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):
        loss = -functional.cross_entropy(model(task.forget.images), task.forget.labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, p0, g, o in zip(model.parameters(), start, gradients, omega, strict=True):
                p -= lr * (g + strength * (1 - o) * (p - p0))
    for mine, expected in zip(task.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def test_both_terms_weigh_by_their_counts(linear_case):
    """nf/(na+nf) of the forget loss and na/(na+nf) of the adversarial loss, in one full batch."""
    task = fresh(linear_case)
    steps = run(task, regulariser="adversarial", n_adversarial=3, attack_steps=5, hold=False,
                batch_size=1000, **PLAIN)  # fmt: skip
    assert [s.note for s in steps] == ["adversarial examples", "unlearning"]
    again = fresh(linear_case)
    config = get_method("l2ul").config(
        regulariser="adversarial", n_adversarial=3, attack_steps=5, **PLAIN
    )
    rows, term = torch.arange(len(again.forget)), ForgetTerm(again, "uniform")
    attack = Request(again, config, rows, None, term)._attack()
    list(attack.run())
    labels = task.forget.labels
    assert not bool((attack.targets == labels.repeat_interleave(3)).any())
    model = copy.deepcopy(task.original).requires_grad_(True)
    away = functional.cross_entropy(model(task.forget.images), labels)
    kept = functional.cross_entropy(model(attack.points), attack.targets)
    loss = -away * 12 / 48 + kept * 36 / 48
    assert steps[-1].loss == pytest.approx(loss.item(), rel=1e-4)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for p, p0, g in zip(
        task.model.parameters(), task.original.parameters(), gradients, strict=True
    ):
        torch.testing.assert_close((p0 - p) / 0.1, g, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("regulariser", ["none", "adversarial", "importance", "both"])
@pytest.mark.parametrize("requests", [1, 3])
def test_steps_are_counted_before_they_are_taken(regulariser, requests, linear_case):
    # So slow that no request meets its goal on the way; most pictures are named wrong already.
    steps = run(fresh(linear_case), regulariser=regulariser, requests=requests, epochs=2,
                attack_steps=25, n_adversarial=2, batch_size=5, forget_batch=3,
                lr=1e-6, goal="relabel", targets="0:2,1:0,2:1")  # fmt: skip
    assert [s.number for s in steps] == list(range(1, len(steps) + 1))
    assert {s.of for s in steps} == {len(steps)}


@pytest.mark.parametrize("goal", ["misclassify", "relabel"])
def test_it_ends_as_soon_as_its_goal_is_met_and_counts_on_from_there(
    goal, few_digits, digits_original, task_of
):
    ids = torch.arange(2)
    task = task_of("l2ul", digits_original, few_digits, ids)
    wanted = relabel_targets("nearest", task)
    method = get_method("l2ul")
    config = method.config(goal=goal, regulariser="none", lr=0.001, epochs=400)
    met, of = [], []
    for step in method.steps(task, config):
        with torch.no_grad():
            answers = task.model(task.forget.images).argmax(1)
        ended = answers == wanted if goal == "relabel" else answers != task.forget.labels
        met.append(bool(ended.all()))
        of.append(step.of)
    assert met == [False] * (len(met) - 1) + [True]
    assert of == [400] * (len(met) - 1) + [len(met)]
    assert 1 < len(met) < 400


def test_requests_come_one_after_another_and_earlier_ones_are_reported(
    few_digits, digits_original, task_of
):
    """The rows against accuracies taken from the model itself, between two steps."""
    ids = torch.arange(12)
    task = task_of("l2ul", digits_original, few_digits, ids)
    method = get_method("l2ul")
    config = method.config(
        requests=3, regulariser="importance", goal="relabel", lr=0.003, epochs=400
    )
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    parts = [task.forget.take(rows) for rows in order.tensor_split(3)]
    rows = []
    for step in method.steps(task, config):
        assert step.note == f"request {len(rows) + 1} of 3, unlearning"
        if step.report is None:
            continue
        right = [accuracy(task.model, part) for part in parts]
        i = len(rows)
        assert step.report["request_accuracy"] == right[i] == 0
        earlier = None if i == 0 else sum(right[:i]) / i
        assert step.report["earlier_accuracy"] == (earlier and pytest.approx(earlier))
        rows.append(step.report)
    assert [(row["request"], row["pictures"]) for row in rows] == [(1, 4), (2, 4), (3, 4)]
    assert step.number == step.of < 3 * 400


def test_each_request_starts_from_the_model_the_last_one_left(
    few_digits, digits_original, task_of, monkeypatch
):
    """Importance and θ⁰ of a later request are those of the moved model."""
    import imu_core.methods.l2ul_request as module

    seen = []

    def watched(task, part):
        seen.append((task.model.head.weight.detach().clone(), part.ids.tolist()))
        return weight_importance(task, part)

    monkeypatch.setattr(module, "weight_importance", watched)
    task = task_of("l2ul", digits_original, few_digits, torch.arange(6))
    method = get_method("l2ul")
    config = method.config(requests=2, regulariser="importance", lr=0.01, epochs=80)
    list(method.steps(task, config))
    (first, its), (second, others) = seen
    assert torch.equal(first, task.original.head.weight)
    assert not torch.equal(first, second)
    assert sorted(its + others) == list(range(6))


def test_one_request_makes_no_table(linear_case):
    steps = run(fresh(linear_case), regulariser="none", epochs=2)
    assert all(step.report is None for step in steps)


def test_more_requests_than_pictures_is_one_sentence(linear_case):
    with pytest.raises(BadInput, match="12 forget pictures cannot be cut into 13 requests"):
        run(fresh(linear_case), requests=13)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("1", "is its true label"),
        ("", "gives no relabel targets"),
        ("0:1,1:2", "say nothing about class 2"),
        ("0:1,1:2,2:3", "target 3 is no class"),
    ],
)
def test_targets_that_are_wrong_or_not_given_are_one_sentence(targets, message, linear_case):
    with pytest.raises(BadInput, match=message):
        run(fresh(linear_case), goal="relabel", targets=targets)
