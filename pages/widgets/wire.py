"""What the picking widgets share: big payloads sent once, and clicks that are never lost.

A payload (a sheet of thumbnails, the points of a map) travels in an invisible component of its own.
Streamlit sends an unchanged message as a short reference, so a click that changes only which
pictures are chosen costs some hundred bytes and never the pictures again.

The browser numbers each pick and repeats it until the server has acknowledged its number, so picks
made while the server is busy survive. A run that is broken off between applying a pick and
acknowledging it meets the pick again: whoever applies picks must make each change in one assignment
and gain nothing from making it twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

_HERE = Path(__file__).parent
_ALIGNMENT = 8
_MAX_PICKS_A_MESSAGE = 500


def script(*names: str) -> str:
    """The text of these JavaScript files as one module, in this order."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


_payload = st.components.v2.component("imu_payload", js=script("wire.js", "payload.js"))


def pack(header: Mapping[str, Any], parts: Mapping[str, bytes | np.ndarray]) -> bytes:
    """One block of bytes: length of the header, the header as JSON, then the parts, each aligned.

    The header names each part with its place and its kind (a NumPy type, or `bytes`).
    """
    blobs: list[bytes] = []
    table: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, part in parts.items():
        blob = part.tobytes() if isinstance(part, np.ndarray) else bytes(part)
        kind = part.dtype.name if isinstance(part, np.ndarray) else "bytes"
        table[name] = {"offset": offset, "length": len(blob), "kind": kind}
        blobs.append(blob + b"\0" * (-len(blob) % _ALIGNMENT))
        offset += len(blobs[-1])
    text = json.dumps({**header, "parts": table}, ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + b"".join(blobs)


def send_payload(name: str, payload: bytes, *, key: str) -> None:
    """Put a packed payload into the browser's store under `name`; whoever waits for it is told."""
    _payload(data=pack({"name": name}, {"payload": payload}), key=key, height="content")


@dataclass(frozen=True)
class BrowserPick:
    """One numbered message of the browser, not yet checked against what was on the screen."""

    number: int
    kind: str
    content: Mapping[str, Any]


def new_picks(state: object, key: str) -> Iterator[BrowserPick]:
    """The picks of a widget's state that have not been applied yet, in the order they were made.

    Each is acknowledged when the next one is asked for, that is, after it has been applied.
    """
    done = acknowledged(key)
    for raw in _as_list(state)[:_MAX_PICKS_A_MESSAGE]:
        if not isinstance(raw, Mapping):
            continue
        number, kind = raw.get("number"), raw.get("kind")
        if not _is_int(number) or number <= done or not isinstance(kind, str):
            continue
        done = number
        yield BrowserPick(number, kind, raw)
        # Only now: each touch of the session may end this run for a newer one, and a pick that was
        # acknowledged but not applied would be lost. Applied twice, it changes nothing.
        st.session_state[_acknowledged_key(key)] = number


def acknowledged(key: str) -> int:
    """The number of the last pick that the server has applied for this widget; 0 at first."""
    return st.session_state.get(_acknowledged_key(key), 0)


def checked_ids(raw: object, allowed: np.ndarray) -> np.ndarray:
    """The ids (int64, ascending, unique) of a browser's list that are among the allowed ones."""
    ids = np.array([value for value in _as_list(raw) if _is_int(value)], dtype=np.int64)
    return np.intersect1d(ids, allowed)


def checked_points(raw: object, *, most: int = 2000) -> np.ndarray | None:
    """A browser's polygon as float64 (m, 2), or None where it is not one."""
    points = _as_list(raw)
    if not 3 <= len(points) <= most:
        return None
    try:
        polygon = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return polygon if polygon.shape[1:] == (2,) and np.isfinite(polygon).all() else None


def _acknowledged_key(key: str) -> str:
    return f"{key}::acknowledged"


def _as_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _is_int(value: object) -> bool:
    # JSON's true would pass as 1; numbers beyond 2**53 are not exact in a browser.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
