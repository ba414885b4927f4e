"""The job queue: one worker thread a device, progress, cancel, and a state for every job."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Literal

import torch

from imu_core.errors import BadInput, Cancelled, ImuError

logger = logging.getLogger(__name__)

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
KEPT_JOBS = 200
LONGEST_QUEUE = 50


@dataclass(frozen=True)
class JobStatus:
    """A snapshot of one job. `place` is 1 for the next in the queue, 0 once it runs."""

    id: str
    title: str
    state: JobState = "queued"
    place: int = 0
    done: int = 0
    of: int = 0
    text: str = ""
    error: str = ""
    result: Any = None
    started: float | None = None
    finished: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class JobContext:
    """What a job's work gets: a place to report to, and the wish of the person to stop."""

    def __init__(self, queue: JobQueue, job_id: str) -> None:
        self._queue, self.id = queue, job_id
        self._cancel = threading.Event()

    def progress(self, done: int, of: int, text: str = "") -> None:
        self._queue._update(self.id, done=done, of=of, text=text)

    def should_stop(self) -> bool:
        return self._cancel.is_set()

    def check(self) -> None:
        """Raises `Cancelled` once Cancel was pressed."""
        if self._cancel.is_set():
            raise Cancelled


Work = Callable[[JobContext], Any]


class JobQueue:
    """Jobs in the order they came, one at a time. The worker never touches the page."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, JobStatus] = OrderedDict()
        self._contexts: dict[str, JobContext] = {}
        self._waiting: SimpleQueue[tuple[str, Work]] = SimpleQueue()
        self._worker = threading.Thread(target=self._serve, name="imu-jobs", daemon=True)
        self._worker.start()

    def submit(self, title: str, work: Work, *, key: str | None = None) -> str:
        """The job's id. With a `key`, a job of that key that has not ended is returned instead."""
        job_id = key or uuid.uuid4().hex[:12]
        with self._lock:
            known = self._jobs.get(job_id)
            if known is not None and not known.ended:
                return job_id
            if sum(job.state == "queued" for job in self._jobs.values()) >= LONGEST_QUEUE:
                raise BadInput(
                    f"{LONGEST_QUEUE} jobs are waiting already; cancel some or try again later."
                )
            self._jobs[job_id] = JobStatus(job_id, title)
            self._jobs.move_to_end(job_id)
            self._contexts[job_id] = JobContext(self, job_id)
            self._forget_oldest()
        self._waiting.put((job_id, work))
        return job_id

    def status(self, job_id: str) -> JobStatus | None:
        """The job's state now, or None when this process knows no such job."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state != "queued":
                return job
            ahead = [key for key, other in self._jobs.items() if other.state == "queued"]
            return replace(job, place=ahead.index(job_id) + 1)

    def jobs(self) -> list[JobStatus]:
        """All jobs this process remembers, the newest first."""
        with self._lock:
            ids = list(reversed(self._jobs))
        return [job for job in map(self.status, ids) if job is not None]

    def cancel(self, job_id: str) -> None:
        """Asks a job to stop; one that still waits is cancelled at once."""
        with self._lock:
            context = self._contexts.get(job_id)
            if context is None:
                return
            context._cancel.set()
            if self._jobs[job_id].state == "queued":
                self._jobs[job_id] = replace(
                    self._jobs[job_id], state="cancelled", finished=time.time()
                )

    def _update(self, job_id: str, **changes: Any) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], **changes)

    def _forget_oldest(self) -> None:
        ended = [key for key, job in self._jobs.items() if job.ended]
        for key in ended[: max(0, len(self._jobs) - KEPT_JOBS)]:
            del self._jobs[key], self._contexts[key]

    def _serve(self) -> None:
        # The pages share this process: they keep a core, or every click waits for the training.
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
        while True:
            job_id, work = self._waiting.get()
            with self._lock:
                context, job = self._contexts.get(job_id), self._jobs.get(job_id)
            if context is None or job is None or job.state != "queued":
                continue
            self._update(job_id, state="running", started=time.time())
            self._update(job_id, **self._outcome(context, work), finished=time.time())

    @staticmethod
    def _outcome(context: JobContext, work: Work) -> dict[str, Any]:
        try:
            return {"result": work(context), "state": "done"}
        except Cancelled:
            return {"state": "cancelled"}
        except ImuError as error:
            return {"state": "failed", "error": str(error)}
        except Exception:
            # The worker has to outlive any job; the trace goes to the log, not to the page.
            logger.exception("Job %s failed", context.id)
            return {
                "state": "failed",
                "error": "The job stopped on an unexpected fault; the log has the details.",
            }
