"""After a run: what was predicted for the head against what was measured on whole models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from imu_core.evaluation.membership import phi
from imu_core.influence import Agreement, agreement
from pages.inspect import found_run
from pages.inspect.head import Asked, Head, effect_on, head
from pages.inspect.views.predicted import Prediction
from pages.widgets import explain, influence_figures, resources, routes

if TYPE_CHECKING:
    from imu_core.runs import Run

MOST_POINTS = 2000
Rows = tuple[int, ...] | None


def draw(
    which: Asked, digest: str, ids: tuple[int, ...], predictions: dict[str, Prediction]
) -> None:
    st.subheader("Predicted against measured")
    runs = found_run.of_forget_set(which)
    if not runs:
        st.info(
            "There is no run of this forget set on this model yet. Unlearn it, with retrained "
            "references, and the prediction is held against what came out.",
            icon=":material/play_circle:",
        )
        if st.button("Unlearn these", key="inspect:unlearn"):
            routes.to_unlearn()
        return
    run = runs[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(runs) > 1:
            titles = {one.id: found_run.title(one) for one in runs}
            picked = st.selectbox("Run", list(titles), format_func=titles.get, key="inspect:run")
            run = next((one for one in runs if one.id == picked), runs[0])
        part = st.segmented_control(
            "Pictures",
            ["Test pictures", "Forget set"],
            default="Test pictures",
            required=True,
            key="inspect:part",
        )
    kind = "refit" if "refit" in predictions else "newton"
    rows = ids if part == "Forget set" else None
    known = head(which)
    effect = effect_on(known, predictions[kind].gone, rows)
    _chart(which, run, known, rows, effect.margin_after - effect.margin_before, kind)


def margin_changes(run: Run, rows: Rows, labels: np.ndarray) -> dict[str, np.ndarray]:
    """How far each model moved the margin of every picture from the original's: (m,) a model."""

    def margins(outputs) -> np.ndarray:
        logits = outputs.test_logits if rows is None else outputs.train_logits[list(rows)]
        return phi(logits, labels)

    before = margins(run.original_outputs())
    retrained = [margins(one) - before for one in run.retrained_outputs()]
    moved = {"Retrained": np.mean(retrained, axis=0)} if retrained else {}
    moved |= {f"Retrained {i + 1}": one for i, one in enumerate(retrained)}
    return moved | {"Unlearned": margins(run.outputs()) - before}


def _chart(
    which: Asked, run: Run, known: Head, rows: Rows, predicted: np.ndarray, kind: str
) -> None:
    opened = resources.image_set(which.images)
    labels = opened.test_labels.numpy() if rows is None else opened.train_labels.numpy()[list(rows)]
    moved = margin_changes(run, rows, labels)
    shown = {name: moved[name] for name in ("Retrained", "Unlearned") if name in moved}
    if rows is None:
        names = [f"test picture {i}" for i in range(len(labels))]
    else:
        names = [f"picture {i}" for i in rows]
    text = [f"{n}, {opened.class_names[y]}" for n, y in zip(names, labels, strict=True)]
    step = max(1, len(labels) // MOST_POINTS)
    st.plotly_chart(
        influence_figures.agreement_figure(
            {name: one[::step] for name, one in shown.items()}, predicted[::step], text[::step]
        ),
        key="inspect:agreement",
        alt="Predicted change of the margin against the measured one",
    )
    chosen = set(opened.train_labels[run.forget_ids].tolist())
    apart = np.array([label not in chosen for label in labels])
    fits = {name: agreement(predicted, one) for name, one in shown.items()}
    rest = (
        {name: agreement(predicted[apart], one[apart]) for name, one in shown.items()}
        if 3 <= apart.sum() < len(labels)
        else {}
    )
    _table(fits, rest)
    st.markdown(_sentence(fits, rest, moved, kind))
    explain.how(
        "A point is one picture: upwards the change of its logit margin that the head alone was "
        "predicted to make, to the right the change from the original to the model retrained "
        "without the forget set (the mean of all retrained ones) or to the unlearned model. "
        "A slope of 1 is right in size, below 1 an underestimate. What it does not say: the "
        "measured side holds the noise of training anew, and when a whole class goes the "
        "correlation is carried by that class, so it is also given without it.",
        formula=r"\varphi = z_y - \log\sum_{j\neq y} e^{z_j}",
        key="inspect:measured",
    )


def _table(fits: dict[str, Agreement], rest: dict[str, Agreement]) -> None:
    def row(name: str, pictures: str, fit: Agreement) -> dict[str, str]:
        return {
            "Measured": f"{name} minus original",
            "Pictures": pictures,
            "Correlation": _number(fit.pearson),
            "Rank correlation": _number(fit.spearman),
            "Slope": _number(fit.slope),
            "n": f"{fit.n:,}",
        }

    rows = [row(name, "all", fit) for name, fit in fits.items()]
    rows += [row(name, "of the other classes", fit) for name, fit in rest.items()]
    st.table(rows, alt="Correlation, rank correlation and slope of predicted on measured")


def _number(value: float | None) -> str:
    return "cannot be had" if value is None else f"{value:.2f}".replace("-", "−")


def _sentence(
    fits: dict[str, Agreement],
    rest: dict[str, Agreement],
    moved: dict[str, np.ndarray],
    kind: str,
) -> str:
    step = "The steps to the end" if kind == "refit" else "The Newton step"
    name = "Retrained" if "Retrained" in fits else "Unlearned"
    fit, whom = fits[name], {"Retrained": "retraining", "Unlearned": "the unlearned model"}[name]
    if fit.pearson is None:
        return f"{step} and {whom} cannot be compared on {fit.n:,} pictures: one side is flat."
    text = f"{step} agrees with {whom} at r = {_number(fit.pearson)} (n = {fit.n:,})"
    if kind == "refit":
        text = text.replace("agrees", "agree")
    if fit.slope is not None:
        text += f" and foresees {max(0.0, 100 * fit.slope):.0f} % of the size"
    if name in rest and rest[name].pearson is not None:
        text += f"; on the other classes alone r = {_number(rest[name].pearson)}"
    if name == "Unlearned":
        return text + ". There is no retrained model of this set to hold it against."
    if "Retrained 2" in moved:
        between = agreement(moved["Retrained 1"], moved["Retrained 2"])
        text += (
            f". Two retrained models agree with each other at r = {_number(between.pearson)}: "
            "a prediction can hardly do better"
        )
    return text + "."
