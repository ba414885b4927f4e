"""The server as `imu app` starts it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from serving import Server, Watch


def port_of(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def test_it_listens_on_the_loopback_address_only(server: Server) -> None:
    socket.create_connection(("127.0.0.1", port_of(server)), timeout=5).close()
    # A server on every address would answer on the other loopback addresses too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port_of(server)), timeout=5)


def test_a_second_server_on_its_port_is_refused(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imu_core.cli", "app", "--port", str(port_of(server))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"imu: Port {port_of(server)} is in use")
    assert done.stderr.count("\n") == 1


def test_uploads_of_strangers_are_refused(server: Server) -> None:
    """Without the token of its own pages the server takes no file."""
    url = f"{server.url}/_stcore/upload_file/nobody/nothing"
    request = urllib.request.Request(url, data=b"x", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)
    with refusal.value as answer:
        assert answer.code in {400, 403}


def test_the_first_page_asks_nothing_of_other_machines(
    server: Server, page: Page, watch: Watch
) -> None:
    page.goto(server.url)
    expect(page.get_by_test_id("stMain").get_by_role("heading", level=1)).to_be_visible()
    assert watch.foreign == []
    assert watch.errors == []


def test_it_ends_on_a_signal(fresh_server: Callable[[], Server]) -> None:
    server = fresh_server()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) in {0, -signal.SIGTERM}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=5)
