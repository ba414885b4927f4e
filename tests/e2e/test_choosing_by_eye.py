"""Choosing by eye on the page Forget: gallery, keyboard, lasso, undo, files, saved sets."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from imu_core.images import open_image_set

if TYPE_CHECKING:
    from serving import Server, Watch

SLOW_MS = 120_000
expect.set_options(timeout=60_000)


@pytest.fixture
def gallery(server: Server, page: Page, watch: Watch) -> Iterator[Page]:
    """The room Gallery with the digits; afterwards the console must have stayed clean."""
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{server.url}/forget?room=Gallery")
    page.locator(".tile").nth(100).wait_for()
    page.locator("canvas.above").wait_for()
    yield page
    # Streamlit itself asks for its health check below the page's own address first.
    assert [error for error in watch.errors if "404" not in error] == []
    assert watch.foreign == []


def tile(page: Page, place: int) -> Locator:
    return page.locator(".tile").nth(place)


def holds(page: Page, count: int) -> None:
    """Wait until page and sidebar say that the forget set has this many pictures."""
    many = "1 picture" if count == 1 else f"{count:,} pictures"
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text(f"Forget set: {many}", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stSidebar").get_by_text(f"Forget set · {many}")).to_be_visible()


def lasso(page: Page, radius: float) -> int:
    """Draw a circle round the middle of the map; how many pictures the page then says it holds."""
    canvas = page.locator("canvas.above")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for k in range(1, 60):
        turn = 2 * math.pi * k / 60
        page.mouse.move(x + radius * math.cos(turn), y + radius * math.sin(turn))
    page.mouse.up()
    text = page.get_by_test_id("stMain").get_by_text(re.compile(r"^Forget set: [1-9]"))
    return int(re.search(r"[\d,]+", text.inner_text())[0].replace(",", ""))


def menu(page: Page) -> Locator:
    page.get_by_test_id("stMain").get_by_role("button", name="Save or load").click()
    opened = page.get_by_test_id("stPopoverBody")
    opened.wait_for()
    return opened


def test_clicks_keys_undo_and_redo_reach_every_part_of_the_page(gallery: Page) -> None:
    tile(gallery, 3).click()
    tile(gallery, 6).click(modifiers=["Shift"])
    holds(gallery, 4)
    gallery.keyboard.press("ArrowRight")
    gallery.keyboard.press("Space")
    holds(gallery, 5)
    gallery.get_by_test_id("stMain").get_by_role("button", name="Undo").click()
    holds(gallery, 4)
    expect(gallery.locator(".tile[aria-pressed='true']")).to_have_count(4)
    gallery.get_by_test_id("stMain").get_by_role("button", name="Redo").click()
    holds(gallery, 5)


def test_what_the_lasso_takes_the_gallery_shows_and_refines(gallery: Page) -> None:
    found = lasso(gallery, 60)
    holds(gallery, found)
    chosen = gallery.locator(".tile[aria-pressed='true']")
    chosen.first.wait_for()
    assert 0 < chosen.count() == gallery.locator(".tile.forget").count() <= found
    chosen.first.click()
    holds(gallery, found - 1)
    gallery.locator("canvas.above").click(position={"x": 4, "y": 4})
    gallery.keyboard.press("Escape")
    holds(gallery, 0)
    gallery.get_by_test_id("stSidebar").get_by_role("button", name="Undo").click()
    holds(gallery, found - 1)


def test_a_set_is_exported_as_it_is_and_imported_again(gallery: Page, tmp_path: Path) -> None:
    for place in (2, 5, 11):
        tile(gallery, place).click()
    holds(gallery, 3)
    files = {}
    for ending in ("CSV", "JSON"):
        with gallery.expect_download() as download:
            menu(gallery).get_by_role("button", name=f"Save as {ending}").click()
        files[ending] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[ending])
        gallery.keyboard.press("Escape")
    with files["CSV"].open(newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    digits = open_image_set("digits")
    assert [int(row[0]) for row in rows] == [2, 5, 11]
    assert [row[1] for row in rows] == [str(int(digits.train_labels[i])) for i in (2, 5, 11)]
    kept = json.loads(files["JSON"].read_text())
    assert kept["ids"] == [2, 5, 11]
    assert kept["image_set_fingerprint"] == digits.fingerprint

    gallery.get_by_test_id("stMain").get_by_role("button", name="Clear").click()
    holds(gallery, 0)
    menu(gallery).locator("input[type=file]").set_input_files(files["JSON"])
    holds(gallery, 3)

    other = tmp_path / "other.json"
    other.write_text(json.dumps({**kept, "image_set_fingerprint": "0" * 64}))
    gallery.reload()
    tile(gallery, 8).click()
    holds(gallery, 1)
    menu(gallery).locator("input[type=file]").set_input_files(other)
    expect(gallery.get_by_role("alert").first).to_be_visible()
    holds(gallery, 1)


def test_a_set_is_saved_found_after_a_reload_and_unlearned(gallery: Page, server: Server) -> None:
    found = lasso(gallery, 45)
    basket = gallery.get_by_test_id("stButtonGroup").get_by_text("protect", exact=True)
    basket.click()
    gallery.locator(".root[data-basket='protect']").wait_for()
    free = gallery.locator(".tile:not(.forget)").first
    free.click()
    main = gallery.get_by_test_id("stMain")
    expect(main.get_by_text("Protected: 1 picture", exact=True)).to_be_visible()
    opened = menu(gallery)
    opened.get_by_label("Save under a name").fill("middle of the map")
    opened.get_by_label("Save under a name").press("Enter")
    opened.get_by_role("button", name="Save", exact=True).click()
    expect(opened.get_by_text("Saved sets (1)")).to_be_visible()

    gallery.reload()
    holds(gallery, 0)
    menu(gallery).get_by_role("button", name="Load", exact=True).click()
    holds(gallery, found)
    expect(main.get_by_text("Protected: 1 picture", exact=True)).to_be_visible()
    gallery.keyboard.press("Escape")
    main.get_by_role("button", name="Unlearn these").click()
    main.get_by_role("spinbutton", name="Retrained models").fill("0")
    gallery.keyboard.press("Tab")
    main.get_by_role("button", name="Start", exact=True).click()
    expect(main.get_by_text("Done in")).to_be_visible(timeout=SLOW_MS)
    run_id = re.search(r"run=([^&]+)", gallery.url)[1]
    spec = json.loads((server.runs / run_id / "run.json").read_text())["spec"]
    assert len(spec["forget_ids"]) == found
    assert len(spec["protected_ids"]) == 1
