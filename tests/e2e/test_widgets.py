"""The gallery and the map in a real browser, on a small app with the digits."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from serving import ROOT, Server, Watch, free_port

from imu_core.embedding import pca_coordinates
from imu_core.images import open_image_set

APP = Path(__file__).parent / "apps" / "picking.py"


@pytest.fixture(scope="module")
def app(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The small app, served."""
    folder = tmp_path_factory.mktemp("picking")
    port, output = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.headless", "true"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "IMU_PICKING_IMAGES": "digits"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, output, folder)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    pixels = open_image_set("digits").train_images
    return pca_coordinates(pixels.flatten(1).numpy() / np.float32(255))


@pytest.fixture
def opened(page: Page, app: Server, watch: Watch) -> Iterator[Page]:
    """The small app, drawn; after the test the console must have stayed clean."""
    open_app(page, app)
    yield page
    assert watch.errors == []
    assert watch.foreign == []


def open_app(page: Page, app: Server, query: str = "") -> None:
    page.goto(app.url + query)
    page.locator(".tile").nth(100).wait_for(timeout=120_000)
    page.locator(".row").nth(9).wait_for()


def tile(page: Page, place: int) -> Locator:
    return page.locator(".tile").nth(place)


def said(page: Page, text: str) -> None:
    """Wait until the server has written this."""
    expect(page.get_by_text(text)).to_be_visible()


def forget_count(page: Page) -> int:
    text = page.get_by_text(re.compile(r"^forget \d+:")).inner_text()
    return int(text.split()[1].rstrip(":"))


def pixels_of(picture: Locator, side: int = 8) -> np.ndarray:
    """The grey values (side, side) of a digit shown larger, from a picture of the screen."""
    screen = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L"))
    step = screen.shape[0] / side
    centres = ((np.arange(side) + 0.5) * step).astype(int)
    return screen[np.ix_(centres, centres)]


def choose_basket(page: Page, name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()
    page.locator(f".root[data-basket='{name}']").wait_for()


# ---- gallery ------------------------------------------------------------------------------------


def test_a_click_chooses_and_a_second_one_releases(opened: Page) -> None:
    tile(opened, 5).click()
    expect(tile(opened, 5)).to_have_attribute("aria-pressed", "true")
    said(opened, "forget 1: [5]")
    tile(opened, 5).click()
    said(opened, "forget 0: []")
    expect(tile(opened, 5)).to_have_attribute("aria-pressed", "false")


def test_shift_chooses_a_range_and_ctrl_only_adds(opened: Page) -> None:
    tile(opened, 12).click()
    tile(opened, 8).click(modifiers=["Shift"])
    said(opened, "forget 5: [8, 9, 10, 11, 12]")
    tile(opened, 9).click(modifiers=["Control"])
    tile(opened, 20).click(modifiers=["Control"])
    said(opened, "forget 6: [8, 9, 10, 11, 12, 20]")


def test_the_keyboard_does_all_that_the_mouse_does(opened: Page) -> None:
    tile(opened, 0).focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):
        opened.keyboard.press(key)
    said(opened, "forget 1: [2]")
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Shift+Space")
    said(opened, "forget 3: [2, 3, 4]")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowUp")
    expect(tile(opened, 4)).to_be_focused()
    opened.keyboard.press("Enter")
    expect(opened.locator("dialog.large")).to_be_visible()
    said(opened, "shown 4")
    opened.keyboard.press("Escape")
    expect(opened.locator("dialog.large")).to_be_hidden()
    expect(tile(opened, 4)).to_be_focused()


def test_only_one_tile_is_in_the_tab_order(opened: Page) -> None:
    tile(opened, 7).click()
    assert opened.locator(".tile[tabindex='0']").count() == 1
    assert tile(opened, 7).get_attribute("tabindex") == "0"


def test_tiles_are_named_for_screen_readers(opened: Page) -> None:
    names = opened.locator(".tile").evaluate_all("all => all.map(t => t.ariaLabel)")
    assert len(set(names)) == 200
    assert re.fullmatch(r"picture 3, \d", names[3])
    assert re.fullmatch(r"picture 4, \d called \d", names[4])


def test_clicks_made_while_the_server_is_busy_all_count(
    page: Page, app: Server, watch: Watch
) -> None:
    open_app(page, app, "?slow=0.5")
    for place in range(30, 50):
        tile(page, place).click()
    tile(page, 35).click()
    said(page, "forget 19:")
    expect(page.locator(".tile[aria-pressed='true']")).to_have_count(19)
    assert watch.errors == []


def test_undo_reaches_the_tiles_and_they_can_be_chosen_again(opened: Page) -> None:
    tile(opened, 3).click()
    said(opened, "forget 1: [3]")
    tile(opened, 6).click()
    said(opened, "forget 2: [3, 6]")
    opened.get_by_role("button", name="Undo").click()
    said(opened, "forget 1: [3]")
    expect(tile(opened, 6)).to_have_attribute("aria-pressed", "false")
    tile(opened, 6).click()
    said(opened, "forget 2: [3, 6]")


