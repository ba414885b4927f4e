"""Runs: the earlier runs of this server, to open, compare or delete."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.widgets import errors, routes

if TYPE_CHECKING:
    import pandas as pd

    from imu_core.runs import Run

MOST = 500
ACCURACIES = {
    "forget_accuracy": "Forget",
    "retain_accuracy": "Retain",
    "test_accuracy": "Test",
}

st.title("Earlier runs")
st.markdown("Select a run to watch it again, to compare it, or to delete it.")


def draw_page() -> None:
    from pages.widgets import resources

    runs = resources.run_store().runs()[:MOST]
    if not runs:
        st.info("No run has been started here yet.", icon=":material/history:")
        with st.container(horizontal=True):
            if st.button("Choose pictures", type="primary", icon=":material/photo_library:"):
                routes.to_forget()
        return
    frame = _frame(runs)
    event = st.dataframe(
        frame,
        column_config=_columns(),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs:{len(runs)}:{runs[0].id}",
        height="content" if len(runs) <= 12 else 460,
        alt="Earlier runs with their state, accuracies and seconds",
    )
    picked = [runs[row] for row in event["selection"]["rows"] if row < len(runs)]
    _buttons(picked)
    finished = sum(frame["State"] == "done")
    st.markdown(
        f"{len(runs):,} runs, {finished:,} of them finished. Accuracies are those of the unlearned "
        "model; test accuracy is over the classes still to be known. Seconds are the method's own."
    )


def _frame(runs: list[Run]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_row(run) for run in runs])


def _row(run: Run) -> dict[str, Any]:
    record = run.record
    after = run.metrics()["after"] if run.has_metrics() else {}
    return {
        "State": record["state"],
        "Method": record["method"]["title"],
        "Images": record["image_set"]["title"],
        "Forget set": "; ".join(record["forget"]["history"]) or f"{record['forget']['n']} ids",
        "Pictures": record["forget"]["n"],
        "Seed": record["spec"]["seed"],
        **{title: _per_cent(after.get(name)) for name, title in ACCURACIES.items()},
        "Retrained": len(record["references"]),
        "Seconds": record["seconds"]["method"] or None,
        "Started": datetime.fromisoformat(record["created"]),
        "Run": run.id,
    }


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _columns() -> dict[str, Any]:
    percent = {
        title: st.column_config.NumberColumn(title, format="%.1f %%")
        for title in ACCURACIES.values()
    }
    return percent | {
        "State": st.column_config.TextColumn("State", pinned=True),
        "Pictures": st.column_config.NumberColumn("Pictures", format="%d"),
        "Seconds": st.column_config.NumberColumn("Seconds", format="%.2g"),
        "Started": st.column_config.DatetimeColumn("Started", format="D MMM, HH:mm:ss"),
    }


def _buttons(picked: list[Run]) -> None:
    one = picked[0] if len(picked) == 1 else None
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Compare",
            type="primary",
            icon=":material/compare:",
            disabled=one is None or not one.has_metrics(),
            key="runs:compare",
        ):
            routes.to_compare(one.id)
        if st.button(
            "Watch", icon=":material/play_circle:", disabled=one is None, key="runs:watch"
        ):
            routes.to_unlearn(one.id)
        if st.button(
            f"Delete {len(picked)}" if len(picked) > 1 else "Delete",
            icon=":material/delete:",
            disabled=not picked,
            key="runs:delete",
        ):
            confirm_delete([run.id for run in picked])
        if not picked:
            st.caption("Select rows at their left edge.")


@st.dialog("Delete for good?")
def confirm_delete(ids: list[str]) -> None:
    """Asks once more, then removes the folders of these runs."""
    from pages.widgets import resources

    many = "run" if len(ids) == 1 else "runs"
    st.markdown(
        f"{len(ids)} {many} with weights, outputs and numbers. Retrained models stay, because "
        "other runs may compare with them."
    )
    st.caption("  \n".join(ids[:10]) + ("  \n…" if len(ids) > 10 else ""))
    if st.button("Delete", type="primary", icon=":material/delete:", key="runs:delete:sure"):
        with errors.shown():
            for run_id in ids:
                resources.run_store().open(run_id).delete()
            st.rerun()


draw_page()
