"""What the features still know: a linear probe, and linear CKA between two models.

A method that changes the head alone leaves the features as they were; a probe on them brings a
forgotten class back. The probe has a floor of its own: it also finds the class in a model
retrained without it, so read it as a share of the way from retrained to original.
"""

from __future__ import annotations

import numpy as np

from imu_core.evaluation.accuracy import log_sum_exp
from imu_core.evaluation.estimate import Estimate, proportion, refused

MOST_ROWS = 5000
LEAST_FOR_PROBE = 50


def probe_forget_accuracy(
    test_features: np.ndarray,
    test_labels: np.ndarray,
    forget_features: np.ndarray,
    forget_labels: np.ndarray,
    *,
    seed: int = 0,
) -> Estimate:
    """Share of the forget pictures that a linear probe on the features still names right.

    The probe is a multinomial logistic regression (L2, C = 1) on standardised features of test
    pictures with their true labels, at most 5,000 of them drawn by seed; it is asked about at most
    5,000 forget pictures, drawn by seed. The interval counts the forget pictures asked about.
    """
    generator = np.random.default_rng(seed)
    known = sample_rows(len(test_labels), MOST_ROWS, generator)
    asked = sample_rows(len(forget_labels), MOST_ROWS, generator)
    x, y = test_features[known].astype(np.float64), test_labels[known]
    queries, answers = forget_features[asked].astype(np.float64), forget_labels[asked]
    if len(y) < LEAST_FOR_PROBE:
        why = f"too few (n = {len(y)}): a probe needs {LEAST_FOR_PROBE} test pictures to learn from"
        return refused(len(answers), why)
    if len(np.unique(y)) < 2:
        return refused(len(answers), "the test pictures are all of one class")
    if not (np.isfinite(x).all() and np.isfinite(queries).all()):
        return refused(len(answers), "the model's features are not finite")
    if len(answers) == 0:
        return refused(0, "no pictures")
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread < 1e-12] = 1.0
    weights = _fit_softmax((x - centre) / spread, y)
    called = ((queries - centre) / spread @ weights[:-1] + weights[-1]).argmax(axis=1)
    return proportion(int((called == answers).sum()), len(answers))


def _fit_softmax(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights float64 (d + 1, K), the last row the bias: the minimum of a convex problem.

    mean cross entropy + ‖W‖²/(2n), the bias free, by L-BFGS; what scikit-learn's
    LogisticRegression(C=1) finds, without the seconds its import takes.
    """
    inputs = np.column_stack([x, np.ones(len(x))])
    shape = inputs.shape[1], int(y.max()) + 1
    penalised = np.ones((shape[0], 1)) / len(x)
    penalised[-1] = 0.0
    rows = np.arange(len(y))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = inputs @ weights
        log_p = logits - log_sum_exp(logits)[:, None]
        residual = np.exp(log_p)
        residual[rows, y] -= 1
        gradient = inputs.T @ residual / len(y) + penalised * weights
        penalty = 0.5 * float((penalised * weights**2).sum())
        return penalty - float(log_p[rows, y].mean()), gradient.ravel()

    options = {"maxiter": 500, "gtol": 1e-4}
    from scipy.optimize import minimize

    found = minimize(
        objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return found.x.reshape(shape)


def probe_share(
    original: float | None, unlearned: float | None, retrained: float | None, *, noise: float = 0.0
) -> float | None:
    """How much of what unlearning could take out of the features is still there.

    (unlearned − retrained) / (original − retrained): 1 = as in the original, 0 = as if never seen;
    not clipped. None where a value is missing or original and retrained differ by no more than
    `noise` (the floor), so that there is no way to measure along.
    """
    if original is None or unlearned is None or retrained is None:
        return None
    way = original - retrained
    return (unlearned - retrained) / way if way > max(noise, 1e-9) else None


def linear_cka(first: np.ndarray, second: np.ndarray, *, debiased: bool = False) -> float | None:
    """Similarity of features (n, d) and (n, e) of the same pictures, 1 = same up to rotation.

    ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) on centred columns (Kornblith et al. 2019). `debiased` uses the
    unbiased HSIC of Song et al. (2012), needed when n is not much larger than d; it may be slightly
    negative. None where a side is constant, not finite, or n < 4 when debiased.
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (first, second))
    if len(x) != len(y):
        raise ValueError(f"CKA needs the same pictures on both sides, not {len(x)} and {len(y)}.")
    if len(x) < (4 if debiased else 2) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    x, y = (side - side.mean(axis=0) for side in (x, y))
    hsic = _unbiased_hsic if debiased else _hsic
    own = hsic(x, x) * hsic(y, y)
    return float(hsic(x, y) / np.sqrt(own)) if own > 0 else None


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(y.T @ x).sum())


def _unbiased_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """n(n − 3) times the unbiased HSIC of the linear kernels, in O(n d e) without any n × n matrix.

    tr(K̃L̃) + 1ᵀK̃1 · 1ᵀL̃1 / ((n − 1)(n − 2)) − 2/(n − 2) · 1ᵀK̃L̃1, K̃ = XXᵀ with zero diagonal.
    """
    n = len(x)
    k, el = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    k_rows, l_rows = x @ x.sum(axis=0) - k, y @ y.sum(axis=0) - el
    product = float(np.square(y.T @ x).sum() - k @ el)
    sums = float(k_rows.sum() * l_rows.sum()) / ((n - 1) * (n - 2))
    return product + sums - 2 / (n - 2) * float(k_rows @ l_rows)


def sample_rows(n: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """At most `most` of the rows 0..n−1, ascending int64, drawn without repeats."""
    if n <= most:
        return np.arange(n)
    return np.sort(generator.choice(n, most, replace=False))
