"""The run that the Compare pages are about, with all that is read of it, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from imu_core.errors import RunError
from pages.widgets import errors, example, resources, routes, session

if TYPE_CHECKING:
    from imu_core.evaluation.membership import Membership
    from imu_core.evaluation.outputs import Outputs
    from imu_core.images import ImageSet
    from imu_core.runs import Run


MOST_RUNS = 200


@dataclass(eq=False)
class Comparison:
    """A finished run: its record and metrics, and its outputs once they are asked for."""

    run: Run
    record: dict[str, Any]
    metrics: dict[str, Any]

    @cached_property
    def images(self) -> ImageSet:
        return resources.image_set(self.record["image_set"]["name"])

    @cached_property
    def before(self) -> Outputs:
        return self.run.original_outputs()

    @cached_property
    def after(self) -> Outputs:
        return self.run.outputs()

    @cached_property
    def retrained(self) -> list[Outputs]:
        return self.run.retrained_outputs()

    @cached_property
    def models(self) -> dict[str, Outputs]:
        """Original, unlearned and, where there is one, the first retrained model by their names."""
        models = {"Original": self.before, "Unlearned": self.after}
        return {**models, "Retrained": self.retrained[0]} if self.retrained else models

    @cached_property
    def forget(self) -> np.ndarray:
        return self.run.forget_ids.numpy()

    @cached_property
    def retain(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.record["image_set"]["n_train"]), self.forget)

    @cached_property
    def memberships(self) -> dict[str, Membership]:
        """The attack on every model, each retrained one by its number."""
        from imu_core.evaluation.metrics import membership_of

        named = {"Original": self.before, "Unlearned": self.after}
        named |= {f"Retrained {i + 1}": outputs for i, outputs in enumerate(self.retrained)}
        ids = self.run.forget_ids
        return {name: membership_of(outputs, self.images, ids) for name, outputs in named.items()}

    @property
    def class_names(self) -> list[str]:
        return self.record["image_set"]["class_names"]


@st.cache_resource(max_entries=6, show_spinner=False)
def _comparison(run_id: str, finished: str) -> Comparison:
    """A run by its id; `finished` changes when the folder's content does."""
    run = resources.find_run(run_id)
    return Comparison(run, run.record, run.metrics())


def load(run_id: str) -> Comparison:
    """The comparison of a run with metrics; one without is a `RunError`."""
    run = resources.find_run(run_id)
    record = run.record
    if not run.has_metrics():
        raise RunError(
            f"Run {run_id} is {record['state']} and has no results to compare; "
            "open one that is done, or start it again."
        )
    return _comparison(run_id, f"{record['state']} {len(record['references'])}")


def chosen() -> Comparison | None:
    """The run to compare: from the address, else the last looked at, else a choice on the page.

    Draws the choice, or what to do where there is no run yet.
    """
    ids = _run_ids()
    asked = session.run_id()
    if asked and asked not in ids:
        with errors.shown():
            comparison = load(asked)
            _remember(asked)
            return comparison
        asked = ""
    if not ids:
        st.info("There is no finished run yet. Choose pictures and unlearn them first.")
        if st.button("Choose pictures", type="primary", icon=":material/photo_library:"):
            routes.to_forget()
        return None
    picked = st.selectbox(
        "Run",
        ids,
        index=ids.index(asked) if asked in ids else 0,
        format_func=_label,
        key=f"compare_run_{asked}",
    )
    _remember(picked)
    with errors.shown():
        return load(picked)
    return None


def _run_ids() -> list[str]:
    """Runs with results, the newest first, and the shipped example last."""
    ids = [run.id for run in resources.run_store().runs()[:MOST_RUNS] if run.has_metrics()]
    shipped = example.shipped_example()
    return [*ids, shipped.id] if shipped is not None else ids


def _label(run_id: str) -> str:
    """`IMU · digits · class 3 (146 pictures) · seed 0 · 2026-01-31 12:00`"""
    record = resources.find_run(run_id).record
    parts = [
        record["method"]["title"],
        record["image_set"]["name"],
        "; ".join(record["forget"]["history"])[:60] or f"{record['forget']['n']:,} pictures",
        f"seed {record['spec']['seed']}",
        record["created"][:16].replace("T", " "),
    ]
    return " · ".join(parts)


def _remember(run_id: str) -> None:
    session.choose_run(run_id)
    if st.query_params.get("run") != run_id:
        st.query_params["run"] = run_id
