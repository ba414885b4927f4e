"""The record of a run (run.json): what went in, with fingerprints, versions and device."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy
import torch

from imu_core import __version__
from imu_core.forget_set import ForgetSet
from imu_core.images import ImageSet
from imu_core.methods.registry import Method, MethodConfig
from imu_core.networks import CheckpointHeader
from imu_core.runs.spec import RunSpec, parse_stop


def first_record(
    run_id: str,
    spec: RunSpec,
    method: Method,
    config: MethodConfig,
    images: ImageSet,
    forget_set: ForgetSet,
    header: CheckpointHeader,
    digest: str,
    device: torch.device,
) -> dict[str, Any]:
    """The record of a run that has just begun; steps, seconds and references come later."""
    return {
        "id": run_id,
        "state": "running",
        "error": "",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spec": {**spec.to_dict(), "parameters": config.to_dict()},
        "method": {
            "name": method.name,
            "title": method.title,
            "needs": list(method.needs),
            "scope": getattr(config, "scope", method.scope),
        },
        "image_set": {
            "name": images.name,
            "title": images.title,
            "fingerprint": images.fingerprint,
            "n_train": images.n_train,
            "n_test": images.n_test,
            "class_names": list(images.class_names),
        },
        "checkpoint": {**asdict(header), "digest": digest},
        "forget": {
            "n": len(forget_set.ids),
            "digest": forget_set.digest,
            "history": list(spec.forget_history),
        },
        "stop": {
            "rule": spec.stop,
            "reached": False,
            "sentence": parse_stop(spec.stop).sentence,
        },
        "device": _device_name(device),
        "versions": {
            "imu": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "steps": 0,
        "references": [],
        "seconds": {"method": 0.0, "evaluation": 0.0, "retrain": []},
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
