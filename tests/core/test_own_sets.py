"""Uploads are kept by content, found again after a restart, and deleted for good."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imu_core.errors import BadInput, Cancelled, ImuError, MissingData
from imu_core.images import open_image_set
from imu_core.images.own_sets import (
    delete_own,
    find_own,
    open_own,
    open_upload,
    own_sets,
    path_spec,
)
from imu_core.images.preparation import Preparation


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches and uploads of a test lie."""
    folder = tmp_path / "data"
    monkeypatch.setenv("IMU_DATA", str(folder))
    return folder


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), grey).save(buffer, format="PNG")
    return buffer.getvalue()


def zipped(*classes: str, extra: dict[str, bytes] | None = None) -> io.BytesIO:
    """A zip with six pictures a class."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, name in enumerate(classes):
            for k in range(6):
                archive.writestr(f"{name}/{k}.png", png(100 * label + k))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    buffer.read()
    return buffer


def arrays() -> io.BytesIO:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez(buffer, images=pixels, labels=np.arange(12) % 2)
    return buffer


def lying_in(folder: Path) -> set[str]:
    """Files and folders in the data folder's places, those inside an upload not counted."""
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*")}


def test_an_uploaded_zip_is_found_again_by_its_spec() -> None:
    own = open_upload("pets.zip", zipped("cat", "dog"), Preparation(size=16, seed=2))
    assert own.title == "pets"
    assert (own.n_train, own.n_test, own.n_classes, own.image_shape) == (10, 2, 2, (1, 16, 16))
    assert own.report.sentence == "12 pictures read; a fifth drawn for testing."
    assert own.spec.startswith("upload:")
    images = open_image_set(own.spec)
    assert (images.name, images.title, images.n_train) == (own.spec, "pets", 10)
    assert own_sets() == [own]
    assert find_own(own.spec) == own
    again = open_upload("renamed.zip", zipped("cat", "dog"), Preparation(size=16, seed=2))
    assert again.spec == own.spec
    assert len(own_sets()) == 1


@pytest.mark.parametrize("name", ["numbers.npz", "lies.zip"])
def test_an_uploaded_npz_is_taken_for_what_it_is(name: str) -> None:
    own = open_upload(name, arrays(), Preparation(size=64))
    assert own.image_shape == (1, 8, 8)
    assert open_image_set(own.spec).n_train == own.n_train == 10


def test_a_zip_that_calls_itself_npz_is_taken_for_what_it_is() -> None:
    assert open_upload("lies.npz", zipped("cat", "dog"), Preparation()).n_classes == 2


def test_left_out_files_are_remembered_all_of_them() -> None:
    bad = {f"cat/кот {k}.png": b"no picture" for k in range(300)}
    own = open_upload("pets.zip", zipped("cat", "dog", extra=bad), Preparation())
    assert own.report.n_broken == 300
    kept = find_own(own.spec)
    assert kept is not None
    assert {name for name, _ in kept.report.broken} == set(bad)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (io.BytesIO(b"no zip at all"), "“bad.zip” is no zip"),
        (io.BytesIO(b""), "“bad.zip” is no zip"),
        (zipped("only"), "one class"),
        (zipped("a", "b", extra={"../evil.png": b"x"}), "“bad.zip” names a place outside"),
        (zipped(), "No picture lies"),
    ],
)
def test_nothing_stays_of_an_upload_that_is_refused(
    data_folder: Path, content: io.BytesIO, sentence: str
) -> None:
    kept = open_upload("good.zip", zipped("cat", "dog"), Preparation())
    before = lying_in(data_folder)
    with pytest.raises(BadInput, match=sentence):
        open_upload("bad.zip", content, Preparation())
    assert lying_in(data_folder) == before
    assert own_sets() == [kept]


def test_nothing_stays_of_an_upload_that_is_cancelled(data_folder: Path) -> None:
    def stop(done: int, of: int, text: str) -> None:
        if text == "Reading pictures":
            raise Cancelled

    with pytest.raises(Cancelled):
        open_upload("pets.zip", zipped("cat", "dog"), Preparation(), stop)
    assert lying_in(data_folder) == set()


