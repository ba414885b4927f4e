"""Pictures of one's own on the page: read, shown, used, deleted; bad ones are one sentence."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from driving import run_until
from PIL import Image
from streamlit.testing.v1 import AppTest

from pages.widgets import own_pictures, resources, session

Open = Callable[..., AppTest]
PAGE = "pages/own/own.py"
READ = "own:read"


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches and uploads of a test lie."""
    folder = tmp_path / "data"
    monkeypatch.setenv("IMU_DATA", str(folder))
    st.cache_resource.clear()
    return folder


@pytest.fixture
def page(studio: Open) -> AppTest:
    return studio(PAGE)


def png(colour: int | tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    mode = "L" if isinstance(colour, int) else "RGB"
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def classes(*names: str, n: int = 10) -> dict[str, bytes]:
    """n pictures a class, each class of its own grey."""
    return {
        f"{name}/{k:03}.png": png(100 * label + k)
        for label, name in enumerate(names)
        for k in range(n)
    }


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def has_ended(app: AppTest) -> bool:
    job = app.session_state["own_pictures"]["job"]
    status = resources.job_queue().status(job) if job else None
    return status is None or status.ended


def read_path(app: AppTest, path: Path) -> AppTest:
    """Types a path and presses Read; returns when the job has ended."""
    app.segmented_control(key="own:source").set_value("From this machine").run()
    app.text_input(key="own:path").set_value(str(path)).run()
    app.button(key=READ).click().run()
    return run_until(app, has_ended).run() if "own_pictures" in app.session_state else app


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    """Uploads a file and presses Read; returns when the job has ended."""
    uploader = app.file_uploader[0]
    uploader.set_value((name, content, "application/zip")).run()
    app.button(key=READ).click().run()
    return run_until(app, has_ended).run() if "own_pictures" in app.session_state else app


def words(app: AppTest) -> str:
    return "\n".join(str(part.value) for part in (*app.main.markdown, *app.main.caption))


def sentences(app: AppTest) -> list[str]:
    return [error.value for error in app.main.error]


def chosen(app: AppTest) -> str:
    return app.session_state["chosen_images"]


# ---- good ones ----------------------------------------------------------------------------------


def test_a_folder_is_read_shown_and_used(page: AppTest, tmp_path: Path) -> None:
    root = fill(tmp_path / "my pets", classes("cat", "dog"))
    read_path(page, root)
    assert not page.exception
    assert not page.main.error
    assert "my pets, 32×32" in [title.value for title in page.main.subheader]
    assert "16 training and 4 test pictures in 2 classes, grey" in words(page)
    frame = page.main.dataframe[0].value
    assert frame.to_dict("list") == {"Class": ["cat", "dog"], "Training": [8, 8], "Test": [2, 2]}
    assert chosen(page) == "digits"
    page.button(key="own:use").click().run()
    assert chosen(page) == f"folder:{root}"
    assert page.sidebar.selectbox[0].value == f"folder:{root}"
    assert "my pets, 32×32" in page.sidebar.selectbox[0].options
    # The address must not name places on this machine.
    assert "images" not in page.query_params
    assert page.button(key="own:train").label == "Train a model"


def test_the_options_are_kept_in_the_spec(page: AppTest, tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", classes("cat", "dog") | {"dog/red.png": png((200, 10, 10))})
    page.number_input(key="own:size").set_value(48)
    page.segmented_control(key="own:colour").set_value("grey")
    page.slider(key="own:share").set_value(50)
    page.number_input(key="own:seed").set_value(7)
    page.run()
    assert "middle 48×48 are kept" in words(page)
    assert "50 % of each class are drawn for testing by seed 7" in words(page)
    read_path(page, root)
    page.button(key="own:use").click().run()
    assert chosen(page) == f"folder:{root}@48,grey,test=50%,seed=7"
    opened = resources.image_set(chosen(page))
    assert (opened.image_shape, opened.n_test) == ((1, 48, 48), 5 + 6)


def test_an_uploaded_zip_is_kept_and_the_upload_let_go(page: AppTest, data_folder: Path) -> None:
    upload(page, "pets.zip", zipped(classes("кошка", "_dog_")))
    assert not page.main.error
    page.button(key="own:use").click().run()
    spec = chosen(page)
    assert spec.startswith("upload:")
    # Nobody can guess the content of a file: such an address tells nothing and opens it again.
    assert page.query_params["images"] == spec
    assert resources.image_set(spec).class_names == ("_dog_", "кошка")
    assert page.file_uploader[0].value is None
    assert "pets, 32×32" in page.sidebar.selectbox[0].options


def test_an_uploaded_npz_keeps_its_size(page: AppTest) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 9, 3), dtype=np.uint8)
    np.savez(buffer, images=pixels, labels=np.arange(20) % 2, class_names=["cat", "dog"])
    upload(page, "pets.npz", buffer.getvalue())
    assert "pets, 9×12" in [title.value for title in page.main.subheader]


