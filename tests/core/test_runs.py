"""Runs: stop rules, probes, folders, cancel, interruption, references, bad input."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from imu_core import files as run_files
from imu_core.errors import BadInput, Cancelled, ImuError, RunError
from imu_core.networks import load_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from imu_core.runs import JobQueue, RunSpec, RunStore, execute_run, parse_stop, submit_run
from imu_core.runs.probe import SAMPLE_FOR_RULE, Probe, heldout_rows


@pytest.fixture(scope="module")
def checkpoint():
    return str(bundled_checkpoint("digits"))


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def spec_of(checkpoint, digits, *, label=3, **changes):
    values = {
        "image_set": "digits",
        "checkpoint": checkpoint,
        "forget_ids": tuple(digits.ids_of_class(label).tolist()),
        "forget_history": (f"class {label}",),
        "method": "imu",
        "stop": "forget<=0.01",
        "device": "cpu",
    }
    return RunSpec(**{**values, **changes})


@pytest.fixture(scope="module")
def finished(checkpoint, digits, tmp_path_factory):
    """One whole run with two retrained references."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    return execute_run(spec_of(checkpoint, digits, retrain=2), store, image_set=digits)


def test_a_picture_cannot_be_forgotten_and_protected_at_once(checkpoint, digits):
    three = int(digits.ids_of_class(3)[0])
    with pytest.raises(BadInput, match=f"the first is {three}"):
        spec_of(checkpoint, digits, protected_ids=(three,))


def test_protected_ids_that_do_not_exist_are_refused(checkpoint, digits, tmp_path):
    spec = spec_of(checkpoint, digits, protected_ids=(digits.n_train,))
    with pytest.raises(BadInput, match=str(digits.n_train)):
        execute_run(spec, RunStore(tmp_path), image_set=digits)
    assert list(tmp_path.iterdir()) == []


def test_a_spec_survives_its_own_json(checkpoint, digits):
    spec = spec_of(checkpoint, digits, protected_ids=(int(digits.ids_of_class(5)[0]),))
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    old = spec.to_dict()
    del old["protected_ids"]
    assert RunSpec.from_dict(old).protected_ids == ()


def test_a_run_leaves_a_whole_folder(finished):
    record = finished.record
    assert record["state"] == "done"
    assert record["stop"]["reached"]
    assert {path.name for path in finished.path.iterdir()} == {
        "run.json",
        "events.jsonl",
        "model.safetensors",
        "outputs.npz",
        "metrics.json",
    }
    assert record["seconds"]["method"] > 0
    assert len(record["seconds"]["retrain"]) == len(record["references"]) == 2
    assert record["image_set"]["fingerprint"]
    assert record["versions"]["torch"] == torch.__version__


def test_the_run_forgets_and_the_metrics_say_so(finished):
    metrics = finished.metrics()
    before, after = metrics["before"], metrics["after"]
    assert before["forget_accuracy"] > 0.95
    assert after["forget_accuracy"] <= 0.01
    assert after["detail"]["forget_accuracy"]["n"] == len(finished.forget_ids)
    assert [m["forget_accuracy"] for m in metrics["retrained"]] == [0.0, 0.0]
    assert metrics["floor"]["retain_accuracy"]["pairs"] == 1


def test_stored_outputs_are_those_of_the_stored_model(finished, digits):
    classifier, _ = load_checkpoint(finished.model_path)
    with torch.inference_mode():
        logits = classifier.eval()(digits.test_images)
    torch.testing.assert_close(
        torch.from_numpy(finished.outputs().test_logits), logits, rtol=1e-3, atol=1e-3
    )


def test_events_tell_the_whole_path(finished):
    events = finished.events()
    probes = [event for event in events if event["event"] == "probe"]
    steps = [event for event in events if event["event"] == "step"]
    assert probes[0]["number"] == 0
    assert probes[-1]["forget_accuracy"] <= 0.01 < probes[-2]["forget_accuracy"]
    assert steps[-1]["number"] == finished.record["steps"]
    assert all(step["weights"]["used"] <= step["weights"]["n"] for step in steps)
    assert events[-1] == {**events[-1], "event": "end", "state": "done"}
    assert finished.events(since=3) == events[3:]


