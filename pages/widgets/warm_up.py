"""Imports what most pages need in the background, from the moment the server starts."""

from __future__ import annotations

import importlib
import logging
import threading

logger = logging.getLogger("imu.pages")

ENGINE = ("imu_core.runs", "imu_core.images", "imu_core.networks.bundled")
CHARTS = ("altair", "plotly.graph_objects")
_once = threading.Lock()


def start() -> None:
    """Begins the imports in a daemon thread; later calls do nothing."""
    if _once.acquire(blocking=False):
        threading.Thread(target=_import_all, name="imu-warm-up", daemon=True).start()


def _import_all() -> None:
    try:
        for name in ENGINE:
            importlib.import_module(name)
        from imu_core.methods.registry import all_methods

        all_methods()
        for name in CHARTS:
            importlib.import_module(name)
    except Exception:
        # The page that needs the module will import it again and show what is wrong.
        logger.exception("An import ahead of time failed")