def test_left_out_files_and_thin_classes_are_told(page: AppTest, tmp_path: Path) -> None:
    files = classes("cat", "dog") | {f"cat/b{k:02}.png": b"no picture" for k in range(25)}
    root = fill(tmp_path / "pets", files | {"rare/a.png": png(7)})
    (root / "nothing").mkdir()
    read_path(page, root)
    assert "25 files left out" in words(page)
    listed = page.main.dataframe[1].value
    assert len(listed) == 20
    assert listed["File"][0] == "cat/b00.png"
    assert "no picture of a kind that is read here" in listed["Why"][0]
    assert "the file has all 25" in words(page)
    warned = [warning.value for warning in page.main.warning]
    assert any("No picture was read from “nothing”" in text for text in warned)
    assert any("A single picture in “rare”" in text for text in warned)


def test_sets_read_before_outlive_a_restart_and_are_deleted_after_a_question(
    studio: Open, tmp_path: Path, data_folder: Path
) -> None:
    upload(studio(PAGE), "pets.zip", zipped(classes("cat", "dog")))
    st.cache_resource.clear()
    page = studio(PAGE)
    (spec,) = [own.spec for own in _everything()]
    page.button(key=f"own:use:{spec}").click().run()
    assert chosen(page) == spec
    page.button(key=f"own:look:{spec}").click().run()
    assert "16 training and 4 test pictures" in words(page)
    page.button(key=f"own:delete:{spec}").click().run()
    assert any("are removed from this machine" in text.value for text in page.markdown)
    assert data_folder.joinpath("uploads").exists()
    # A dialog is drawn again with the button that opens it; a browser runs the dialog alone.
    page.button(key=f"own:delete:{spec}").click()
    page.button(key="own:delete:sure").click().run()
    assert not page.exception
    assert chosen(page) == session.DEFAULT_IMAGES
    assert _everything() == []
    assert list((data_folder / "uploads").iterdir()) == []
    assert list((data_folder / "cache").iterdir()) == []


def _everything() -> list:
    from imu_core.images.own_sets import own_sets

    return own_sets()


def test_reading_is_cancelled(page: AppTest, tmp_path: Path, data_folder: Path) -> None:
    root = fill(tmp_path / "pets", classes("cat", "dog"))
    release = _hold_the_queue()
    page.segmented_control(key="own:source").set_value("From this machine").run()
    page.text_input(key="own:path").set_value(str(root)).run()
    page.button(key=READ).click().run()
    job = page.session_state["own_pictures"]["job"]
    assert resources.job_queue().status(job).state == "queued"
    page.button(key=f"cancel:wait:{job}").click().run()
    release()
    run_until(page, has_ended).run()
    assert "nothing of these pictures was kept" in page.main.info[0].value
    assert _everything() == []
    assert chosen(page) == "digits"


def _hold_the_queue() -> Callable[[], None]:
    """Keeps the worker busy until the function that comes back is called."""
    from threading import Event

    event = Event()
    resources.job_queue().submit("waiting", lambda _: event.wait(60))
    return event.set


# ---- bad ones -----------------------------------------------------------------------------------


