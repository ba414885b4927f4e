"""The line of the terminal that does a run again."""

from __future__ import annotations

import shlex
from contextlib import suppress

from imu_core.errors import ImuError
from imu_core.forget_rules import parse_forget_spec
from imu_core.images import ImageSet
from imu_core.runs import Run


def replay_command(run: Run, image_set: ImageSet | None = None) -> str:
    """The `imu unlearn` line that does this run again."""
    spec = run.record["spec"]
    words = ["imu", "unlearn", "--images", spec["image_set"], "--checkpoint", spec["checkpoint"]]
    words += ["--forget", _forget_words(run, image_set), "--method", spec["method"]]
    for name, value in spec["parameters"].items():
        words += ["--set", f"{name}={value}"]
    if spec["stop"]:
        words += ["--stop", spec["stop"]]
    words += ["--seeds", str(spec["seed"])]
    if spec["retrain"]:
        words += ["--retrain", str(spec["retrain"])]
    return shlex.join(words)


def _forget_words(run: Run, image_set: ImageSet | None) -> str:
    """The SPEC that gives these ids: the one they came from where it still does, else the ids."""
    ids, history = run.record["spec"]["forget_ids"], run.record["forget"]["history"]
    if image_set is not None and len(history) == 1:
        # The history may be no SPEC at all, or a rule that needs the model.
        with suppress(ImuError):
            if list(parse_forget_spec(history[0], image_set).ids) == list(ids):
                return history[0]
    return "ids=" + ",".join(map(str, ids))
