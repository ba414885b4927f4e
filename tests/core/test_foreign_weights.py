"""Weights from elsewhere: read, compared, copied; what cannot be is one sentence, nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imu_core.cli import main
from imu_core.errors import BadInput, CheckpointError, ImuError, UnknownName
from imu_core.images import ImageSet
from imu_core.networks import load_checkpoint, read_checkpoint_header
from imu_core.networks.bundled import MODELS
from imu_core.networks.foreign_file import pt_is_allowed, read_tensors
from imu_core.networks.foreign_weights import load_foreign, normalised_by, seen_by, weights_digest
from imu_core.networks.normalisation import PRESETS, Normalisation, numbers, preset
from imu_core.training import accuracy_on_test

SMALL = "torchvision:shufflenet_v2_x0_5@32"
PLAIN = Normalisation((0.5,), (0.5,))
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def ours() -> Weights:
    """The weights of the bundled digits-cnn without the header and the normalisation."""
    weights = load_file(MODELS / "digits.safetensors")
    return {name: value for name, value in weights.items() if name not in ("mean", "std")}


@pytest.fixture(scope="module")
def theirs() -> Weights:
    """A torchvision network for ten classes, as its `state_dict` has it."""
    from torchvision.models import shufflenet_v2_x0_5

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return shufflenet_v2_x0_5(num_classes=10).state_dict()


def refused(path: Path, network: str, images: ImageSet, *words: str, **how: object) -> str:
    """Reading fails with one sentence that names the file and holds these words."""
    content = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ImuError) as caught:
        load_foreign(path, network, images, PLAIN, **how)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert path.name in said
    assert str(path.parent) not in said
    assert "\n" not in said
    assert said.endswith(".")
    assert not path.is_file() or path.read_bytes() == content
    return said


def test_our_network_comes_back_without_its_header(
    ours: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "plain.safetensors"
    save_file(ours, path)
    original, header = load_checkpoint(MODELS / "digits.safetensors")
    found = load_foreign(path, "digits-cnn", digits, Normalisation(header.mean, header.std))
    assert not found.training
    with torch.inference_mode():
        assert torch.equal(found(digits.test_images), original(digits.test_images))
    # A wrong normalisation is no error, but it is seen.
    wrong = normalised_by(found, Normalisation((0.9,), (0.05,)))
    assert accuracy_on_test(wrong, digits) < header.test_accuracy - 0.1
    assert wrong.body is found.body
    assert weights_digest(found) == weights_digest(original) != weights_digest(wrong)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 9, "lr": 0.1},
        lambda weights: {"model": {f"module.{k}": v for k, v in weights.items()}},
        lambda weights: {"model_state_dict": weights, "optimizer": {"state": {}, "step": 3}},
        lambda weights: {f"module._orig_mod.{k}": v for k, v in weights.items()},
        lambda weights: {"state_dict": {"model": {f"model.{k}": v for k, v in weights.items()}}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_wrappers_and_prefixes_are_taken_off(
    wrap: Callable[[Weights], object],
    zipped: bool,
    theirs: Weights,
    digits: ImageSet,
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(wrap(theirs), path, _use_new_zipfile_serialization=zipped)
    found = load_foreign(path, SMALL, digits, PLAIN, allow_pt=True)
    assert torch.equal(found.head.weight, theirs["fc.weight"])
    assert torch.equal(found.body.network.conv1[0].weight, theirs["conv1.0.weight"])
    # Nothing of the model lies in the file any more.
    path.write_bytes(b"")
    with torch.inference_mode():
        assert bool(torch.isfinite(found(digits.test_images[:4])).all())


def test_other_floating_types_and_missing_counters_are_taken(
    theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "half.safetensors"
    halves = {k: v.half() for k, v in theirs.items() if not k.endswith("num_batches_tracked")}
    save_file(halves, path)
    found = load_foreign(path, SMALL, digits, PLAIN)
    assert found.head.weight.dtype == torch.float32
    assert torch.equal(found.head.weight, theirs["fc.weight"].half().float())


def test_a_first_layer_for_grey_is_taken(theirs: Weights, digits: ImageSet, tmp_path: Path) -> None:
    """Many replace the first convolution for one channel; grey in three channels says the same."""
    from torchvision.models import shufflenet_v2_x0_5

    other = shufflenet_v2_x0_5(num_classes=10).eval()
    other.conv1[0] = nn.Conv2d(1, 24, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        other.conv1[0].weight.copy_(theirs["conv1.0.weight"].sum(1, keepdim=True))
    path = tmp_path / "grey.safetensors"
    save_file(other.state_dict(), path)
    found = load_foreign(path, SMALL, digits, PLAIN)
    pixels = (
        nn.functional.interpolate(
            digits.test_images[:3].float() / 255, size=(32, 32), mode="bilinear", antialias=True
        )
        - 0.5
    ) / 0.5
    with torch.inference_mode():
        assert torch.allclose(found(digits.test_images[:3]), other(pixels), atol=1e-4)


def test_what_a_model_sees_is_its_first_input(
    theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(theirs, path)
    found = load_foreign(path, SMALL, digits, PLAIN)
    seen = seen_by(found, digits.test_images[:2])
    assert seen.shape == (2, 3, 32, 32)
    assert -1 <= float(seen.min()) < float(seen.max()) <= 1.0001


# Files that cannot be used


def test_another_number_of_classes(theirs: Weights, digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "imagenet.safetensors"
    save_file({**theirs, "fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}, path)
    refused(path, SMALL, digits, "knows 1,000 classes", "has 10", "fc.weight")


def test_a_pickle_that_calls_itself_safetensors(
    theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "liar.safetensors"
    for zipped in (True, False):
        torch.save(theirs, path, _use_new_zipfile_serialization=zipped)
        refused(path, SMALL, digits, "is a pickle")
        refused(path, SMALL, digits, "is a pickle", allow_pt=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all\n" * 40, b"\x89PNG\r\n\x1a\n"])
def test_content_of_another_kind(
    suffix: str, content: bytes, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(content)
    refused(path, SMALL, digits, allow_pt=True)


def test_safetensors_that_call_themselves_pt(
    theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "liar.pt"
    save_file(theirs, path)
    refused(path, SMALL, digits, "no PyTorch file", allow_pt=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated(
    suffix: str, share: float, theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / f"cut{suffix}"
    save_file(theirs, path) if suffix == ".safetensors" else torch.save(theirs, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    said = refused(path, SMALL, digits, allow_pt=True)
    assert "truncated" in said or "cut short" in said


def test_names_of_another_network(
    theirs: Weights, ours: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(theirs, path)
    refused(path, "torchvision:resnet18@32", digits, "lacks “conv1.weight”", "more", "holds")
    refused(path, "digits-cnn", digits, "lacks “body.0.weight”", "holds “conv1.0.weight”")
    save_file(ours, path)
    refused(path, SMALL, digits, "lacks", "holds “body.0.weight”")
    save_file({**ours, "extra": torch.zeros(1)}, path)
    refused(path, "digits-cnn", digits, "holds “extra”, which it does not have")


def test_shapes_of_another_size(theirs: Weights, digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(theirs, path)
    refused(
        path, "torchvision:shufflenet_v2_x1_0@32", digits, "is 24×24×1×1", "58×24×1×1", "265 more"
    )
    wrong = {**theirs, "fc.weight": torch.zeros(10, 7)}
    save_file(wrong, path)
    refused(path, SMALL, digits, "“fc.weight” is 10×7 and should be 10×1024")


def test_positions_of_another_input_size(digits: ImageSet, tmp_path: Path) -> None:
    from torchvision.models import vit_b_32

    with torch.device("meta"):
        model = vit_b_32(num_classes=10, image_size=64)
    path = tmp_path / "vit.safetensors"
    # One number each, seen as the whole shape: what is compared first are names and shapes.
    weights = {k: torch.zeros(1).expand(v.shape) for k, v in model.state_dict().items()}
    torch.save(weights, path.with_suffix(".pt"))
    said = refused(
        path.with_suffix(".pt"), "torchvision:vit_b_32@96", digits, "pos_embedding", allow_pt=True
    )
    assert "input size" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(
    value: float, theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "nan.safetensors"
    broken = {name: tensor.clone() for name, tensor in theirs.items()}
    broken["stage2.0.branch1.0.weight"][0, 0, 0, 0] = value
    save_file(broken, path)
    refused(path, SMALL, digits, "stage2.0.branch1.0.weight", "not numbers")


def test_types_that_are_no_weights(theirs: Weights, digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "ints.safetensors"
    save_file({**theirs, "fc.weight": theirs["fc.weight"].to(torch.int32)}, path)
    refused(path, SMALL, digits, "fc.weight", "int32")
    path = tmp_path / "sparse.pt"
    torch.save({**theirs, "fc.weight": theirs["fc.weight"].to_sparse()}, path)
    refused(path, SMALL, digits, allow_pt=True)


def test_a_network_without_a_linear_head(digits: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="“squeezenet1_1” does not end in a linear layer"):
        load_foreign(tmp_path / "no.pt", "torchvision:squeezenet1_1@64", digits, PLAIN)


def test_pytorch_files_are_off_unless_allowed(
    theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    for suffix in (".pt", ".pth", ".PT"):
        path = tmp_path / f"weights{suffix}"
        torch.save(theirs, path)
        refused(path, SMALL, digits, "IMU_ALLOW_PT=1", "--allow-pt", "save_file")
        assert load_foreign(path, SMALL, digits, PLAIN, allow_pt=True).n_classes == 10


class Harmful:
    """A pickle that would make a folder when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_pickles_with_code_are_not_run(
    zipped: bool, theirs: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "harmful.pt"
    content = {"state_dict": theirs, "extra": Harmful(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, SMALL, digits, "could run code", "mkdir", allow_pt=True)
    path.write_bytes(pickle.dumps(content))
    refused(path, SMALL, digits, allow_pt=True)
    assert not mark.exists()


def test_a_whole_pickled_model_is_told_apart(digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), path)
    said = refused(path, SMALL, digits, "torch.nn.modules", "state_dict()", allow_pt=True)
    assert "could run code" in said


def test_a_torchscript_program_is_told_apart(digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("script/code/__torch__.py", "def forward(): ...")
        archive.writestr("script/data.pkl", b"\x80\x02}.")
    refused(path, SMALL, digits, "TorchScript", allow_pt=True)


def test_a_compressed_zip_is_refused(digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\0" * 10_000_000)
    refused(path, SMALL, digits, "compressed", allow_pt=True)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": 7}, {}, {"model": {}}])
def test_files_without_weights(content: object, digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "empty.pt"
    torch.save(content, path)
    refused(path, SMALL, digits, "state_dict()", allow_pt=True)


def test_files_of_other_kinds_and_missing_ones(digits: ImageSet, tmp_path: Path) -> None:
    for name in ("model.onnx", "model", "model.bin"):
        (tmp_path / name).write_bytes(b"x")
        refused(tmp_path / name, SMALL, digits, ".safetensors", allow_pt=True)
    refused(tmp_path / "none.safetensors", SMALL, digits, "no checkpoint")
    refused(tmp_path / "none.pt", SMALL, digits, "There is no file", allow_pt=True)
    for name in ("folder.pt", "folder.safetensors"):
        (tmp_path / name).mkdir()
        refused(tmp_path / name, SMALL, digits, "cannot be read", allow_pt=True)
    save_file({}, tmp_path / "empty.safetensors")
    refused(tmp_path / "empty.safetensors", SMALL, digits, "no tensors")


# Settings that cannot be


def test_prefixes_are_taken_off_only_where_all_share_them(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    save_file({"module.a": torch.zeros(1), "b": torch.zeros(1)}, path)
    assert set(read_tensors(path)) == {"module.a", "b"}


def test_numbers_as_people_type_them() -> None:
    assert numbers("0.5", "mean") == (0.5,)
    assert numbers(" [0.485, 0.456; 0.406] ", "mean") == (0.485, 0.456, 0.406)
    for text in ("", "  ", "half", "0.5, x"):
        with pytest.raises(BadInput, match="The deviation must be numbers"):
            numbers(text, "deviation")


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5,), (0.0,), "above 0"),
        ((0.5,), (-0.5,), "above 0"),
        ((0.5,), (float("nan"),), "cannot be right"),
        ((float("inf"),), (1.0,), "cannot be right"),
        ((123.7,), (58.4,), "divide numbers for 0–255"),
    ],
)
def test_normalisations_that_cannot_be(
    mean: tuple[float, ...], std: tuple[float, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        Normalisation(mean, std)


def test_as_many_numbers_as_channels(digits: ImageSet, tmp_path: Path) -> None:
    three = Normalisation((0.5,) * 3, (0.2,) * 3)
    with pytest.raises(BadInput, match="has 3 numbers; these pictures take 1 number"):
        load_foreign(tmp_path / "x.safetensors", "digits-cnn", digits, three)
    with pytest.raises(BadInput, match="has 2 numbers; these pictures take 3 numbers, or one"):
        load_foreign(tmp_path / "x.safetensors", SMALL, digits, Normalisation((0.5,) * 2, (0.2,)))
    three.checked(3)
    three.checked(1, three_for_grey=True)
    with pytest.raises(BadInput, match="mean has 2"):
        Normalisation((0.5,) * 2, (0.2,) * 3).checked(3)


def test_presets(digits: ImageSet) -> None:
    found = {name: preset(name, digits) for name in PRESETS}
    assert found["pictures"].mean == pytest.approx(digits.pixel_statistics[0], abs=1e-6)
    assert found["pictures"].std == pytest.approx(digits.pixel_statistics[1], abs=1e-6)
    assert found["imagenet"].mean == pytest.approx((0.449,), abs=1e-3)
    assert len(preset("imagenet", digits, three_for_grey=True).mean) == 3
    assert found["none"] == Normalisation((0.0,), (1.0,))
    with pytest.raises(UnknownName, match="imagenet"):
        preset("imagenette", digits)


# From a terminal


def test_a_model_is_brought_in_by_the_terminal_and_unlearned(
    ours: Weights, digits: ImageSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "mine.pt", tmp_path / "mine.safetensors"
    torch.save({"state_dict": ours}, path)
    line = ["model", "import", str(path), "--network", "digits-cnn", "--out", str(out)]
    assert main([*line, "--json", "--allow-pt"]) == 0
    said = json.loads(capsys.readouterr().out)
    header = read_checkpoint_header(out)
    assert said["test_accuracy"] == header.test_accuracy > 0.95
    assert said["detail"]["test_accuracy"]["n"] == digits.n_test
    assert header.recipe == {}
    assert header.class_names == digits.class_names
    run = ["unlearn", "--checkpoint", str(out), "--forget", "class=3", "--method", "imu"]
    run += ["--stop", "steps=3", "--runs", str(tmp_path / "runs"), "--json"]
    assert main(run) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["steps"] == 3
    assert main([*run, "--retrain", "1"]) == 2
    assert "retrain" in capsys.readouterr().err


def test_a_wrong_normalisation_is_told_by_the_terminal(
    ours: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "mine.safetensors", tmp_path / "out.safetensors"
    save_file(ours, path)
    line = ["model", "import", str(path), "--network", "digits-cnn", "--out", str(out)]
    assert main([*line, "--mean", "10", "--std", "0.05"]) == 0
    done = capsys.readouterr()
    assert "looks like chance" in done.err
    assert "n = 360" in done.out
    assert main([*line, "--normalise", "half"]) == 0
    assert "looks like chance" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--network", "torchvision:resnet18", "--size", "4"], "8–1024"),
        (["--network", "torchvision:resnet18@64", "--size", "64"], "once"),
        (["--network", "torchvision:squeezenet1_0"], "linear layer"),
        (["--network", "digits-cnn", "--size", "32"], "--size"),
        (["--network", "digits-cn"], "Did you mean digits-cnn?"),
        (["--network", "torchvision:resnet-18"], "resnet18"),
        (["--network", "digits-cnn", "--mean", "0.1,0.2"], "2 numbers"),
        (["--network", "digits-cnn", "--mean", "dark"], "must be numbers"),
        (["--network", "digits-cnn", "--std", "0"], "above 0"),
        (["--network", "digits-cnn", "--normalise", "imagenets"], "imagenet"),
        (["--network", "digits-cnn", "--out", "x.pt"], "x.safetensors"),
        (["--network", "digits-cnn", "--images", "digit"], "digits"),
        ([], "--network"),
    ],
)
def test_bad_calls_are_one_line(
    more: list[str],
    says: str,
    ours: Weights,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(ours, "mine.safetensors")
    assert main(["model", "import", "mine.safetensors", "--out", "out.safetensors", *more]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_full_disk_leaves_nothing_behind(
    ours: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(ours, path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    line = ["model", "import", str(path), "--network", "digits-cnn"]
    assert main([*line, "--out", str(tmp_path / "out.safetensors")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_app_is_told_to_allow_pytorch_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.extend(command))
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    monkeypatch.setenv("IMU_ALLOW_PT", "")
    monkeypatch.setenv("IMU_RUNS", str(tmp_path))
    monkeypatch.setattr("imu_core.terminal.serving._check_port", lambda port: None)
    main(["app"])
    assert not pt_is_allowed()
    main(["app", "--allow-pt"])
    assert pt_is_allowed()
    assert "127.0.0.1" in started


def test_the_model_needs_a_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model"]) == 2
    assert "model --help" in capsys.readouterr().err
    assert main(["model", "import", "--help"]) == 0
    assert "--network" in capsys.readouterr().out


def test_classes_must_be_as_many_as_those_of_the_pictures(
    ours: Weights, digits: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(ours, path)
    eleven = dataclasses.replace(digits, class_names=(*digits.class_names, "10"))
    with pytest.raises(CheckpointError, match="knows 10 classes"):
        load_foreign(path, "digits-cnn", eleven, PLAIN)
