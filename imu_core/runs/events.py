"""The stream of events of a run: stages, steps, probes, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from imu_core.files import clear_about_disk

Emit = Callable[[dict[str, Any]], None]
PROGRESS_EVERY_S = 0.2


class EventLog:
    """The run's stream of events: one JSON object a line, and whoever else listens."""

    def __init__(self, file: TextIO, listener: Emit | None) -> None:
        self._file, self._listener = file, listener
        self._started, self._last_progress = time.perf_counter(), 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        event = {**event, "at_s": round(time.perf_counter() - self._started, 3)}
        with clear_about_disk(Path(self._file.name).parent):
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
        if self._listener is not None:
            self._listener(event)

    def stage(self, stage: str, text: str) -> None:
        self({"event": "stage", "stage": stage, "text": text})

    def progress(self, stage: str, prefix: str = "") -> Callable[[int, int, str], None]:
        """A callback (done, of, text) that writes a few lines a second, and the last one."""

        def report(done: int, of: int, text: str) -> None:
            now = time.perf_counter()
            if done < of and now - self._last_progress < PROGRESS_EVERY_S:
                return
            self._last_progress = now
            event = {"event": "progress", "stage": stage, "done": done, "of": of}
            self({**event, "text": prefix + text})

        return report
