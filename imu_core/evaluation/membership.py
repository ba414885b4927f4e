"""A membership attack on outputs alone: can forget pictures be told from test pictures?

Score: φ, the logit-scaled confidence of the true label (Carlini et al., S&P 2022). Forget pictures
count as members. AUC 0.5 is no leak, above 0.5 the pictures are still remembered, below 0.5 the
model is less sure of them than of pictures it never saw: over-forgetting gives them away as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imu_core.evaluation.accuracy import log_sum_exp
from imu_core.evaluation.estimate import Estimate, proportion, refused

LEAST_FOR_AUC = 10
LEAST_FOR_TPR = 100
Z95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Membership:
    """Result of the attack: AUC, TPR at 1 % FPR, and the whole ROC for drawing on log axes."""

    auc: Estimate
    tpr_at_1: Estimate
    fpr: np.ndarray
    """float64 (t,), ascending, one point a distinct threshold, from 0 to 1."""
    tpr: np.ndarray
    """float64 (t,)"""
    n: int
    """Members; there are as many non-members, of the same class mix."""
    n_forget: int
    """Forget pictures there were to draw the members from."""

    @property
    def over_forgotten(self) -> bool:
        """Whether the whole AUC interval lies below 0.5: low confidence gives the pictures away."""
        return self.auc.high is not None and self.auc.high < 0.5

    @property
    def remembered(self) -> bool:
        """Whether the whole AUC interval lies above 0.5."""
        return self.auc.low is not None and self.auc.low > 0.5


def phi(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logit-scaled confidence of the true label, float64 (n,).

    φ = z_y − logsumexp_{j≠y} z_j = log p_y − log(1 − p_y), from the logits, never from p.
    """
    others = np.array(logits, dtype=np.float64)
    rows = np.arange(len(labels))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return own - log_sum_exp(others)


def matched_rows(
    members: np.ndarray, others: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in two label arrays such that both sides have equal size and equal class mix.

    Of each class min(count, count) are drawn without repeats, by seed; ascending int64 arrays.
    Without this, forgetting a class would compare shirts with everything that is no shirt.
    """
    generator = np.random.default_rng(seed)
    chosen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for label in np.intersect1d(members, others):
        pools = [np.flatnonzero(labels == label) for labels in (members, others)]
        size = min(len(pool) for pool in pools)
        for side, pool in zip(chosen, pools, strict=True):
            side.append(generator.permutation(pool)[:size])
    none = np.empty(0, dtype=np.int64)
    first, second = (np.sort(np.concatenate([none, *side])) for side in chosen)
    return first, second


def membership(
    forget_logits: np.ndarray,
    forget_labels: np.ndarray,
    test_logits: np.ndarray,
    test_labels: np.ndarray,
    *,
    seed: int = 0,
) -> Membership:
    """The attack on forget pictures (members) against test pictures of equal number and class mix.

    AUC is refused under 10 a side, TPR at 1 % FPR under 100 non-members: there one false positive
    is already more than 1 %.
    """
    members, others = matched_rows(forget_labels, test_labels, seed=seed)
    inside = phi(forget_logits[members], forget_labels[members])
    outside = phi(test_logits[others], test_labels[others])
    return attack(inside, outside, n_forget=len(forget_labels))


def attack(inside: np.ndarray, outside: np.ndarray, *, n_forget: int | None = None) -> Membership:
    """ROC, AUC and TPR at 1 % FPR of the scores of members and non-members; higher = member."""
    n, n_forget = len(inside), len(inside) if n_forget is None else n_forget
    if np.isnan(inside).any() or np.isnan(outside).any():
        bad = refused(n, "the model's outputs are not finite")
        return Membership(bad, bad, np.empty(0), np.empty(0), n, n_forget)
    fpr, tpr = roc(inside, outside)
    fewest = min(n, len(outside))
    if fewest < LEAST_FOR_AUC:
        why = f"too few (n = {fewest}): the attack needs {LEAST_FOR_AUC} pictures a side"
        area = refused(fewest, why)
    else:
        area = auc(inside, outside)
    if len(outside) < LEAST_FOR_TPR:
        why = f"too few (n = {len(outside)}): 1 % false positives need {LEAST_FOR_TPR} non-members"
        at_1 = refused(len(outside), why)
    else:
        at_1 = tpr_at(fpr, tpr, n, 0.01)
    return Membership(area, at_1, fpr, tpr, n, n_forget)


def roc(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every distinct threshold, from (0, 0) to (1, 1)."""
    scores = np.concatenate([inside, outside])
    if not len(inside) or not len(outside):
        return np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    is_member = order < len(inside)
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits, alarms = np.cumsum(is_member)[last], np.cumsum(~is_member)[last]
    return np.append(0.0, alarms / len(outside)), np.append(0.0, hits / len(inside))


def tpr_at(fpr: np.ndarray, tpr: np.ndarray, n: int, most: float) -> Estimate:
    """True positive rate at the last threshold with FPR ≤ `most`, never interpolated.

    The interval (Clopper–Pearson) is for the `n` members with the threshold taken as given.
    """
    row = int(np.searchsorted(fpr, most, side="right")) - 1
    return proportion(round(float(tpr[row]) * n), n)


def auc(inside: np.ndarray, outside: np.ndarray) -> Estimate:
    """P(member's score > non-member's) + ½ P(equal), with DeLong's (1988) 95 % interval.

    Variance = var(V10)/m + var(V01)/n with the placements V from mid-ranks (Sun & Xu 2014). Where
    the sides do not overlap that variance is 0; the score interval of Newcombe (2006, method 5)
    then stands in. n of the estimate = pictures on the smaller side.
    """
    m, n = len(inside), len(outside)
    together = _mid_ranks(np.concatenate([inside, outside]))
    above = (together[:m] - _mid_ranks(inside)) / n
    below = 1 - (together[m:] - _mid_ranks(outside)) / m
    value = float(above.mean())
    variance = float(above.var(ddof=1) / m + below.var(ddof=1) / n)
    if variance < 1e-12 and value in (0.0, 1.0):
        low, high = _score_interval(value, m, n)
    else:
        half = Z95 * variance**0.5
        low, high = max(value - half, 0.0), min(value + half, 1.0)
    return Estimate(value, low, high, min(m, n))


def _mid_ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each score from 1, ties sharing the middle one."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _score_interval(value: float, m: int, n: int) -> tuple[float, float]:
    """Newcombe's interval for a perfect AUC: all θ with |θ − value| ≤ 1.96 √V(θ).

    V(θ) = θ(1 − θ)/(mn) · [1 + N(1 − θ)/(2 − θ) + Nθ/(1 + θ)], N = (m + n)/2 − 1.
    """
    theta = np.linspace(0, 1, 100_001)
    spread = 1 + ((m + n) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
    inside = np.abs(theta - value) <= Z95 * np.sqrt(theta * (1 - theta) / (m * n) * spread)
    kept = theta[inside]
    return float(kept.min()), float(kept.max())
