"""Where the terminal finds and keeps runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from imu_core.errors import RunError
from imu_core.runs import Run, RunStore


def runs_folder(arguments: argparse.Namespace) -> Path:
    """`--runs`, else the environment's IMU_RUNS, else ./runs."""
    return Path(arguments.runs or os.environ.get("IMU_RUNS") or "runs")


def find_run(arguments: argparse.Namespace, name: str) -> Run:
    """The run with this id in the folder of runs, or whose folder this is."""
    path = Path(name)
    if (path / "run.json").is_file():
        path = path.resolve()
        return RunStore(path.parent).open(path.name)
    if path.name != name:
        raise RunError(
            f"“{name}” is no folder of a run; give a run's id or the path of its folder."
        )
    return RunStore(runs_folder(arguments)).open(name)