def test_what_a_method_reports_is_kept_with_what_the_probe_adds(checkpoint, digits, store):
    """L2UL in three requests: a row for each, with retain accuracy as probed at that very step."""
    run = execute_run(
        spec_of(
            checkpoint, digits, method="l2ul", stop="",
            forget_ids=tuple(range(0, 90, 10)), forget_history=("every tenth",),
            parameters={"requests": 3, "regulariser": "importance", "lr": 0.01}, probe_every=10_000,
        ),
        store, image_set=digits,
    )  # fmt: skip
    rows, events = run.reports(), run.events()
    assert [(row["request"], row["pictures"]) for row in rows] == [(1, 3), (2, 3), (3, 3)]
    assert rows[0]["earlier_accuracy"] is None
    assert rows[2]["request_accuracy"] == 0
    reports = [event for event in events if event["event"] == "report"]
    probes = {event["number"]: event for event in events if event["event"] == "probe"}
    for event in reports:
        probe = probes[event["number"]]
        assert event["row"]["retain_accuracy"] == probe["retain_accuracy"]
        assert event["row"]["heldout_accuracy"] == probe["heldout_accuracy"]
    assert len(probes) == 1 + len(reports)
    assert not any("report" in event for event in events if event["event"] == "step")
    assert run.record["steps"] == reports[-1]["number"]


def test_a_last_line_cut_short_is_left_out(finished, tmp_path):
    run = RunStore(finished.store.directory).open(finished.id)
    whole = run.events()
    text = (run.path / "events.jsonl").read_text()
    (run.path / "events.jsonl").write_text(text + '{"event": "st')
    try:
        assert run.events() == whole
    finally:
        (run.path / "events.jsonl").write_text(text)


def test_the_same_seed_gives_the_same_run(finished, checkpoint, digits, store):
    again = execute_run(spec_of(checkpoint, digits), store, image_set=digits)
    first, _ = load_checkpoint(finished.model_path)
    second, _ = load_checkpoint(again.model_path)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert (
        again.metrics()["after"]["forget_accuracy"]
        == (finished.metrics()["after"]["forget_accuracy"])
    )


def test_references_are_made_once_and_shared(finished, checkpoint, digits):
    folders = sorted(finished.store.references.iterdir())
    written = [(path / "model.safetensors").stat().st_mtime_ns for path in folders]
    spec = spec_of(checkpoint, digits, retrain=2, seed=1)
    again = execute_run(spec, finished.store, image_set=digits)
    assert again.record["references"] == finished.record["references"]
    assert written == [(path / "model.safetensors").stat().st_mtime_ns for path in folders]


def test_the_first_reference_is_paired_with_the_original(finished):
    header = load_checkpoint(finished.original_path)[1]
    reference = load_checkpoint(finished.reference_paths()[0] / "model.safetensors")[1]
    assert reference.seed == header.seed
    assert reference.n_train == header.n_train - len(finished.forget_ids)


def test_steps_rule_stops_exactly(checkpoint, digits, store):
    run = execute_run(spec_of(checkpoint, digits, stop="steps=3"), store, image_set=digits)
    assert run.record["steps"] == 3
    assert run.record["stop"]["reached"]


@pytest.mark.parametrize("labels", [(3, 5), (3, 5, 7, 8)], ids=["as one", "a sample first"])
def test_the_rule_is_asked_after_every_step(labels, checkpoint, digits, store):
    """The run ends at the first step that meets it, not at the next probe of the curves."""
    spec = spec_of(
        checkpoint, digits, method="mask_distil", stop="forget<=0.5",
        forget_ids=tuple(i for c in labels for i in digits.ids_of_class(c).tolist()),
    )  # fmt: skip
    ended = execute_run(spec, store, image_set=digits)
    number = ended.record["steps"]
    earlier = dataclasses.replace(spec, stop=f"steps={number - 1}")
    before = execute_run(earlier, store, image_set=digits)
    forgotten = ended.metrics()["after"]["forget_accuracy"]
    assert forgotten <= 0.5 < before.metrics()["after"]["forget_accuracy"]
    probes = [event["number"] for event in ended.events() if event["event"] == "probe"]
    assert probes == [0, *range(5, number, 5), number]
    assert number % 5


