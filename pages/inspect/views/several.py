"""Several models: what one model's prediction is worth, and which pictures are memorised."""

from __future__ import annotations

import numpy as np
import streamlit as st

from imu_core.display import number
from imu_core.ensemble import Ensemble
from imu_core.influence import Memorisation, agreement
from pages.inspect import found_run, members, pictures
from pages.inspect.head import Asked, effect_on, head, removal
from pages.inspect.views.measured import margin_changes
from pages.widgets import errors, explain, influence_figures, job_panel, resources
from pages.widgets.words import pictures as counted

N_SHOWN = 8
FIRST = 4
AT_ONCE = 12_000
"""Pictures over all models up to which their heads are fitted without being asked for."""
SURE = 8
"""Models from which on memorisation of single pictures is worth showing as a chart."""


def draw(which: Asked, digest: str, ids: tuple[int, ...]) -> None:
    st.subheader("Several models")
    with errors.shown():
        if not resources.header(which.checkpoint).recipe:
            st.info("This model does not say how it was trained, so no others can be trained.")
            return
        job = st.session_state.get("inspect:members-job", "")
        status = resources.job_queue().status(job) if job else None
        if status is not None and not status.ended:
            job_panel.wait_for(job)
            return
        if status is not None and status.state in ("failed", "cancelled"):
            st.warning(job_panel.line(status), icon=":material/warning:")
        ensemble = members.found(which)
        n_models = _form(which, ensemble)
        if ensemble is not None:
            used = min(ensemble.n_models, n_models)
            n_fitted = used * resources.image_set(which.images).n_train
            if st.toggle(
                f"Average the prediction over {used} models",
                value=n_fitted <= AT_ONCE,
                key="inspect:averaged",
                help="Fits the head of each of them first: seconds a model on large sets.",
            ):
                _averaged(which, ensemble, used, digest, ids)
            _memorised(which, ensemble, ids)
        explain.how(
            "Every model is trained by the recipe of this one on a random half of the training "
            "pictures, in complementary pairs, so that each picture is in for half of them. "
            "Memorisation of a picture is the share of models that name it rightly when they saw "
            "it, minus the share when they did not. Predictions are averaged over the models: the "
            "noise of one training run cancels. What it does not say: halves know less than the "
            "whole, and with M models an estimate of one picture is uncertain by about 1/√M.",
            formula=r"\mathrm{mem}(i) = \Pr[f(x_i)=y_i \mid i\in S] - "
            r"\Pr[f(x_i)=y_i \mid i\notin S]",
            reference="Feldman and Zhang, arXiv 2008.03703; Park et al., arXiv 2303.14186",
            key="inspect:several",
        )


def _form(which: Asked, ensemble: Ensemble | None) -> int:
    have = ensemble.n_models if ensemble is not None else 0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.slider(
            "Models (M)",
            2,
            members.MOST,
            max(FIRST, have),
            step=2,
            key="inspect:members",
            width=420,
        )
        missing = max(0, wanted - have)
        if st.button(
            f"Train {missing} {'model' if missing == 1 else 'models'}" if missing else "All there",
            key="inspect:train",
            icon=":material/model_training:",
            disabled=not missing,
        ):
            st.session_state["inspect:members-job"] = members.train(which, wanted)
            st.rerun()
    if not have:
        st.caption(
            "None trained yet. One model's prediction holds the noise of its training; the "
            "average over several agrees better with real retraining."
        )
    return wanted


def _averaged(
    which: Asked, ensemble: Ensemble, used: int, digest: str, ids: tuple[int, ...]
) -> None:
    known = members.heads(which, ensemble, used)
    found = members.effects(which, ensemble, known, digest, ids)
    falls = np.array([one.accuracy_after - one.accuracy_before for one in found])
    error = 100 * falls.std(ddof=1) / np.sqrt(used)
    text = (
        f"Averaged over {used} models, overall accuracy on the test pictures is predicted to "
        f"change by {pictures.signed(float(100 * falls.mean()))} ± {number(float(error))} points."
    )
    run = next((one for one in found_run.of_forget_set(which) if one.record["references"]), None)
    if run is not None:
        labels = resources.image_set(which.images).test_labels.numpy()
        measured = margin_changes(run, None, labels)["Retrained"]
        moved = [one.margin_after - one.margin_before for one in found]
        own = effect_on(head(which), removal(which, digest, ids, "newton"), None)
        single = agreement(own.margin_after - own.margin_before, measured)
        many = agreement(np.mean(moved, axis=0), measured)
        if single.pearson is not None and many.pearson is not None:
            text += (
                f" With the change that retraining made it agrees at r = {many.pearson:.2f}; "
                f"this one model alone at r = {single.pearson:.2f} (n = {many.n:,})."
            )
    st.markdown(text)


def _memorised(which: Asked, ensemble: Ensemble, ids: tuple[int, ...]) -> None:
    known = members.memorisation(which, ensemble)
    inside = np.zeros(len(known.value), dtype=bool)
    inside[list(ids)] = True
    values = known.value
    if ensemble.n_models >= SURE:
        st.plotly_chart(
            influence_figures.memorisation_figure(values[inside], values[~inside]),
            key="inspect:memorisation",
            alt="Memorisation of the forget pictures and of all others",
        )
    st.markdown(_memorised_sentence(known, inside, ensemble.n_models))
    order = np.argsort(-known.low[inside], kind="stable")[:N_SHOWN]
    shown = [ids[place] for place in order if values[ids[place]] > 0]
    if shown:
        st.markdown("**Most memorised of the forget set**")
        captions = [f"{values[one]:.2f} ± {known.standard_error[one]:.2f}" for one in shown]
        pictures.row_of(
            shown, captions, "memorised", key="inspect:memorised", on_look=pictures.look_at
        )


def _memorised_sentence(known: Memorisation, inside: np.ndarray, n_models: int) -> str:
    mean, others = known.value[inside].mean(), known.value[~inside].mean()
    text = (
        f"Over {n_models} models the {counted(int(inside.sum()))} of the forget set have a mean "
        f"memorisation of {mean:.3f}, the others {others:.3f}; the standard error of one picture "
        f"is about {known.standard_error[inside].mean():.2f}."
    )
    sure = int((known.low[inside] > 0).sum())
    return text + (
        f" {counted(sure)} of the forget set lie surely above zero (95 %)."
        if sure
        else " No single one lies surely above zero: train more models to tell."
    )
