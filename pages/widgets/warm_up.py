"""Imports what most pages need in the background, once the first page is on screen."""

from __future__ import annotations

import importlib
import logging
import sys
import threading

logger = logging.getLogger("imu.pages")

HEAVY = ("imu_core.runs", "imu_core.images", "altair", "plotly.graph_objects")
_once = threading.Lock()


def is_warm() -> bool:
    """Whether the engine is imported, so that what needs it can be drawn without a wait."""
    return "imu_core.runs" in sys.modules and "imu_core.images" in sys.modules


def start() -> None:
    """Begins the imports in a daemon thread; later calls do nothing."""
    if _once.acquire(blocking=False):
        threading.Thread(target=_import_all, name="imu-warm-up", daemon=True).start()


def _import_all() -> None:
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except Exception:
            # The page that needs the module will import it again and show what is wrong.
            logger.exception("Importing %s ahead of time failed", name)
