"""A person's own folders, zips and .npz files: good ones exactly, bad ones with a sentence."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imu_core.errors import BadInput, Cancelled, MissingData
from imu_core.images import decoding, open_image_set
from imu_core.images.folder import read_folder
from imu_core.images.npz import read_npz
from imu_core.images.preparation import Preparation, spec_of, split_options
from imu_core.images.upload import unpack_zip


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches and uploads of a test lie."""
    folder = tmp_path / "data"
    monkeypatch.setenv("IMU_DATA", str(folder))
    return folder


def png(colour: int | tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    mode = "L" if isinstance(colour, int) else "RGB"
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def two_classes(n: int = 10) -> dict[str, bytes]:
    """Class dark holds the greys 0, 1, 2 …, class light 200, 201 …"""
    return {f"dark/{k:03}.png": png(k) for k in range(n)} | {
        f"light/{k:03}.png": png(200 + k) for k in range(n)
    }


# ---- folders that are as they should be ---------------------------------------------------------


def test_a_folder_is_read_and_split_by_seed(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", two_classes())
    images, report = read_folder(root, Preparation(size=16))
    assert images.class_names == ("dark", "light")
    assert images.image_shape == (1, 16, 16)
    assert (images.n_train, images.n_test) == (16, 4)
    for pictures, labels in (
        (images.train_images, images.train_labels),
        (images.test_images, images.test_labels),
    ):
        assert torch.equal(labels, (pictures[:, 0, 0, 0] >= 200).long())
    greys = torch.cat((images.train_images, images.test_images))[:, 0, 8, 8]
    assert sorted(greys.tolist()) == [*range(10), *range(200, 210)]
    assert report.sentence == "20 pictures read; a fifth drawn for testing."
    again, _ = read_folder(root, Preparation(size=16, seed=1))
    assert not torch.equal(again.test_images, images.test_images)


def test_folders_named_train_and_test_are_the_split(tmp_path: Path) -> None:
    files = {f"Train/{name}": content for name, content in two_classes(4).items()}
    files |= {"val/dark/a.png": png(77), "val/light/b.png": png(222)}
    images, report = read_folder(fill(tmp_path / "set", files))
    assert (images.n_train, images.n_test) == (8, 2)
    assert images.test_images[:, 0, 0, 0].tolist() == [77, 222]
    assert report.split == "as given"


def test_the_longer_side_is_cropped_to_its_middle(tmp_path: Path) -> None:
    stripes = np.zeros((20, 60), np.uint8)
    stripes[:, 20:40] = 255
    buffer = io.BytesIO()
    Image.fromarray(stripes).save(buffer, format="PNG")
    files = two_classes(2) | {"dark/wide.png": buffer.getvalue()}
    images, _ = read_folder(fill(tmp_path / "set", files), Preparation(size=20))
    everything = torch.cat((images.train_images, images.test_images))
    assert any(bool((picture == 255).all()) for picture in everything)


def test_grey_and_colour_mixed_become_three_channels(tmp_path: Path) -> None:
    files = two_classes(3) | {"dark/red.png": png((250, 10, 20))}
    images, _ = read_folder(fill(tmp_path / "set", files))
    everything = torch.cat((images.train_images, images.test_images))
    assert everything.shape[1] == 3
    corners = everything[:, :, 0, 0].tolist()
    assert [250, 10, 20] in corners
    assert sum(red == green == blue for red, green, blue in corners) == 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_picture_is_read(tmp_path: Path, mode: str) -> None:
    buffer = io.BytesIO()
    kind = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    if mode == "I;16":
        Image.fromarray(np.full((32, 32), 65535, np.uint16)).save(buffer, format=kind)
    else:
        Image.new("RGB", (32, 32), "white").convert(mode).save(buffer, format=kind)
    files = two_classes(2) | {f"dark/special.{kind.lower()}": buffer.getvalue()}
    images, report = read_folder(fill(tmp_path / "set", files))
    everything = torch.cat((images.train_images, images.test_images))
    assert report.n_broken == 0
    assert any(bool((picture >= 254).all()) for picture in everything)


def test_see_through_places_become_white(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(buffer, format="PNG")
    files = two_classes(2) | {"dark/clear.png": buffer.getvalue()}
    images, _ = read_folder(fill(tmp_path / "set", files))
    everything = torch.cat((images.train_images, images.test_images))
    assert any(bool((picture == 255).all()) for picture in everything)


def test_names_in_any_script(tmp_path: Path) -> None:
    names = ("кошка", "狗", "قطة", "Mäuse & Käse", "emoji_free name")
    files = {f"{name}/{k} – é.png": png(k) for name in names for k in range(2)}
    images, _ = read_folder(fill(tmp_path / "снимки", files))
    assert images.class_names == tuple(sorted(names))


def test_a_spec_opens_the_same_set_and_states_the_size(tmp_path: Path) -> None:
    root = fill(tmp_path / "a@b", two_classes())
    plain, sized = open_image_set(f"folder:{root}"), open_image_set(f"folder:{root}@24")
    assert plain.image_shape == (1, 32, 32)
    assert sized.image_shape == (1, 24, 24)
    assert sized.name == f"folder:{root}@24"
    assert open_image_set(sized.name).fingerprint == sized.fingerprint


def test_the_second_opening_comes_from_the_cache(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "set", two_classes() | {"dark/bad.png": b"no picture"})
    first, report = read_folder(root)
    heard: list[tuple[int, int, str]] = []
    again, report_again = read_folder(root, progress=lambda *news: heard.append(news))
    assert heard == []
    assert again.fingerprint == first.fingerprint
    assert report_again == report
    (root / "light" / "new.png").write_bytes(png(255))
    changed, _ = read_folder(root, progress=lambda *news: heard.append(news))
    assert changed.n_train + changed.n_test == 21
    assert heard[-1] == (22, 22, "Reading pictures")


def test_a_cache_cut_short_is_made_anew(tmp_path: Path, data_folder: Path) -> None:
    root = fill(tmp_path / "set", two_classes())
    first, _ = read_folder(root)
    (file,) = (data_folder / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-400])
    again, _ = read_folder(root)
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(),
        Preparation(size=64),
        Preparation(colour="grey", seed=7),
        Preparation(size=8, colour="colour", test_share=0.35, seed=123_456),
    ],
)
@pytest.mark.parametrize("path", ["/a/b", "/a@b", "/a@64", "/а б/c@grey,seed=1"])
def test_a_spec_keeps_the_preparation(path: str, preparation: Preparation) -> None:
    spec = spec_of("folder", path, preparation)
    assert spec.startswith(f"folder:{path}")
    assert split_options(spec.removeprefix("folder:")) == (path, preparation)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [("@3", "4–512"), ("@32,test=90%", "5% and 50%"), ("@9999,grey", "4–512")],
)
def test_a_spec_with_options_out_of_range_is_refused(
    tmp_path: Path, options: str, sentence: str
) -> None:
    root = fill(tmp_path / "set", two_classes(2))
    with pytest.raises(BadInput, match=sentence):
        open_image_set(f"folder:{root}{options}")


