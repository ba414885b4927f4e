"""The terminal: what it prints, how it leaves, and one clear line for every bad input."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from imu_core.cli import build_parser, main
from imu_core.display import metric_with_interval, number, seconds
from imu_core.forget_rules import parse_forget_spec
from imu_core.images import open_image_set
from imu_core.methods.registry import all_methods
from imu_core.replay import forget_spec, replay_command
from imu_core.report import report_html
from imu_core.runs import RunStore
from imu_core.terminal import serving
from imu_core.terminal.console import Progress, print_table
from imu_core.terminal.unlearning import parse_seeds

METRICS = {
    "forget_accuracy",
    "retain_accuracy",
    "test_accuracy",
    "test_accuracy_all",
    "membership_auc",
    "probe_forget_accuracy",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A digits classifier trained by `imu train`."""
    path = tmp_path_factory.mktemp("models") / "digits.safetensors"
    command = ["train", "--images", "digits", "--seed", "3", "--out", str(path), "--device", "cpu"]
    assert main(command) == 0
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(checkpoint: Path, runs: Path) -> dict:
    """What `imu unlearn --json` printed for two seeds and two references, from a process."""
    line = ["unlearn", "--images", "digits", "--checkpoint", str(checkpoint), "--device", "cpu"]
    line += ["--forget", "class=3", "--method", "imu", "--stop", "forget<=0.01"]
    line += ["--set", "lr=0.1", "--set", "epochs=200"]
    line += ["--seeds", "0,1", "--retrain", "2", "--runs", str(runs), "--json"]
    done = process(*line)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def process(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imu_core.cli", *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr of a call that must leave with 2 and print no data."""
    capsys.readouterr()
    code = main(argv)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("imu: ")]
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0]
    assert lines[0].endswith((".", "?"))
    return lines[0]


def unlearn_line(**changes: str) -> list[str]:
    given = {"images": "digits", "forget": "class=3", "method": "imu", "device": "cpu", **changes}
    return ["unlearn", *(word for name, value in given.items() for word in (f"--{name}", value))]


