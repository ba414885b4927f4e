"""`imu doctor`: what is installed, found and writable on this machine."""

from __future__ import annotations

import argparse
import importlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata

from imu_core.errors import ImuError
from imu_core.terminal.serving import ROOT
from imu_core.terminal.store import runs_folder

PACKAGES = (
    *("streamlit", "torch", "torchvision", "plotly", "umap-learn", "captum"),
    *("safetensors", "scikit-learn", "numpy", "pandas"),
)

Line = tuple[bool, str]


def doctor(arguments: argparse.Namespace) -> int:
    """Print one line for each thing looked at: `ok`, or `warn` with what to do."""
    looks: tuple[Callable[[], Iterator[Line]], ...] = (
        _versions,
        _device,
        _images,
        _models,
        lambda: _folder(arguments),
        _app,
        _browser,
    )
    for look in looks:
        try:
            for fine, text in look():
                print(f"{'ok  ' if fine else 'warn'}  {text}", flush=True)
        except (ImportError, ImuError) as error:
            print(f"warn  {error}", flush=True)
    return 0


def _versions() -> Iterator[Line]:
    yield True, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield True, ", ".join(found)
    if missing:
        yield False, f"not installed: {', '.join(missing)}; “make install” installs them"
    # Two builds that do not match install side by side and fail only here.
    importlib.import_module("torchvision")
    yield True, "torch and torchvision go together"


def _device() -> Iterator[Line]:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield True, f"CUDA device: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    else:
        yield True, f"no CUDA device; {torch.get_num_threads()} CPU threads"


def _images() -> Iterator[Line]:
    from imu_core.images import image_sources

    here = [source.name for source in image_sources() if source.available]
    away = [source.name for source in image_sources() if not source.available]
    yield bool(here), f"image sets here: {', '.join(here) or 'none'}"
    if away:
        yield True, f"image sets to be fetched with --download: {', '.join(away)}"


def _models() -> Iterator[Line]:
    from imu_core.networks import load_checkpoint
    from imu_core.networks.bundled import bundled_checkpoints

    bundled = bundled_checkpoints()
    if not bundled:
        yield False, "no bundled models in assets/models; originals will be trained when needed"
    for name, path in bundled.items():
        _, header = load_checkpoint(path)
        yield (
            True,
            f"bundled model for {name}: {header.network}, {100 * header.test_accuracy:.1f} % test",
        )


def _folder(arguments: argparse.Namespace) -> Iterator[Line]:
    folder = runs_folder(arguments).absolute()
    # The folder is made by the first run; until then its nearest parent decides.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield False, f"runs cannot be kept in {folder}: {error.strerror}; set IMU_RUNS"
        return
    free = shutil.disk_usage(there).free / 2**30
    yield free >= 1, f"runs are kept in {folder}, {free:.0f} GiB free"


def _app() -> Iterator[Line]:
    there = (ROOT / "app.py").is_file()
    yield there, f"app.py is {'' if there else 'not '}in {ROOT}"


def _browser() -> Iterator[Line]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    yield path is not None, f"chromium for the browser tests: {path or 'not found'}"
