"""What forgetting the set will do to the head, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from imu_core.display import number
from imu_core.influence import FROZEN, Effect, Removal
from pages.inspect.head import Asked, Head, effect_on, head, removal
from pages.widgets import errors, explain, influence_figures, resources, session
from pages.widgets.words import percent, pictures

TITLES = {
    "newton": "Newton step",
    "influence": "Influence sum",
    "refit": "Steps to the end",
}
WORDS = {"Newton step": "Newton step", "Steps to the end": "steps to the end"}
UNFINISHED = 0.2
"""Share of the gradient left after one step from which on the page says that it is not enough."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One kind of prediction with its effect on the test pictures."""

    gone: Removal
    test: Effect


def draw(which: Asked, digest: str, ids: tuple[int, ...]) -> dict[str, Prediction] | None:
    """Draws the predictions and returns them by kind; None where there can be none."""
    st.subheader("What forgetting them will do")
    st.caption(f"{FROZEN[:1].upper()}{FROZEN[1:]}.")
    with errors.shown():
        known = head(which)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            measure = st.segmented_control(
                "Change of",
                ["Accuracy", "Margin"],
                default="Accuracy",
                required=True,
                key="inspect:measure",
            )
            to_the_end = st.toggle(
                "Repeat the step until nothing moves",
                key="inspect:refit",
                help="The exact answer for the head: some more seconds on large sets.",
            )
        kinds = ["newton", "influence", *(["refit"] if to_the_end else [])]
        found = {kind: _predict(which, known, digest, ids, kind) for kind in kinds}
        _bars(which, found, measure or "Accuracy")
        _overall(which, known, ids, found)
        _how_far(known, found["newton"].gone, to_the_end)
        _explain()
        return found
    return None


def _predict(which: Asked, known: Head, digest: str, ids: tuple[int, ...], kind: str) -> Prediction:
    gone = removal(which, digest, ids, kind)
    return Prediction(gone, effect_on(known, gone, None))


def class_changes(effect: Effect, labels: np.ndarray, measure: str) -> np.ndarray:
    """Change of each class: accuracy (−1–1), or mean margin; NaN for a class without pictures."""
    if measure == "Accuracy":
        return effect.class_accuracy_after - effect.class_accuracy_before
    moved = effect.margin_after - effect.margin_before
    sums = np.bincount(labels, weights=moved, minlength=len(effect.class_n))
    with np.errstate(invalid="ignore"):
        return sums / effect.class_n


def _bars(which: Asked, found: dict[str, Prediction], measure: str) -> None:
    opened = resources.image_set(which.images)
    labels = opened.test_labels.numpy()
    bars = {TITLES[kind]: class_changes(one.test, labels, measure) for kind, one in found.items()}
    inside = opened.train_labels.numpy()[list(session.forget_ids())]
    chosen = np.bincount(inside, minlength=opened.n_classes) > 0
    marked = chosen if not chosen.all() else np.zeros_like(chosen)
    st.plotly_chart(
        influence_figures.class_figure(bars, opened.class_names, marked, measure),
        key="inspect:classes",
        alt=f"Predicted change of {measure.lower()} of every class on the test pictures",
    )
    st.markdown(_bars_sentence(list(opened.class_names), bars, measure))


def _bars_sentence(names: list[str], bars: dict[str, np.ndarray], measure: str) -> str:
    exact = "Steps to the end"
    leading = exact if exact in bars else "Newton step"
    values = np.nan_to_num(bars[leading])
    if not np.any(values):
        return (
            f"By the {WORDS[leading]} no class gains or loses a test picture: accuracy is too "
            "coarse to show the effect, the margin shows it."
            if measure == "Accuracy"
            else "No margin moves at all."
        )

    def told(label: int) -> str:
        value = float(values[label])
        text = f"{100 * abs(value):.1f} points" if measure == "Accuracy" else number(abs(value))
        return f"“{names[label]}” {'loses' if value < 0 else 'gains'} {text}"

    order = np.argsort(values)
    parts = [told(int(order[0]))]
    if values[order[-1]] > 0 and order[-1] != order[0]:
        parts.append(told(int(order[-1])))
    kind = "accuracy" if measure == "Accuracy" else "mean margin"
    text = f"By the {WORDS[leading]}, in {kind} on the test pictures " + ", ".join(parts) + "."
    low, sums = float(values[order[0]]), np.nan_to_num(bars["Influence sum"])[order[0]]
    if low < 0:
        share = float(sums) / low
        text += (
            f" The influence sum sees {percent(share)} of that fall."
            if share > 0
            else " The influence sum sees nothing of that fall."
        )
    return text


