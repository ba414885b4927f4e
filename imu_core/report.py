"""The evidence file: one HTML page about one run that needs no script and no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

import torch
from torch import Tensor

from imu_core import __version__, display
from imu_core.errors import ImuError, RunError
from imu_core.evaluation.verdict import verdict
from imu_core.files import write_whole
from imu_core.images import ImageSet, open_image_set
from imu_core.methods.registry import get_method
from imu_core.replay import replay_command
from imu_core.runs import Run

MOST_PICTURES = 60

PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1d232a; --paper: #fcfcfb; --soft: #5b6570;
 --line: #d5d9dd; --fill: #f1f2f3; --mark: #0b5c94; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6e9; --paper: #14181d; --soft: #9aa3ad;
 --line: #36404a; --fill: #1d232a; --mark: #7db8e2; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
 max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p.soft, small, td.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
 border-bottom: 1px solid var(--line); }
ul.verdict { list-style: none; padding: 0; }
ul.verdict li { border-left: 4px solid var(--mark); background: var(--fill);
 padding: .5rem .8rem; margin: .5rem 0; }
.level { font-weight: 600; text-transform: uppercase; font-size: .8rem; letter-spacing: .04em; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; width: 56px; font-size: 11px; color: var(--soft); overflow-wrap: anywhere; }
figure img { width: 56px; height: 56px; image-rendering: pixelated; display: block; }
code, pre { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; }
pre { background: var(--fill); padding: .8rem; white-space: pre-wrap; max-height: 16rem;
 overflow: auto; }
</style></head><body>
$body
</body></html>
"""
)


def write_report(run: Run, path: Path) -> Path:
    """The path of the evidence file, written whole or not at all."""
    page = report_html(run)
    if not path.absolute().parent.is_dir():
        raise RunError(f"There is no folder “{path.parent}” to write the evidence file into.")

    def fill(part: Path) -> None:
        part.write_text(page, encoding="utf-8")

    write_whole(path, fill)
    return path


def findings(run: Run) -> list[Any]:
    """The verdict on a finished run."""
    record, metrics = run.record, run.metrics()
    spec, seconds = record["spec"], record["seconds"]
    method = get_method(spec["method"])
    # With the defaults filled in: the scope a run used is often one of them.
    parameters = method.config.from_mapping(spec["parameters"]).to_dict()
    return verdict(
        metrics["before"],
        metrics["after"],
        metrics["retrained"],
        metrics["floor"],
        method={**method.to_dict(), "parameters": parameters},
        forget=record["forget"],
        seconds={"method": seconds["method"], "retrain": sum(seconds["retrain"])},
    )


def report_html(run: Run) -> str:
    """The page as text. All that comes from outside (names, paths, notes) is escaped."""
    record = run.record
    if record["state"] != "done":
        raise RunError(
            f"The run “{run.id}” is {record['state']}; only a finished run has evidence."
        )
    title = (
        f"{record['method']['title']}: {record['forget']['n']:,} forgotten pictures of "
        f"{record['image_set']['title']}"
    )
    image_set, missing = _pictures_here(record["image_set"])
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Run {escape(run.id)}, made {escape(str(record["created"]))}, '
        f"with imu-studio {escape(__version__)}.</p>",
        _verdict(findings(run)),
        _metrics(run.metrics()),
        _forget_set(run, image_set, missing),
        _method(record) + _own_table(run.reports()),
        _provenance(record),
        _replay(run, image_set),
        _definitions(),
    ]
    return PAGE.substitute(title=escape(title), body="\n".join(parts))


def _verdict(found: Sequence[Any]) -> str:
    items = "".join(
        f'<li><span class="level">{escape(one.level)}</span> <strong>{escape(one.title)}</strong>'
        f"<br>{escape(one.sentence)}</li>"
        for one in found
    )
    return f'<h2>Verdict</h2><ul class="verdict">{items}</ul>'


def _metrics(metrics: Mapping[str, Any]) -> str:
    """Before, after and retrained, each with interval and count, and the floor."""
    before, after, retrained = metrics["before"], metrics["after"], metrics["retrained"]
    floor = metrics["floor"]
    rows = []
    for name in display.metric_names(before, after):
        cells = [display.metric_title(name)]
        cells += [display.metric_with_interval(name, one) for one in (before, after)]
        values = [one[name] for one in retrained if one.get(name) is not None]
        cells.append(display.metric(name, fmean(values)) if values else "–")
        gap = floor.get(name)
        cells.append(f"± {display.metric(name, gap['mean'])}" if gap else "–")
        rows.append(cells)
    n = len(retrained)
    note = (
        f"Retrained: the mean of {n} models trained from the start without the forget set. "
        + (
            "Floor: the mean difference between two of them, which is what “perfect” looks like "
            "at this sample size."
            if n > 1
            else "Two or more would give the floor."
        )
        if n
        else "No retrained model was made, so there is nothing to hold these numbers against."
    )
    return (
        "<h2>Numbers</h2>"
        + _table(("", "Original", "Unlearned", "Retrained", "Floor"), rows)
        + f'<p class="soft">In brackets: 95 % intervals. {note}</p>'
    )


