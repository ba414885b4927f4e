"""A real server and a real browser for the tests in this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from serving import Server, Watch, launch

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


CHROMIUM = shutil.which("chromium")
ABSENT = "Chromium is not on this machine (apt-get install chromium): no browser tests."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; without Chromium skip them, unless CI=true."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if CHROMIUM is None and os.environ.get("CI") != "true":
                item.add_marker(pytest.mark.skip(reason=ABSENT))


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of the session."""
    running = launch(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def fresh_server(browser: Browser, tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """A function that starts a server nobody has visited yet; all are stopped after the test."""
    started: list[Server] = []

    def start() -> Server:
        folder = tmp_path / f"server-{len(started)}"
        folder.mkdir()
        started.append(launch(folder))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; with CI=true its absence is a failure."""
    if CHROMIUM is None:
        pytest.fail(ABSENT, pytrace=False)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def watch() -> Watch:
    """Collects the errors in the console of `page`, and requests that leave this machine."""
    return Watch()


@pytest.fixture
def page(browser: Browser, watch: Watch) -> Iterator[Page]:
    """An empty page of a browser without history, watched by `watch`."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(30_000)
    opened = context.new_page()
    watch.look_at(opened)
    yield opened
    context.close()
