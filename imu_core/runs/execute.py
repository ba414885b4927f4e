"""One run from its spec to its folder: unlearn, evaluate, retrain references, measure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import torch

from imu_core.device import pick_device
from imu_core.errors import BadInput, Cancelled, ImuError
from imu_core.evaluation.metrics import Metrics, floors, measure
from imu_core.evaluation.outputs import Outputs, compute_outputs, save_outputs
from imu_core.files import clear_about_disk, write_json
from imu_core.forget_set import ForgetSet
from imu_core.images import ImageSet, open_image_set
from imu_core.methods.registry import Method, MethodConfig, get_method
from imu_core.methods.task import Pictures, Task, pictures_of
from imu_core.networks import CheckpointHeader, Classifier, save_checkpoint
from imu_core.runs.events import EventLog
from imu_core.runs.loop import LoopResult, run_method
from imu_core.runs.probe import Probe, heldout_rows
from imu_core.runs.record import first_record
from imu_core.runs.references import (
    header_of_changed,
    keep_original,
    original_outputs,
    retrained_reference,
)
from imu_core.runs.spec import RunSpec, StopRule, parse_stop
from imu_core.runs.store import EVENTS, METRICS, MODEL, OUTPUTS, RECORD, Run, RunStore, at_work

Emit = Callable[[dict[str, Any]], None]


def new_run_id(spec: RunSpec) -> str:
    """A name that sorts by time and says what the run was."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    images = "".join(c if c.isalnum() or c == "-" else "-" for c in spec.image_set)[:24]
    return f"{stamp}-{spec.method}-{images}-s{spec.seed}-{secrets.token_hex(2)}"


