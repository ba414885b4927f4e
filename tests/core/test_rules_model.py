"""Rules that look at a model: wrong labels, likeness, influence, worst cases, on the digits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from imu_core.errors import BadInput, Cancelled
from imu_core.evaluation.outputs import Outputs
from imu_core.forget_rules import RuleContext, forget_rules, parse_forget_spec
from imu_core.rules.by_difficulty import worst
from imu_core.softmax_head import fit_head, head_losses, out_of_fold, standardised
from imu_core.worst_case import WorstCase, challenging_ids, onto_choices


def pixels(images):
    return images.flatten(1).numpy().astype(np.float32) / 255


@pytest.fixture(scope="module")
def outputs(digits) -> Outputs:
    """Outputs of a linear model on the pixels: its features are the pixels."""
    features, tests = pixels(digits.train_images), pixels(digits.test_images)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(features.shape[1], 10, generator=generator).numpy()
    return Outputs(features @ weight + 1, features, tests @ weight + 1, tests)


def propose(spec, digits, outputs, seed=0):
    return parse_forget_spec(spec, digits, seed=seed, outputs=lambda: outputs)


def test_the_fitted_head_is_that_of_scikit_learn(digits):
    inputs, labels = standardised(pixels(digits.train_images)), digits.train_labels
    weights = torch.rand(len(labels), generator=torch.Generator().manual_seed(1)) + 0.1
    ours = fit_head(inputs, labels, 10, weights=weights, iterations=500, l2=0.01)
    theirs = LogisticRegression(C=1 / (0.01 * float(weights.sum())), max_iter=2000, tol=1e-8)
    theirs.fit(inputs[:, :-1].numpy(), labels.numpy(), sample_weight=weights.numpy())
    expected = theirs.predict_proba(inputs[:, :-1].numpy())
    assert np.abs((inputs @ ours).softmax(1).numpy() - expected).max() < 5e-3


def test_out_of_fold_probabilities_never_saw_the_picture(digits):
    """Labels drawn by chance cannot be predicted out of fold, though a head fits them somewhat."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (digits.n_train,), generator=generator)
    features = pixels(digits.train_images)
    found = out_of_fold(features, labels, 10)
    assert torch.allclose(found.sum(1), torch.ones(len(found)), atol=1e-5)
    assert (found.argmax(1) == labels).float().mean() < 0.15
    inputs = standardised(features)
    fitted = inputs @ fit_head(inputs, labels, 10)
    assert (fitted.argmax(1) == labels).float().mean() > 0.2


def test_wrong_labels_are_found(digits, outputs):
    generator = np.random.default_rng(0)
    flipped = generator.choice(digits.n_train, 30, replace=False)
    labels = digits.train_labels.clone()
    labels[flipped] = (labels[flipped] + 3) % 10
    spoilt = dataclasses.replace(digits, train_labels=labels)
    found = propose("mislabelled=30", spoilt, outputs)
    assert len(set(found.ids) & set(flipped.tolist())) >= 24
    assert "most likely to be mislabelled" in found.history[0]


def test_fewer_wrong_labels_than_asked_for_are_said_to_be_all(digits, outputs):
    found = propose("mislabelled=1000", digits, outputs)
    assert 0 < len(found.ids) < 200
    assert "all that are predicted otherwise" in found.history[0]


def test_the_projection_is_the_nearest_allowed_choice():
    generator = torch.Generator().manual_seed(0)
    for total in (1, 7.5, 39):
        values = 3 * torch.randn(40, generator=generator)
        found = onto_choices(values, total)
        assert abs(float(found.sum()) - total) < 1e-3
        assert found.min() >= 0
        assert found.max() <= 1
        # No allowed step gets nearer: moving weight from any entry to any other is no gain.
        slope = values - found
        can_grow, can_shrink = slope[found < 1 - 1e-4], slope[found > 1e-4]
        assert can_grow.max() <= can_shrink.min() + 1e-3


def test_the_worst_set_is_predicted_without_being_seen_and_the_easiest_is_not(digits):
    features, labels = pixels(digits.train_images), digits.train_labels
    inputs = standardised(features)

    def loss_unseen(ids):
        weights = torch.ones(len(labels))
        weights[ids] = 0
        head = fit_head(inputs, labels, 10, weights=weights)
        return float(head_losses(inputs[ids], labels[ids], head).mean())

    hardest = challenging_ids(features, labels, 10, 144)
    easiest = challenging_ids(features, labels, 10, 144, easiest=True)
    assert len(hardest.unique()) == len(easiest.unique()) == 144
    drawn = [
        torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:144]
        for seed in range(5)
    ]
    chance = [loss_unseen(ids) for ids in drawn]
    assert loss_unseen(hardest) < 0.1 * min(chance)
    assert loss_unseen(easiest) > 3 * max(chance)
    again = challenging_ids(features, labels, 10, 144)
    assert torch.equal(hardest, again)


