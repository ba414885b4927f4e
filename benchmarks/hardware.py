"""What a benchmark ran on, for its results file."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


def hardware() -> dict[str, Any]:
    """Processor, cores, GPU, versions and date, with one line that sums them up."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    processor = _processor()
    cores = os.cpu_count()
    return {
        "processor": processor,
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "summary": f"{gpu or processor} ({cores} cores), torch {torch.__version__}",
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
