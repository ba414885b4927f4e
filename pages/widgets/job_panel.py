"""A job on the page: what it does, how far it is, Cancel; polled by a small fragment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import resources

if TYPE_CHECKING:
    from imu_core.runs import JobStatus

POLL_S = 0.6


def line(job: JobStatus) -> str:
    """How far a job is, in words and with its count."""
    if job.state == "queued":
        return f"Waiting, number {job.place} in the queue"
    if job.state == "running":
        count = f" · {job.done:,} of {job.of:,}" if job.of else ""
        return f"{job.text or 'Starting'}{count}"
    return {"done": "Done", "cancelled": "Cancelled"}.get(job.state, job.error)


def share(job: JobStatus) -> float:
    """The part that is done, from 0 to 1."""
    return min(1.0, job.done / job.of) if job.of else 0.0


def draw(job: JobStatus, *, key: str) -> None:
    """One job: title, bar, Cancel while it can be cancelled."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(share(job), text=f"{job.title}: {line(job)}")
        if not job.ended:
            st.button(
                "Cancel",
                key=f"cancel:{key}:{job.id}",
                icon=":material/cancel:",
                on_click=resources.job_queue().cancel,
                args=(job.id,),
            )


@st.fragment(run_every=POLL_S)
def wait_for(job_id: str) -> None:
    """Draws the job until it has ended, then runs the page again."""
    job = resources.job_queue().status(job_id)
    if job is None or job.ended:
        st.rerun()
    draw(job, key="wait")
