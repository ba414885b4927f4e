"""The run to hold predictions against: the one looked at, or one of this very forget set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from imu_core.errors import RunError
from imu_core.runs import RunStore
from pages.inspect.head import Asked
from pages.widgets import example, forget_bar, resources, session

if TYPE_CHECKING:
    from imu_core.runs import Run

MOST_RUNS = 200


@st.cache_resource(max_entries=16, show_spinner=False)
def _digest(checkpoint: str, stamp: int) -> str:
    from imu_core.networks import checkpoint_digest

    return checkpoint_digest(checkpoint)


def model_digest(which: Asked) -> str:
    """What identifies the model by its content."""
    return _digest(which.checkpoint, which.stamp)


def of_forget_set(which: Asked) -> list[Run]:
    """Runs with results on the session's forget set and this model, the newest first."""
    wanted = (forget_bar.chosen_set().digest, model_digest(which))
    found = []
    for run in _with_results():
        record = run.record
        if (record["forget"]["digest"], record["checkpoint"]["digest"]) == wanted:
            found.append(run)
    return found


def to_look_at(which: Asked) -> Run | None:
    """The run looked at last where it is of this model, else the newest of this forget set."""
    if session.run_id():
        try:
            run = resources.find_run(session.run_id())
            if run.has_metrics() and run.record["checkpoint"]["digest"] == model_digest(which):
                return run
        except RunError:
            # The address may name any run; without it there is still the forget set's own.
            pass
    return next(iter(of_forget_set(which)), None) if session.forget_ids() else None


def title(run: Run) -> str:
    """`IMU · seed 0 · 2026-01-31 12:00`"""
    record = run.record
    created = record["created"][:16].replace("T", " ")
    return f"{record['method']['title']} · seed {record['spec']['seed']} · {created}"


def _with_results() -> list[Run]:
    stores = [resources.run_store(), RunStore(example.FOLDER)]
    return [run for store in stores for run in store.runs()[:MOST_RUNS] if run.has_metrics()]