def test_the_whole_forget_set_decides_where_the_sample_looks_worse(finished, digits):
    ids = torch.cat([digits.ids_of_class(label) for label in (3, 5, 7, 8)])
    model, _ = load_checkpoint(finished.original_path)
    probe = Probe(digits, ids, finished.outputs(), torch.device("cpu"))
    generator, start = torch.Generator().manual_seed(0), model.head.weight.detach().clone()
    differences = []
    for _ in range(8):
        with torch.no_grad():
            model.head.weight.copy_(start + torch.randn(start.shape, generator=generator))
            right = model(digits.train_images[ids]).argmax(1) == digits.train_labels[ids]
        whole = float(right.double().mean())
        sample = probe._forget_accuracy(model, False, SAMPLE_FOR_RULE)
        differences.append(sample - whole)
        assert probe.has_forgotten(model, False, whole)
        assert not probe.has_forgotten(model, False, whole - 1 / len(ids))
    assert max(differences) > 0 > min(differences)


def test_running_out_of_steps_is_said(checkpoint, digits, store):
    spec = spec_of(checkpoint, digits, parameters={"epochs": 1, "lr": 1e-6})
    run = execute_run(spec, store, image_set=digits)
    assert run.state == "done"
    assert not run.record["stop"]["reached"]


def test_a_method_that_ends_by_its_own_rule_is_looked_at_once_more(checkpoint, digits, store):
    """LoTUS ends after some pass; the curves must not end before the model they are about."""
    changes = {"lr": 0.001, "retain_share": 1.0}
    events = []
    spec = spec_of(checkpoint, digits, method="lotus", parameters=changes, stop="")
    run = execute_run(spec, store, image_set=digits, emit=events.append)
    step = [e for e in events if e["event"] == "step"][-1]
    probes = [e["number"] for e in events if e["event"] == "probe"]
    assert step["number"] < step["of"]
    assert run.record["steps"] == step["number"] == probes[-1]
    assert len(set(probes)) == len(probes)


def test_heldout_rule_stops_at_heldout_accuracy_and_judges_on_the_other_half(
    checkpoint, digits, store
):
    ids = tuple(range(0, digits.n_train, 10))
    spec = spec_of(
        checkpoint, digits, forget_ids=ids, stop="forget<=heldout", parameters={"epochs": 500}
    )
    run = execute_run(spec, store, image_set=digits)
    assert run.record["stop"]["reached"]
    rows = heldout_rows(digits)
    labels = digits.test_labels[rows].numpy()
    right = run.original_outputs().test_logits[rows.numpy()].argmax(1) == labels
    mix = digits.train_labels[list(ids)].bincount(minlength=10).numpy() / len(ids)
    target = sum(mix[label] * right[labels == label].mean() for label in range(10))
    probes = [event for event in run.events() if event["event"] == "probe"]
    assert probes[-1]["forget_accuracy"] <= target
    assert probes[-1]["retain_accuracy"] > 0.9
    n_test = run.metrics()["after"]["detail"]["test_accuracy_all"]["n"]
    assert n_test == digits.n_test - len(heldout_rows(digits))


