"""Where the terminal finds and keeps runs. Light: torch comes in only when a run is opened."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imu_core.runs import Run


def runs_folder(arguments: argparse.Namespace) -> Path:
    """`--runs`, else the environment's IMU_RUNS, else ./runs."""
    return Path(arguments.runs or os.environ.get("IMU_RUNS") or "runs")


def find_run(arguments: argparse.Namespace, name: str) -> Run:
    """The run with this id in the folder of runs, or whose folder this is."""
    from imu_core.runs import RunStore

    return RunStore(runs_folder(arguments)).open(name)
