"""Methods that see retain pictures, each on a case small enough to know the answer."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.methods.answers import accuracy, without_class
from imu_core.methods.bad_teacher import bad_teacher
from imu_core.methods.convolution_transpose import transpose_kernels
from imu_core.methods.heldout import expected_accuracy
from imu_core.methods.layers import fresh_copy, last_layers, weight_matrices
from imu_core.methods.lotus import gumbel, temperature
from imu_core.methods.masked_small_gradients import draw_small_anew
from imu_core.methods.natmu import blends, ramps
from imu_core.methods.registry import get_method
from imu_core.methods.salun import largest, loss_gradients
from imu_core.methods.task import Pictures, Task
from imu_core.methods.ugradsl import nearness, smoothed_losses
from imu_core.networks import Classifier, build_network


def gradients_of(task, loss_of):
    """Gradients of loss_of(logits of forget, logits of retain pictures) at the original."""
    model = copy.deepcopy(task.original).requires_grad_(True)
    loss = loss_of(model(task.forget.images), model(task._retain.images))
    return list(torch.autograd.grad(loss, list(model.parameters())))


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def ce(logits, labels):
    return functional.cross_entropy(logits, labels)


# one full-batch step against the gradient of the formula


def test_neg_grad_plus_takes_both_terms(linear_case, one_step):
    f, r = linear_case.forget.labels, linear_case._retain.labels
    expected = gradients_of(linear_case, lambda a, b: 0.8 * ce(b, r) - 0.2 * ce(a, f))
    assert_same(one_step("neg_grad_plus", linear_case, alpha=0.8), expected)


def test_ugradsl_ascends_on_negatively_smoothed_labels(linear_case, one_step):
    f, r = linear_case.forget.labels, linear_case._retain.labels
    smooth = 1.3 * functional.one_hot(f, 3) - 0.3 / 3

    def loss_of(a, b):
        return 0.9 * ce(b, r) - 0.1 * -(smooth * functional.log_softmax(a, 1)).sum(1).mean()

    found = one_step("ugradsl", linear_case, share=0.9, smoothing=0.3)
    assert_same(found, gradients_of(linear_case, loss_of))


def test_smoothing_by_0_is_cross_entropy_and_nearness_is_a_share():
    logits, labels = (
        torch.randn(6, 4, generator=torch.Generator().manual_seed(1)),
        torch.arange(6) % 4,
    )
    plain = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(smoothed_losses(logits, labels, torch.zeros(6)), plain)
    retain = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    near = nearness(torch.tensor([[0.0, 0.5], [4.5, 4.5], [30.0, 30.0]]), retain)
    # among retain: 1 1 11.4 12.0 12.0 12.7, the median (lower) is 11.4
    assert near.tolist() == [0.5, 1.0, 0.0]
    assert nearness(torch.zeros(1, 2), torch.ones(1, 2)).tolist() == [1.0]


def test_adaptive_smoothing_and_forget_passes_end_finite(few_digits, digits_original, unlearn):
    ids = few_digits.ids_of_class(3)
    task, steps = unlearn(
        "ugradsl", digits_original, few_digits, ids, adaptive=True, passes="forget", batch_size=8
    )
    assert len(steps) == get_method("ugradsl").config().epochs * -(-len(ids) // 8)
    assert all(bool(torch.isfinite(p).all()) for p in task.model.parameters())


def test_l1_sparse_begins_with_the_whole_pull(linear_case, one_step):
    r = linear_case._retain.labels
    expected = gradients_of(linear_case, lambda _, b: ce(b, r))
    signs = [p.sign() for p in linear_case.original.parameters()]
    expected = [g + 0.05 * s for g, s in zip(expected, signs, strict=True)]
    assert_same(one_step("l1_sparse", linear_case, gamma=0.05), expected)


def test_l1_sparse_has_no_pull_left_in_the_last_step(linear_case):
    """Total pull over T steps with lr η, no other gradient: η γ Σ (1 − t/T)(1 + cos πt/T)/2,
    t = 0 … T−1."""
    blank = copy.deepcopy(linear_case._retain)
    method = get_method("l1_sparse")
    with torch.no_grad():
        linear_case.original.head.weight.fill_(5.0)
    # Logits so far apart that the cross-entropy's gradient vanishes.
    with torch.no_grad():
        linear_case.original.head.bias.copy_(torch.tensor([1e4, 0.0, 0.0]))
    task = Task(
        linear_case.original,
        linear_case.forget,
        generator=torch.Generator().manual_seed(0),
        retain=blank.take((blank.labels == 0).nonzero().flatten()),
    )
    config = method.config(lr=0.1, gamma=0.2, epochs=4, momentum=0, weight_decay=0)
    assert len(list(method.steps(task, config))) == 4
    moved = (task.original.head.weight - task.model.head.weight).detach()
    shares = [(1 - t / 4) * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1 * 0.2 * sum(shares)))


def test_random_label_trains_on_both_parts_with_wrong_labels_for_one(linear_case, one_step):
    """The labels drawn can be read off: of all assignments of wrong labels exactly one fits."""
    f, r = linear_case.forget.labels, linear_case._retain.labels
    generator = torch.Generator().manual_seed(0)
    shift = torch.randint(1, 3, (12,), generator=generator)
    wrong = (f + shift) % 3
    assert not bool((wrong == f).any())
    expected = gradients_of(linear_case, lambda a, b: ce(torch.cat([a, b]), torch.cat([wrong, r])))
    assert_same(one_step("random_label", linear_case), expected)


def test_bad_teacher_learns_from_the_fresh_network_on_forget_pictures(linear_case, one_step):
    fresh = fresh_copy(linear_case.original, torch.Generator().manual_seed(0))
    with torch.no_grad():
        p = torch.softmax(fresh(linear_case.forget.images), 1)
        q = torch.softmax(linear_case.original(linear_case._retain.images), 1)

    def loss_of(a, b):
        both = -(torch.cat([p, q]) * functional.log_softmax(torch.cat([a, b]), 1)).sum(1)
        return both.mean()

    assert_same(
        one_step("bad_teacher", linear_case, retain_share=1.0), gradients_of(linear_case, loss_of)
    )
    assert bad_teacher.__module__.endswith("bad_teacher")


# what moves and what stays


def test_salun_moves_the_share_of_weights_with_the_largest_gradient_and_no_other(
    few_digits, digits_original, unlearn
):
    ids = few_digits.ids_of_class(3)
    task, _ = unlearn("salun", digits_original, few_digits, ids, ratio=0.2, epochs=3)
    reference = copy.deepcopy(task.original).requires_grad_(True)
    gradients = [g.abs() for g in loss_gradients(reference, task.forget)]
    masks = largest(gradients, 0.2)
    n = sum(m.numel() for m in masks)
    assert sum(int(m.sum()) for m in masks) == round(0.2 * n)
    smallest_in = min(float(g[m].min()) for g, m in zip(gradients, masks, strict=True) if m.any())
    largest_out = max(
        float(g[~m].max()) for g, m in zip(gradients, masks, strict=True) if (~m).any()
    )
    assert smallest_in >= largest_out
    moved = 0
    for a, b, m in zip(task.model.parameters(), task.original.parameters(), masks, strict=True):
        assert torch.equal(a[~m], b[~m])
        moved += int((a != b).sum())
    assert moved > 0.9 * round(0.2 * n)


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_only_the_last_k_layers_move(name, k, few_digits, digits_original, unlearn):
    task, _ = unlearn(name, digits_original, few_digits, few_digits.ids_of_class(3), k=k, epochs=1)
    free = {id(p) for layer in last_layers(task.model, k) for p in layer.parameters()}
    for a, b in zip(task.model.parameters(), task.original.parameters(), strict=True):
        assert torch.equal(a, b) == (id(a) not in free)
    assert task.body_is_constant == (k == 1)


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_k_beyond_the_layers_is_one_sentence(name, few_digits, digits_original, unlearn):
    with pytest.raises(BadInput, match="has 4 layers, so k must be from 1 to 4, not 5"):
        unlearn(name, digits_original, few_digits, few_digits.ids_of_class(3), k=5)


def test_batch_norm_of_frozen_layers_keeps_its_statistics(few_digits, unlearn):
    mean, std = few_digits.pixel_statistics
    network = build_network(
        "small-cnn", image_shape=(1, 8, 8), n_classes=10, mean=mean, std=std, seed=1
    )
    ids = few_digits.ids_of_class(3)
    task, _ = unlearn("cf_k", network, few_digits, ids, k=2, batch_norm="train", epochs=1)
    before, after = task.original.state_dict(), task.model.state_dict()
    statistics = [name for name in before if name.endswith("running_mean")]
    assert len(statistics) == 5
    changed = [name for name in statistics if not torch.equal(before[name], after[name])]
    assert changed == statistics[-1:]


def test_eu_of_all_layers_owes_nothing_to_the_original(few_digits, unlearn):
    """Retraining in place: from two different originals the same weights come."""
    results = []
    for seed in (1, 2):
        original = build_network(
            "digits-cnn", image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=seed
        )
        task, _ = unlearn(
            "eu_k", original, few_digits, few_digits.ids_of_class(3), k=4, epochs=1, seed=7
        )
        results.append(task.model)
    for a, b in zip(*(m.parameters() for m in results), strict=True):
        assert torch.equal(a, b)


def test_transposing_twice_gives_the_network_back(digits_original):
    model = copy.deepcopy(digits_original)
    assert transpose_kernels(model) == 3
    for name, w in weight_matrices(model).items():
        before = weight_matrices(digits_original)[name]
        expected = before.transpose(2, 3) if before.ndim == 4 else before
        assert torch.equal(w, expected)
    transpose_kernels(model)
    for a, b in zip(model.parameters(), digits_original.parameters(), strict=True):
        assert torch.equal(a, b)


def test_kernels_that_cannot_be_swapped_stay_and_without_any_it_is_refused(linear_case):
    flat = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.Conv2d(2, 2, 1))
    before = copy.deepcopy(flat.state_dict())
    assert transpose_kernels(flat) == 0
    assert all(torch.equal(before[k], v) for k, v in flat.state_dict().items())
    method = get_method("convolution_transpose")
    with pytest.raises(BadInput, match="nothing to transpose"):
        list(method.steps(linear_case, method.config()))


def test_msg_draws_the_smallest_gradients_anew_and_keeps_the_head(
    few_digits, digits_original, task_of
):
    task = task_of(
        "masked_small_gradients", digits_original, few_digits, few_digits.ids_of_class(3)
    )
    task.trainable("all")
    model = copy.deepcopy(task.original).requires_grad_(True)
    gaps = [
        (a - b).abs()
        for a, b in zip(loss_gradients(model, task.retain), loss_gradients(model, task.forget),
                        strict=True)
    ]  # fmt: skip
    by_name = dict(zip(dict(model.named_parameters()), gaps, strict=True))
    masks = draw_small_anew(task, 0.3)
    assert set(masks) == {"0.weight", "3.weight", "6.weight"}
    n = sum(m.numel() for m in masks.values())
    assert sum(int(m.sum()) for m in masks.values()) == round(0.3 * n)
    inside = max(float(by_name[f"body.{k}"][m].max()) for k, m in masks.items() if m.any())
    outside = min(float(by_name[f"body.{k}"][~m].min()) for k, m in masks.items())
    assert inside <= outside
    for name, mask in masks.items():
        a, b = (dict(m.body.named_parameters())[name] for m in (task.model, task.original))
        assert torch.equal(a[~mask], b[~mask])
        assert not torch.equal(a[mask], b[mask])
    assert torch.equal(task.model.head.weight, task.original.head.weight)


def test_msg_moves_kept_weights_at_their_share_of_the_rate(few_digits, digits_original, unlearn):
    """With kept_rate 0 and no decay the kept kernels stay, with 1 they do not."""
    ids = few_digits.ids_of_class(3)
    for rate, stay in ((0.0, True), (1.0, False)):
        task, _ = unlearn(
            "masked_small_gradients", digits_original, few_digits, ids,
            kept_rate=rate, weight_decay=0, epochs=1, ratio=0.3,
        )  # fmt: skip
        w, before = task.model.body[3].weight, task.original.body[3].weight
        same = float((w == before).float().mean())
        assert (same > 0.4) == stay


# SCRUB


def test_scrub_is_blind_in_its_very_first_max_step(linear_case):
    """Student = teacher: the divergence is at its minimum 0, its gradient 0."""
    method = get_method("scrub")
    first = next(method.steps(linear_case, method.config(weight_decay=0)))
    assert first.note == "max"
    assert first.loss == pytest.approx(0, abs=1e-5)
    for a, b in zip(linear_case.model.parameters(), linear_case.original.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_scrub_rewinds_to_the_pass_nearest_to_the_expected_accuracy(
    few_digits, digits_original, task_of
):
    ids = torch.arange(0, 200, 4)
    task = task_of("scrub", digits_original, few_digits, ids)
    method = get_method("scrub")
    config = method.config(lr=0.03, epochs=5, max_epochs=5, alpha=0.05, batch_size=64)
    seen, final = [], None
    for step in method.steps(task, config):
        done = step.note == "min" and (step.number % 4) == 0
        if done:
            seen.append(accuracy(task.model, task.forget))
            final = copy.deepcopy(task.model).eval()
    assert len(seen) == 5
    target = expected_accuracy(final, task)
    best = min(range(5), key=lambda i: abs(seen[i] - target))
    assert step.note == f"rewound to pass {best + 1} of 5"
    assert accuracy(task.model, task.forget) == seen[best]
    assert max(seen) > min(seen)


def test_scrub_expects_no_picture_of_a_whole_class_to_be_known(
    few_digits, digits_original, task_of
):
    task = task_of("scrub", digits_original, few_digits, few_digits.ids_of_class(3))
    assert expected_accuracy(task.original, task) == 0


def test_scrub_repairs_on_however_low_its_rate_falls(few_digits, digits_original, unlearn):
    ids = few_digits.ids_of_class(3)
    _, steps = unlearn(
        "scrub", digits_original, few_digits, ids, lr=1e-8, epochs=6, max_epochs=1, batch_size=64
    )
    assert steps[-1].number == steps[-1].of


def test_scrub_takes_the_last_of_equally_near_passes(few_digits, digits_original, task_of):
    """At a rate all but 0 all passes are alike, and the last has been repaired most."""
    task = task_of("scrub", digits_original, few_digits, few_digits.ids_of_class(3))
    method = get_method("scrub")
    *_, last = method.steps(task, method.config(lr=1e-8, epochs=3))
    assert last.note == "rewound to pass 3 of 3"


# LoTUS


def test_gumbel_noise_has_its_mean_and_spread():
    noise = gumbel(torch.Size([20_000]), torch.Generator().manual_seed(0))
    deviation = torch.pi / 6**0.5
    assert noise.mean().item() == pytest.approx(0.5772, abs=4 * deviation / 20_000**0.5)
    assert noise.std().item() == pytest.approx(deviation, rel=0.03)


def test_lotus_targets_are_flat_while_known_and_keep_retain_answers(linear_case, one_step):
    """One full-batch step with momentum-free AdamW moves by the sign of the gradient; its sign is
    that of the formula."""
    task = linear_case
    with torch.no_grad():
        before = task.original(task.forget.images)
        kept = task.original(task._retain.images).argmax(1)
    tau = torch.tensor(
        8 * (accuracy(task.original, task.forget) - expected_accuracy(task.original, task))
    ).exp()
    generator = torch.Generator().manual_seed(0)
    torch.randperm(18, generator=generator)
    noise = gumbel(before.shape, generator)
    soft = torch.softmax((before + noise) / tau, 1)
    expected = gradients_of(
        task,
        lambda a, b: ce(torch.cat([a, b]), torch.cat([soft, functional.one_hot(kept, 3).float()])),
    )
    found = one_step("lotus", task, alpha=8, retain_share=1)
    for a, g in zip(found, expected, strict=True):
        clear = g.abs() > 1e-4
        assert torch.equal(a.sign()[clear], g.sign()[clear])


def test_lotus_survives_a_temperature_out_of_reach():
    """At the largest α, a forget set of which the original knows nothing."""
    for known, unseen in ((0.0, 1.0), (1.0, 0.0)):
        tau = temperature(100.0, known, unseen)
        soft = torch.softmax(torch.tensor([[30.0, -30.0]]) / tau, 1)
        assert bool(soft.isfinite().all())
    assert temperature(8.0, 0.5, 0.25) == pytest.approx(math.exp(2))


def test_lotus_uses_its_share_of_the_retain_pictures(few_digits, digits_original, unlearn):
    ids = few_digits.ids_of_class(3)
    n_retain = 200 - len(ids)
    for share in (0.0, 0.3, 1.0):
        _, steps = unlearn(
            "lotus", digits_original, few_digits, ids, retain_share=share, batch_size=10, epochs=1
        )
        n = len(ids) + max(1, round(share * n_retain))
        assert len(steps) in (n // 10, -(-n // 10))


# NatMU


def test_ramps_run_in_four_directions_and_delta_moves_them():
    masks = ramps(4, 5, 0.0)
    assert masks.shape == (4, 4, 5)
    assert masks[0][0].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert torch.equal(masks[1], masks[0].flip(1))
    assert masks[2][:, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert torch.equal(masks[3], masks[2].flip(0))
    assert ramps(4, 5, 1.0).min() == 1
    assert ramps(4, 5, -1.0).max() == 0


def test_blends_are_between_their_two_pictures_and_never_of_the_forgotten_class(
    few_digits, digits_original, task_of
):
    task = task_of("natmu", digits_original, few_digits, few_digits.ids_of_class(3))
    mixed = blends(task, 0.0)
    # Four a picture, less those beyond 98 % of their class.
    assert 3 * len(task.forget) < len(mixed) <= 4 * len(task.forget)
    assert not bool((mixed.labels == 3).any())
    counts = torch.bincount(mixed.labels, minlength=10)
    assert bool((counts <= 0.98 * torch.bincount(task.retain.labels, minlength=10)).all())
    # With δ = −1 nothing of the forget picture shows: each blend is a retain picture of its label.
    whole = blends(task, -1.0)
    for image, label in zip(whole.images[:10], whole.labels[:10], strict=True):
        same = (task.retain.images == image).flatten(1).all(1)
        assert label in task.retain.labels[same]
    # With δ = 1 each is its forget picture, under the label of the drawn one.
    own = blends(task, 1.0)
    for image, i in zip(own.images[:10], own.ids[:10], strict=True):
        assert torch.equal(image, few_digits.train_images[i])


def test_blending_without_another_class_to_blend_into_is_refused(linear_case):
    of_0 = [part.take((part.labels == 0).nonzero().flatten()) for part in
            (linear_case.forget, linear_case.retain)]  # fmt: skip
    task = Task(linear_case.original, of_0[0], generator=torch.Generator(), retain=of_0[1])
    with pytest.raises(BadInput, match="no other class has a retain picture"):
        blends(task, 0.0)


def test_a_class_of_one_retain_picture_gets_one_blend(linear_case):
    retain = linear_case.retain
    few = retain.take(
        torch.tensor([int((retain.labels == label).nonzero()[0]) for label in (1, 2)])
    )
    of_0 = linear_case.forget.take((linear_case.forget.labels == 0).nonzero().flatten())
    task = Task(linear_case.original, of_0, generator=torch.Generator(), retain=few)
    assert sorted(blends(task, 0.0).labels.tolist()) == [1, 2]


def test_blends_keep_to_98_per_cent_of_a_class_and_pass_over_lost_ones(linear_case):
    """Twelve forget pictures all of whose neighbours are one class of which five are left."""
    labels = linear_case._retain.labels
    rows = torch.cat([(labels == 0).nonzero().flatten()[:5], (labels == 1).nonzero().flatten()])
    ones = linear_case.forget.take((linear_case.forget.labels == 1).nonzero().flatten())
    many = ones.take(torch.arange(12) % len(ones))
    task = Task(
        linear_case.original,
        many,
        generator=torch.Generator().manual_seed(0),
        retain=linear_case._retain.take(rows),
    )
    mixed = blends(task, 0.0)
    assert mixed.labels.unique().tolist() == [0]
    assert len(mixed) == int(0.98 * 5)


def test_two_classes_have_only_one_other(few_digits):
    body, head = nn.Flatten(), nn.Linear(64, 2)
    model = Classifier(body, head, [0.3], [0.4])
    parts = [
        Pictures(few_digits.train_images[a:b], torch.arange(a, b) % 2, torch.arange(a, b))
        for a, b in ((0, 10), (10, 60))
    ]
    task = Task(
        model, parts[0], generator=torch.Generator().manual_seed(0), retain=parts[1],
        heldout=parts[1],
    )  # fmt: skip
    mixed = blends(task, 0.0)
    assert len(mixed) == 10
    with torch.no_grad():
        logits = task.original(parts[0].images)
    assert torch.equal(
        mixed.labels.bincount(), without_class(logits, parts[0].labels).argmax(1).bincount()
    )
