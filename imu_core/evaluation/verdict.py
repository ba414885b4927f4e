"""The verdict on a run in plain sentences: what was reached, what was not, what cannot be said.

Every sentence carries its numbers, their count and the floor (how far retrained models differ
among themselves). Success is never claimed from too few pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imu_core.evaluation.estimate import Estimate
from imu_core.evaluation.representation import probe_share
from imu_core.evaluation.wording import (
    M,
    Reference,
    against,
    duration,
    estimate,
    n_pictures,
    percent,
    points,
    reference_for,
    share_of,
    with_interval,
)

Level = Literal["reached", "partly", "not reached", "cannot say"]

LEAST_FOR_SUCCESS = 30
LEAST_FOR_NO_LEAK = 100
LEAST_FOR_TPR_LEAK = 1000
TOLERABLE_LOSS = 0.03
ROUNDING = 1e-9


@dataclass(frozen=True)
class Finding:
    """One line of the verdict."""

    level: Level
    title: str
    sentence: str


def verdict(
    before: M,
    after: M,
    retrained: Sequence[M],
    floor: Mapping[str, Mapping[str, Any]],
    *,
    method: Mapping[str, Any],
    forget: Mapping[str, Any],
    seconds: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Findings on forgetting, use, membership, features and, when `seconds` is given, cost.

    `before`, `after`, `retrained`: flat metrics with "detail" (`Metrics.to_dict`). `floor`: from
    `floors`. `method`: {"scope", "parameters": {name: value}}, defaults filled in; a parameter
    "scope" wins over the method's. `forget`: {"n"}. `seconds`: {"method", "retrain"}, the latter
    for all retrained models together.
    """
    findings = [
        _forgetting(before, after, reference_for("forget_accuracy", retrained, floor), forget),
        _use(before, after, retrained, floor),
        _membership(before, after, reference_for("membership_auc", retrained, floor)),
        _features(before, after, reference_for("probe_forget_accuracy", retrained, floor), method),
    ]
    if seconds is not None:
        findings.append(_cost(seconds, len(retrained)))
    if not retrained:
        findings.append(
            Finding(
                "cannot say",
                "No retrained model",
                "Forgetting, what is kept and the features can only be described, not judged, "
                "without a model retrained without these pictures; retrain two or more.",
            )
        )
    return findings


def features_unchanged(before: M, after: M, method: Mapping[str, Any]) -> bool:
    """Whether the method left the features exactly as they were.

    True for scope "head" unless batch norm ran in train mode, whose running statistics drift; the
    probe, being deterministic, must then give the same number before and after.
    """
    chosen = method.get("parameters")
    chosen = chosen if isinstance(chosen, Mapping) else {}
    if chosen.get("scope", method.get("scope")) != "head" or chosen.get("batch_norm") == "train":
        return False
    return before.get("probe_forget_accuracy") == after.get("probe_forget_accuracy")


def _forgetting(
    before: M, after: M, reference: Reference | None, forget: Mapping[str, Any]
) -> Finding:
    title = "Forgetting"
    now, n = estimate(after, "forget_accuracy"), int(forget["n"])
    if now.value is None or now.low is None or now.high is None:
        return Finding("cannot say", title, f"Forget accuracy: {now.why}.")
    text = f"{percent(now.value)} of the {n_pictures(n, 'forget')} still named right"
    text += f" (before: {share_of(before, 'forget_accuracy')}"
    if reference is None:
        return Finding("cannot say", title, f"{text}); how low is right is not known.")
    text += f"; {against(reference)})."
    if now.high < reference.mean - reference.slack:
        more = "That is fewer than after retraining: over-forgetting marks these pictures."
        return Finding("partly", title, f"{text} {more}")
    limit = reference.mean + reference.slack
    if now.value <= limit + ROUNDING:
        if n < LEAST_FOR_SUCCESS:
            few = f"Too few for a success: the true share may be up to {percent(now.high)}."
            return Finding("cannot say", title, f"{text} {few}")
        return Finding("reached", title, text)
    start = before.get("forget_accuracy")
    text += f" {points(now.value - limit)} above retraining and its floor."
    halfway = start is not None and now.value <= (start + limit) / 2
    if now.low <= limit and (n < LEAST_FOR_SUCCESS or not halfway):
        return Finding("cannot say", title, f"{text} Too few pictures to tell that apart.")
    return Finding("partly" if halfway else "not reached", title, text)


def _use(
    before: M, after: M, retrained: Sequence[M], floor: Mapping[str, Mapping[str, Any]]
) -> Finding:
    title = "What is kept"
    shown, tested = estimate(after, "test_accuracy"), estimate(after, "test_accuracy_all")
    over = " over the classes still to be known" if shown.n < tested.n else ""
    levels: list[Level] = []
    parts = []
    for name, words in (("retain_accuracy", "retain"), ("test_accuracy", "test")):
        now, reference = estimate(after, name), reference_for(name, retrained, floor)
        if now.value is None or now.high is None:
            levels.append("cannot say")
            parts.append(f"{words} accuracy: {now.why}")
            continue
        where = over if words == "test" else ""
        part = f"{words} accuracy {percent(now.value)}{where} (n = {now.n:,}, "
        part += f"before: {share_of(before, name)}"
        if reference is None:
            levels.append("cannot say")
            parts.append(f"{part})")
            continue
        limit = reference.mean - reference.slack
        lost = limit - now.value if limit - now.value > ROUNDING else 0.0
        loss = f", {points(lost)} lost beyond that" if lost > 0 else ""
        parts.append(f"{part}; {against(reference)}){loss}")
        levels.append(_kept(now, now.high, lost, limit))
    sentence = "; ".join(parts)
    return Finding(_worst(levels), title, f"{sentence[0].upper()}{sentence[1:]}.")


