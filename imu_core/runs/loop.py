"""The loop around every method: it times, probes, stops, cancels and reports. Written once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from imu_core.errors import BadInput, Cancelled
from imu_core.methods.registry import Method, MethodConfig, Step
from imu_core.methods.task import Task
from imu_core.runs.probe import Probe
from imu_core.runs.spec import StopRule

Emit = Callable[[dict[str, Any]], None]

FEW_FORGET = 256
PROBES_WITHOUT_RULE = 60


@dataclass(frozen=True)
class LoopResult:
    """How the loop ended: steps taken, seconds of the method alone, whether the rule was met."""

    steps: int
    method_s: float
    probing_s: float
    reached: bool


def run_method(
    task: Task,
    method: Method,
    config: MethodConfig,
    probe: Probe,
    rule: StopRule,
    *,
    emit: Emit,
    should_stop: Callable[[], bool],
    probe_every: int = 0,
) -> LoopResult:
    """How unlearning `task.model` in place ended. Cancelled is raised between two steps.

    The stop rule is asked after every step, so that a run ends at the first one that meets it; the
    other accuracies are probed more rarely. The seconds of the method are those its generator works
    (influence, masks, attacks and all); rule and probes are timed apart.
    """
    if rule.kind == "heldout" and bool(probe.gone.any()):
        raise BadInput(
            "The stop rule forget<=heldout compares with held-out pictures of the same classes, "
            "and a model retrained without a whole class gets none of these right. "
            "Use forget<=0.01 for a whole class."
        )
    emit({"event": "probe", "number": 0, **probe(task.model, True)})
    method_s = probing_s = 0.0
    number, probed, reached, steps = 0, 0, False, method.steps(task, config)
    try:
        while not reached:
            if should_stop():
                raise Cancelled
            started = time.perf_counter()
            step = next(steps, None)
            method_s += time.perf_counter() - started
            if step is None:
                break
            number = step.number
            told = asdict(step)
            del told["report"]  # an event of its own, with what the probe adds to it
            emit({"event": "step", **told, "method_s": round(method_s, 4)})
            _refuse_divergence(step)
            started = time.perf_counter()
            reached = _is_met(task, probe, rule, step)
            if reached or _is_due(task, rule, step, probe_every):
                _look(task, probe, step, emit)
                probed = number
            probing_s += time.perf_counter() - started
    finally:
        # Ends a generator that stopped half-way, so that what it holds is let go of now.
        if isinstance(steps, Generator):
            steps.close()
    if probed != number:  # the method ended before its announced last step
        emit({"event": "probe", "number": number, **probe(task.model, task.body_is_constant)})
    task.model.eval()
    if not all(bool(torch.isfinite(p).all()) for p in task.model.parameters()):
        raise BadInput(_DIVERGED.format(f"after {number} steps"))
    return LoopResult(number, method_s, probing_s, reached)


_DIVERGED = (
    "The weights stopped being finite {}: the updates are too large; lower the learning rate."
)


def _refuse_divergence(step: Step) -> None:
    if not math.isfinite(step.loss):
        raise BadInput(_DIVERGED.format(f"at step {step.number}"))


def _is_met(task: Task, probe: Probe, rule: StopRule, step: Step) -> bool:
    """Whether the rule says stop."""
    if rule.kind == "steps":
        return step.number >= rule.steps
    if rule.kind == "method":
        return False
    target = rule.forget_accuracy if rule.kind == "forget" else probe.heldout_target
    return probe.has_forgotten(task.model, task.body_is_constant, target)


def _is_due(task: Task, rule: StopRule, step: Step, probe_every: int) -> bool:
    """Whether the model is to be looked at after this step."""
    every = probe_every or _probe_every(task, rule, step.of)
    return step.number % every == 0 or step.number == step.of or step.report is not None


def _look(task: Task, probe: Probe, step: Step, emit: Emit) -> None:
    """Reports a probe, and a method's own report with what the probe adds to it."""
    seen = probe(task.model, task.body_is_constant)
    emit({"event": "probe", "number": step.number, **seen})
    if step.report is not None:
        others = {name: seen[name] for name in ("retain_accuracy", "heldout_accuracy")}
        emit({"event": "report", "number": step.number, "row": {**step.report, **others}})


def _probe_every(task: Task, rule: StopRule, of: int) -> int:
    if task.body_is_constant:
        return 1
    if rule.kind in ("forget", "heldout"):
        return 1 if len(task.forget) <= FEW_FORGET else 5
    return max(1, of // PROBES_WITHOUT_RULE)
