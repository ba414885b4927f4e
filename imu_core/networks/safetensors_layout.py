"""What a safetensors file holds, read from its table of contents alone.

The format: 8 bytes of length, that many bytes of JSON, then the tensors one behind the other
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

from imu_core.errors import CheckpointError

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name → (type such as `F32`, shape)."""

_MAX_TABLE_BYTES = 100_000_000
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2}
_BYTES |= {"BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}


def read_layout(path: Path) -> tuple[Layout, dict[str, str]]:
    """Tensors and metadata of the file; `CheckpointError` if it is not whole and well formed."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            table, n_data_bytes = _read_table(path, file, size)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint “{path}”.") from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint “{path}” cannot be read: {error.strerror or error}."
        ) from error
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"The checkpoint “{path}” is damaged: its metadata are not text.")
    layout: Layout = {}
    spans: list[tuple[int, int]] = []
    for name, entry in table.items():
        layout[name], span = _entry(path, name, entry)
        spans.append(span)
    _check_spans(path, sorted(spans), n_data_bytes)
    return layout, metadata


def _read_table(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The table of contents, and how many bytes follow it."""
    start = file.read(8)
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        raise CheckpointError(
            f"The checkpoint “{path}” is a pickle, not safetensors; convert it on a machine where "
            "you trust its source, since a pickle can run any program when it is opened."
        )
    n_table_bytes = int.from_bytes(start, "little") if len(start) == 8 else 0
    first = file.read(1)
    if len(start) < 8 or n_table_bytes > _MAX_TABLE_BYTES or first != b"{":
        raise CheckpointError(f"The file “{path}” is not a safetensors checkpoint.")
    if size < 8 + n_table_bytes:
        raise CheckpointError(_truncated(path))
    try:
        table = json.loads(first + file.read(n_table_bytes - 1))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The checkpoint “{path}” is damaged: its table of contents is not JSON."
        ) from error
    return table, size - 8 - n_table_bytes


def _entry(
    path: Path, name: str, entry: Any
) -> tuple[tuple[str, tuple[int, ...]], tuple[int, int]]:
    """((type, shape), (first byte, byte behind the last)) of one tensor."""
    try:
        kind, shape = entry["dtype"], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        fits = whole and end - begin == math.prod(shape) * _BYTES[kind]
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise CheckpointError(
            f"The checkpoint “{path}” is damaged: the entry of the tensor “{name}” makes no sense."
        )
    return (kind, shape), (begin, end)


def _check_spans(path: Path, spans: list[tuple[int, int]], n_data_bytes: int) -> None:
    """The tensors must fill the data without gap or overlap."""
    place = 0
    for begin, end in spans:
        if begin != place:
            raise CheckpointError(
                f"The checkpoint “{path}” is damaged: its tensors overlap or leave gaps."
            )
        place = end
    if place > n_data_bytes:
        raise CheckpointError(_truncated(path))
    if place < n_data_bytes:
        raise CheckpointError(
            f"The checkpoint “{path}” is damaged: {n_data_bytes - place} bytes follow its last "
            "tensor."
        )


def _truncated(path: Path) -> str:
    return f"The checkpoint “{path}” is truncated; copy or download it again."
