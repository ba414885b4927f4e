"""The studio's server for a test, and what a browser complains of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
STOP_S = 15


@dataclass
class Server:
    """A running studio: where it answers, what it wrote, where it keeps its runs."""

    url: str
    process: subprocess.Popen[bytes]
    output_path: Path
    runs: Path

    def output(self) -> str:
        """All that the server has written to stdout and stderr."""
        return self.output_path.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Return when the health check's body is `ok` (its status alone says little)."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                pytest.fail(f"The server left with {self.process.returncode}:\n{self.output()}")
            if self._body("/_stcore/health") == b"ok":
                return
            time.sleep(0.1)
        pytest.fail(f"The server was not ready within {START_S} s:\n{self.output()}")

    def _body(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            error.close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        return None

    def stop(self) -> None:
        """End the process, by its id, and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(folder: Path) -> Server:
    """A server started as people start it, ready to answer."""
    port, output_path, runs = free_port(), folder / "server.log", folder / "runs"
    command = [sys.executable, "-m", "imu_core.cli", "app"]
    command += ["--port", str(port), "--runs", str(runs)]
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, output_path, runs)
    try:
        server.wait_until_ready()
    except BaseException:
        server.stop()
        raise
    return server


@dataclass
class Watch:
    """What a page complained about, and what it asked of other machines."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def look_at(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.foreign.append(url)