def _overall(which: Asked, known: Head, ids: tuple[int, ...], found: dict[str, Prediction]) -> None:
    n = known.refit.problem.n
    held = set(ids)
    protected = tuple(i for i in session.protected_ids() if i not in held)
    groups: dict[str, tuple[int, ...] | None] = {
        "Test pictures, all": None,
        "Forget set": ids,
        "Retain set": tuple(i for i in range(n) if i not in held),
    }
    if protected:
        groups["Protected pictures"] = protected
    rows = []
    for name, group in groups.items():
        effects = {kind: effect_on(known, one.gone, group) for kind, one in found.items()}
        first = effects["newton"]
        row = {"Pictures": name, "n": f"{len(first.margin_before):,}"}
        row["Accuracy now"] = percent(first.accuracy_before)
        row |= {TITLES[kind]: percent(one.accuracy_after) for kind, one in effects.items()}
        row["Probability shift"] = percent(float(first.probability_shift.mean()))
        rows.append(row)
    st.table(rows, alt="Predicted accuracy on all test pictures, the forget, retain and protected")
    first = found["newton"].test
    change = 100 * (first.accuracy_after - first.accuracy_before)
    text = (
        f"Overall accuracy on the {pictures(len(first.margin_before))} held out is predicted to "
        + (
            f"{'fall' if change < 0 else 'rise'} by {abs(change):.1f} points."
            if change
            else "stay as it is."
        )
    )
    if not protected:
        text += " No picture is protected."
    st.markdown(text)


def _how_far(known: Head, gone: Removal, to_the_end: bool) -> None:
    """How good the prediction is of its own kind: what the steps left over."""
    left = gone.gradient_norm / max(gone.gradient_norm_before, 1e-300)
    text = (
        f"Probability shift on the retain set {percent(gone.probability_shift)}. Residual gradient "
        f"{number(gone.gradient_norm)}, {percent(left)} of {number(gone.gradient_norm_before)} "
        "before the Newton step. Fitting the head to its optimum first moved the probabilities by "
        f"{percent(known.refit.probability_shift)} (gradient "
        f"{number(known.refit.gradient_norm_before)} → {number(known.refit.gradient_norm)})."
    )
    st.caption(text)
    if left > UNFINISHED and not to_the_end:
        st.info(
            f"One Newton step leaves {percent(left)} of the gradient: this set pulls together so "
            "strongly that the true effect is larger. Repeat the step until nothing moves to see "
            "it whole.",
            icon=":material/info:",
        )


def _explain() -> None:
    explain.how(
        "The head is refit on the features of all training pictures until its gradient is zero; "
        "the forget pictures are then taken out. The influence sum adds up what each picture would "
        "do alone, with the Hessian of all; the Newton step solves once with the Hessian of the "
        "retain set. For pictures that look alike the sum ranks rightly but is several times too "
        "small. The probability shift of a picture is half the sum of the changes of its class "
        "probabilities. What this does not say: features stay frozen and there is one model only; "
        "a model trained anew would learn other features, and another seed another head.",
        formula=r"\theta_{\mathrm{sum}} = \theta + H^{-1}\tfrac1n\sum_{i\in F} g_i,\qquad "
        r"\theta_{\mathrm{Newton}} = \theta + H_R^{-1}\tfrac1n\sum_{i\in F} g_i",
        reference="Koh and Liang, arXiv 1703.04730; Rubinstein and Hopkins, arXiv 2512.12572",
        key="inspect:predicted",
    )