def test_a_bad_option_does_not_take_the_upload_away_from_a_good_one() -> None:
    own = open_upload("pets.zip", zipped("cat", "dog"), Preparation())
    key = own.spec.removeprefix("upload:")
    with pytest.raises(ImuError):
        open_own(f"upload:{key}@9999")
    assert open_image_set(own.spec).n_train == 10


def test_a_deleted_upload_is_gone_for_good(data_folder: Path) -> None:
    own = open_upload("pets.zip", zipped("cat", "dog"), Preparation())
    other = open_upload("birds.zip", zipped("owl", "wren"), Preparation())
    delete_own(own.spec)
    assert own_sets() == [other]
    assert len([path for path in lying_in(data_folder) if path.startswith("uploads/")]) == 2
    assert len([path for path in lying_in(data_folder) if path.startswith("cache/")]) == 1
    with pytest.raises(MissingData, match="upload them again"):
        open_image_set(own.spec)
    delete_own(other.spec)
    assert lying_in(data_folder) == set()


def test_an_upload_read_in_two_ways_stays_until_both_are_deleted(data_folder: Path) -> None:
    small = open_upload("pets.zip", zipped("cat", "dog"), Preparation(size=16))
    large = open_upload("pets.zip", zipped("cat", "dog"), Preparation(size=48))
    delete_own(small.spec)
    assert open_image_set(large.spec).image_shape == (1, 48, 48)
    delete_own(large.spec)
    assert lying_in(data_folder) == set()


def test_a_folder_of_ones_own_is_never_deleted(tmp_path: Path, data_folder: Path) -> None:
    root = tmp_path / "pets"
    with zipfile.ZipFile(zipped("cat", "dog")) as archive:
        archive.extractall(root)
    own = open_own(path_spec(str(root), Preparation()))
    assert own.spec == f"folder:{root}"
    delete_own(own.spec)
    assert len(list(root.rglob("*.png"))) == 12
    assert lying_in(data_folder) == set()


def test_a_zip_on_this_machine_is_unpacked_and_deleted_here_alone(
    tmp_path: Path, data_folder: Path
) -> None:
    file = tmp_path / "pets.zip"
    file.write_bytes(zipped("cat", "dog").getvalue())
    own = open_own(path_spec(str(file), Preparation(size=16)))
    assert own.spec == f"folder:{file}@16"
    delete_own(own.spec)
    assert file.exists()
    assert lying_in(data_folder) == set()


def test_what_was_decoded_of_a_folder_before_it_changed_is_not_kept(
    tmp_path: Path, data_folder: Path
) -> None:
    root = tmp_path / "pets"
    with zipfile.ZipFile(zipped("cat", "dog")) as archive:
        archive.extractall(root)
    open_own(f"folder:{root}")
    (root / "cat" / "new.png").write_bytes(png(50))
    assert open_own(f"folder:{root}").n_train == 11
    assert len(list((data_folder / "cache").iterdir())) == 1


def test_a_path_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(MissingData, match="nowhere"):
        path_spec(str(tmp_path / "nowhere"), Preparation())
    with pytest.raises(BadInput, match="neither a folder nor"):
        path_spec(str(tmp_path / "a.txt"), Preparation())


@pytest.mark.parametrize("key", ["../../etc", "x" * 24, "0" * 24, ""])
def test_a_key_that_was_never_given_opens_nothing(key: str) -> None:
    with pytest.raises(ImuError):
        open_image_set(f"upload:{key}")


def test_a_damaged_record_hides_no_other(data_folder: Path) -> None:
    own = open_upload("pets.zip", zipped("cat", "dog"), Preparation())
    (data_folder / "own" / "damaged.json").write_text('{"spec": 1')
    (data_folder / "own" / "old.json").write_text("[]")
    assert own_sets() == [own]