def test_the_protected_are_a_second_set(opened: Page) -> None:
    choose_basket(opened, "protect")
    tile(opened, 2).click()
    said(opened, "protect 1: [2]")
    choose_basket(opened, "forget")
    tile(opened, 3).click()
    said(opened, "forget 1: [3]")
    expect(tile(opened, 2)).to_have_class(re.compile("protect"))
    expect(tile(opened, 3)).to_have_class(re.compile("forget"))


def test_picks_belong_to_the_page_they_were_made_on(opened: Page) -> None:
    tile(opened, 1).click()
    said(opened, "forget 1: [1]")
    opened.get_by_label("Page", exact=True).fill("2")
    opened.get_by_label("Page", exact=True).press("Enter")
    expect(tile(opened, 0)).to_have_attribute("aria-label", re.compile("^picture 200,"))
    tile(opened, 0).click()
    said(opened, "forget 2: [1, 200]")


def test_hovering_shows_the_picture_with_its_numbers(opened: Page) -> None:
    tile(opened, 4).hover()
    tip = opened.locator(".tip.on")
    expect(tip).to_contain_text("Picture 4")
    expect(tip).to_contain_text("brightness")
    box = tip.locator(".picture").bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(96, abs=0.5)


def test_each_tile_shows_its_own_picture(opened: Page) -> None:
    pixels = open_image_set("digits").train_images[:, 0].numpy()
    # Places on the first row and beyond it; every ninth from 4 on wears the mark of an error.
    for place in (0, 17, 33):
        seen = pixels_of(tile(opened, place).locator(".picture"))
        # The corners are rounded.
        assert seen[1:-1, 1:-1] == pytest.approx(pixels[place, 1:-1, 1:-1], abs=3)


# ---- map ----------------------------------------------------------------------------------------


class MapOnScreen:
    """Where points of the map are on the screen, worked out anew from the coordinates."""

    def __init__(self, page: Page, points: np.ndarray) -> None:
        self.page, self.points = page, points
        box = page.locator("canvas.above").bounding_box()
        assert box is not None
        self.left, self.top = box["x"], box["y"]
        self.width, self.height = box["width"], box["height"]
        low, high = points.min(0), points.max(0)
        self.centre = (low + high) / 2
        self.scale = 0.94 * min(self.width / (high - low)[0], self.height / (high - low)[1])

    def at(self) -> np.ndarray:
        """Pixels on the page, (n, 2)."""
        x = (self.points[:, 0] - self.centre[0]) * self.scale + self.width / 2 + self.left
        y = (self.centre[1] - self.points[:, 1]) * self.scale + self.height / 2 + self.top
        return np.stack((x, y), 1)

    def middle(self) -> tuple[float, float]:
        return self.left + self.width / 2, self.top + self.height / 2

    def lasso(self, radius: float, n: int = 120) -> np.ndarray:
        """Draw a circle round the middle; bool (n,) says which points lie in it."""
        x, y = self.middle()
        self.page.mouse.move(x + radius, y)
        self.page.mouse.down()
        for k in range(1, n):
            turn = 2 * math.pi * k / n
            self.page.mouse.move(x + radius * math.cos(turn), y + radius * math.sin(turn))
        self.page.mouse.up()
        return np.hypot(*(self.at() - (x, y)).T) < radius

    def box(self, left: float, right: float) -> np.ndarray:
        """Draw a box over the whole height between two shares of the width."""
        x1, x2 = self.left + left * self.width, self.left + right * self.width
        self.page.mouse.move(x1, self.top + 2)
        self.page.mouse.down()
        self.page.mouse.move((x1 + x2) / 2, self.top + 90)
        self.page.mouse.move(x2, self.top + self.height - 2)
        self.page.mouse.up()
        x = self.at()[:, 0]
        return (x > x1) & (x < x2)


@pytest.fixture
def on_screen(opened: Page, points: np.ndarray) -> MapOnScreen:
    return MapOnScreen(opened, points)


def test_a_lasso_chooses_what_lies_inside_and_sends_only_its_outline(
    page: Page, app: Server, points: np.ndarray, watch: Watch
) -> None:
    sent: list[int] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda data: sent.append(len(data))),
    )
    open_app(page, app)
    sent.clear()
    inside = MapOnScreen(page, points).lasso(100)
    said(page, "map replace")
    # The outline is sent with fewer corners than were drawn, less than a pixel off.
    assert forget_count(page) == pytest.approx(inside.sum(), rel=0.02)
    assert inside.sum() > 200
    assert sum(sent) < 5000
    pressed = page.locator(".tile[aria-pressed='true']")
    assert pressed.count() == pytest.approx(inside[:200].sum(), abs=4)
    assert watch.errors == []