def _forget_set(run: Run, image_set: ImageSet | None, missing: str) -> str:
    forget = run.record["forget"]
    how = "; ".join(forget["history"]) or "not recorded"
    text = f"<p>{forget['n']:,} pictures. How they were chosen: {escape(how)}.</p>"
    if image_set is None:
        return f'<h2>Forget set</h2>{text}<p class="soft">{escape(missing)}</p>'
    ids = run.forget_ids
    counts = torch.bincount(image_set.train_labels[ids], minlength=image_set.n_classes).tolist()
    rows = [
        (name, f"{count:,}", f"{int((image_set.train_labels == label).sum()):,}")
        for label, (name, count) in enumerate(zip(image_set.class_names, counts, strict=True))
        if count
    ]
    table = _table(("Class", "To be forgotten", "Training pictures"), rows)
    return f"<h2>Forget set</h2>{text}{table}{_pictures(run, image_set, ids)}"


def _pictures(run: Run, image_set: ImageSet, ids: Tensor) -> str:
    """Thumbnails of at most `MOST_PICTURES`, evenly spread, with what each is called now."""
    spread = torch.linspace(0, len(ids) - 1, min(len(ids), MOST_PICTURES)).round().long()
    shown = ids[spread]
    called = run.outputs().train_logits[shown.numpy()].argmax(1)
    names, figures = image_set.class_names, []
    for id, now in zip(shown.tolist(), called.tolist(), strict=True):
        was = names[int(image_set.train_labels[id])]
        alt = f"Training picture {id}, class {was}, called {names[now]} after unlearning"
        figures.append(
            f'<figure><img alt="{escape(alt)}" src="{_data_uri(image_set.train_images[id])}">'
            f"<figcaption>{id}<br>{escape(was)}\u202f→\u202f{escape(names[now])}</figcaption></figure>"
        )
    note = f"{len(shown)} of them: id, class → what the unlearned model calls it."
    return f'<p class="soft">{note}</p><div class="pictures">{"".join(figures)}</div>'


def _data_uri(picture: Tensor) -> str:
    """A uint8 (c, h, w) picture as a PNG inside a URI."""
    from PIL import Image

    array = picture[0].numpy() if len(picture) == 1 else picture[:3].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _method(record: Mapping[str, Any]) -> str:
    spec, stop, seconds = record["spec"], record["stop"], record["seconds"]
    method = get_method(spec["method"])
    rows = [
        (item["name"], str(spec["parameters"].get(item["name"], item["default"])), item["doc"])
        for item in method.parameters()
    ]
    reached = "reached" if stop["reached"] else "not reached"
    rule = f"Stop rule: {stop['sentence']} ({reached}); " if stop["rule"] else ""
    spent = {**seconds, "retraining": sum(seconds["retrain"])}
    times = ", ".join(
        f"{name} {display.seconds(spent[name])}"
        for name in ("method", "evaluation", "retraining")
        if spent[name]
    )
    return (
        f"<h2>Method</h2><p>{escape(method.title)}: {escape(method.summary)} "
        f"{escape(rule)}{record['steps']:,} steps, seed {spec['seed']}.</p>"
        f"<p>Given: {escape(', '.join(method.needs))}. Paper: {escape(method.paper)}. "
        f"Time: {escape(times)}.</p>" + _table(("Parameter", "Value", ""), rows)
    )


def _own_table(rows: Sequence[Mapping[str, float | None]]) -> str:
    """What the method reported of itself on the way, where it does."""
    return f"<h3>On the way</h3>{_table(*display.report_table(rows))}" if rows else ""


def _provenance(record: Mapping[str, Any]) -> str:
    checkpoint, images = record["checkpoint"], record["image_set"]
    rows = [
        ("Image set", f"{images['name']}, {images['n_train']:,} training pictures"),
        ("Its fingerprint (SHA-256)", images["fingerprint"]),
        ("Forget set, digest", record["forget"]["digest"]),
        ("Original", f"{checkpoint['network']}, seed {checkpoint['seed']}"),
        ("Its file, digest", checkpoint["digest"]),
        ("Training recipe", ", ".join(f"{k} {v}" for k, v in checkpoint["recipe"].items())),
        ("Device", record["device"]),
        ("Versions", ", ".join(f"{name} {v}" for name, v in record["versions"].items())),
    ]
    return "<h2>Provenance</h2>" + _table(("", ""), [(a, str(b)) for a, b in rows])


def _replay(run: Run, image_set: ImageSet | None) -> str:
    return (
        "<h2>Replay</h2><p>The same inputs and seed give the same run on the same device.</p>"
        f"<pre>{escape(replay_command(run, image_set))}</pre>"
    )


def _pictures_here(recorded: Mapping[str, Any]) -> tuple[ImageSet | None, str]:
    """The image set of a run, or None and why its pictures cannot be shown."""
    try:
        image_set = open_image_set(recorded["name"])
    except ImuError as error:
        return None, f"The pictures are not shown: {error}"
    if image_set.fingerprint != recorded["fingerprint"]:
        return None, "The pictures are not shown: the image set here differs from that of the run."
    return image_set, ""


def _definitions() -> str:
    rows = [(display.metric_title(name), text) for name, text in display.METRIC_SENTENCES.items()]
    return "<h2>How the numbers are made</h2>" + _table(("", ""), rows)


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
