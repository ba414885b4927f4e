"""The results of benchmarks/methods.py as tables: one for each image set and kind of forget set."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from imu_core.evaluation.representation import probe_share
from imu_core.methods.registry import get_method

NOTES = Path(__file__).parent / "results" / "methods_notes.md"
ACCURACIES = ("forget_accuracy", "retain_accuracy", "test_accuracy")
HEAD = (
    "method", "given", "sets", "forget", "retain", "test", "gap", "depth at step", "retain there",
    "test there", "membership", "probe", "probe share", "seconds",
)  # fmt: skip


def gap(model: dict[str, Any], retrained: list[dict[str, Any]]) -> float:
    """|Δ forget| + |Δ retain| + |Δ test| to the mean of the retrained models."""
    return sum(
        abs(model[key] - sum(m[key] for m in retrained) / len(retrained)) for key in ACCURACIES
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are known; none where no value is."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def number(value: float | None, digits: int = 3) -> str:
    """The value with so many digits, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def report(cells: list[dict[str, Any]], introduction: str) -> str:
    """The whole results file, Markdown."""
    paragraphs = introduction.split("\n\n")
    command, *prose = paragraphs[1:4]
    lines = ["# Every method on the same forget sets", "", "```sh", *_dedented(command), "```", ""]
    lines += _prose(prose)
    if NOTES.exists():
        lines += [NOTES.read_text().strip(), ""]
    lines += [
        "Mean over the sets (how many of them: “sets”), of the gap also the least and the "
        "largest. Forget, retain and test accuracy, gap, membership (AUC of the "
        "attack, 0.5 = chance) and probe (accuracy of a linear probe on the forget pictures) are "
        "of the end of the run; probe share is the way from retrained (0) to original (1). A dash: "
        "never got there, or cannot be had.",
        "",
    ]
    for images in _unique(cell["images"] for cell in cells):
        for kind in _unique(cell["set"] for cell in cells if cell["images"] == images):
            mine = [c for c in cells if c["images"] == images and c["set"] == kind]
            lines += _section(images, kind, mine)
    return "\n".join(lines)


def _section(images: str, kind: str, cells: list[dict[str, Any]]) -> list[str]:
    sets = {c["seed"]: c for c in cells if not c["method"]}
    n_sets = len(sets)
    names = _unique(c["method"] for c in cells if c["method"])
    groups: dict[str, list[dict[str, Any]]] = {
        name: [c for c in cells if c["method"] == name] for name in names
    }
    order = sorted(names, key=lambda n: ("retain" in get_method(n).needs, _gap_of(groups[n], sets)))
    n = sum(c["n_forget"] for c in sets.values()) / n_sets
    depth = mean(c["depth"] for c in sets.values())
    seconds = sum(c.get("method_s") or 0 for c in cells)
    rows = [_fixed_row("original", sets, lambda s: [s["before"]], 0.0)]
    retrain_s = mean(t for s in sets.values() for t in s["retrain_s"])
    rows.append(_fixed_row("retrained", sets, lambda s: s["retrained"], retrain_s, floor=True))
    rows += [_method_row(name, groups[name], sets) for name in order]
    machines = ", ".join(_unique(s["hardware"] for s in sets.values()))
    return [
        f"## {images}: {kind}",
        "",
        f"{n_sets} forget sets of {n:.0f} pictures on average; depth {number(depth)}; "
        f"{seconds:.0f} s of unlearning on {machines}.",
        "",
        *markdown_table(HEAD, rows),
        "",
        *_refusals(groups),
    ]


def _method_row(name: str, cells: list[dict[str, Any]], sets: dict[int, dict]) -> tuple[str, ...]:
    good = [c for c in cells if "end" in c]
    deep = [c for c in good if c["at_depth"]]
    all_deep = len(deep) == len(good) and bool(good)
    steps = mean(c["at_depth"]["number"] for c in deep)
    where = (
        "–" if not deep else f"{steps:.0f}" + ("" if all_deep else f" ({len(deep)}/{len(good)})")
    )
    shares = [_share(c["end"], sets[c["seed"]]) for c in good]
    return (
        f"`{name}`",
        ", ".join(n for n in get_method(name).needs if n != "forget") or "–",
        f"{len(good)}/{len(sets)}",
        *(number(mean(c["end"][key] for c in good)) for key in ACCURACIES),
        _with_range([gap(c["end"], sets[c["seed"]]["retrained"]) for c in good]),
        where,
        *(
            number(mean(c["at_depth"][key] for c in deep))
            for key in ("retain_accuracy", "test_accuracy")
        ),
        number(mean(c["end"]["membership_auc"] for c in good)),
        number(mean(c["end"]["probe_forget_accuracy"] for c in good)),
        number(mean(shares), 2),
        number(mean(c["method_s"] for c in good), 2),
    )


def _fixed_row(
    name: str,
    sets: dict[int, dict],
    models_of: Callable[[dict], list[dict]],
    seconds: float,
    *,
    floor: bool = False,
) -> tuple[str, ...]:
    models = [m for s in sets.values() for m in models_of(s)]
    if floor:
        gaps = [gap(a, [b]) for s in sets.values() for a, b in combinations(s["retrained"], 2)]
    else:
        gaps = [gap(m, s["retrained"]) for s in sets.values() for m in models_of(s)]
    shares = [_share(m, s) for s in sets.values() for m in models_of(s)]
    return (
        f"**{name}**",
        "all" if floor else "–",
        f"{len(sets)}/{len(sets)}",
        *(number(mean(m[key] for m in models)) for key in ACCURACIES),
        _with_range(gaps) + (", the floor" if floor else ""),
        "–",
        "–",
        "–",
        number(mean(m["membership_auc"] for m in models)),
        number(mean(m["probe_forget_accuracy"] for m in models)),
        number(mean(shares), 2),
        number(seconds, 2),
    )


def _share(model: dict[str, Any], forget_set: dict[str, Any]) -> float | None:
    key = "probe_forget_accuracy"
    retrained = mean(m[key] for m in forget_set["retrained"])
    values = [m[key] for m in forget_set["retrained"] if m[key] is not None]
    noise = max(values) - min(values) if values else 0.0
    return probe_share(forget_set["before"][key], model[key], retrained, noise=noise)


def _gap_of(cells: list[dict[str, Any]], sets: dict[int, dict]) -> float:
    found = mean(gap(c["end"], sets[c["seed"]]["retrained"]) for c in cells if "end" in c)
    return 9.0 if found is None else found


def _refusals(groups: dict[str, list[dict[str, Any]]]) -> list[str]:
    said = {
        name: _unique(c["refused"] for c in cells if "refused" in c)
        for name, cells in groups.items()
    }
    lines = [f"- `{name}` refused: {' '.join(texts)}" for name, texts in said.items() if texts]
    return [*lines, ""] if lines else []


def _dedented(block: str) -> list[str]:
    return textwrap.dedent(block).strip().splitlines()


def _prose(paragraphs: Iterable[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (paragraph.strip(), "")]


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _with_range(values: list[float]) -> str:
    """The mean, and the least and largest where there are several."""
    if len(values) < 2:
        return number(mean(values))
    return f"{number(mean(values))} [{number(min(values))}, {number(max(values))}]"
