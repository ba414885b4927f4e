"""`imu compare` and `imu report`: finished runs, side by side or as an evidence file."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from imu_core import display
from imu_core.errors import RunError
from imu_core.report import findings, write_report
from imu_core.runs import Run, RunStore
from imu_core.terminal.console import Progress, print_entries, print_json, print_table
from imu_core.terminal.store import find_run, runs_folder


def compare(arguments: argparse.Namespace) -> int:
    """Print the metrics of several runs, one column each; without a run, list those there are."""
    if not arguments.run:
        return _list_runs(arguments)
    runs = [_finished(find_run(arguments, name)) for name in arguments.run]
    with Progress() as progress:
        for what, key in (("image set", "image_set"), ("forget set", "forget")):
            if len({_identity(run.record[key]) for run in runs}) > 1:
                progress.say(f"Note: these runs are not of the same {what}; judge each by itself.")
    if arguments.json:
        print_json([_comparison(run) for run in runs])
    else:
        print_table(*runs_table(runs))
        print()
        print_entries([(_heading(run), f"{run.id}  {run.path}") for run in runs])
    return 0


def _list_runs(arguments: argparse.Namespace) -> int:
    """Print the runs in the folder, the newest first."""
    store = RunStore(runs_folder(arguments))
    rows = []
    for run in store.runs():
        record = run.record
        spec = record["spec"]
        count = f"{len(spec['forget_ids']):,}"
        what = [spec["image_set"], spec["method"], str(spec["seed"])]
        rows.append([run.id, record["state"], *what, count])
    headings = ["run", "state", "images", "method", "seed", "forgotten"]
    if arguments.json:
        print_json([dict(zip(headings, row, strict=True)) for row in rows])
    elif rows:
        print_table(headings, rows)
    else:
        print(f"No runs in {store.directory}. “imu unlearn --help” says how to make one.")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the evidence file of one run."""
    run = _finished(find_run(arguments, arguments.run))
    path = write_report(run, Path(arguments.out))
    print(path)
    return 0


def runs_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: metrics of the original, of each run, and of the retrained models."""
    measured = [run.metrics() for run in runs]
    same = len({_identity(run.record["forget"]) for run in runs}) == 1
    # The original's numbers depend on the forget set: one column, or one before each run.
    headings, columns = ["metric"], []
    for index, (run, metrics) in enumerate(zip(runs, measured, strict=True)):
        if index == 0 or not same:
            headings.append("original")
            columns.append((metrics["before"], ""))
        headings.append(_heading(run))
        columns.append((metrics["after"], run.id))
    retrained = measured[0]["retrained"] if same else []
    floor = measured[0].get("floor", {})
    names = display.metric_names(*(metrics for metrics, _ in columns))
    rows = [
        [display.metric_title(name)]
        + [display.metric(name, metrics.get(name)) for metrics, _ in columns]
        + ([mean_and_floor(name, retrained, floor)] if retrained else [])
        for name in names
    ]
    if retrained:
        headings.append(f"retrained ({len(retrained)})")
    rows += _work_rows(runs, [bool(id) for _, id in columns], bool(retrained))
    return headings, rows


def mean_and_floor(
    name: str, retrained: Sequence[Mapping[str, Any]], floor: Mapping[str, Any]
) -> str:
    """Mean over the retrained models, ± the mean difference between two of them."""
    values = [metrics[name] for metrics in retrained if metrics.get(name) is not None]
    if not values:
        return "–"
    text = display.metric(name, fmean(values))
    if name not in floor:
        return text
    return f"{text} ± {display.metric(name, floor[name]['mean']).removesuffix(' %')}"


def print_verdict(run: Run) -> None:
    """Print where a run is kept, what it reached and what not, in plain words."""
    print(f"\n{_heading(run)}: run {run.id} in {run.path.parent}")
    for finding in findings(run):
        line = f"{finding.level}: {finding.title}. {finding.sentence}"
        print(textwrap.fill(line, 100, subsequent_indent="  "))


def _work_rows(runs: Sequence[Run], is_run: Sequence[bool], retrained: bool) -> list[list[str]]:
    """Rows with steps, seconds and the stop rule, blank under the models that are no run."""
    cells = {
        "Steps": [f"{run.record['steps']:,}" for run in runs],
        "Seconds of the method": [display.seconds(run.record["seconds"]["method"]) for run in runs],
    }
    if any(run.record["stop"]["rule"] for run in runs):
        cells["Stop rule"] = [_stop(run.record["stop"]) for run in runs]
    rows = []
    for title, texts in cells.items():
        left = iter(texts)
        row = [title] + [next(left) if yes else "" for yes in is_run]
        rows.append(row + ([""] if retrained else []))
    return rows


def _heading(run: Run) -> str:
    spec = run.record["spec"]
    return f"{spec['method']} s{spec['seed']}"


def _stop(stop: Mapping[str, Any]) -> str:
    if not stop["rule"]:
        return ""
    return "reached" if stop["reached"] else "not reached"


def _finished(run: Run) -> Run:
    if run.state != "done":
        raise RunError(f"The run “{run.id}” is {run.state}; only a finished run has metrics.")
    return run


def _identity(part: Mapping[str, Any]) -> str:
    return str(part.get("fingerprint") or part.get("digest"))


def _comparison(run: Run) -> dict[str, Any]:
    record, metrics = run.record, run.metrics()
    return {
        "run": run.id,
        "method": record["spec"]["method"],
        "seed": record["spec"]["seed"],
        "images": record["image_set"]["name"],
        "forget": {key: record["forget"][key] for key in ("n", "digest")},
        "seconds": record["seconds"],
        "steps": record["steps"],
        **{key: metrics[key] for key in ("before", "after", "retrained", "floor")},
    }
