"""A run as a job of the queue."""

from __future__ import annotations

from typing import Any

from imu_core.images.own_sets import find_own
from imu_core.methods.registry import get_method
from imu_core.runs.execute import execute_run, new_run_id
from imu_core.runs.queue import JobContext, JobQueue
from imu_core.runs.spec import RunSpec
from imu_core.runs.store import RunStore


def submit_run(queue: JobQueue, spec: RunSpec, store: RunStore) -> str:
    """Id of the run (and of its job), put into the queue. Its parameters are checked at once."""
    get_method(spec.method).config.from_mapping(spec.parameters)
    run_id = new_run_id(spec)

    def work(context: JobContext) -> str:
        execute_run(
            spec,
            store,
            run_id=run_id,
            emit=lambda event: _as_progress(context, event),
            should_stop=context.should_stop,
        )
        return run_id

    # A person's own set is known by the name of its folder or file, not by its path or key.
    own = find_own(spec.image_set)
    images = own.title if own else spec.image_set
    title = f"{get_method(spec.method).title} · {images} · seed {spec.seed}"
    return queue.submit(title, work, key=run_id)


def _as_progress(context: JobContext, event: dict[str, Any]) -> None:
    if event["event"] == "step":
        context.progress(event["number"], event["of"], event["note"] or "Unlearning")
    elif event["event"] == "progress":
        context.progress(event["done"], event["of"], event["text"])
    elif event["event"] == "stage":
        context.progress(0, 0, event["text"])
