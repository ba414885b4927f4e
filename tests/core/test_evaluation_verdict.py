"""The verdict: each level by hand, numbers in every sentence, no success from too few pictures."""

from __future__ import annotations

from typing import Any

import pytest

from imu_core.evaluation.estimate import Estimate, proportion, refused
from imu_core.evaluation.metrics import Metrics, floors
from imu_core.evaluation.verdict import Finding, features_unchanged, verdict

HEAD = {"title": "IMU", "scope": "head or all", "parameters": {"scope": "head"}}
ALL = {"title": "Ascent", "scope": "all", "parameters": {}}
NAMES = ["Forgetting", "What is kept", "Membership", "Features"]


def model(
    forget: float = 0.0,
    retain: float = 0.99,
    test: float = 0.93,
    auc: tuple[float, float, float] = (0.51, 0.48, 0.54),
    probe: float = 0.39,
    n: int = 1000,
) -> dict[str, Any]:
    metrics = Metrics(
        forget_accuracy=proportion(round(forget * n), n),
        retain_accuracy=proportion(round(retain * 9 * n), 9 * n),
        test_accuracy=proportion(round(test * 9 * n), 9 * n),
        test_accuracy_all=proportion(round(test * 0.9 * 10 * n), 10 * n),
        membership_auc=Estimate(*auc, n),
        membership_tpr_at_1=proportion(round(0.01 * n), n),
        probe_forget_accuracy=proportion(round(probe * n), n),
    )
    return metrics.to_dict()


BEFORE = model(forget=0.96, retain=0.995, test=0.91, auc=(0.62, 0.59, 0.65), probe=0.65)
RETRAINED = [model(retain=0.997, test=0.932), model(retain=0.996, test=0.930, probe=0.41)]


def judge(after, *, before=BEFORE, retrained=RETRAINED, method=ALL, n=1000, seconds=None):
    found = verdict(
        before,
        after,
        retrained,
        floors(retrained),
        method=method,
        forget={"n": n},
        seconds=seconds,
    )
    return {finding.title: finding for finding in found}


def test_a_model_like_the_retrained_ones_reaches_everything_with_numbers():
    found = judge(model(retain=0.996, probe=0.40), seconds={"method": 0.5, "retrain": 20.0})
    assert list(found) == [*NAMES, "Cost"]
    assert {item.level for item in found.values()} == {"reached"}
    for name in NAMES:
        sentence = found[name].sentence
        assert "1,000" in sentence or "9,000" in sentence
        assert "floor" in sentence
        assert "2 models" in sentence
    assert found["Forgetting"].sentence == (
        "0.0 % of the 1,000 forget pictures still named right "
        "(before: 96.0 %; retrained: 0.0 %, 2 models, floor 0.0 points)."
    )
    assert "20.0 times as fast" in found["Cost"].sentence


@pytest.mark.parametrize(
    ("forget", "level"), [(0.0, "reached"), (0.3, "partly"), (0.9, "not reached")]
)
def test_forgetting_is_read_against_retraining(forget, level):
    assert judge(model(forget=forget))["Forgetting"].level == level


def test_forgetting_more_than_retraining_would_is_no_success():
    gold = [model(forget=0.89), model(forget=0.90)]
    found = judge(model(forget=0.10), retrained=gold)["Forgetting"]
    assert found.level == "partly"
    assert "over-forgetting" in found.sentence
    assert judge(model(forget=0.89), retrained=gold)["Forgetting"].level == "reached"


def test_doing_nothing_to_pictures_that_retraining_names_as_well_is_no_part_success():
    before = model(forget=1.0, n=144)
    gold = [model(forget=0.975, n=144), model(forget=0.985, n=144)]
    found = judge(before, before=before, retrained=gold, n=144)["Forgetting"]
    assert found.level == "cannot say"
    assert "Too few pictures to tell that apart" in found.sentence


@pytest.mark.parametrize(
    ("test", "level"), [(0.931, "reached"), (0.915, "partly"), (0.88, "not reached")]
)
def test_what_is_kept_is_read_against_retraining_and_its_floor(test, level):
    found = judge(model(retain=0.996, test=test))["What is kept"]
    assert found.level == level
    assert "over the classes still to be known (n = 9,000" in found.sentence
    assert ("lost beyond that" in found.sentence) == (level != "reached")


def test_the_worse_of_retain_and_test_decides():
    assert judge(model(retain=0.80, test=0.931))["What is kept"].level == "not reached"


@pytest.mark.parametrize(
    ("auc", "level", "words"),
    [
        ((0.51, 0.48, 0.54), "reached", "AUC 0.51 (0.48 to 0.54)"),
        ((0.60, 0.57, 0.63), "not reached", "still be told"),
        ((0.31, 0.28, 0.34), "not reached", "Over-forgotten"),
    ],
)
def test_membership_on_either_side_of_a_half(auc, level, words):
    found = judge(model(auc=auc))["Membership"]
    assert found.level == level
    assert words in found.sentence


