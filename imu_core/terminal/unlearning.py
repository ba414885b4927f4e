"""`imu unlearn`: one run for each seed, with references shared by all of them."""

from __future__ import annotations

import argparse
import dataclasses
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from imu_core import display
from imu_core.device import pick_device
from imu_core.errors import BadInput
from imu_core.evaluation.outputs import Outputs, compute_outputs
from imu_core.forget_rules import parse_forget_spec
from imu_core.images import ImageSet
from imu_core.methods.registry import get_method
from imu_core.networks import load_checkpoint
from imu_core.runs import Run, RunSpec, RunStore, execute_run
from imu_core.terminal.comparing import print_verdict, runs_table
from imu_core.terminal.console import Progress, print_json, print_table
from imu_core.terminal.store import runs_folder
from imu_core.terminal.training import opened_images, original_checkpoint


def unlearn(arguments: argparse.Namespace) -> int:
    """Run a method on a forget set and print what it did, as a table or as JSON."""
    # All that can be wrong in the call is found before the first slow thing.
    method = get_method(arguments.method)
    draft = RunSpec(
        image_set=arguments.images,
        checkpoint="",
        forget_ids=(),
        forget_history=(),
        method=method.name,
        parameters=method.config.from_mapping(parse_assignments(arguments.set)).to_dict(),
        stop=arguments.stop,
        retrain=arguments.retrain,
        device=arguments.device,
    )
    seeds = parse_seeds(arguments.seeds)
    device = pick_device(arguments.device)
    with Progress() as progress, interrupt_asked() as should_stop:
        image_set = opened_images(arguments, progress)
        draft = _filled(draft, arguments, image_set, device, progress)
        store = RunStore(runs_folder(arguments))
        specs = [dataclasses.replace(draft, seed=seed) for seed in seeds]
        runs = [_execute(spec, store, image_set, progress, should_stop) for spec in specs]
    if arguments.json:
        print_json(runs_object(runs))
        return 0
    print_table(*runs_table(runs))
    for run in runs:
        print_verdict(run)
        if rows := run.reports():
            print()
            print_table(*display.report_table(rows))
    return 0


def runs_object(runs: Sequence[Run]) -> dict[str, Any]:
    """What `imu unlearn --json` prints; the runs share their references."""
    measured = [run.metrics() for run in runs]
    return {
        "runs": [
            {
                "run": run.id,
                "method": run.record["spec"]["method"],
                "seed": run.record["spec"]["seed"],
                "config": run.record["spec"]["parameters"],
                "seconds": {
                    "method": run.record["seconds"]["method"],
                    "evaluation": run.record["seconds"]["evaluation"],
                },
                "steps": run.record["steps"],
                "before": metrics["before"],
                "after": metrics["after"],
                **({"reports": rows} if (rows := run.reports()) else {}),
            }
            for run, metrics in zip(runs, measured, strict=True)
        ],
        "retrained": measured[-1]["retrained"],
    }


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Name → value of `name=value` texts; a repeated or malformed one is a `BadInput`."""
    values: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or not name:
            raise BadInput(f"--set takes name=value, not “{text}”.")
        if name in values:
            raise BadInput(f"Parameter {name} is set twice; set it once.")
        values[name] = value.strip()
    return values


def parse_seeds(text: str) -> list[int]:
    """The seeds of `0,1,2`: whole numbers from 0, none twice."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"--seeds takes whole numbers such as 0,1,2, not “{text}”.") from None
    if min(seeds) < 0:
        raise BadInput(f"A seed must be 0 or more, not {min(seeds)}.")
    if len(set(seeds)) < len(seeds):
        raise BadInput(f"A seed is given twice in “{text}”; give each once.")
    return seeds


@contextmanager
def interrupt_asked() -> Generator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the yielded function true; the next one interrupts.

    So a run ends between two steps and is kept as cancelled.
    """
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread: there, no signal arrives
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _filled(
    draft: RunSpec,
    arguments: argparse.Namespace,
    image_set: ImageSet,
    device: torch.device,
    progress: Progress,
) -> RunSpec:
    """The draft with its original and its forget set, which all seeds share."""
    drawn: list[Outputs] = []

    def outputs() -> Outputs:
        """Outputs of the original, for rules such as hardest=50 that look at its losses."""
        if not drawn:
            path = original_checkpoint(arguments, image_set, device, progress)
            classifier, _ = load_checkpoint(path, image_set=image_set)
            drawn.append(compute_outputs(classifier, image_set, device=device, progress=progress))
        return drawn[0]

    forget = parse_forget_spec(arguments.forget, image_set, outputs=outputs)
    forget.check_usable(image_set)
    protected: tuple[int, ...] = ()
    if arguments.protect:
        protected = parse_forget_spec(arguments.protect, image_set, outputs=outputs).ids
    checkpoint = original_checkpoint(arguments, image_set, device, progress)
    return dataclasses.replace(
        draft,
        image_set=image_set.name,
        checkpoint=_short(checkpoint),
        forget_ids=forget.ids,
        forget_history=forget.history,
        protected_ids=protected,
    )


def _short(path: Path) -> str:
    """The path as a run remembers it: below the working folder without that folder's own name."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _execute(
    spec: RunSpec,
    store: RunStore,
    image_set: ImageSet,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> Run:
    title = f"{get_method(spec.method).title}, seed {spec.seed}"
    progress.say(f"{title}: {len(spec.forget_ids):,} pictures of {image_set.title}.")
    run = execute_run(
        spec, store, image_set=image_set, emit=progress.event, should_stop=should_stop
    )
    steps, method_s = run.record["steps"], run.record["seconds"]["method"]
    progress.say(f"{title}: {steps:,} steps in {display.seconds(method_s)}.")
    return run