def test_shift_adds_alt_takes_away_and_escape_clears(on_screen: MapOnScreen) -> None:
    page = on_screen.page
    page.get_by_role("button", name="Draw a box").click()
    left = on_screen.box(0.05, 0.5)
    said(page, "map replace")
    assert forget_count(page) == pytest.approx(left.sum(), abs=3)
    page.keyboard.down("Shift")
    right = on_screen.box(0.6, 0.95)
    page.keyboard.up("Shift")
    said(page, "map add")
    assert forget_count(page) == pytest.approx((left | right).sum(), abs=5)
    page.keyboard.down("Alt")
    middle = on_screen.box(0.3, 0.7)
    page.keyboard.up("Alt")
    said(page, "map subtract")
    assert forget_count(page) == pytest.approx(((left | right) & ~middle).sum(), abs=8)
    page.keyboard.press("Escape")
    said(page, "forget 0: []")


def test_a_hidden_class_is_not_chosen(on_screen: MapOnScreen) -> None:
    page = on_screen.page
    labels = open_image_set("digits").train_labels.numpy()
    page.locator(".row").nth(0).click()
    expect(page.locator(".row").nth(0)).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Draw a box").click()
    inside = on_screen.box(0.01, 0.99) & (labels != 0)
    said(page, "map replace")
    assert forget_count(page) == inside.sum()
    expect(page.locator(".row .count").nth(0)).to_have_text(f"0 / {(labels == 0).sum()}")
    expect(page.locator(".row .count").nth(1)).to_have_text(
        f"{(labels == 1).sum()} / {(labels == 1).sum()}"
    )


def test_double_click_leaves_one_class_and_brings_all_back(opened: Page) -> None:
    shown = opened.locator(".row[aria-pressed='true']")
    opened.locator(".row").nth(3).dblclick()
    expect(shown).to_have_count(1)
    expect(opened.locator(".row").nth(3)).to_have_attribute("aria-pressed", "true")
    opened.locator(".row").nth(3).dblclick()
    expect(shown).to_have_count(10)


def test_point_and_tile_find_each_other(on_screen: MapOnScreen) -> None:
    page = on_screen.page
    # A point of the first page with no other near it, so that the click can mean no other.
    at = on_screen.at()
    apart = np.linalg.norm(at[:200, None] - at[None], axis=-1)
    apart[np.arange(200), np.arange(200)] = np.inf
    lonely = int(apart.min(1).argmax())
    x, y = at[lonely].tolist()
    page.mouse.move(x, y)
    expect(page.locator(".tip.on")).to_contain_text(f"Picture {lonely}")
    page.mouse.click(x, y)
    said(page, f"shown {lonely}")
    expect(tile(page, lonely)).to_have_class(re.compile("ringed"))
    expect(tile(page, lonely)).to_be_in_viewport()


@pytest.mark.parametrize("query", ["", "?send_all_up_to=0"])
def test_the_picture_at_the_pointer_is_that_of_the_point(
    page: Page, app: Server, points: np.ndarray, watch: Watch, query: str
) -> None:
    """Also with a class hidden, and whether the thumbnails were all sent or are asked for."""
    images = open_image_set("digits")
    open_app(page, app, query)
    page.locator(".row").nth(0).click()
    at = MapOnScreen(page, points).at()
    shown = np.flatnonzero(images.train_labels.numpy() != 0)
    apart = np.linalg.norm(at[shown, None] - at[None, shown], axis=-1)
    np.fill_diagonal(apart, np.inf)
    for picture in shown[apart.min(1).argsort()[-2:]].tolist():
        page.mouse.move(*at[picture].tolist())
        tip = page.locator(".tip.on").filter(has_text=f"Picture {picture:,}")
        tip.locator(".picture:not(.missing)").wait_for()
        seen = pixels_of(tip.locator(".picture"))
        assert seen == pytest.approx(images.train_images[picture, 0].numpy(), abs=3)
    assert watch.errors == []


def test_the_wheel_zooms_and_fit_shows_all_again(on_screen: MapOnScreen) -> None:
    page = on_screen.page
    page.get_by_role("button", name="Draw a box").click()
    page.mouse.move(*on_screen.middle())
    for _ in range(3):
        page.mouse.wheel(0, -500)
    on_screen.box(0.01, 0.99)
    said(page, "map replace")
    assert 0 < forget_count(page) < len(on_screen.points) / 2
    page.get_by_role("button", name="Show all points").click()
    on_screen.box(0.01, 0.99)
    said(page, f"forget {len(on_screen.points)}:")


def test_escape_while_drawing_gives_the_drawing_up(on_screen: MapOnScreen) -> None:
    page = on_screen.page
    tile(page, 5).click()
    said(page, "forget 1: [5]")
    x, y = on_screen.middle()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 80, y)
    page.mouse.move(x + 80, y + 80)
    page.keyboard.press("Escape")
    page.mouse.up()
    tile(page, 6).click()
    said(page, "forget 2: [5, 6]")


def test_a_dark_page_has_a_dark_map(browser: Browser, app: Server) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        open_app(page, app)
        shades[scheme] = page.locator("canvas.points").evaluate(
            "c => { const [r, g, b] = c.getContext('2d').getImageData(1, 1, 1, 1).data;"
            " return r + g + b }"
        )
        context.close()
    assert shades["light"] > 700
    assert shades["dark"] < 120