def test_the_search_tells_how_far_it_is_and_ends_when_told(digits, outputs):
    heard = []
    features, labels = outputs.train_features, digits.train_labels
    settings = WorstCase(rounds=3)
    challenging_ids(
        features, labels, 10, 5, settings=settings, progress=lambda *news: heard.append(news[:2])
    )
    assert heard == [(0, 3), (1, 3), (2, 3)]

    def stop(done: int, of: int, text: str) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        worst(RuleContext(digits, 0, lambda: outputs, stop), "10%")


@pytest.mark.parametrize("count", [0, 1437, 2000])
def test_a_search_for_nothing_or_everything_is_refused(digits, outputs, count):
    with pytest.raises(BadInput):
        challenging_ids(outputs.train_features, digits.train_labels, 10, count)


def test_twins_are_outside_and_nearly_the_same(digits, outputs):
    copies = digits.train_images.clone()
    copies[[100, 900]] = digits.train_images[5]
    doubled = dataclasses.replace(digits, train_images=copies)
    features = pixels(copies)
    seen = dataclasses.replace(outputs, train_features=features)
    found = propose("twins=5", doubled, seen)
    assert {100, 900} <= set(found.ids)
    assert 5 not in found.ids
    assert set(propose("twins=5:0.001", doubled, seen).ids) >= {100, 900}
    assert 900 not in propose("twins=5,900,100", doubled, seen).ids


def test_pictures_alike_are_the_nearest_and_none_of_the_picked(digits, outputs):
    found = propose("alike=5,6:20", digits, outputs)
    unit = outputs.train_features / np.linalg.norm(outputs.train_features, axis=1, keepdims=True)
    nearest = (unit[[5, 6]] @ unit.T).max(0)
    nearest[[5, 6]] = -1
    assert set(found.ids) == set(np.argsort(-nearest)[:20].tolist())


def test_neighbours_of_a_test_picture_are_of_its_kind(digits, outputs):
    right = [
        int(digits.train_labels[propose(f"neighbours={number}:1", digits, outputs).ids[0]])
        == int(digits.test_labels[number])
        for number in range(40)
    ]
    # One nearest neighbour names 97 of 100 digits right.
    assert sum(right) >= 36
    found = propose("neighbours=17:20", digits, outputs)
    assert len(found.ids) == 20
    assert "test picture 17" in found.history[0]


def test_both_ends_of_a_component_are_far_apart(digits, outputs):
    features = outputs.train_features - outputs.train_features.mean(0)
    axis = np.linalg.svd(features, full_matrices=False)[2][1]
    high, low = (propose(f"component={number}:30", digits, outputs).ids for number in ("2", "-2"))
    assert not set(high) & set(low)
    along = features @ axis
    extremes = np.argsort(along)
    both = {frozenset(extremes[:30].tolist()), frozenset(extremes[-30:].tolist())}
    assert {frozenset(high), frozenset(low)} == both


def test_self_influence_is_highest_where_no_other_picture_helps(digits, outputs):
    """A picture with a wrong label has a larger self-influence than nearly all others."""
    inputs = standardised(outputs.train_features)
    labels = digits.train_labels.clone()
    labels[[50, 60, 70]] = (labels[[50, 60, 70]] + 1) % 10
    head = fit_head(inputs, labels, 10, iterations=300)
    seen = dataclasses.replace(
        outputs,
        train_features=inputs[:, :-1].numpy(),
        train_logits=(inputs @ head).numpy(),
    )
    spoilt = dataclasses.replace(digits, train_labels=labels)
    assert {50, 60, 70} <= set(propose("influential=30", spoilt, seen).ids)


def test_imus_score_is_ranked_within_each_class(digits, outputs):
    from imu_core.influence.imu_scores import imu_scores

    found = propose("imu=1", digits, outputs).ids[0]
    labels, best = digits.train_labels, (np.inf, -1)
    for label in range(10):
        ids = digits.ids_of_class(label)
        scores = imu_scores(
            torch.from_numpy(outputs.train_features[ids]),
            torch.from_numpy(outputs.train_logits[ids]),
            labels[ids],
        )
        best = min(best, (float(scores.min()), int(ids[scores.argmin()])))
    assert found == best[1]


@pytest.mark.parametrize(
    "spec",
    [
        "twins=",
        "twins=99999",
        "twins=4:5",
        "twins=4:x",
        "alike=x:5",
        "alike=4:5000",
        "neighbours=360:5",
        "neighbours=-1:5",
        "component=0:5",
        "component=65:5",
        "component=x",
        "mislabelled=0",
        "worst=100%",
        "imu=x",
    ],
)
def test_mistaken_arguments_are_one_sentence(digits, outputs, spec):
    with pytest.raises(BadInput):
        propose(spec, digits, outputs)


def test_every_rule_says_why_one_would_choose_it():
    rules = {rule.name: rule for rule in forget_rules()}
    expected = {"twins", "alike", "neighbours", "component", "imu", "influential", "mislabelled"}
    assert expected | {"worst", "easiest"} <= set(rules)
    assert all(rule.sentence.endswith(".") and rule.argument for rule in rules.values())