def huge_png(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = zlib.compressobj()
    packed = b"".join(row.compress(b"\0" * (side + 1)) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_a_link() -> bytes:
    buffer = io.BytesIO(zipped(classes("cat", "dog", n=2)))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


GOOD = classes("cat", "dog", n=3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: zipped(GOOD | {"a/b.png": bytes(60 << 20)}, zipfile.ZIP_DEFLATED), "would unpack"),
        (lambda: zipped(GOOD | {"../evil.png": png(1)}), "“bad.zip” names a place outside"),
        (with_a_link, "holds a link"),
        (lambda: zipped(classes("only")), "one class, “only”"),
        (lambda: zipped(classes("a", "b", n=1)), "single picture"),
        (lambda: zipped({"a/1.png": b"x", "b/1.png": b"y"}), "None of the 2 files"),
        (lambda: png(1), "“bad.zip” is no zip that can be read"),
    ],
    ids=["bomb", "outside", "link", "one class", "one picture each", "all broken", "no zip"],
)
def test_a_bad_upload_is_one_sentence_and_nothing_is_lost(
    page: AppTest, data_folder: Path, content: Callable[[], bytes], sentence: str
) -> None:
    upload(page, "good.zip", zipped(GOOD))
    page.button(key="own:use").click().run()
    before, kept = chosen(page), sorted((data_folder / "uploads").iterdir())
    upload(page, "bad.zip", content())
    assert not page.exception
    (said,) = sentences(page)
    assert sentence in said
    assert chosen(page) == before
    assert resources.image_set(before).n_train == 4
    assert sorted((data_folder / "uploads").iterdir()) == kept
    assert page.file_uploader[0].value is not None


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"cat/huge.png": huge_png(20_000)}, "64 million pixels"),
        ({"cat/lies.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, "whatever its name says"),
        ({"cat/cut.jpg": png(3, (64, 64))[:60]}, "broken or cut short"),
    ],
    ids=["huge", "lying", "cut"],
)
def test_a_bad_picture_is_listed_and_the_rest_is_read(
    page: AppTest, extra: dict[str, bytes], why: str
) -> None:
    upload(page, "pets.zip", zipped(GOOD | extra))
    assert not page.main.error
    listed = page.main.dataframe[1].value
    assert list(listed["File"]) == list(extra)
    assert why in listed["Why"][0]


def test_grey_and_colour_mixed_have_three_colours(page: AppTest) -> None:
    upload(page, "pets.zip", zipped(GOOD | {"cat/red.png": png((200, 10, 10))}))
    assert "2 classes, colour" in words(page)


def test_an_upload_over_the_limit_is_refused(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_pictures, "upload_limit_mb", lambda: 0)
    page.file_uploader[0].set_value(("pets.zip", zipped(GOOD), "application/zip")).run()
    page.button(key=READ).click().run()
    (said,) = sentences(page)
    assert "at most 0 MB are taken" in said


def test_a_path_that_is_none_is_one_sentence(page: AppTest, tmp_path: Path) -> None:
    page.segmented_control(key="own:source").set_value("From this machine").run()
    page.text_input(key="own:path").set_value(str(tmp_path / "nowhere")).run()
    page.button(key=READ).click().run()
    (said,) = sentences(page)
    assert "There is no folder or file" in said


# ---- who may read what --------------------------------------------------------------------------


def test_a_stranger_is_offered_no_path_and_nobody_elses_pictures(
    studio: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload(studio(PAGE), "mine.zip", zipped(classes("cat", "dog")))
    monkeypatch.setattr(own_pictures, "on_this_machine", lambda: False)
    page = studio(PAGE)
    assert [control.key for control in page.segmented_control if control.key == "own:source"] == []
    assert all("mine" not in option for option in page.sidebar.selectbox[0].options)
    assert "Read before" not in [title.value for title in page.main.subheader]
    upload(page, "theirs.zip", zipped(classes("owl", "wren")))
    assert "theirs, 32×32" in [title.value for title in page.main.subheader]
    assert "mine" not in words(page)


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8501"}, True),
        ("127.0.0.1", {"Host": "localhost:8501"}, True),
        ("::1", {"Host": "[::1]:8501"}, True),
        ("127.0.0.1", {"Host": "studio.example.org"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "203.0.113.7"}, False),
        ("0.0.0.0", {"Host": "localhost:8501"}, False),
        ("", {"Host": "localhost:8501"}, False),
        (None, {"Host": "localhost:8501"}, False),
    ],
)
def test_who_sits_at_this_machine(
    monkeypatch: pytest.MonkeyPatch, address: str | None, headers: dict[str, str], expected: bool
) -> None:
    class Context:
        pass

    context = Context()
    context.headers = headers
    monkeypatch.setattr(own_pictures.st, "get_option", lambda name: address)
    monkeypatch.setattr(own_pictures.st, "context", context)
    assert own_pictures.on_this_machine() is expected


def test_which_specs_are_ones_own() -> None:
    assert all(map(own_pictures.is_own, ("folder:/a", "npz:/a.npz", "upload:0")))
    assert not any(map(own_pictures.is_own, ("digits", "fashion-mnist:100")))
