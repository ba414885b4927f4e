"""One run as it happens, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from imu_core.display import number, report_table, seconds
from imu_core.errors import RunError
from pages.widgets import charts, explain, resources, routes, run_progress, session
from pages.widgets.words import percent

if TYPE_CHECKING:
    from imu_core.runs import JobStatus, Run

POLL_S = 0.6
MUCH_LOST = 0.1
"""Fall of retain accuracy above which a run is called damaging, whatever rule it met."""


def draw(run_id: str) -> None:
    """Draws the run, polling while it is at work. An unknown id is a `RunError`."""
    job = resources.job_queue().status(run_id)
    if job is None:
        _finished(resources.find_run(run_id))
    elif job.ended:
        run = _folder(run_id)
        if run is None:
            _never_began(job)
        else:
            _finished(run)
    else:
        _polled(run_id)


def is_known(run_id: str) -> bool:
    """Whether there is such a run, in the queue or on disk."""
    return resources.job_queue().status(run_id) is not None or _folder(run_id) is not None


@st.fragment(run_every=POLL_S)
def _polled(run_id: str) -> None:
    job = resources.job_queue().status(run_id)
    if job is None or job.ended:
        st.rerun()
    run = _folder(run_id)
    if run is None:
        _title(job.title)
        _waiting(job)
        return
    progress = run_progress.read_progress(run.events())
    _title(_name(run))
    _bar(job, progress)
    if run.has_metrics():
        # Only retrained models are still to come; the comparison takes them in as they do.
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Compare before and after", icon=":material/compare:", key="live:early"):
                routes.to_compare(run_id)
            st.caption("The method is done; models are being retrained to compare with.")
    _pictures(progress)


def _folder(run_id: str) -> Run | None:
    try:
        return resources.find_run(run_id)
    except RunError:
        # A run that waits, or was refused before it began, has no folder.
        return None


def _name(run: Run) -> str:
    record = run.record
    return (
        f"{record['method']['title']} · {record['image_set']['title']} · "
        f"{record['forget']['n']:,} pictures · seed {record['spec']['seed']}"
    )


def _title(text: str) -> None:
    st.markdown(f"**{text}**")


def _waiting(job: JobStatus) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        place = f"Waiting, number {job.place} in the queue." if job.place else "Starting."
        st.info(place, icon=":material/hourglass_empty:")
        _cancel(job.id)


def _bar(job: JobStatus, progress: run_progress.RunProgress) -> None:
    count = f", {progress.done:,} of {progress.of:,}" if progress.of else ""
    left = progress.seconds_left
    time = f", at most {seconds(left)} left" if left is not None and progress.done else ""
    share = min(1.0, progress.done / progress.of) if progress.of else 0.0
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(share, text=f"{progress.text or 'Starting'}{count}{time}")
        _cancel(job.id)


def _cancel(job_id: str) -> None:
    st.button(
        "Cancel",
        icon=":material/cancel:",
        key=f"live:cancel:{job_id}",
        on_click=resources.job_queue().cancel,
        args=(job_id,),
    )


def _pictures(progress: run_progress.RunProgress) -> None:
    """Curves, path, loss and weights of what has happened so far."""
    import pandas as pd

    accuracies = run_progress.accuracy_rows(progress.probes)
    if not accuracies:
        st.caption("The curves begin with the first step.")
        return
    curves, path = st.columns(2)
    with curves:
        # Only the rows may change from tick to tick: another `alt` would build the chart anew.
        st.altair_chart(
            charts.accuracy_curves(pd.DataFrame(accuracies)),
            key="live:curves",
            alt="Accuracy on forget, retain and held-out pictures, step by step",
        )
    with path:
        st.altair_chart(
            charts.trade_off(pd.DataFrame(run_progress.path_rows(progress.probes))),
            key="live:path",
            alt="Retain accuracy against forget accuracy, step by step",
        )
    st.markdown(run_progress.in_words(progress))
    if progress.losses:
        frame = pd.DataFrame(progress.losses, columns=["step", "loss"])
        st.altair_chart(
            charts.loss_curve(frame), key="live:loss", alt="The method's loss, step by step"
        )
        st.markdown(_loss_in_words(progress))
    if progress.reports:
        headings, rows = report_table(progress.reports)
        st.table(
            [dict(zip(headings, row, strict=True)) for row in rows],
            alt="What the method reported of itself on the way",
        )


def _loss_in_words(progress: run_progress.RunProgress) -> str:
    first, last = progress.losses[0][1], progress.losses[-1][1]
    said = f"The method's own loss went from {number(first)} to {number(last)}."
    if weights := progress.weights:
        said += (
            f" Weights: {weights['used']:,} of {weights['n']:,} pictures in use, from "
            f"{number(weights['low'])} to {number(weights['high'])}, "
            f"mean {number(weights['mean'])}."
        )
    return said


def _never_began(job: JobStatus) -> None:
    _title(job.title)
    if job.state == "failed":
        st.error(job.error, icon=":material/error:")
    else:
        st.warning("This run was cancelled before it began.", icon=":material/cancel:")


def _finished(run: Run) -> None:
    """A run that is not at work in this process: how it ended, and all it left."""
    record, progress = run.record, run_progress.read_progress(run.events())
    _title(_name(run))
    if record["state"] == "done" and (harm := damage(run)):
        st.warning(f"{summary(run)} {harm}", icon=":material/warning:")
    elif record["state"] == "done" and record["stop"]["reached"]:
        st.success(summary(run), icon=":material/check_circle:")
    elif record["state"] == "done":
        st.warning(summary(run), icon=":material/flag:")
    elif record["state"] == "failed":
        st.error(record["error"], icon=":material/error:")
    elif record["state"] == "cancelled":
        st.warning(
            f"Cancelled after {progress.step:,} steps; what it had written is kept.",
            icon=":material/cancel:",
        )
    elif record["state"] == "interrupted":
        st.warning(record["error"], icon=":material/power_off:")
    else:
        st.info("This run is at work in another program.", icon=":material/progress_activity:")
    _next_steps(run)
    _pictures(progress)
    explain.how(
        "After each step or few steps the moving model is asked for its predictions on the forget "
        "set, on pictures to be kept and on every second test picture, or on a sample of each; how "
        "many there were is said under the curves. The stop rule is asked after every step and "
        "holds once the whole forget set meets it. The time for all this is kept apart from the "
        "method's own.",
        formula=r"\text{accuracy} = \frac1n\sum_i [\arg\max_k f_k(x_i) = y_i]",
        key="live:how",
    )


def _next_steps(run: Run) -> None:
    """Buttons to Compare and to the same run again."""
    from imu_core.runs import RunSpec
    from pages.unlearn import setup
    from pages.widgets import errors

    record = run.record
    with st.container(horizontal=True):
        if run.has_metrics() and st.button(
            "Compare before, after and retrained",
            type="primary",
            icon=":material/compare:",
            key="live:compare",
        ):
            routes.to_compare(run.id)
        if record["state"] != "running" and st.button(
            "Run it again", icon=":material/replay:", key="live:again"
        ):
            with errors.shown():
                setup.submit(RunSpec.from_dict(record["spec"]))
        if tuple(record["spec"]["forget_ids"]) != session.forget_ids():
            st.button(
                "Take its forget set",
                icon=":material/photo_library:",
                key="live:take",
                help="Makes its pictures the forget set, to run another method on them.",
                on_click=_take,
                args=(record["image_set"]["name"], record["spec"]),
            )


def _take(images: str, spec: dict[str, Any]) -> None:
    session.choose_images(images)
    session.set_forget(spec["forget_ids"], spec["forget_history"])


def damage(run: Run) -> str:
    """A sentence where retain accuracy fell by more than `MUCH_LOST`, else empty."""
    metrics = run.metrics()
    before, after = (metrics[when].get("retain_accuracy") for when in ("before", "after"))
    if before is None or after is None or before - after <= MUCH_LOST:
        return ""
    return (
        f"The model was damaged: it lost {100 * (before - after):.0f} points on the pictures that "
        "were to be kept. Stop earlier or lower the learning rate."
    )


def summary(run: Run) -> str:
    """What a finished run did, in one or two sentences."""
    record, metrics = run.record, run.metrics()
    before, after = metrics["before"], metrics["after"]

    def change(name: str) -> str:
        if before.get(name) is None or after.get(name) is None:
            return "not known"
        n = after["detail"][name]["n"]
        return f"{percent(before[name])} → {percent(after[name])} (n = {n:,})"

    reached = record["stop"]["reached"]
    stopped = "" if reached else f" The stop rule ({record['stop']['sentence']}) was not reached."
    return (
        f"Done in {record['steps']:,} steps, {seconds(record['seconds']['method'])}. "
        f"Forget accuracy {change('forget_accuracy')}, retain {change('retain_accuracy')}, "
        f"test {change('test_accuracy')}.{stopped}"
    )
