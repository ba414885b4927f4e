"""Timing of calls that take turns, the memory they take, and the table that comes of it."""

from __future__ import annotations

import importlib.metadata
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One line of the table; seconds are medians."""

    what: str
    seconds: float
    against: str = ""
    against_seconds: float | None = None
    limit: str = ""
    reached: bool | None = None
    note: str = ""


class Clock:
    """Times calls in turns on one device.

    `processor_time` counts the seconds that all threads of this program were at work instead of
    those on the wall: on a machine busy with other things, with one thread, that is what the wall
    clock of an idle one would say.
    """

    def __init__(self, device: torch.device, repeats: int, processor_time: bool = False) -> None:
        self.device, self.repeats, self.processor_time = device, repeats, processor_time
        self.now = time.process_time if processor_time else time.perf_counter

    def once(self, call: Callable[[], Any]) -> float:
        self._wait()
        started = self.now()
        call()
        self._wait()
        return self.now() - started

    def medians(self, *calls: Callable[[], Any], warm: bool = True) -> list[float]:
        """Median seconds of each call; they take turns, after one turn that is not counted."""
        if warm:
            for call in calls:
                call()
        turns = [[self.once(call) for call in calls] for _ in range(self.repeats)]
        return [statistics.median(column) for column in zip(*turns, strict=True)]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def peak_memory(device: torch.device) -> tuple[Callable[[], None], Callable[[], float]]:
    """Two calls: forget the peak so far, and give the peak since, in bytes."""
    if device.type == "cuda":
        return torch.cuda.reset_peak_memory_stats, torch.cuda.max_memory_allocated

    def reset() -> None:
        Path("/proc/self/clear_refs").write_text("5")

    def peak() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

    return reset, peak


def collect(rows: list[Row], more: list[Row]) -> None:
    """Add lines to the table, and print them as soon as they are there."""
    rows += more
    for row in more:
        parts = [f"{row.what:<62}", f"{row.seconds:>9.4f} s"]
        if row.against_seconds is not None:
            ratio = row.seconds / row.against_seconds
            parts.append(f"{row.against} {row.against_seconds:.4f} s, ratio {ratio:.3g}")
        if row.reached is not None:
            parts.append(f"{row.limit}: {'reached' if row.reached else 'MISSED'}")
        print("  ".join([*parts, row.note]).rstrip(), flush=True)


def installed(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