def test_membership_is_forgiven_where_retrained_models_look_the_same():
    gold = [model(auc=(0.55, 0.52, 0.58)), model(auc=(0.57, 0.54, 0.60))]
    found = judge(model(auc=(0.56, 0.53, 0.59)), retrained=gold)["Membership"]
    assert found.level == "reached"
    assert "Retrained models look the same" in found.sentence
    one = judge(model(auc=(0.57, 0.54, 0.60)), retrained=gold[:1])["Membership"]
    assert one.level == "not reached"


def test_an_attack_that_was_always_blind_shows_nothing():
    before = model(forget=0.96, auc=(0.50, 0.47, 0.53), probe=0.65)
    found = judge(model(), before=before)["Membership"]
    assert found.level == "cannot say"
    assert "blind on the original" in found.sentence


def test_a_clear_leak_at_one_per_cent_is_no_success():
    after = model()
    leak = proportion(60, 1000)
    after["membership_tpr_at_1"] = leak.value
    after["detail"]["membership_tpr_at_1"] = leak.to_dict()
    found = judge(after)["Membership"]
    assert found.level == "partly"
    assert "finds 6.0 %" in found.sentence


def test_a_method_of_the_head_alone_is_told_that_the_features_are_as_they_were():
    found = judge(model(probe=0.65), method=HEAD)["Features"]
    assert found.level == "not reached"
    assert "the features were not changed at all" in found.sentence
    assert "names 65.0 % of the forget pictures (n = 1,000; before: 65.0 %" in found.sentence
    assert "retrained: 40.0 %, 2 models, floor 2.0 points" in found.sentence
    assert "100 % of what retraining takes out is still there" in found.sentence
    alone = judge(model(probe=0.65), method=HEAD, retrained=[])["Features"]
    assert alone.level == "not reached"


def test_features_count_as_unchanged_only_when_they_must_be():
    assert features_unchanged(BEFORE, BEFORE, HEAD)
    assert features_unchanged(BEFORE, BEFORE, {"scope": "head"})
    assert not features_unchanged(BEFORE, model(probe=0.6), HEAD)
    assert not features_unchanged(BEFORE, BEFORE, ALL)
    assert not features_unchanged(BEFORE, BEFORE, {"scope": "head or all"})
    drifting = {"scope": "head", "parameters": {"batch_norm": "train"}}
    assert not features_unchanged(BEFORE, BEFORE, drifting)


@pytest.mark.parametrize(
    ("probe", "level"), [(0.41, "reached"), (0.50, "partly"), (0.60, "not reached")]
)
def test_the_probe_is_read_as_a_share_of_the_way(probe, level):
    assert judge(model(probe=probe))["Features"].level == level


def test_the_probe_cannot_tell_where_retraining_does_not_lower_it():
    gold = [model(probe=0.65), model(probe=0.63)]
    found = judge(model(probe=0.65), retrained=gold, method=HEAD)["Features"]
    assert found.level == "cannot say"
    assert "not changed at all" in found.sentence


def test_without_a_retrained_model_it_says_what_cannot_be_judged():
    found = judge(model(), retrained=[])
    assert list(found) == [*NAMES, "No retrained model"]
    levels = [found[name].level for name in NAMES]
    assert levels == ["cannot say", "cannot say", "reached", "cannot say"]
    assert "retrain two or more" in found["No retrained model"].sentence


def test_one_retrained_model_has_no_floor_and_it_says_so():
    found = judge(model(retain=0.997), retrained=RETRAINED[:1])
    assert "1 model, floor not known" in found["What is kept"].sentence


def test_success_is_never_claimed_from_twelve_pictures():
    few = model(n=12, auc=(0.5, 0.27, 0.73))
    before = model(forget=1.0, n=12, auc=(0.9, 0.77, 1.0), probe=1.0)
    found = judge(few, before=before, retrained=[few, few], n=12)
    for name in ("Forgetting", "Membership", "Features"):
        assert found[name].level == "cannot say"
        assert "oo few" in found[name].sentence
    assert "may be up to 26.5 %" in found["Forgetting"].sentence


def test_a_refused_number_gives_its_reason():
    after = model()
    after["membership_auc"] = None
    after["detail"]["membership_auc"] = refused(4, "too few (n = 4)").to_dict()
    found = judge(after)["Membership"]
    assert found.level == "cannot say"
    assert "too few (n = 4)" in found.sentence


@pytest.mark.parametrize(
    ("seconds", "n_models", "level"),
    [
        ({"method": 1.0, "retrain": 30.0}, 2, "reached"),
        ({"method": 10.0, "retrain": 30.0}, 2, "partly"),
        ({"method": 60.0, "retrain": 30.0}, 2, "not reached"),
        ({"method": 1.0}, 2, "cannot say"),
        ({"method": 1.0, "retrain": 0.0}, 0, "cannot say"),
    ],
)
def test_cost_is_compared_with_one_retraining(seconds, n_models, level):
    found = judge(model(), retrained=RETRAINED[:n_models], seconds=seconds)["Cost"]
    assert isinstance(found, Finding)
    assert found.level == level


def test_metrics_without_detail_still_give_a_verdict():
    plain = {key: value for key, value in model().items() if key != "detail"}
    found = judge(plain, before=plain, retrained=[plain, plain])
    assert found["Forgetting"].level == "reached"
    assert found["What is kept"].level == "cannot say"
