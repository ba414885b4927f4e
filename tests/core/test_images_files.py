"""Image sets from files: IDX, CIFAR, SVHN, downloads over HTTP on this machine, what is missing.

Where the published files cannot be had, files of the same formats are made of real digits.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from imu_core.errors import Cancelled, MissingData
from imu_core.images import image_sources, open_image_set
from imu_core.images.idx_sets import DEBIAN_FOLDER, FILES, IDX_SETS, read_idx

N = 60


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    folder = tmp_path / "data"
    monkeypatch.setenv("IMU_DATA", str(folder))
    return folder


@pytest.fixture
def no_package(monkeypatch, tmp_path):
    """Fashion-MNIST as on a machine without Debian's package."""
    (fashion,) = (one for one in IDX_SETS if one.name == "fashion-mnist")
    monkeypatch.setitem(fashion.__dict__, "packaged", tmp_path / "nothing")


@pytest.fixture
def grey(digits):
    """Real digits enlarged to 28×28: (images, labels) of training and test part."""
    parts = ((digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels))
    return [
        (np.kron(images[:N, 0].numpy(), np.ones((4, 4), np.uint8))[:, 2:-2, 2:-2], labels[:N])
        for images, labels in parts
    ]


def idx_bytes(array):
    array = np.asarray(array, dtype=np.uint8)
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.tobytes()


def write_idx(folder, grey, *, zipped):
    folder.mkdir(parents=True)
    arrays = [array for part in grey for array in part]
    for name, array in zip(FILES, arrays, strict=True):
        content = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def available(name):
    return {source.name: source.available for source in image_sources()}[name]


@pytest.fixture
def web(tmp_path):
    """A folder served over HTTP on the loopback address, and the paths that were asked for."""
    folder, asked = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", folder, asked
    server.shutdown()
    thread.join()
    server.server_close()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def mnist_on_web(web, grey, monkeypatch):
    """torchvision's MNIST, with its addresses pointed at small files on the loopback address."""
    from torchvision.datasets import MNIST

    address, folder, asked = web
    folder.rmdir()
    write_idx(folder, grey, zipped=True)
    files = [f"{name}.gz" for name in FILES]
    dead = "http://127.0.0.1:9/"
    monkeypatch.setattr(MNIST, "mirrors", [dead, address])
    monkeypatch.setattr(MNIST, "resources", [(file, md5(folder / file)) for file in files])
    return folder, asked


# Fashion-MNIST from Debian's files


def test_fashion_is_what_torchvision_reads(fashion, data):
    from torchvision.datasets import FashionMNIST

    raw = data / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).write_bytes(gzip.decompress((DEBIAN_FOLDER / f"{name}.gz").read_bytes()))
    for part, images, labels in (
        (True, fashion.train_images, fashion.train_labels),
        (False, fashion.test_images, fashion.test_labels),
    ):
        expected = FashionMNIST(str(data), train=part)
        assert torch.equal(expected.data, images[:, 0])
        assert torch.equal(expected.targets, labels)
    assert [name.casefold().removesuffix("/top") for name in FashionMNIST.classes] == list(
        fashion.class_names
    )


def test_fashion_opens_fast(fashion):
    assert (fashion.n_train, fashion.n_test) == (60_000, 10_000)
    start = time.process_time()
    again = open_image_set("fashion-mnist")
    assert time.process_time() - start < 1.5
    assert again.fingerprint == fashion.fingerprint


def test_fashion_subset_is_balanced(fashion_small, fashion):
    assert torch.bincount(fashion_small.train_labels).tolist() == [200] * 10
    assert fashion_small.n_test == 10_000
    ids = fashion_small.source_ids
    assert torch.equal(fashion.train_images[ids], fashion_small.train_images)
    assert torch.equal(fashion.train_labels[ids], fashion_small.train_labels)


