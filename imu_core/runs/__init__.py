"""Runs: the queue, the loop around a method, and the folders that pages and terminal share."""

from imu_core.runs.execute import execute_run, new_run_id
from imu_core.runs.queue import JobContext, JobQueue, JobStatus
from imu_core.runs.spec import RunSpec, StopRule, parse_stop
from imu_core.runs.store import Run, RunStore, default_runs_directory
from imu_core.runs.submit import submit_run

__all__ = [
    "JobContext",
    "JobQueue",
    "JobStatus",
    "Run",
    "RunSpec",
    "RunStore",
    "StopRule",
    "default_runs_directory",
    "execute_run",
    "new_run_id",
    "parse_stop",
    "submit_run",
]
