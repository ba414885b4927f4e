"""Checkpoints: what is saved comes back; whatever else is offered is refused in one sentence."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from imu_core.errors import CheckpointError
from imu_core.images import ImageSet
from imu_core.networks import (
    CheckpointHeader,
    Classifier,
    build_network,
    checkpoint_digest,
    load_checkpoint,
    read_checkpoint_header,
    same_pictures,
    save_checkpoint,
)
from imu_core.networks.bundled import bundled_checkpoint, bundled_checkpoints
from imu_core.training import Recipe, accuracy_on_test, train_original

Trained = tuple[Classifier, CheckpointHeader]


@pytest.fixture(scope="module")
def trained(digits: ImageSet) -> Trained:
    recipe = Recipe(epochs=1, batch_size=256)
    return train_original(digits, "small-cnn", seed=0, recipe=recipe, device=torch.device("cpu"))


@pytest.fixture
def path(trained: Trained, tmp_path: Path) -> Path:
    target = tmp_path / "model.safetensors"
    save_checkpoint(target, *trained)
    return target


def parts(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and header of a good file, to be spoilt."""
    content = path.read_bytes()
    table = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load_file(path), json.loads(table["__metadata__"]["imu"])


def rewrite(path: Path, weights: dict[str, Tensor], header: Any) -> None:
    save_file(weights, path, metadata={"imu": json.dumps(header)})