# IDX files in the data folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("kmnist", "KMNIST"), ("fashion-mnist", "FashionMNIST")]
)
@pytest.mark.usefixtures("no_package")
def test_idx_sets_in_the_data_folder(data, grey, name, kind, zipped):
    assert not available(name)
    write_idx(data / kind / "raw", grey, zipped=zipped)
    assert available(name)
    opened = open_image_set(name)
    (train_images, train_labels), (test_images, test_labels) = grey
    np.testing.assert_array_equal(opened.train_images[:, 0].numpy(), train_images)
    np.testing.assert_array_equal(opened.test_images[:, 0].numpy(), test_images)
    assert torch.equal(opened.train_labels, train_labels)
    assert torch.equal(opened.test_labels, test_labels)
    assert len(opened.class_names) == 10


def test_class_names_are_those_of_torchvision():
    from torchvision import datasets

    names = {one.kind: one.class_names for one in IDX_SETS}
    assert names["KMNIST"] == tuple(datasets.KMNIST.classes)
    assert [name[0] for name in datasets.MNIST.classes] == list(names["MNIST"])


@pytest.mark.usefixtures("no_package")
def test_missing_fashion_names_the_package_and_the_files(data):
    with pytest.raises(MissingData) as caught:
        open_image_set("fashion-mnist:2000")
    said = str(caught.value)
    assert "apt-get install dataset-fashion-mnist" in said
    assert str(data / "FashionMNIST" / "raw") in said
    assert all(f"{name}.gz" in said for name in FILES)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", ["MNIST/raw", "train-labels-idx1-ubyte.gz"]),
        ("kmnist", ["KMNIST/raw", "t10k-images-idx3-ubyte.gz"]),
        ("cifar10", ["cifar-10-python.tar.gz"]),
        ("cifar100", ["cifar-100-python.tar.gz"]),
        ("cifar100-coarse", ["cifar-100-python.tar.gz"]),
        ("svhn", ["train_32x32.mat", "test_32x32.mat"]),
    ],
)
def test_missing_files_are_named_with_their_place(data, name, files):
    assert not available(name)
    with pytest.raises(MissingData) as caught:
        open_image_set(name)
    assert all(file in str(caught.value) for file in [*files, str(data), "download"])
    assert not data.exists()


def test_three_of_four_files_are_not_enough(data, grey):
    write_idx(data / "MNIST" / "raw", grey, zipped=True)
    (data / "MNIST" / "raw" / f"{FILES[3]}.gz").unlink()
    assert not available("mnist")
    with pytest.raises(MissingData, match="not on this machine"):
        open_image_set("mnist")


def _cut(content):
    return content[: len(content) // 2]


def _flip(content):
    return content[:40] + bytes(255 - byte for byte in content[40:60]) + content[60:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gz", _cut(gzip.compress(idx_bytes(np.arange(200))))),
        ("a.gz", _flip(gzip.compress(idx_bytes(np.arange(200) * 7 % 251)))),
        ("a.gz", b"<html>not found</html>"),
        ("a.gz", b""),
        ("a", idx_bytes(np.arange(200))[:-1]),
        ("a", idx_bytes(np.arange(200)) + b"\0"),
        ("a", b"\0\0\x0d\x01" + bytes(8)),
        ("a", b"\0\0\x08"),
        ("a", b"\0\0\x08\xff"),
    ],
)
def test_damaged_idx_files_are_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingData, match="is damaged; delete it"):
        read_idx(tmp_path / name)


# Downloads


def test_a_download_is_fetched_once_with_progress(data, mnist_on_web):
    folder, asked = mnist_on_web
    seen = []
    opened = open_image_set("mnist", download=True, progress=lambda *step: seen.append(step))
    assert opened.n_train == N
    assert asked == [f"/{name}.gz" for name in FILES]
    for done, of, text in seen:
        assert 0 < done <= of
        assert text.startswith("Downloading ")
    last = seen[-1]
    assert last[0] == last[1] == (folder / f"{FILES[3]}.gz").stat().st_size
    assert "(4 of 4)" in last[2]
    assert sorted(path.name for path in (data / "MNIST" / "raw").iterdir()) == sorted(
        f"{name}.gz" for name in FILES
    )
    open_image_set("mnist", download=True)
    open_image_set("mnist:20")
    assert len(asked) == 4