def _kept(now: Estimate, high: float, lost: float, limit: float) -> Level:
    """Level of an accuracy with upper end `high`; `limit` = retrained models less their floor."""
    if lost > TOLERABLE_LOSS and high < limit:
        return "not reached"
    if now.n < LEAST_FOR_SUCCESS:
        return "cannot say"
    return "partly" if lost > 0 else "reached"


def _membership(before: M, after: M, reference: Reference | None) -> Finding:
    title = "Membership"
    now, start = estimate(after, "membership_auc"), estimate(before, "membership_auc")
    if now.value is None or now.low is None or now.high is None:
        return Finding("cannot say", title, f"Whether an attacker can tell: {now.why}.")
    text = (
        f"An attack on the outputs has AUC {with_interval(now)} (n = {now.n:,} a side; 0.5 = blind"
    )
    text += f"; before: {start.value:.2f}" if start.value is not None else ""
    text += f"; {against(reference, ratio=True)})." if reference is not None else ")."
    at_1 = estimate(after, "membership_tpr_at_1")
    leak = False
    if at_1.value is not None and at_1.low is not None:
        text += f" At 1 % false alarms it finds {percent(at_1.value)}."
        leak = at_1.n >= LEAST_FOR_TPR_LEAK and at_1.low > 0.01
    if now.low <= 0.5 <= now.high:
        return _blind(now, start, text, leak)
    if reference is not None and abs(now.value - reference.mean) <= reference.slack + ROUNDING:
        level: Level = "reached" if now.n >= LEAST_FOR_NO_LEAK else "cannot say"
        return Finding(level, title, f"{text} Retrained models look the same.")
    if now.high < 0.5:
        over = "Over-forgotten: unusually low confidence tells these pictures from unseen ones."
        return Finding("not reached", title, f"{text} {over}")
    return Finding("not reached", title, f"{text} The pictures can still be told from unseen ones.")


def _blind(now: Estimate, start: Estimate, text: str, leak: bool) -> Finding:
    """The finding where the AUC interval holds 0.5."""
    title = "Membership"
    if leak:
        return Finding("partly", title, f"{text} Some pictures are still given away.")
    if now.n < LEAST_FOR_NO_LEAK:
        few = f"Too few to rule a leak out; that takes {LEAST_FOR_NO_LEAK} a side."
        return Finding("cannot say", title, f"{text} {few}")
    if start.low is not None and start.high is not None and start.low <= 0.5 <= start.high:
        weak = "It was blind on the original as well, so this shows nothing."
        return Finding("cannot say", title, f"{text} {weak}")
    return Finding("reached", title, text)


def _features(
    before: M, after: M, reference: Reference | None, method: Mapping[str, Any]
) -> Finding:
    title = "Features"
    now = estimate(after, "probe_forget_accuracy")
    untouched = features_unchanged(before, after, method)
    start = "Only the head was changed; the features were not changed at all. " if untouched else ""
    if now.value is None:
        return Finding(
            "not reached" if untouched else "cannot say", title, f"{start}Linear probe: {now.why}."
        )
    text = f"{start}A linear probe on the features still names {percent(now.value)} of the forget "
    text += f"pictures (n = {now.n:,}; before: {share_of(before, 'probe_forget_accuracy')}"
    if reference is None:
        level: Level = "not reached" if untouched else "cannot say"
        return Finding(level, title, f"{text}); what retraining would leave is not known.")
    text += f"; {against(reference)})."
    share = probe_share(
        before.get("probe_forget_accuracy"), now.value, reference.mean, noise=reference.slack
    )
    if share is None:
        same = "Retraining does not lower it beyond the floor, so the probe cannot tell here."
        return Finding("cannot say", title, f"{text} {same}")
    gone = now.value <= reference.mean + reference.slack + ROUNDING
    if gone and now.n < LEAST_FOR_SUCCESS:
        return Finding("cannot say", title, f"{text} Too few pictures for a success.")
    if gone:
        return Finding("reached", title, text)
    left = f"{100 * share:.0f} % of what retraining takes out is still there."
    return Finding("partly" if share <= 0.5 else "not reached", title, f"{text} {left}")


def _cost(seconds: Mapping[str, float], n_models: int) -> Finding:
    title, own = "Cost", float(seconds["method"])
    total = float(seconds.get("retrain") or 0.0)
    if n_models == 0 or total <= 0 or own <= 0:
        return Finding("cannot say", title, f"Unlearning took {duration(own)}.")
    each = total / n_models
    text = f"Unlearning took {duration(own)}, retraining {duration(each)} a model (n = {n_models})"
    factor = each / own
    if factor < 1:
        return Finding(
            "not reached", title, f"{text}: retraining is {1 / factor:.1f} times as fast."
        )
    level: Level = "reached" if factor >= 2 else "partly"
    return Finding(level, title, f"{text}: {factor:.1f} times as fast.")


def _worst(levels: Sequence[Level]) -> Level:
    order: tuple[Level, ...] = ("not reached", "cannot say", "partly", "reached")
    return min(levels, key=order.index)
