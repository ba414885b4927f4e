"""What a person at a terminal sees: progress on stderr, tables on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

SPARSE_S = 15.0
"""Seconds between two lines of progress where stderr is no terminal."""


class Progress:
    """Progress of one command: a bar where `stream` is a terminal, else a line now and then.

    Call it as `progress(done, of, text)`, or hand it the events of a run with `event`.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None
        self._last_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_bar()

    def say(self, text: str) -> None:
        """A line of its own, after which a new bar begins."""
        self._close_bar()
        print(text, file=self._stream, flush=True)
        self._last_s = time.monotonic()

    def __call__(self, done: int, of: int, text: str = "") -> None:
        if self._stream.isatty():
            self._draw(done, of, text)
        elif time.monotonic() - self._last_s >= SPARSE_S:
            print(f"{text or 'working'} ({done:,} of {of:,})", file=self._stream, flush=True)
            self._last_s = time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        """Show one event of a run."""
        kind = event.get("event")
        if kind == "stage":
            self.say(str(event.get("text") or event.get("stage")))
        elif kind == "progress":
            self(int(event["done"]), int(event["of"]), str(event.get("text", "")))
        elif kind == "step":
            loss = event.get("loss")
            note = "" if loss is None else f", loss {loss:.3g}"
            self(int(event["number"]), int(event["of"]), f"step {event['number']}{note}")

    def _draw(self, done: int, of: int, text: str) -> None:
        if self._bar is None or self._bar.total != of or done < self._bar.n:
            self._close_bar()
            self._bar = tqdm(total=of, file=self._stream, leave=False, dynamic_ncols=True)
        self._bar.set_description_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def print_json(data: Any) -> None:
    """Write one JSON value to stdout; numbers that are not finite are a fault, never `NaN`."""
    print(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def print_entries(entries: Sequence[tuple[str, str]]) -> None:
    """Write names with what is to be said about each, in two columns."""
    width = max((len(name) for name, _ in entries), default=0)
    for name, text in entries:
        print(f"{name.ljust(width)}  {text}".rstrip())
