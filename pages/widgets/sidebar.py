"""The sidebar of every page: images, model, forget set, runs. A choice here holds everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.widgets import routes, session
from pages.widgets.words import pictures, sentence

if TYPE_CHECKING:
    from imu_core.runs import JobStatus, Run

N_THUMBNAILS = 8
N_RUNS = 3
LONGEST = 32  # one line of the sidebar
STATE_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/progress_activity:",
    "done": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "interrupted": ":material/power_off:",
}


def draw(slot: DeltaGenerator) -> None:
    """Draws all four parts into `slot`."""
    with slot, st.skeleton():
        # Imported here, under the skeleton: the first import of the engine takes seconds.
        from pages.widgets import model_choice

        model_choice.take_finished_models()
        if model_choice.image_choice():
            model_choice.model_choice()
            _forget_set()
        _jobs_and_runs()


def _forget_set() -> None:
    from pages.widgets import thumbnails
    from pages.widgets.forget_words import class_summary

    ids = session.forget_ids()
    st.markdown(f"**Forget set** · {pictures(len(ids))}")
    # A place of its own: with or without pictures the buttons below keep theirs.
    with st.container():
        if ids:
            few = _spread(ids, N_THUMBNAILS)
            st.image(
                thumbnails.sheet(session.images(), few, columns=N_THUMBNAILS, side=26),
                alt=f"{len(few)} of the {len(ids)} pictures to be forgotten",
            )
            st.caption(sentence(class_summary(session.images(), ids)))
        else:
            st.caption("Nothing chosen yet.")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Undo",
            icon=":material/undo:",
            key="sidebar:undo",
            disabled=not session.can_undo(),
            on_click=session.undo,
        )
        if st.button("Change" if ids else "Choose pictures", key="sidebar:choose", type="tertiary"):
            routes.to_forget()


def _spread(ids: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Up to `most` of the ids, evenly over all of them."""
    return tuple(ids[i * len(ids) // most] for i in range(most)) if len(ids) > most else ids


def _jobs_and_runs() -> None:
    from pages.widgets import resources

    busy = any(not job.ended for job in resources.job_queue().jobs())
    st.markdown("**Runs**")
    if busy:
        _polled_jobs()
    runs = resources.run_store().runs()[: N_RUNS + 1]
    ended = [run for run in runs if run.state != "running"][:N_RUNS]
    with st.container(gap=None):
        for run in ended:
            _run_line(run)
    if not ended and not busy:
        st.caption("No runs yet.")


@st.fragment(run_every=1.0)
def _polled_jobs() -> None:
    """What runs and waits now; runs the page again as soon as one of the jobs has ended."""
    from pages.widgets import model_choice, resources

    active = [job for job in resources.job_queue().jobs() if not job.ended]
    seen = st.session_state.get("sidebar:active", ())
    now = tuple(sorted(job.id for job in active))
    st.session_state["sidebar:active"] = now
    if model_choice.take_finished_models() or set(seen) - set(now):
        st.rerun()
    for job in reversed(active):
        _job_line(job)


def _job_line(job: JobStatus) -> None:
    from pages.widgets import job_panel, resources

    st.progress(job_panel.share(job), text=f"{job.title}: {job_panel.line(job)}")
    st.button(
        "Cancel",
        key=f"sidebar:cancel:{job.id}",
        type="tertiary",
        icon=":material/cancel:",
        on_click=resources.job_queue().cancel,
        args=(job.id,),
    )


def _run_line(run: Run) -> None:
    record = run.record
    what = "; ".join(record["forget"]["history"]) or pictures(record["forget"]["n"])
    label = f"{record['method']['title']}, {what}"
    if st.button(
        label if len(label) <= LONGEST else label[: LONGEST - 1] + "…",
        icon=STATE_ICONS.get(record["state"], ":material/help:"),
        key=f"sidebar:run:{run.id}",
        type="tertiary",
        help=f"{label}: {record['state']}, {record['image_set']['title']}, "
        f"{pictures(record['forget']['n'])}, seed {record['spec']['seed']}",
    ):
        routes.to_unlearn(run.id)