def execute_run(
    spec: RunSpec,
    store: RunStore,
    *,
    run_id: str | None = None,
    image_set: ImageSet | None = None,
    emit: Emit | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run:
    """The finished run. Mistakes in the spec raise before any folder is made.

    A fault or Cancel later on is written into the run's record and raised again.
    """
    return _Execution(spec, store, image_set, emit, should_stop or (lambda: False)).run(
        run_id or new_run_id(spec)
    )


class _Execution:
    """The parts of one run, in order."""

    def __init__(
        self,
        spec: RunSpec,
        store: RunStore,
        image_set: ImageSet | None,
        emit: Emit | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self.spec, self.store, self.should_stop = spec, store, should_stop
        self.listener = emit
        self.device = pick_device(spec.device)
        self.method: Method = get_method(spec.method)
        self.config: MethodConfig = self.method.config.from_mapping(spec.parameters)
        self.rule: StopRule = parse_stop(spec.stop)
        self.images = image_set if image_set is not None else open_image_set(spec.image_set)
        how = "; ".join(spec.forget_history) or f"{len(spec.forget_ids)} ids"
        self.forget_set = ForgetSet.of(self.images, spec.forget_ids, how)
        self.forget_set.check_usable(self.images)
        ForgetSet.of(self.images, spec.protected_ids, "protected")
        loaded = keep_original(store, spec.checkpoint, self.images)
        self.original: Classifier = loaded[0].to(self.device)
        self.header: CheckpointHeader = loaded[1]
        self.digest: str = loaded[2]
        if spec.retrain and not self.header.recipe:
            raise BadInput(
                "This checkpoint does not say how it was trained, so no model can be retrained "
                "like it; set the number of retrained references to 0."
            )

    def run(self, run_id: str) -> Run:
        self.record = first_record(
            run_id,
            self.spec,
            self.method,
            self.config,
            self.images,
            self.forget_set,
            self.header,
            self.digest,
            self.device,
        )
        path = self.store.directory / run_id
        with clear_about_disk(path):
            path.mkdir(parents=True)
        with at_work(path), (path / EVENTS).open("w") as file:
            self.log = EventLog(file, self.listener)
            self.run_folder = self.store.create(run_id, self.record)
            try:
                self._work()
            except Cancelled:
                self._end("cancelled", "")
                raise
            except ImuError as error:
                self._end("failed", str(error))
                raise
            except Exception:
                self._end("failed", "The run stopped on an unexpected fault; see the log.")
                raise
            self._end("done", "")
        return self.run_folder

    def _work(self) -> None:
        self.log.stage("original", "Looking at the original model")
        self.before = original_outputs(
            self.store,
            self.original,
            self.digest,
            self.images,
            device=self.device,
            progress=self.log.progress("original"),
            should_stop=self.should_stop,
        )
        self.log.stage("unlearn", f"Unlearning with {self.method.title}")
        task = self._unlearn()
        started = time.perf_counter()
        self.log.stage("evaluate", "Evaluating the unlearned model")
        self.after = self._outputs_after(task)
        self._save(task.model)
        self.log.stage("measure", "Measuring")
        metrics = {
            "before": self._measure(self.before).to_dict(),
            "after": self._measure(self.after).to_dict(),
            "retrained": [],
            "floor": {},
        }
        write_json(self.run_folder.path / METRICS, metrics)
        self.record["seconds"]["evaluation"] += time.perf_counter() - started
        self._write_record()
        self._retrain(metrics)

    def _unlearn(self) -> Task:
        probe = Probe(self.images, self.forget_set.ids_tensor(), self.before, self.device)
        started = time.perf_counter()
        task = self._task()
        prepared_s = time.perf_counter() - started if "fisher" in self.method.needs else 0.0
        result: LoopResult = run_method(
            task,
            self.method,
            self.config,
            probe,
            self.rule,
            emit=self.log,
            should_stop=self.should_stop,
            probe_every=self.spec.probe_every,
        )
        self.record["steps"] = result.steps
        self.record["seconds"]["method"] = result.method_s + prepared_s
        self.record["seconds"]["evaluation"] = result.probing_s
        self.record["stop"]["reached"] = result.reached or self.rule.kind == "method"
        return task

    def _task(self) -> Task:
        """The task with the pictures that the method declared, and no others."""
        needs, device = self.method.needs, self.device
        retain_ids = self.forget_set.retain_ids(self.images)
        retain = pictures_of(self.images, retain_ids, device) if "retain" in needs else None
        return Task(
            self.original,
            pictures_of(self.images, self.forget_set.ids_tensor(), device),
            generator=torch.Generator().manual_seed(self.spec.seed),
            retain=retain,
            heldout=self._heldout() if "heldout" in needs else None,
            fisher=self._fisher() if "fisher" in needs else None,
        )

    def _heldout(self) -> Pictures:
        rows = heldout_rows(self.images)
        images, labels = self.images.test_images[rows], self.images.test_labels[rows]
        return Pictures(images.to(self.device), labels.to(self.device), rows)

    def _fisher(self) -> dict[str, torch.Tensor]:
        from imu_core.methods.fisher import diagonal_fisher

        images, labels = self.images.train_images, self.images.train_labels
        return diagonal_fisher(self.original, images.to(self.device), labels.to(self.device))

    def _outputs_after(self, task: Task) -> Outputs:
        if not task.body_is_constant:
            return compute_outputs(
                task.model,
                self.images,
                device=self.device,
                progress=self.log.progress("evaluate"),
                should_stop=self.should_stop,
            )
        # The features are the original's, so the new logits are one product with the new head.
        head = task.model.head
        with torch.inference_mode():
            train, test = (
                head(torch.from_numpy(features).to(self.device)).cpu().numpy()
                for features in (self.before.train_features, self.before.test_features)
            )
        return Outputs(train, self.before.train_features, test, self.before.test_features)

    def _save(self, model: Classifier) -> None:
        path = self.run_folder.path
        with clear_about_disk(path):
            # Without a recipe: no training can make this model again.
            header = header_of_changed(self.header, self.images, self.after, recipe={})
            save_checkpoint(path / MODEL, model, header)
            save_outputs(path / OUTPUTS, self.after)

    def _measure(self, outputs: Outputs) -> Metrics:
        used_heldout = "heldout" in self.method.needs or self.rule.kind == "heldout"
        rows = None
        if used_heldout:
            mask = torch.ones(self.images.n_test, dtype=torch.bool)
            mask[heldout_rows(self.images)] = False
            rows = mask.nonzero().flatten()
        return measure(outputs, self.images, self.forget_set.ids_tensor(), test_rows=rows)

    def _retrain(self, metrics: dict[str, Any]) -> None:
        """Adds the retrained references one by one; each is usable as soon as it is there."""
        for number in range(self.spec.retrain):
            reference = f"Retrained reference {number + 1} of {self.spec.retrain}"
            self.log.stage("retrain", reference)
            key, outputs, seconds = retrained_reference(
                self.store,
                self.header,
                self.images,
                self.forget_set,
                self.header.seed + number,
                device=self.device,
                progress=self.log.progress("retrain", f"{reference}: "),
                should_stop=self.should_stop,
            )
            started = time.perf_counter()
            metrics["retrained"].append(self._measure(outputs).to_dict())
            metrics["floor"] = floors(metrics["retrained"])
            self.record["references"].append(key)
            self.record["seconds"]["retrain"].append(seconds)
            self.record["seconds"]["evaluation"] += time.perf_counter() - started
            write_json(self.run_folder.path / METRICS, metrics)
            self._write_record()

    def _write_record(self) -> None:
        write_json(self.run_folder.path / RECORD, self.record)

    def _end(self, state: str, error: str) -> None:
        self.record["state"], self.record["error"] = state, error
        self.record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        if state == "done":
            self._write_record()
            self.log({"event": "end", "state": state, "text": ""})
            return
        # The disk may be what failed; the error that is being raised matters more than this one.
        with suppress(ImuError, OSError):
            self._write_record()
            self.log({"event": "end", "state": state, "text": error})
