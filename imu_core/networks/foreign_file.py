"""Reading weights that somebody else saved: safetensors, or a PyTorch file where that is allowed.

A pickle can run any program when it is opened. PyTorch files are therefore read only where the
person has said so, and then by `torch.load(weights_only=True)`, which builds tensors and plain
containers and nothing else.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imu_core.errors import CheckpointError
from imu_core.networks.safetensors_layout import read_layout

ALLOW_PT = "IMU_ALLOW_PT"
"""The environment variable that, set to 1, lets PyTorch files be read."""
PT_SUFFIXES = (".pt", ".pth")

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_DEEPEST_WRAPPER = 3
_CONVERT = (
    "convert it where you trust its source: "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
)


def pt_is_allowed() -> bool:
    """Whether the environment allows PyTorch files (`IMU_ALLOW_PT=1`)."""
    return os.environ.get(ALLOW_PT, "") == "1"


def read_tensors(path: str | Path, *, allow_pt: bool = False, name: str = "") -> dict[str, Tensor]:
    """The tensors of the file by name, without wrappers and prefixes such as `module.`.

    The ending says how the file is read, and the content must agree with it. The tensors may still
    lie in the file: copy what is kept. `name` is what messages call the file.
    """
    path = Path(path)
    name = name or path.name
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        tensors = _read_safetensors(path, name)
    elif suffix in PT_SUFFIXES:
        if not allow_pt:
            raise CheckpointError(
                f"“{name}” is a PyTorch file, which can run code when it is opened, so such files "
                f"are not read unless {ALLOW_PT}=1 or --allow-pt says so; {_CONVERT}."
            )
        tensors = _unwrapped(_read_pickle(path, name), name)
    else:
        raise CheckpointError(
            f"“{name}” does not end in .safetensors, .pt or .pth; weights are read from such files "
            "only."
        )
    if not tensors:
        raise CheckpointError(f"“{name}” holds no tensors.")
    return _without_prefix(tensors)


def _read_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        read_layout(path)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(path), name)) from error
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"“{name}” cannot be read: {error}.") from error


def _read_pickle(path: Path, name: str) -> Any:
    """What `torch.load` builds of the file with `weights_only`."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file “{name}”.") from error
    except OSError as error:
        raise CheckpointError(f"“{name}” cannot be read: {error.strerror or error}.") from error
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _check_zip(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped, so that nothing is read before names and shapes are known to fit.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a foreign pickle can fail in any way whatever
        raise CheckpointError(_why_not(start, name, error)) from error


def _check_zip(path: Path, name: str) -> None:
    """Refuse a zip whose parts are compressed: torch stores them plain, a bomb does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"“{name}” is damaged or cut short; copy it again.") from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise CheckpointError(f"“{name}” is a compressed zip, not a file that torch.save wrote.")
    if any("/code/" in part.filename for part in parts):
        raise CheckpointError(
            f"“{name}” is a TorchScript program, not weights; save model.state_dict() instead."
        )


def _why_not(start: bytes, name: str, error: Exception) -> str:
    """The sentence for a file with these first bytes that `torch.load` refuses."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found:
        return (
            f"“{name}” holds more than weights (“{found[1]}”), which could run code, so it was not "
            "opened; save model.state_dict() alone, best as safetensors."
        )
    if start[:1] != b"\x80" and start != b"PK":
        return f"“{name}” is no PyTorch file, whatever its ending says."
    return f"“{name}” is damaged or cut short, or not weights that torch.save wrote; copy it again."


def _unwrapped(content: Any, name: str) -> dict[str, Tensor]:
    """The dictionary of tensors inside wrappers such as {"state_dict": …, "epoch": …}."""
    for _ in range(_DEEPEST_WRAPPER):
        if not isinstance(content, Mapping):
            break
        tensors = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
        inner = next((content[key] for key in _WRAPPERS if key in content), None)
        content = inner
    raise CheckpointError(
        f"“{name}” holds no dictionary of weights; save model.state_dict() instead."
    )


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without beginnings that all their names share (`module.`, `model.`)."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) and name != prefix for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                stripped = True
    return tensors
