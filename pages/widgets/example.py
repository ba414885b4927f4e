"""The finished run that comes with the repository, read without torch so that it opens at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pages.widgets.routes import ROOT

FOLDER = ROOT / "assets" / "example"


@dataclass(frozen=True)
class Example:
    """The shipped run: its id, record and metrics."""

    id: str
    record: dict[str, Any]
    metrics: dict[str, Any]


def shipped_example() -> Example | None:
    """The newest finished run in assets/example, or None in a copy without it."""
    for path in sorted(FOLDER.glob("*/run.json"), reverse=True):
        record = json.loads(path.read_text())
        metrics = path.parent / "metrics.json"
        if record.get("state") == "done" and metrics.is_file():
            return Example(path.parent.name, record, json.loads(metrics.read_text()))
    return None
