"""Memorisation and influence estimated from models trained on random parts of the training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imu_core.errors import BadInput


@dataclass(frozen=True, eq=False)
class Memorisation:
    """One estimate a training picture; NaN where a picture was always in, or never."""

    value: np.ndarray
    """(n,), −1–1: how much likelier the picture is named rightly when it was trained on"""
    standard_error: np.ndarray
    """(n,)"""
    low: np.ndarray
    """(n,), lower end of the 95 % interval"""
    high: np.ndarray
    n_in: np.ndarray
    """int64 (n,): models that saw the picture"""
    n_out: np.ndarray


def memorisation(correct: np.ndarray, included: np.ndarray) -> Memorisation:
    """Pr[right | trained on] − Pr[right | left out] of each picture (Feldman and Zhang 2020,
    arXiv 2008.03703), from `correct` and `included`, both bool (M, n).

    The standard error and the interval add one right and one wrong answer to each side (Agresti
    and Caffo 2000), so that they are not zero where all of a few models agree.
    """
    correct, included = _checked(correct, included)
    n_in = included.sum(0)
    n_out = len(included) - n_in
    right_in = (correct & included).sum(0)
    right_out = (correct & ~included).sum(0)
    with np.errstate(invalid="ignore"):
        value = right_in / n_in - right_out / n_out
    share_in, share_out = (right_in + 1) / (n_in + 2), (right_out + 1) / (n_out + 2)
    variance = share_in * (1 - share_in) / (n_in + 2) + share_out * (1 - share_out) / (n_out + 2)
    unknown = ~np.isfinite(value)
    error = np.where(unknown, np.nan, np.sqrt(variance))
    centre = share_in - share_out
    low = np.clip(centre - 1.96 * error, -1, 1)
    high = np.clip(centre + 1.96 * error, -1, 1)
    return Memorisation(value, error, low, high, n_in, n_out)


def subset_influence(correct: np.ndarray, included: np.ndarray, *, chunk: int = 4096) -> np.ndarray:
    """Pr[test picture right | i trained on] − Pr[… | left out], float32 (n, T), for `correct`
    bool (M, T) and `included` bool (M, n); NaN where a picture was always in, or never.

    The same definition as memorisation, on other pictures; its standard error is about 1/√M.
    """
    correct = np.asarray(correct, dtype=np.float32)
    included = np.asarray(included, dtype=bool)
    if correct.ndim != 2 or included.ndim != 2 or len(correct) != len(included):
        raise BadInput("Answers and memberships must have one row a model.")
    total = correct.sum(0)
    result = np.empty((included.shape[1], correct.shape[1]), dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, included.shape[1], chunk):
            inside = included[:, start : start + chunk].astype(np.float32)
            n_in = inside.sum(0)[:, None]
            right_in = inside.T @ correct
            shares = right_in / n_in - (total - right_in) / (len(correct) - n_in)
            result[start : start + chunk] = np.where(np.isfinite(shares), shares, np.nan)
    return result


def random_halves(n: int, n_models: int, seed: int) -> np.ndarray:
    """bool (M, n): which pictures each model sees. Models 2k and 2k+1 see the two halves of one
    random split, so that with M even every picture is in for exactly M/2 models."""
    if n < 4 or n_models < 2:
        raise BadInput("Random halves need at least four pictures and two models.")
    included = np.zeros((n_models, n), dtype=bool)
    for pair in range(0, n_models, 2):
        # One generator a pair: more models later leave the earlier splits as they are.
        order = np.random.default_rng([seed, pair]).permutation(n)
        included[pair, order[: n // 2]] = True
        if pair + 1 < n_models:
            included[pair + 1] = ~included[pair]
    return included


def _checked(correct: np.ndarray, included: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    correct, included = np.asarray(correct, dtype=bool), np.asarray(included, dtype=bool)
    if correct.ndim != 2 or correct.shape != included.shape:
        raise BadInput(
            f"Answers of shape {correct.shape} and memberships of shape {included.shape} do not "
            "fit; both are one row a model, one column a picture."
        )
    if len(correct) < 2:
        raise BadInput("Memorisation needs at least two models.")
    return correct, included