def test_help_answers_at_once_and_without_torch() -> None:
    program = (
        "import sys; from imu_core.cli import main; code = main(['--help']); "
        "assert code == 0; "
        "heavy = {'torch', 'numpy', 'streamlit', 'pandas', 'tqdm'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    spent_s = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    for command in ("images", "unlearn", "influence", "compare", "report", "app", "doctor"):
        assert re.search(rf"^ +{command}\b", done.stdout, re.MULTILINE)
    assert spent_s < 1


@pytest.mark.parametrize("command", ["train", "unlearn", "influence", "compare", "report", "app"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: imu {command}" in capsys.readouterr().out


def test_every_option_says_what_it_is() -> None:
    (commands,) = (action for action in build_parser()._actions if isinstance(action.choices, dict))
    for parser in commands.choices.values():
        assert all(action.help for action in parser._actions), parser.prog


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("imu-studio ")


def test_no_command_shows_help_and_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: imu" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["forget"], "forget"),
        (["unlearn", "--method", "imu"], "--forget"),
        (["unlearn", "--forgot", "class=3"], "--forget"),
        ([*unlearn_line(), "--no-such", "1"], "--no-such"),
        (unlearn_line(images="digit"), "Did you mean digits?"),
        (unlearn_line(images="digits:0"), "digits:0"),
        (unlearn_line(method="imus"), "Did you mean imu"),
        (unlearn_line(network="digits-cn"), "Did you mean digits-cnn?"),
        (unlearn_line(device="tpu"), "tpu"),
        (unlearn_line(set="lrr=1"), "Did you mean lr?"),
        (unlearn_line(set="lr"), "name=value"),
        (unlearn_line(set="lr=fast"), "lr must be a number"),
        (unlearn_line(set="lr=-1"), "lr must be at least"),
        (unlearn_line(set="lr=nan"), "lr must be at least"),
        (unlearn_line(set="epochs=1.5"), "whole number"),
        (unlearn_line(set="scope=feet"), "head, all"),
        ([*unlearn_line(), "--set", "lr=1", "--set", "lr=2"], "twice"),
        (unlearn_line(seeds="0,x"), "0,x"),
        (unlearn_line(seeds="-1"), "-1"),
        (unlearn_line(seeds="1,1"), "twice"),
        (unlearn_line(stop="forget<=2"), "0 to 1"),
        (unlearn_line(stop="whenever"), "whenever"),
        (unlearn_line(stop="steps=0"), "one step"),
        (unlearn_line(retrain="-1"), "-1"),
        (unlearn_line(retrain="many"), "many"),
        (unlearn_line(forget="class=11"), "11"),
        (unlearn_line(forget="class=cat"), "cat"),
        (unlearn_line(forget="ids=4,99999"), "99"),
        (unlearn_line(forget="ids=-4"), "-4"),
        (unlearn_line(forget="ids=4,8,4"), "4"),
        (unlearn_line(forget="class=3 - class=3"), ""),
        (unlearn_line(forget="random=100%"), ""),
        (unlearn_line(forget="random=999999"), ""),
        (unlearn_line(forget="file=no-such-file.csv"), "no-such-file.csv"),
        (unlearn_line(forget="darkest=50"), "darkest"),
        (unlearn_line(forget=""), ""),
        (unlearn_line(checkpoint="no-such-file.safetensors"), "no-such-file.safetensors"),
        (unlearn_line(checkpoint="a", network="digits-cnn"), "not allowed"),
        (["influence", "--forget", "class=3", "--kind", "astrology"], "astrology"),
        (["train", "--images", "digits", "--out", "x.pt"], "x.safetensors"),
        (["train", "--images", "digits", "--out", "no/such/x.safetensors"], "no/such"),
        (["train", "--images", "digits", "--network", "lenet9", "--out", "x.safetensors"], "lenet"),
        (["compare", "no-such-run"], "no-such-run"),
        (["compare", "../../etc"], "../../etc"),
        (["report", "no-such-run", "--out", "x.html"], "no-such-run"),
        (["app", "--port", "0"], "1–65535"),
        (["app", "--port", "99999"], "1–65535"),
        (["app", "--port", "http"], "http"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(
    argv: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMU_RUNS", str(tmp_path / "runs"))
    assert says in refused(capsys, *argv)
    assert not list(tmp_path.glob("runs/*/run.json")), "a refused call must leave no run"


def test_a_process_leaves_with_2_and_one_line() -> None:
    done = process("unlearn", "--images", "digit", "--forget", "class=3", "--method", "imu")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "imu: There is no image set “digit”. Did you mean digits?\n"


def broken_checkpoint(kind: str, whole: Path, folder: Path) -> Path:
    """A copy of `whole` with one thing wrong."""
    path = folder / f"{kind}.safetensors"
    data = whole.read_bytes()
    weights = load_file(whole)
    with safe_open(whole, "pt") as file:
        header = file.metadata()
    name = next(name for name, tensor in weights.items() if tensor.ndim > 1)
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    elif kind == "torch-pickle":
        torch.save(weights, path)
    elif kind == "no-header":
        save_file(weights, path)
    else:
        tensor = weights[name]
        weights[name] = {
            "dtype": tensor.double(),
            "shape": torch.zeros(tensor.shape[0] + 1, *tensor.shape[1:]),
            "not-finite": torch.full_like(tensor, float("nan")),
        }.get(kind, tensor)
        if kind == "names":
            weights["stranger"] = weights.pop(name)
        save_file(weights, path, metadata=header)
    return path


@pytest.mark.parametrize(
    "kind",
    ["truncated", "empty", "pickle", "torch-pickle", "no-header", "dtype", "shape", "names"],
)
def test_a_broken_checkpoint_is_refused(
    kind: str, checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = broken_checkpoint(kind, checkpoint, tmp_path)
    said = refused(capsys, *unlearn_line(checkpoint=str(path), runs=str(tmp_path / "runs")))
    assert path.name in said
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/run.json"))


def test_a_checkpoint_of_another_architecture_is_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with safe_open(checkpoint, "pt") as file:
        header = file.metadata()
    text = json.dumps(header)
    assert "digits-cnn" in text
    other = json.loads(text.replace("digits-cnn", "small-cnn"))
    path = tmp_path / "other.safetensors"
    save_file(load_file(checkpoint), path, metadata=other)
    assert "other.safetensors" in refused(capsys, *unlearn_line(checkpoint=str(path)))


def test_json_is_what_the_contract_says(finished: dict) -> None:
    assert set(finished) == {"runs", "retrained"}
    assert [run["seed"] for run in finished["runs"]] == [0, 1]
    assert len(finished["retrained"]) == 2
    for run in finished["runs"]:
        assert set(run) == {
            *("run", "method", "seed", "config", "seconds", "steps", "before", "after"),
        }
        assert run["method"] == "imu"
        assert run["config"]["clip_quantile"] == 0.93
        assert set(run["seconds"]) == {"method", "evaluation"}
        assert run["seconds"]["method"] > 0
        assert run["steps"] >= 1
        assert run["before"].keys() >= METRICS
        assert run["before"]["forget_accuracy"] > 0.95
        assert run["after"]["forget_accuracy"] <= 0.01
        assert run["after"]["retain_accuracy"] > 0.9
        assert run["after"]["detail"]["forget_accuracy"]["n"] > 100
    for metrics in finished["retrained"]:
        assert metrics["forget_accuracy"] == 0
        assert metrics["test_accuracy"] > 0.9
    assert finished["retrained"][0] != finished["retrained"][1]


def test_runs_are_compared_by_id_and_by_folder(
    finished: dict, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (run["run"] for run in finished["runs"])
    capsys.readouterr()
    assert main(["compare", first, str(runs / second), "--runs", str(runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in told] == [first, second]
    assert told[0]["after"] == finished["runs"][0]["after"]
    assert told[0]["retrained"] == finished["retrained"]
    assert told[0]["floor"]["test_accuracy"]["pairs"] == 1

    assert main(["compare", first, second, "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^metric +original +imu s0 +imu s1 +retrained \(2\)$", out, re.MULTILINE)
    assert re.search(r"^Forget accuracy .* %", out, re.MULTILINE)
    assert first in out

    assert main(["compare", "--runs", str(runs), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["run"] for one in listed} >= {first, second}
    assert {one["state"] for one in listed} == {"done"}


class Page(HTMLParser):
    """What an HTML page holds, and whether its tags are balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_evidence_file_stands_alone(
    finished: dict, runs: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = finished["runs"][0]["run"], tmp_path / "evidence.html"
    capsys.readouterr()
    assert main(["report", run, "--out", str(out), "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    tags = [tag for tag, _ in page.seen]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    pictures = [attributes for tag, attributes in page.seen if tag == "img"]
    assert len(pictures) == 60
    assert all(str(one["src"]).startswith("data:image/png;base64,") for one in pictures)
    assert all(str(one["alt"]).startswith("Training picture ") for one in pictures)
    assert not re.search(r"https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "imu unlearn --images digits" in text
    assert "--forget class=3" in text
    for part in (run, "Verdict", "Numbers", "Provenance", "95 % intervals", str(checkpoint)):
        assert part in text


def test_a_set_of_ids_is_written_as_classes_where_it_is_one() -> None:
    digits = open_image_set("digits")
    threes, fives = digits.ids_of_class(3), digits.ids_of_class(5)
    assert forget_spec(threes, digits) == "class=3"
    some = torch.cat([threes, fives[:2]]).sort().values
    written = forget_spec(some, digits)
    assert written == f"class=3+ids={fives[0]},{fives[1]}"
    assert parse_forget_spec(written, digits).ids == tuple(some.tolist())
    assert forget_spec(threes[1:3]) == f"ids={threes[1]},{threes[2]}"
    # Names that swap numbers: the class called 3 must be the one that is named.
    names = ("0", "1", "2", "5", "4", "3", "6", "7", "8", "9")
    swapped = dataclasses.replace(digits, class_names=names)
    assert forget_spec(threes, swapped) == "class=5"
    assert parse_forget_spec("class=5", swapped).ids == tuple(threes.tolist())
    # A name that reads as two terms cannot be used.
    odd = dataclasses.replace(digits, class_names=(*names[:3], "3+ids=1", *names[4:]))
    assert forget_spec(threes, odd).startswith("ids=")


def test_the_replay_command_gives_the_same_numbers(
    finished: dict, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = finished["runs"][0]
    line = shlex.split(replay_command(RunStore(runs).open(first["run"])))
    assert line[0] == "imu"
    line[line.index("--retrain") + 1] = "0"
    capsys.readouterr()
    assert main([*line[1:], "--device", "cpu", "--runs", str(tmp_path), "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)["runs"]
    for key in ("config", "steps", "seed"):
        assert again[key] == first[key]
    for name in METRICS:
        assert again["after"][name] == pytest.approx(first["after"][name], abs=1e-3)


def test_protected_pictures_are_kept_with_the_run(
    finished: dict, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = RunStore(runs).open(finished["runs"][0]["run"])
    line = shlex.split(replay_command(first))
    line[line.index("--retrain") + 1] = "0"
    words = [*line[1:], "--protect", "class=5", "--device", "cpu", "--runs", str(tmp_path)]
    assert main(words) == 0
    (run,) = RunStore(tmp_path).runs()
    digits = open_image_set("digits")
    assert run.record["spec"]["protected_ids"] == digits.ids_of_class(5).tolist()
    assert "--protect class=5" in replay_command(run, digits)
    capsys.readouterr()
    assert main([*line[1:], "--protect", "class=3", "--runs", str(tmp_path)]) == 2
    assert "forgotten and protected at once" in capsys.readouterr().err


def test_names_in_the_evidence_file_are_escaped(finished: dict, runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    run = finished["runs"][0]["run"]
    record = json.loads((copy / run / "run.json").read_text())
    evil = "<script>alert('x')</script>&"
    record["image_set"]["title"] = record["forget"]["history"][0] = evil
    record["spec"]["checkpoint"] = record["checkpoint"]["recipe"]["note"] = evil
    (copy / run / "run.json").write_text(json.dumps(record))
    text = report_html(RunStore(copy).open(run))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4
    Page(text)


def test_unlearn_prints_a_table_and_a_verdict(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = unlearn_line(checkpoint=str(checkpoint), stop="steps=5", forget="random=50")
    assert main([*line, "--runs", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "Retain accuracy" in out
    assert "No retrained model" in out
    assert re.search(rf"^imu s0: run \S+ in {re.escape(str(tmp_path))}$", out, re.MULTILINE)
    assert re.search(r"^Stop rule +reached$", out, re.MULTILINE)
    assert "steps in" in err


def test_requests_one_after_another_are_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = unlearn_line(checkpoint=str(checkpoint), method="l2ul", stop="", forget="random=6")
    line += ["--runs", str(tmp_path)]
    for text in ("requests=2", "regulariser=none", "epochs=3"):
        line += ["--set", text]
    assert main(line) == 0
    out = capsys.readouterr().out
    heading = r"^Request +Pictures +Accuracy on this request +On all earlier requests +Retain"
    assert re.search(heading, out, re.MULTILINE)
    assert re.search(r"^1 +3 +\d+\.\d % +– +\d+\.\d %", out, re.MULTILINE)
    assert re.search(r"^2 +3 +\d+\.\d % +\d+\.\d % +\d+\.\d %", out, re.MULTILINE)
    assert main([*line, "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert [row["request"] for row in run["reports"]] == [1, 2]
    assert (
        main(["report", run["run"], "--runs", str(tmp_path), "--out", str(tmp_path / "e.html")])
        == 0
    )
    assert "<th>On all earlier requests</th>" in (tmp_path / "e.html").read_text()


def test_an_original_is_trained_once_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_core.terminal.training.bundled_checkpoint", lambda name: None)
    line = ["influence", "--images", "digits", "--network", "digits-cnn", "--forget", "ids=1,2,3"]
    line += ["--runs", str(tmp_path), "--device", "cpu", "--json"]
    assert main(line) == 0
    first = capsys.readouterr()
    assert "Training digits-cnn" in first.err
    (kept,) = (tmp_path / "originals").glob("*.safetensors")
    before = kept.stat().st_mtime_ns
    assert main(line) == 0
    second = capsys.readouterr()
    assert "Training" not in second.err
    assert kept.stat().st_mtime_ns == before
    assert first.out == second.out


def test_influence_scores_every_forget_picture(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.csv"
    line = ["influence", "--images", "digits", "--checkpoint", str(checkpoint), "--device", "cpu"]
    line += ["--forget", "class=3"]
    capsys.readouterr()
    assert main([*line, "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "imu"
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == [one["id"] for one in told["scores"]]
    assert {row["label"] for row in rows} == {"3"}
    assert [float(row["score"]) for row in rows] == [one["score"] for one in told["scores"]]
    # The mean over the set of gᵢᵀ F⁻¹ ḡ is ḡᵀ F⁻¹ ḡ > 0: the scores' mean is below 0.
    assert sum(one["score"] for one in told["scores"]) < 0
    assert main(line) == 0
    assert capsys.readouterr().out == out.read_text()


def test_methods_are_listed_with_needs_scope_and_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    blocks = {block.split(":")[0]: block for block in capsys.readouterr().out.split("\n\n")}
    for method in all_methods():
        block = blocks[method.name]
        assert f"given: {', '.join(method.needs)}; moves: {method.scope}" in block
        assert f"paper: {method.paper}" in block


def test_lists_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    for command, key in (("images", "digits"), ("networks", "digits-cnn"), ("methods", "imu")):
        assert main([command, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert key in {row["name"] for row in rows}
        assert main([command]) == 0
        assert re.search(rf"^{key}\b", capsys.readouterr().out, re.MULTILINE)
    assert main(["methods", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        assert row.keys() >= {"name", "title", "needs", "scope", "paper", "parameters"}


def test_a_port_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(capsys, "app", "--port", str(port))
    assert f"Port {port} is in use" in said


def test_the_app_is_looked_for_beside_the_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "ROOT", tmp_path)
    assert "app.py" in refused(capsys, "app")


def test_the_doctor_looks_at_everything(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--runs", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 8
    assert all(re.match(r"(ok  |warn)  \S", line) for line in lines)
    assert any("torch and torchvision go together" in line for line in lines)
    assert not (tmp_path / "runs").exists(), "looking must not leave anything behind"
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["doctor", "--runs", str(blocked / "runs")]) == 0
    assert re.search(r"^warn  runs cannot be kept", capsys.readouterr().out, re.MULTILINE)


def test_a_fault_is_told_in_one_line_and_leaves_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(arguments: object) -> int:
        raise ZeroDivisionError("no\nway")

    monkeypatch.setattr("imu_core.terminal.listing.methods", broken)
    monkeypatch.delenv("IMU_DEBUG", raising=False)
    assert main(["methods"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("imu: fault: ZeroDivisionError: no way")
    assert err.count("\n") == 1
    monkeypatch.setenv("IMU_DEBUG", "1")
    assert main(["methods"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_a_pipe_is_no_fault() -> None:
    line = f"{sys.executable} -m imu_core.cli methods --json | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_ctrl_c_ends_a_run_between_two_steps(checkpoint: Path, tmp_path: Path) -> None:
    line = unlearn_line(checkpoint=str(checkpoint), runs=str(tmp_path), forget="random=10")
    line += ["--set", "epochs=10000", "--set", "lr=1e-8"]
    running = subprocess.Popen(
        [sys.executable, "-m", "imu_core.cli", *line], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not any('"step"' in path.read_text() for path in tmp_path.glob("*/events.jsonl")):
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err.endswith("imu: cancelled.\n")
    (record,) = tmp_path.glob("*/run.json")
    assert json.loads(record.read_text())["state"] == "cancelled"


def test_progress_without_a_terminal_is_sparse() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.event({"event": "stage", "stage": "unlearn", "text": "Unlearning"})
        for step in range(1, 1000):
            progress.event({"event": "step", "number": step, "of": 999, "loss": 0.5})
    assert stream.getvalue() == "Unlearning\n"


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a", "b"], [["one", "1"], ["three", "1,000"]])
    assert capsys.readouterr().out == "a          b\n-----  -----\none        1\nthree  1,000\n"


def test_seeds_are_read() -> None:
    assert parse_seeds("0,1, 7") == [0, 1, 7]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.123"), (0, "0"), (1e-5, "1.00e-05"), (1234.5, "1,234"), (12.34, "12.3")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.84, "0.84 s"), (42.4, "42 s"), (200, "3 min 20 s"), (59.9, "60 s")]
)
def test_seconds_read_as_people_say_them(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_number_that_cannot_be_had_says_why() -> None:
    why = {"low": None, "high": None, "n": 12, "why": "too few (n = 12)"}
    metrics = {"membership_auc": None, "detail": {"membership_auc": why}}
    assert metric_with_interval("membership_auc", metrics) == "too few (n = 12)"
    detail = {"low": 0.893, "high": 0.929, "n": 1021, "why": ""}
    metrics = {"test_accuracy": 0.912, "detail": {"test_accuracy": detail}}
    assert metric_with_interval("test_accuracy", metrics) == "91.2 % [89.3, 92.9], n = 1,021"