def refused(path: Path, words: str, **how: Any) -> None:
    """Loading fails with one sentence that holds `words` and the name of the file."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, **how)
    message = str(caught.value)
    assert words in message
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")


def test_what_is_saved_comes_back(trained: Trained, path: Path, digits: ImageSet) -> None:
    classifier, header = trained
    loaded, loaded_header = load_checkpoint(path, image_set=digits)
    assert loaded_header == header == read_checkpoint_header(path)
    assert not loaded.training
    assert list(loaded.state_dict()) == list(classifier.state_dict())
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    with torch.inference_mode():
        assert torch.equal(loaded(digits.test_images), classifier(digits.test_images))
    assert loaded_header.class_names == digits.class_names
    assert Recipe.from_dict(loaded_header.recipe).batch_size == 256


def test_equal_models_give_equal_files(trained: Trained, path: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    save_checkpoint(again, *trained)
    save_checkpoint(other, trained[0], dataclasses.replace(trained[1], seed=9))
    assert checkpoint_digest(path) == checkpoint_digest(again) != checkpoint_digest(other)
    assert len(checkpoint_digest(path)) == 16


def test_a_model_in_channels_last_is_saved_alike(trained: Trained, path: Path) -> None:
    other = path.with_name("other.safetensors")
    classifier, header = trained
    copied = load_checkpoint(path)[0].to(memory_format=torch.channels_last)
    save_checkpoint(other, copied, header)
    assert checkpoint_digest(other) == checkpoint_digest(path)
    assert torch.equal(load_checkpoint(other)[0].head.weight, classifier.head.weight)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    trained: Trained, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="could not be written: No space left on device"):
        save_checkpoint(path, trained[0], dataclasses.replace(trained[1], seed=9))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_file_is_readable_by_others(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "There is no checkpoint")
    refused(tmp_path, "cannot be read")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint_digest(tmp_path / "none.safetensors")


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_is_named_and_never_opened(
    trained: Trained, tmp_path: Path, old_format: bool
) -> None:
    target = tmp_path / "model.pt"
    torch.save(trained[0].state_dict(), target, _use_new_zipfile_serialization=not old_format)
    refused(target, "is a pickle, not safetensors; convert it")


def test_a_plain_pickle_that_would_run_a_program(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)

    target = tmp_path / "model.safetensors"
    target.write_bytes(pickle.dumps(Trap()))
    refused(target, "is a pickle")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"epoch,loss\n1,0.5\n", b"\xff" * 64])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(content)
    refused(target, "is not a safetensors checkpoint")


@pytest.mark.parametrize("n_bytes", [20, 3000, -1])
def test_truncated_files(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])
    refused(path, "is truncated")


def test_bytes_after_the_last_tensor(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "4 bytes follow")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "makes no sense"),
        ({"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}, "makes no sense"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}, "makes no sense"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "overlap or leave gaps"),
        ([], "makes no sense"),
    ],
)
def test_a_damaged_table_of_contents(tmp_path: Path, entry: Any, words: str) -> None:
    table = json.dumps({"weight": entry}).encode()
    target = tmp_path / "model.safetensors"
    target.write_bytes(len(table).to_bytes(8, "little") + table + b"\0" * 8)
    refused(target, words)


def test_a_table_of_contents_that_is_no_json(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes((20).to_bytes(8, "little") + b"{" + b"[" * 19)
    refused(target, "not JSON")


def test_weights_without_our_header(path: Path) -> None:
    save_file(load_file(path), path)
    refused(path, "has no header")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "header version 2"),
        ({"network": "resnet19"}, "“resnet19”"),
        ({"network": "resnet18"}, "lacks the tensor"),
        ({"n_classes": 11}, "10 classes of 11"),
        ({"image_shape": [1, 8]}, "“image_shape”"),
        ({"image_shape": [3, 8, 8]}, "a channel"),
        ({"image_shape": [1, 0, 8]}, "1–1024"),
        ({"mean": [float("nan")]}, "“mean”"),
        ({"std": [0.0]}, "“std”"),
        ({"mean": [0.9]}, "contradicts itself"),
        ({"test_accuracy": 98.4}, "“test_accuracy”"),
        ({"seed": "0"}, "“seed”"),
        ({"recipe": None}, "“recipe”"),
    ],
)
def test_headers_that_do_not_fit(path: Path, change: dict[str, Any], words: str) -> None:
    weights, header = parts(path)
    rewrite(path, weights, {**header, **change})
    refused(path, words)


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(CheckpointHeader)])
def test_every_entry_of_the_header_is_needed(path: Path, name: str) -> None:
    weights, header = parts(path)
    del header[name]
    rewrite(path, weights, header)
    refused(path, f"lacks “{name}”")


def test_headers_that_are_no_object(path: Path) -> None:
    weights, _ = parts(path)
    rewrite(path, weights, [1])
    refused(path, "header version None")
    save_file(weights, path, metadata={"imu": "{"})
    refused(path, "is not JSON")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w.pop("head.bias"), "lacks the tensor “head.bias”"),
        (lambda w: w.update(extra=torch.zeros(1)), "holds the tensor “extra”"),
        (lambda w: w.update({"head.bias": torch.zeros(11)}), "has shape (11,)"),
        (lambda w: w.update({"head.bias": torch.zeros(10).half()}), "has type F16"),
        (lambda w: w.update({"head.bias": torch.zeros(10).double()}), "has type F64"),
        (
            lambda w: w.update({"body.1.num_batches_tracked": torch.tensor(1.0)}),
            "it must be I64",
        ),
        (lambda w: w["head.bias"].fill_(float("nan")), "not numbers"),
        (lambda w: w["body.1.running_var"].fill_(float("inf")), "not numbers"),
    ],
)
def test_weights_that_do_not_fit(
    path: Path, spoil: Callable[[dict[str, Tensor]], object], words: str
) -> None:
    weights, header = parts(path)
    spoil(weights)
    rewrite(path, weights, header)
    refused(path, words)


def test_a_header_that_asks_for_a_vast_network_takes_no_memory(path: Path) -> None:
    weights, header = parts(path)
    names = [str(label) for label in range(100_000)]
    vast = {"network": "vgg16-bn", "n_classes": 100_000, "class_names": names}
    rewrite(path, weights, {**header, **vast})
    refused(path, "tensor")


def test_another_image_set_is_refused_by_shape_and_classes_alone(
    path: Path, digits: ImageSet
) -> None:
    larger = torch.nn.functional.pad(digits.train_images, (1, 1, 1, 1))
    larger_test = torch.nn.functional.pad(digits.test_images, (1, 1, 1, 1))
    other_size = dataclasses.replace(digits, train_images=larger, test_images=larger_test)
    refused(
        path,
        "1×8×8 (channels × height × width), but those of “digits” are 1×10×10",
        image_set=other_size,
    )
    more_classes = dataclasses.replace(digits, class_names=(*digits.class_names, "ten"))
    refused(path, "knows 10 classes, but “digits” has 11", image_set=more_classes)
    darker = dataclasses.replace(digits, train_images=digits.train_images // 2)
    _, header = load_checkpoint(path, image_set=darker)
    assert same_pictures(header, digits)
    assert not same_pictures(header, darker)


def test_every_network_survives_a_file(tmp_path: Path, trained: Trained) -> None:
    for network in ("digits-cnn", "resnet18"):
        header = dataclasses.replace(trained[1], network=network)
        classifier = build_network(
            network, image_shape=(1, 8, 8), n_classes=10, mean=header.mean, std=header.std, seed=4
        )
        save_checkpoint(tmp_path / "model.safetensors", classifier, header)
        loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
        for name, tensor in classifier.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_the_bundled_digits_model_is_what_it_says(digits: ImageSet) -> None:
    path = bundled_checkpoint("digits")
    assert path is not None
    assert path.stat().st_size < 1_000_000
    classifier, header = load_checkpoint(path, image_set=digits)
    assert same_pictures(header, digits)
    assert accuracy_on_test(classifier, digits) == pytest.approx(header.test_accuracy, abs=0.003)
    assert header.test_accuracy >= 0.98


def test_the_bundled_fashion_model_is_what_it_says(fashion: ImageSet) -> None:
    from imu_core.images import open_image_set

    subset = open_image_set("fashion-mnist:10000")
    path = bundled_checkpoint("fashion-mnist:10000")
    assert path is not None
    assert path.stat().st_size < 1_000_000
    classifier, header = load_checkpoint(path, image_set=subset)
    assert same_pictures(header, subset)
    assert accuracy_on_test(classifier, subset) == pytest.approx(header.test_accuracy, abs=0.003)
    assert header.test_accuracy >= 0.88


def test_stray_files_do_not_hide_the_bundled_models(path: Path, tmp_path: Path) -> None:
    (tmp_path / "a-stray.safetensors").write_bytes(b"nothing")
    assert bundled_checkpoints(tmp_path) == {"digits": path}
    assert bundled_checkpoint("mnist", tmp_path) is None
    assert bundled_checkpoints(tmp_path / "absent") == {}
