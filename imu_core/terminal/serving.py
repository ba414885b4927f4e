"""`imu app`: the studio in the browser, on the loopback address."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from imu_core.errors import BadInput, MissingData
from imu_core.terminal.store import runs_folder

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds imu_core, app.py and pages."""


def app(arguments: argparse.Namespace) -> int:
    """Serve the studio; the process becomes the server, so signals reach it."""
    script = ROOT / "app.py"
    if not script.is_file():
        raise MissingData(
            f"There is no app.py beside imu_core in “{ROOT}”; run this from a clone of the "
            "repository, installed with “pip install --editable .”."
        )
    _check_port(arguments.port)
    # The server runs in the repository's folder, where .streamlit/config.toml is.
    runs = runs_folder(arguments).absolute()
    os.environ["IMU_RUNS"] = str(runs)
    if arguments.allow_pt:
        os.environ["IMU_ALLOW_PT"] = "1"
    os.chdir(ROOT)
    options = ["--server.address", "127.0.0.1", "--server.port", str(arguments.port)]
    sys.stdout.flush()
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    os.execv(sys.executable, command)


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise BadInput(f"A port lies in 1–65535, {port} does not.")
    with socket.socket() as probe:
        # As the server itself does it: a port that only waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise BadInput(f"Port {port} needs privileges; choose one above 1023.") from error
        except OSError as error:
            raise BadInput(
                f"Port {port} is in use; stop what listens there or choose another: "
                f"imu app --port {port + 1 if port < 65535 else 8501}."
            ) from error
