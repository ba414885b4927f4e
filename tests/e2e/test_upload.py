"""Own pictures in a browser: a zip is uploaded, read, looked at and used."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from serving import Server, Watch

    from imu_core.images import ImageSet

SLOW_MS = 60_000


def zipped(digits: ImageSet) -> bytes:
    """Sixty digits of three classes as PNG files, and two that are no pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, name in enumerate(("ноль", "один", "two")):
            for number in digits.ids_of_class(label)[:20].tolist():
                file = io.BytesIO()
                Image.fromarray(digits.train_images[number, 0].numpy()).save(file, format="PNG")
                archive.writestr(f"digits/{name}/{number}.png", file.getvalue())
        archive.writestr("digits/two/lies.png", b"<svg/>")
        archive.writestr("digits/two/empty.png", b"")
    return buffer.getvalue()


def test_a_zip_is_uploaded_read_and_used(
    fresh_server: Callable[[], Server],
    page: Page,
    watch: Watch,
    digits: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMU_DATA", str(tmp_path / "data"))
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{fresh_server().url}/own")
    main = page.get_by_test_id("stMain")
    file = {"name": "few digits.zip", "mimeType": "application/zip", "buffer": zipped(digits)}
    main.get_by_role("spinbutton", name="Pixels a side").fill("16")
    page.keyboard.press("Tab")
    expect(main.get_by_text("middle 16×16 are kept")).to_be_visible(timeout=SLOW_MS)
    main.get_by_test_id("stFileUploaderDropzoneInput").set_input_files([file])
    main.get_by_role("button", name="Read the pictures").click()
    heading = main.get_by_role("heading", name="few digits, 16×16")
    expect(heading).to_be_visible(timeout=SLOW_MS)
    expect(main.get_by_text("48 training and 12 test pictures in 3 classes")).to_be_visible()
    expect(main.get_by_text("2 files left out")).to_be_visible()

    main.get_by_role("button", name="Use these pictures").click()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("48 training and 12 test pictures")).to_be_visible(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile("images=upload"))
    # The address alone finds them again.
    page.reload()
    expect(sidebar.get_by_text("48 training and 12 test pictures")).to_be_visible(timeout=SLOW_MS)
    expect(sidebar.get_by_role("button", name="Train a model")).to_be_visible()
    # Streamlit looks for itself below the address of the page first, and is not there.
    assert [error for error in watch.errors if "404" not in error] == []
    assert watch.foreign == []