def test_the_heldout_target_is_the_originals_in_the_class_mix_of_the_set(finished, digits):
    outputs = finished.original_outputs()
    rows = heldout_rows(digits).numpy()
    labels = digits.test_labels.numpy()[rows]
    threes, fives = rows[labels == 3], rows[labels == 5]
    logits = np.eye(10, dtype=np.float32)[digits.test_labels.numpy()]
    logits[threes[: len(threes) // 2]] = 0  # called 0
    doctored = dataclasses.replace(outputs, test_logits=logits)
    mixed = torch.cat((digits.ids_of_class(3)[:30], digits.ids_of_class(5)[:10]))
    probe = Probe(digits, mixed, doctored, torch.device("cpu"))
    wrong = (len(threes) // 2) / len(threes)
    assert len(fives)
    assert probe.heldout_target == pytest.approx(1 - 0.75 * wrong)


def test_heldout_rule_is_refused_for_a_whole_class(checkpoint, digits, store):
    with pytest.raises(BadInput, match="whole class"):
        execute_run(spec_of(checkpoint, digits, stop="forget<=heldout"), store, image_set=digits)


def test_heldout_rows_are_half_of_each_class(digits):
    rows = heldout_rows(digits)
    assert len(set(rows.tolist())) == len(rows)
    for label in range(10):
        n = int((digits.test_labels == label).sum())
        assert int((digits.test_labels[rows] == label).sum()) == math.ceil(n / 2)


def test_cancel_within_one_step(checkpoint, digits, store):
    steps = []

    def listen(event):
        if event["event"] == "step":
            steps.append(event["number"])

    spec = spec_of(checkpoint, digits, stop="", parameters={"lr": 1e-6, "epochs": 1000})
    with pytest.raises(Cancelled):
        execute_run(spec, store, image_set=digits, emit=listen, should_stop=lambda: len(steps) >= 2)
    assert steps == [1, 2]
    (run,) = store.runs()
    assert run.state == "cancelled"
    assert not run.has_metrics()


def test_divergence_is_said_and_recorded(checkpoint, digits, store):
    spec = spec_of(
        checkpoint, digits, stop="", parameters={"lr": 100, "scope": "all", "epochs": 50}
    )
    with pytest.raises(BadInput, match="lower the learning rate"):
        execute_run(spec, store, image_set=digits)
    (run,) = store.runs()
    assert run.state == "failed"
    assert "lower the learning rate" in run.record["error"]


def test_a_killed_run_reads_as_interrupted(finished, store):
    record = {**finished.record, "state": "running"}
    run = store.create("killed", record)
    assert run.state == "interrupted"
    assert "ended before" in run.record["error"]
    (run.path / ".lock").touch()
    assert run.state == "interrupted"


def test_a_run_at_work_reads_as_running_and_cannot_be_deleted(checkpoint, digits, store):
    seen = []

    def listen(event):
        if event["event"] == "step":
            (run,) = store.runs()
            seen.append(run.state)
            with pytest.raises(RunError, match="still at work"):
                run.delete()

    spec = spec_of(checkpoint, digits, stop="steps=2")
    run = execute_run(spec, store, image_set=digits, emit=listen)
    assert seen == ["running", "running"]
    run.delete()
    assert store.runs() == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(checkpoint, digits, store, monkeypatch):
    kept = execute_run(spec_of(checkpoint, digits, stop="steps=1"), store, image_set=digits)
    before = {path.name: path.read_bytes() for path in kept.path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imu_core.runs.execute.save_outputs", full)
    with pytest.raises(RunError, match="disk is full"):
        execute_run(spec_of(checkpoint, digits, stop="steps=1"), store, image_set=digits)
    failed = store.runs()[0]
    assert failed.state == "failed"
    assert "disk is full" in failed.record["error"]
    assert {path.name: path.read_bytes() for path in kept.path.iterdir()} == before


def test_no_half_file_takes_the_place_of_a_whole_one(tmp_path):
    path = tmp_path / "run.json"
    run_files.write_json(path, {"whole": True})

    def half(part: Path) -> None:
        part.write_text("{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_files.write_whole(path, half)
    assert json.loads(path.read_text()) == {"whole": True}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["nothing", "", "..", "../elsewhere", "a/b", "/etc"])
def test_unknown_run_ids_are_refused(store, name):
    with pytest.raises(RunError, match="no run"):
        store.open(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "imuu"}, "Did you mean"),
        ({"parameters": {"lr": -1}}, "lr must be"),
        ({"parameters": {"speed": 1}}, "parameter"),
        ({"device": "tpu"}, "tpu"),
        ({"image_set": "digit"}, "digits"),
        ({"forget_ids": ()}, "empty|no picture|at least one"),
        ({"forget_ids": (5, 5)}, "5"),
        ({"forget_ids": (1, 5000)}, "5000|5,000"),
        ({"checkpoint": "nowhere.safetensors"}, "nowhere"),
    ],
)
def test_mistakes_leave_no_folder(checkpoint, digits, store, changes, message):
    images = None if "image_set" in changes else digits
    given = {"checkpoint": checkpoint, "digits": digits, **changes}
    with pytest.raises(ImuError, match=message) as caught:
        execute_run(spec_of(**given), store, image_set=images)
    assert "\n" not in str(caught.value)
    assert store.runs() == []


def test_forgetting_everything_is_refused(checkpoint, digits, store):
    spec = spec_of(checkpoint, digits, forget_ids=tuple(range(digits.n_train)))
    with pytest.raises(BadInput, match=r"every|all"):
        execute_run(spec, store, image_set=digits)


@pytest.mark.parametrize(
    "rule", ["forget<0.1", "forget<=2", "steps=0", "steps=-1", "steps=many", "never"]
)
def test_bad_stop_rules(rule):
    with pytest.raises(BadInput):
        parse_stop(rule)


@pytest.mark.parametrize("count", [-1, 51])
def test_bad_number_of_references(checkpoint, digits, count):
    with pytest.raises(BadInput, match="references"):
        spec_of(checkpoint, digits, retrain=count)


def test_spec_survives_its_own_json(checkpoint, digits):
    spec = spec_of(checkpoint, digits, parameters={"lr": 0.1})
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def wait_for(queue, job_id, timeout=60):
    done = threading.Event()
    for _ in range(timeout * 100):
        if queue.status(job_id).ended:
            return queue.status(job_id)
        done.wait(0.01)
    raise AssertionError(queue.status(job_id))


def test_queue_runs_one_at_a_time_and_tells_the_place():
    queue, gate, order = JobQueue(), threading.Event(), []

    def work(name):
        def do(context):
            gate.wait(10)
            order.append(name)

        return do

    ids = [queue.submit(name, work(name)) for name in "abc"]
    while queue.status(ids[0]).state == "queued":
        pass
    assert [queue.status(i).place for i in ids] == [0, 1, 2]
    queue.cancel(ids[1])
    assert queue.status(ids[1]).state == "cancelled"
    assert queue.status(ids[2]).place == 1
    gate.set()
    wait_for(queue, ids[2])
    assert order == ["a", "c"]


def test_queue_survives_a_faulty_job_and_hides_its_details():
    queue = JobQueue()

    def faulty(context):
        raise ZeroDivisionError("secret path")

    def mistaken(context):
        raise BadInput("Pick at least one picture.")

    assert "secret" not in wait_for(queue, queue.submit("x", faulty)).error
    assert wait_for(queue, queue.submit("y", mistaken)).error == "Pick at least one picture."
    assert wait_for(queue, queue.submit("z", lambda context: 7)).result == 7


def test_submitted_run_reports_progress_and_is_found_by_its_id(
    checkpoint, digits, store, monkeypatch
):
    monkeypatch.setattr("imu_core.runs.execute.open_image_set", lambda spec: digits)
    queue = JobQueue()
    run_id = submit_run(queue, spec_of(checkpoint, digits), store)
    status = wait_for(queue, run_id)
    assert status.state == "done", status.error
    assert store.open(run_id).state == "done"
    assert store.open(str(store.directory / run_id)).id == run_id


def test_submitted_run_can_be_cancelled(checkpoint, digits, store):
    queue = JobQueue()
    spec = spec_of(checkpoint, digits, stop="", parameters={"epochs": 10_000, "lr": 1e-8})
    run_id = submit_run(queue, spec, store)
    while queue.status(run_id).done < 3:
        assert not queue.status(run_id).ended, queue.status(run_id).error
    queue.cancel(run_id)
    assert wait_for(queue, run_id).state == "cancelled"
    assert store.open(run_id).state == "cancelled"