def test_nothing_is_fetched_unasked(data, mnist_on_web):
    with pytest.raises(MissingData):
        open_image_set("mnist")
    assert mnist_on_web[1] == []
    assert not data.exists()


def test_a_download_goes_on_where_it_stopped(data, mnist_on_web):
    folder, asked = mnist_on_web
    raw = data / "MNIST" / "raw"
    raw.mkdir(parents=True)
    shutil.copy(folder / f"{FILES[0]}.gz", raw)
    (raw / f"{FILES[1]}.gz").write_bytes(b"half a file")
    assert open_image_set("mnist", download=True).n_train == N
    assert asked == [f"/{name}.gz" for name in FILES[1:]]


def test_a_cancelled_download_leaves_no_half_file(data, mnist_on_web):
    def cancel(done, of, text):
        if "(2 of 4)" in text:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_image_set("mnist", download=True, progress=cancel)
    assert [path.name for path in (data / "MNIST" / "raw").iterdir()] == [f"{FILES[0]}.gz"]


def test_a_damaged_download_is_removed(data, mnist_on_web):
    folder, _ = mnist_on_web
    (folder / f"{FILES[0]}.gz").write_bytes(b"an error page")
    with pytest.raises(MissingData, match="came damaged"):
        open_image_set("mnist", download=True)
    assert list((data / "MNIST" / "raw").iterdir()) == []


