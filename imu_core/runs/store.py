"""Runs on disk: one folder each, read alike by the pages, the terminal and the shipped example."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imu_core.errors import RunError
from imu_core.evaluation.outputs import Outputs, load_outputs
from imu_core.files import clear_about_disk, read_json, write_json

RECORD, EVENTS, MODEL, OUTPUTS, METRICS = (
    "run.json",
    "events.jsonl",
    "model.safetensors",
    "outputs.npz",
    "metrics.json",
)
LOCK = ".lock"


def default_runs_directory() -> Path:
    """The folder of IMU_RUNS, or ./runs."""
    return Path(os.environ.get("IMU_RUNS") or "runs")


class Run:
    """One run's folder. Reading never changes it."""

    def __init__(self, store: RunStore, path: Path) -> None:
        self.store, self.path, self.id = store, path, path.name

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says; a run whose process is gone reads as interrupted."""
        record = read_json(self.path / RECORD)
        if record["state"] == "running" and not _is_locked(self.path / LOCK):
            record["state"] = "interrupted"
            record["error"] = (
                "The program that worked on this run ended before the run did. "
                "What it had written is kept; start it again to get a whole one."
            )
        return record

    @property
    def state(self) -> str:
        return self.record["state"]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The events after the first `since`; a last line that is not yet whole is left out."""
        try:
            text = (self.path / EVENTS).read_text()
        except FileNotFoundError:
            return []
        lines = text.split("\n")[:-1]
        return [json.loads(line) for line in lines[since:]]

    def reports(self) -> list[dict[str, Any]]:
        """Rows of the method's own table, for a method that makes one (`Step.report`)."""
        return [event["row"] for event in self.events() if event["event"] == "report"]

    def metrics(self) -> dict[str, Any]:
        """{"before": M, "after": M, "retrained": [M, …], "floor": {…}}"""
        return read_json(self.path / METRICS)

    def has_metrics(self) -> bool:
        return (self.path / METRICS).is_file()

    @property
    def forget_ids(self) -> Tensor:
        """int64, ascending"""
        return torch.tensor(self.record["spec"]["forget_ids"], dtype=torch.int64)

    @property
    def model_path(self) -> Path:
        return self.path / MODEL

    @property
    def original_path(self) -> Path:
        """The original's checkpoint, as kept beside the runs."""
        return self.store.original(self.record["checkpoint"]["digest"])

    def reference_paths(self) -> list[Path]:
        """Folders of the retrained references of this run, in the order of their seeds."""
        return [self.store.references / key for key in self.record.get("references", [])]

    def outputs(self) -> Outputs:
        return load_outputs(self.path / OUTPUTS)

    def original_outputs(self) -> Outputs:
        record = self.record
        return load_outputs(
            self.store.original_outputs(
                record["checkpoint"]["digest"], record["image_set"]["fingerprint"]
            )
        )

    def retrained_outputs(self) -> list[Outputs]:
        return [load_outputs(path / OUTPUTS) for path in self.reference_paths()]

    def delete(self) -> None:
        """Removes the folder; a run at work is refused."""
        if self.state == "running":
            raise RunError(f"Run {self.id} is still at work; cancel it first.")
        with clear_about_disk(self.path):
            shutil.rmtree(self.path)


class RunStore:
    """A directory of runs, with the originals and retrained references they share.

    DIR/<run id>/            one run
    DIR/originals/           checkpoints by digest, and their outputs
    DIR/references/<key>/    retrained references, shared by all runs with the same forget set
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory) if directory is not None else default_runs_directory()

    @property
    def originals(self) -> Path:
        return self.directory / "originals"

    @property
    def references(self) -> Path:
        return self.directory / "references"

    def original(self, digest: str) -> Path:
        return self.originals / f"{digest}.safetensors"

    def original_outputs(self, digest: str, fingerprint: str) -> Path:
        return self.originals / f"{digest}-{fingerprint[:12]}.npz"

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        paths = [path.parent for path in self.directory.glob(f"*/{RECORD}")]
        return [Run(self, path) for path in sorted(paths, key=lambda p: p.name, reverse=True)]

    def open(self, run_id: str) -> Run:
        """The run of this id (or the folder itself, given as a path)."""
        path = self.directory / run_id
        if not _is_name(run_id) and (Path(run_id) / RECORD).is_file():
            path = Path(run_id).resolve()
            return Run(RunStore(path.parent), path)
        if not _is_name(run_id) or not (path / RECORD).is_file():
            raise RunError(
                f"There is no run “{run_id}” in {self.directory}. "
                "The Runs page and `imu compare` without arguments list those there are."
            )
        return Run(self, path)

    def create(self, run_id: str, record: dict[str, Any]) -> Run:
        """A new run with its first record."""
        path = self.directory / run_id
        write_json(path / RECORD, record)
        return Run(self, path)


def _is_name(run_id: str) -> bool:
    """Whether an id names a folder inside the store and nothing outside it."""
    return bool(run_id) and run_id not in (".", "..") and not set(run_id) & {"/", "\\", "\0"}


@contextlib.contextmanager
def at_work(path: Path) -> Generator[None]:
    """Marks a run's folder as being worked on; the mark goes with the process, however it ends."""
    with clear_about_disk(path), (path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    (path / LOCK).unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