def test_pictures_are_made_grey_or_colourful_as_asked(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", two_classes(3) | {"dark/red.png": png((250, 10, 20))})
    grey, _ = read_folder(root, Preparation(colour="grey"))
    everything = torch.cat((grey.train_images, grey.test_images))
    assert everything.shape[1] == 1
    assert round(0.299 * 250 + 0.587 * 10 + 0.114 * 20) in everything[:, 0, 0, 0].tolist()
    (root / "dark" / "red.png").unlink()
    assert read_folder(root)[0].image_shape[0] == 1
    assert read_folder(root, Preparation(colour="colour"))[0].image_shape[0] == 3


def test_the_share_for_testing_is_drawn_from_each_class(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", two_classes(20))
    images, report = read_folder(root, Preparation(test_share=0.45))
    assert torch.bincount(images.test_labels).tolist() == [9, 9]
    assert report.sentence == "40 pictures read; 45 % drawn for testing."


def test_a_class_of_one_picture_is_named_and_trained_on(tmp_path: Path) -> None:
    images, report = read_folder(fill(tmp_path / "set", two_classes(4) | {"rare/a.png": png(9)}))
    assert report.single_classes == ("rare",)
    assert "a single picture in “rare”" in report.sentence
    assert torch.bincount(images.train_labels).tolist() == [3, 3, 1]


def test_two_ways_of_writing_a_letter_are_one_class(tmp_path: Path) -> None:
    files = {f"{part}/caf\u00e9/{k}.png": png(k) for k, part in enumerate(("train", "train"))}
    files |= {
        "train/bar/1.png": png(100),
        "test/cafe\u0301/1.png": png(1),
        "test/bar/1.png": png(2),
    }
    images, _ = read_folder(fill(tmp_path / "set", files))
    assert images.class_names == ("bar", "café")
    assert (images.n_train, images.n_test) == (3, 2)


def test_a_file_beside_the_only_folder_does_not_hide_its_classes(tmp_path: Path) -> None:
    files = {f"train/{name}": content for name, content in two_classes().items()}
    images, report = read_folder(fill(tmp_path / "set", files | {"labels.csv": b"a,b"}))
    assert images.class_names == ("dark", "light")
    assert report.split == "drawn by seed"


def test_reading_stops_when_progress_says_so(tmp_path: Path, data_folder: Path) -> None:
    root = fill(tmp_path / "set", two_classes(400))
    seen: list[int] = []

    def stop_at_once(done: int, of: int, text: str) -> None:
        seen.append(done)
        raise Cancelled

    with pytest.raises(Cancelled):
        read_folder(root, progress=stop_at_once)
    assert seen == [64]
    assert not (data_folder / "cache").exists()


def test_more_than_fits_into_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 20 * 3 * 32 * 32 - 1)
    root = fill(tmp_path / "set", two_classes())
    with pytest.raises(BadInput, match=r"20 pictures of 32×32 pixels .* smaller size"):
        read_folder(root)
    assert read_folder(root, Preparation(colour="grey"))[0].n_train == 16


# ---- folders that are not -----------------------------------------------------------------------


def huge_png(side: int) -> bytes:
    """A grey PNG of side × side pixels in some kilobytes, as an attacker makes it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = zlib.compressobj()
    packed = b"".join(row.compress(b"\0" * (side + 1)) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_broken_files_are_listed_and_skipped(tmp_path: Path) -> None:
    cut = png(9, (64, 64))
    files = two_classes() | {
        "dark/text.png": b"I say I am a PNG.",
        "dark/empty.jpg": b"",
        "light/cut.png": cut[: len(cut) // 2],
        "light/program.gif": b"MZ" + bytes(300),
        "light/notes.txt": b"passed over without a word",
    }
    images, report = read_folder(fill(tmp_path / "set", files))
    assert images.n_train + images.n_test == 20
    assert {name for name, _ in report.broken} == {
        "dark/text.png", "dark/empty.jpg", "light/cut.png", "light/program.gif",
    }  # fmt: skip
    assert all(why for _, why in report.broken)
    assert report.sentence.startswith("20 pictures read; 4 files left out;")


def test_a_picture_of_20_000_by_20_000_is_left_out_undecoded(tmp_path: Path) -> None:
    files = two_classes() | {"dark/huge.png": huge_png(20_000)}
    start = time.perf_counter()
    _, report = read_folder(fill(tmp_path / "set", files))
    assert time.perf_counter() - start < 5
    ((name, why),) = report.broken
    assert name == "dark/huge.png"
    assert "64 million" in why


def test_a_file_that_lies_about_its_type_is_taken_for_what_it_is(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), 120).save(buffer, format="JPEG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    files = two_classes(4) | {"dark/really_jpeg.png": buffer.getvalue(), "dark/really_svg.png": svg}
    images, report = read_folder(fill(tmp_path / "set", files))
    assert images.n_train + images.n_test == 9
    assert [name for name, _ in report.broken] == ["dark/really_svg.png"]


def test_an_empty_class_is_named_and_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", two_classes() | {"ruined/a.png": b"?"})
    (root / "nothing").mkdir()
    images, report = read_folder(root)
    assert images.class_names == ("dark", "light")
    assert report.empty_classes == ("nothing", "ruined")
    assert "no picture in “nothing”, “ruined”" in report.sentence


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"only/a.png": png(1), "only/b.png": png(2)}, "one class, “only”"),
        ({"a/1.png": png(1), "b/1.png": png(2)}, "single picture"),
        ({"a/1.png": b"x", "b/1.png": b"y"}, "None of the 2 files"),
        ({"1.png": png(1), "2.png": png(2)}, "No picture lies in a folder"),
        ({"a/1.heic": b"x", "b/1.heic": b"y"}, "hold no pictures|No picture lies"),
        (
            {"train/a/1.png": png(1), "train/b/1.png": png(2), "test/c/1.png": png(3)},
            "“c” is in the test folder",
        ),
        (
            {"train/a/1.png": png(1), "train/b/1.png": png(2), "test/a/1.png": b"x"},
            "test folder holds no picture",
        ),
    ],
)
def test_a_folder_that_is_no_image_set_says_why(
    tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_folder(fill(tmp_path / "set", files))


def test_no_folder_and_no_size(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="4–512"):
        read_folder(fill(tmp_path / "set", two_classes()), Preparation(size=4000))


# ---- zips ---------------------------------------------------------------------------------------


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_is_the_same_as_its_folder(tmp_path: Path) -> None:
    files = two_classes()
    folder, _ = read_folder(fill(tmp_path / "set", files))
    wrapped = {f"my pictures/{name}": content for name, content in files.items()}
    wrapped |= {"__MACOSX/my pictures/dark/._000.png": b"x", "my pictures/.DS_Store": b"x"}
    images, report = read_folder(zipped(tmp_path / "set.zip", wrapped))
    assert images.fingerprint == folder.fingerprint
    assert report.n_broken == 0


def test_a_zip_is_unpacked_once(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes())
    target = unpack_zip(file, tmp_path / "uploads")
    made = (target / "dark" / "000.png").stat().st_mtime_ns
    assert unpack_zip(file, tmp_path / "uploads") == target
    assert (target / "dark" / "000.png").stat().st_mtime_ns == made
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == [target.name]


def test_names_of_a_zip_in_any_script(tmp_path: Path) -> None:
    files = {f"{name}/{k}.png": png(k) for name in ("кошка", "狗") for k in range(2)}
    images, _ = read_folder(zipped(tmp_path / "set.zip", files))
    assert images.class_names == ("кошка", "狗")


def test_names_of_a_zip_that_forgot_to_say_they_are_utf_8(tmp_path: Path) -> None:
    file = zipped(
        tmp_path / "set.zip", {f"{n}/{k}.png": png(k) for n in ("qq", "b") for k in (1, 2)}
    )
    # Two bytes for two bytes; the flag that would say “UTF-8” stays unset.
    file.write_bytes(file.read_bytes().replace(b"qq/", "я/".encode()))
    images, _ = read_folder(file)
    assert images.class_names == ("b", "я")


def refused(file: Path, directory: Path, sentence: str, **limits: int) -> None:
    """The zip is refused with this sentence and nothing is left of it."""
    with pytest.raises(BadInput, match=sentence):
        unpack_zip(file, directory, **limits)
    assert not directory.exists() or list(directory.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:/evil.png"],
)
def test_a_path_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(2) | {name: png(1)})
    refused(file, tmp_path / "deep" / "uploads", "outside its folder")
    assert list(tmp_path.rglob("evil.png")) == []


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    bomb = {"a/bomb.png": bytes(60 << 20)}
    file = zipped(tmp_path / "set.zip", two_classes(2) | bomb, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 200_000
    start = time.perf_counter()
    refused(file, tmp_path / "uploads", "would unpack from")
    assert time.perf_counter() - start < 1


def test_many_pictures_beyond_the_limit_together_are_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(20))
    refused(file, tmp_path / "uploads", "unpack to more than", max_unpacked_bytes=2000)


def test_an_upload_over_the_limit_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(20))
    refused(file, tmp_path / "uploads", "at most 1 kB", max_zip_bytes=1024)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(2))
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("dark/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(file, tmp_path / "uploads", "holds a link")


@pytest.mark.parametrize("name", [f"dark/{'x' * 300}.png", "dark/000.png/inside.png"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(2) | {name: png(1)})
    refused(file, tmp_path / "uploads", "name cannot be used")


def test_unpacking_reports_and_stops(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(40))

    def stop_at_once(done: int, of: int, text: str) -> None:
        assert (done, of, text) == (64, 80, "Unpacking")
        raise Cancelled

    with pytest.raises(Cancelled):
        unpack_zip(file, tmp_path / "uploads", progress=stop_at_once)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_zip_that_is_none_or_cut_short_is_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", two_classes()).read_bytes()
    for name, content in (("no.zip", b"no zip"), ("cut.zip", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, tmp_path / "uploads", "no zip that can be read")


def test_a_zip_with_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "set.zip", two_classes(2))
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    file.write_bytes(content)
    refused(file, tmp_path / "uploads", "no zip that can be read")


# ---- .npz ---------------------------------------------------------------------------------------


def saved(path: Path, **arrays: object) -> Path:
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


def pictures(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_an_npz_with_both_parts_is_taken_as_it_is(tmp_path: Path) -> None:
    train, test = pictures(6, 9, 7), pictures(4, 9, 7)
    file = saved(
        tmp_path / "mine.npz", x_train=train, y_train=[[0], [1]] * 3, x_test=test,
        y_test=[0, 1, 1, 0], classes=["cat", "dog"],
    )  # fmt: skip
    images = open_image_set(f"npz:{file}")
    assert images.class_names == ("cat", "dog")
    assert np.array_equal(images.train_images[:, 0].numpy(), train)
    assert np.array_equal(images.test_images[:, 0].numpy(), test)
    assert images.test_labels.tolist() == [0, 1, 1, 0]


def test_channels_last_fractions_and_a_drawn_split(tmp_path: Path) -> None:
    bytes_ = pictures(20, 8, 6, 3)
    labels = np.arange(20) % 2
    file = saved(tmp_path / "mine.npz", images=bytes_ / 255, labels=labels)
    images, report = read_npz(file)
    assert report.sentence == "20 pictures read; a fifth drawn for testing."
    assert images.image_shape == (3, 8, 6)
    assert (images.n_train, images.n_test) == (16, 4)
    rows = torch.cat((images.train_images, images.test_images)).flatten(1).tolist()
    assert sorted(rows) == sorted(bytes_.transpose(0, 3, 1, 2).reshape(20, -1).tolist())


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"pixels": pictures(4, 8, 8)}, "must hold the arrays"),
        ({"images": pictures(4, 8), "labels": [0, 1, 0, 1]}, "have the shape"),
        ({"images": pictures(4, 5, 8, 8), "labels": [0, 1, 0, 1]}, "1 or 3 channels"),
        ({"images": pictures(4, 8, 8), "labels": [0, 1, 0]}, "4 pictures and 3 labels"),
        ({"images": pictures(4, 8, 8), "labels": [0, 0.5, 0, 1]}, "whole numbers"),
        ({"images": pictures(4, 8, 8), "labels": [0, -1, 0, 1]}, "whole numbers"),
        ({"images": pictures(4, 8, 8), "labels": ["a", "b", "a", "b"]}, "whole numbers"),
        ({"images": pictures(4, 8, 8), "labels": [3, 3, 3, 3]}, "in one class"),
        ({"images": pictures(4, 8, 8), "labels": [0, 10**9, 0, 1]}, "number them"),
        ({"images": pictures(2, 8, 8), "labels": [0, 1]}, "single picture"),
        ({"images": pictures(4, 8, 8) - 128.0, "labels": [0, 1, 0, 1]}, "before any normalisation"),
        ({"images": np.full((4, 8, 8), np.nan), "labels": [0, 1, 0, 1]}, "nan"),
        (
            {"images": pictures(4, 8, 8), "labels": [0, 2, 0, 2], "classes": ["a", "b"]},
            "names 2 classes",
        ),
        (
            {"images": pictures(4, 8, 8), "labels": [0, 1, 0, 1], "classes": ["a", "a"]},
            "the same name",
        ),
        (
            {"images": pictures(4, 8, 8), "labels": [0, 1, 0, 1], "x_test": pictures(2, 8, 8)},
            "without labels",
        ),
        ({"images": np.array([{}, {}], dtype=object), "labels": [0, 1]}, "plain numbers"),
    ],
)
def test_an_npz_that_is_no_image_set_says_why(
    tmp_path: Path, arrays: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_npz(saved(tmp_path / "mine.npz", **arrays))


def test_an_npz_is_made_grey_and_parted_as_asked(tmp_path: Path) -> None:
    colours = pictures(20, 8, 6, 3)
    file = saved(tmp_path / "mine.npz", images=colours, labels=np.arange(20) % 2)
    images = open_image_set(f"npz:{file}@32,grey,test=50%,seed=3")
    assert (images.image_shape, images.n_test) == ((1, 8, 6), 10)
    expected = {np.asarray(Image.fromarray(one).convert("L")).tobytes() for one in colours}
    everything = torch.cat((images.train_images, images.test_images))
    near = [
        any(np.abs(np.frombuffer(e, np.uint8) - one.flatten().numpy().astype(int)).max() <= 1
            for e in expected)
        for one in everything
    ]  # fmt: skip
    assert all(near)


def test_an_npz_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, images=np.zeros((100, 1000, 1000), np.uint8), labels=np.arange(100))
    assert file.stat().st_size < 1 << 20
    start = time.perf_counter()
    with pytest.raises(BadInput, match="would unpack from"):
        read_npz(file)
    assert time.perf_counter() - start < 1


def test_pictures_in_an_npz_that_are_too_large_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "mine.npz", images=pictures(4, 3, 700), labels=[0, 1, 0, 1])
    with pytest.raises(BadInput, match="3×700 pixels; each side must have 4–512"):
        read_npz(file)


def test_an_npz_that_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(MissingData):
        read_npz(tmp_path / "nowhere.npz")
    whole = saved(tmp_path / "mine.npz", images=pictures(9, 8, 8), labels=range(9)).read_bytes()
    for content in (b"", b"text", whole[:-200]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(BadInput, match=r"no .npz file|broken"):
            read_npz(tmp_path / "bad.npz")


def test_an_npz_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """A header of a hundred bytes can declare terabytes."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 3000, 3000), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    lying = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100)
    with zipfile.ZipFile(tmp_path / "lying.npz", "w") as archive:
        archive.writestr("images.npy", lying)
        archive.writestr("labels.npy", lying)
    with pytest.raises(BadInput):
        read_npz(tmp_path / "lying.npz")
