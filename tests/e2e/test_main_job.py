"""The main job in a browser: example, choice, unlearning, comparison, cancel, deep links."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from serving import Server, Watch

SLOW_MS = 120_000
expect.set_options(timeout=60_000)
PAGES = {
    "forget": "Choose what to forget",
    "unlearn": "Unlearn",
    "compare": "Compare",
    "runs": "Earlier runs",
}


@pytest.fixture(autouse=True)
def patience(page: Page) -> None:
    """A busy machine may take long; what counts is that it comes."""
    page.set_default_timeout(SLOW_MS)


def main_part(page: Page) -> Locator:
    return page.get_by_test_id("stMain")


def title(page: Page, text: str) -> Locator:
    return main_part(page).get_by_role("heading", level=1, name=text)


def button(page: Page, name: str, *, exact: bool = False) -> Locator:
    return main_part(page).get_by_role("button", name=name, exact=exact)


def choose_class(page: Page, name: str) -> None:
    """From the start page to the page Unlearn with all pictures of a class of digits."""
    button(page, "Try it live").click()
    expect(title(page, "Choose what to forget")).to_be_visible(timeout=SLOW_MS)
    button(page, f"{name} (").click(timeout=SLOW_MS)
    button(page, "Forget these").click()
    expect(page.get_by_test_id("stSidebar").get_by_text(f"All of “{name}”")).to_be_visible()
    button(page, "Unlearn these").click()
    expect(title(page, "Unlearn")).to_be_visible()


def start(page: Page) -> str:
    """Presses Start; the id of the run that it begins."""
    before = page.url
    main_part(page).get_by_role("spinbutton", name="Retrained models").fill("1")
    page.keyboard.press("Tab")
    button(page, "Start", exact=True).click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    return re.search(r"run=([^&]+)", page.url)[1]


def state_of(server: Server, run_id: str) -> str:
    record = server.runs / run_id / "run.json"
    return json.loads(record.read_text())["state"] if record.exists() else "waiting"


def wait_until(condition: Callable[[], bool], most_s: float = 300) -> None:
    end = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_first_minute_of_a_visitor(server: Server, page: Page, watch: Watch) -> None:
    page.goto(server.url)
    button(page, "Open the finished example").click()
    expect(title(page, "Compare")).to_be_visible()
    expect(main_part(page).get_by_role("heading", name="Verdict")).to_be_visible(timeout=SLOW_MS)

    page.get_by_role("link", name="Start").click()
    choose_class(page, "8")
    run_id = start(page)
    wait_until(lambda: state_of(server, run_id) == "done")
    # The example was on this page before: 146 pictures of another class.
    expect(main_part(page).get_by_text("139 pictures · seed 0")).to_be_visible()
    expect(main_part(page).get_by_text("Done in")).to_be_visible()
    expect(main_part(page).get_by_test_id("stVegaLiteChart")).to_have_count(3)

    button(page, "Compare before").click()
    expect(title(page, "Compare")).to_be_visible()
    expect(page).to_have_url(re.compile(f"run={run_id}"))
    expect(main_part(page).get_by_role("heading", name="Verdict")).to_be_visible(timeout=SLOW_MS)
    assert watch.errors == []
    assert watch.foreign == []


def start_long_run(page: Page) -> str:
    """A run of many small steps that does not end by itself; its id."""
    button(page, "parameters").or_(main_part(page).get_by_text("parameters")).first.click()
    main_part(page).get_by_role("spinbutton", name="Epochs").fill("10000")
    main_part(page).get_by_role("spinbutton", name="Learning rate").fill("0.000001")
    return start(page)


def test_a_run_goes_on_is_found_again_and_is_cancelled(
    server: Server, page: Page, watch: Watch
) -> None:
    page.goto(server.url)
    choose_class(page, "5")
    run_id = start_long_run(page)
    charts = main_part(page).get_by_test_id("stVegaLiteChart")
    expect(charts).to_have_count(3, timeout=SLOW_MS)

    # The curves grow in the chart that is there: it is never taken down and put up again.
    bar = main_part(page).get_by_test_id("stProgress")
    expect(bar).to_contain_text("of 10,000", timeout=SLOW_MS)
    chart = charts.first.locator("canvas, svg").first
    chart.evaluate("node => { window.first = node }")
    before = bar.inner_text()
    expect(bar).not_to_have_text(before, timeout=SLOW_MS)
    page.wait_for_function("before => !document.body.innerText.includes(before)", arg=before)
    assert page.evaluate("window.first.isConnected")

    page.get_by_role("link", name="Runs").click()
    expect(title(page, "Earlier runs")).to_be_visible()
    page.goto(f"{server.url}/unlearn?run={run_id}")
    button(page, "Cancel").click(timeout=SLOW_MS)
    expect(main_part(page).get_by_text("Cancelled after")).to_be_visible(timeout=SLOW_MS)
    assert state_of(server, run_id) == "cancelled"
    assert [error for error in watch.errors if "404" not in error] == []


@pytest.mark.parametrize("path", PAGES)
def test_the_first_visitor_of_a_server_may_come_by_a_deep_link(
    fresh_server: Callable[[], Server], page: Page, path: str
) -> None:
    server = fresh_server()
    page.goto(f"{server.url}/{path}")
    expect(title(page, PAGES[path])).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_test_id("stSidebar").get_by_text("Forget set")).to_be_visible(
        timeout=SLOW_MS
    )
    expect(page.get_by_text("Page not found")).to_have_count(0)


def test_a_mistaken_run_in_the_address_is_said_on_the_page(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/unlearn?run=no-such-run")
    expect(main_part(page).get_by_role("alert").get_by_text("There is no run")).to_be_visible(
        timeout=SLOW_MS
    )


def test_undo_brings_a_forget_set_back(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/forget")
    sidebar = page.get_by_test_id("stSidebar")
    button(page, "7 (").click(timeout=SLOW_MS)
    button(page, "Forget these").click()
    expect(sidebar.get_by_text("All of “7”")).to_be_visible()
    button(page, "Clear").click()
    expect(sidebar.get_by_text("Nothing chosen yet.")).to_be_visible()
    sidebar.get_by_role("button", name="Undo").click()
    expect(sidebar.get_by_text("All of “7”")).to_be_visible()