def test_no_network_is_one_sentence(data, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(MissingData, match="cannot be reached") as caught:
        open_image_set("mnist", download=True)
    assert str(data / "MNIST" / "raw") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_package")
def test_no_network_names_the_package(data, monkeypatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(MissingData, match="apt-get install dataset-fashion-mnist"):
        open_image_set("fashion-mnist", download=True)


@pytest.mark.usefixtures("mnist_on_web")
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IMU_DATA", str(tmp_path / "file"))
    with pytest.raises(MissingData, match="could not be written"):
        open_image_set("mnist", download=True)


# CIFAR and SVHN


@pytest.fixture
def colour(digits):
    """Real digits as 32×32 colour pictures: uint8 (N, 3, 32, 32) and labels, per part."""
    parts = ((digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels))
    made = []
    for images, labels in parts:
        large = np.kron(images[:N, 0].numpy(), np.ones((4, 4), np.uint8))
        made.append((np.stack([large, 255 - large, large // 2], axis=1), labels[:N].tolist()))
    return made


def write_cifar(folder, kind, colour, monkeypatch):
    """The pickles of CIFAR-10 (five batches) or CIFAR-100, with torchvision's lists to match."""
    folder.mkdir(parents=True)
    (train, train_labels), (test, test_labels) = colour
    fine = kind.base_folder == "cifar-100-python"

    def dump(name, images, labels):
        entry = {"data": images.reshape(len(images), -1)}
        if fine:
            entry |= {"fine_labels": labels, "coarse_labels": [label // 5 for label in labels]}
        else:
            entry["labels"] = labels
        (folder / name).write_bytes(pickle.dumps(entry))
        return [name, md5(folder / name)]

    names = [name for name, _ in kind.train_list]
    rows = np.array_split(np.arange(len(train)), len(names))
    lists = [
        dump(name, train[part], [train_labels[i] for i in part])
        for name, part in zip(names, rows, strict=True)
    ]
    meta = {kind.meta["key"]: [f"fine_{i}" for i in range(10)], "coarse_label_names": ["low_", "b"]}
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(kind, "train_list", lists)
    monkeypatch.setattr(kind, "test_list", [dump(kind.test_list[0][0], test, test_labels)])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / kind.meta["filename"])})


def check_colour(opened, colour):
    for images, (expected, _) in zip(
        (opened.train_images, opened.test_images), colour, strict=True
    ):
        np.testing.assert_array_equal(images.numpy(), expected)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "cifar100-coarse"])
def test_cifar_from_its_pickles(data, colour, monkeypatch, name):
    from torchvision import datasets

    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    write_cifar(data / kind.base_folder, kind, colour, monkeypatch)
    assert available(name)
    opened = open_image_set(name)
    check_colour(opened, colour)
    coarse = name == "cifar100-coarse"
    expected = [[label // 5 if coarse else label for label in labels] for _, labels in colour]
    assert [opened.train_labels.tolist(), opened.test_labels.tolist()] == expected
    names = ("low ", "b") if coarse else tuple(f"fine {i}" for i in range(10))
    assert opened.class_names == names
    assert open_image_set(f"{name}:20").n_train == 20


def test_coarse_and_fine_share_pictures_and_not_fingerprints(data, colour, monkeypatch):
    from torchvision.datasets import CIFAR100

    write_cifar(data / CIFAR100.base_folder, CIFAR100, colour, monkeypatch)
    fine, coarse = open_image_set("cifar100"), open_image_set("cifar100-coarse")
    assert torch.equal(fine.train_images, coarse.train_images)
    assert fine.fingerprint != coarse.fingerprint


@pytest.fixture
def cifar_archive(web, tmp_path, colour, monkeypatch):
    """CIFAR-10's archive of small files, where torchvision's address points."""
    from torchvision.datasets import CIFAR10

    address, folder, asked = web
    write_cifar(tmp_path / "made" / CIFAR10.base_folder, CIFAR10, colour, monkeypatch)
    archive = folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "made" / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "url", address + archive.name)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    return archive, asked


def test_cifar_is_downloaded_and_unpacked(data, cifar_archive, colour):
    seen = []
    opened = open_image_set("cifar10", download=True, progress=lambda *step: seen.append(step))
    check_colour(opened, colour)
    assert cifar_archive[1] == ["/cifar-10-python.tar.gz"]
    assert seen[-1][0] == seen[-1][1] == cifar_archive[0].stat().st_size
    # Once unpacked the archive is not needed, nor fetched again.
    (data / "cifar-10-python.tar.gz").unlink()
    assert open_image_set("cifar10", download=True).fingerprint == opened.fingerprint
    assert len(cifar_archive[1]) == 1


def test_an_archive_put_in_place_by_hand_is_unpacked_and_nothing_fetched(
    data, cifar_archive, colour
):
    data.mkdir()
    shutil.copy(cifar_archive[0], data)
    assert available("cifar10")
    check_colour(open_image_set("cifar10"), colour)
    assert cifar_archive[1] == []


def test_a_damaged_archive_is_not_fetched_anew_unasked(data, cifar_archive):
    data.mkdir()
    (data / cifar_archive[0].name).write_bytes(b"half")
    with pytest.raises(MissingData, match="is damaged"):
        open_image_set("cifar10")
    assert cifar_archive[1] == []


def test_a_changed_pickle_is_never_opened(data, colour, monkeypatch):
    from torchvision.datasets import CIFAR10

    write_cifar(data / CIFAR10.base_folder, CIFAR10, colour, monkeypatch)

    class Harm:
        def __reduce__(self):
            return Path.touch, (data / "harm",)

    (data / CIFAR10.base_folder / "data_batch_1").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(MissingData, match="is damaged"):
        open_image_set("cifar10")
    assert not (data / "harm").exists()


def test_svhn_from_its_mat_files(data, colour, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    data.mkdir()
    lists = dict(SVHN.split_list)
    for split, (images, labels) in zip(("train", "test"), colour, strict=True):
        address, file, _ = lists[split]
        # SVHN writes the digit 0 as 10, and the pictures last.
        y = np.array([[label or 10] for label in labels], dtype=np.uint8)
        savemat(data / file, {"X": images.transpose(2, 3, 1, 0), "y": y})
        lists[split] = [address, file, md5(data / file)]
    monkeypatch.setattr(SVHN, "split_list", lists)
    assert available("svhn")
    opened = open_image_set("svhn")
    check_colour(opened, colour)
    assert opened.train_labels.tolist() == colour[0][1]
    assert opened.test_labels.tolist() == colour[1][1]
    assert opened.class_names == tuple("0123456789")
    (data / "test_32x32.mat").write_bytes(b"half")
    with pytest.raises(MissingData, match="is damaged"):
        open_image_set("svhn")
