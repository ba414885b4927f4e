"""A model of one's own, driven without a browser: brought in, looked at, taken, used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from driving import run_until
from safetensors.torch import load_file, save, save_file
from streamlit.testing.v1 import AppTest

from imu_core.images import open_image_set
from imu_core.networks import load_checkpoint, read_checkpoint_header
from imu_core.networks.bundled import MODELS
from imu_core.runs import RunStore
from pages.own import model_file, model_look
from pages.widgets import own_pictures, resources, routes

Open = Callable[..., AppTest]
Weights = dict[str, torch.Tensor]
MIME = "application/octet-stream"


@pytest.fixture(scope="module")
def weights() -> Weights:
    """The bundled digits-cnn as others would have it: without header and normalisation."""
    found = load_file(MODELS / "digits.safetensors")
    return {name: value for name, value in found.items() if name not in ("mean", "std")}


@pytest.fixture
def view(studio: Open) -> AppTest:
    app = studio(routes.OWN)
    return app.segmented_control(key="own").set_value("Model").run()


def bring(app: AppTest, content: bytes, name: str = "mine.safetensors", network="digits-cnn"):
    app.file_uploader(key="own:model:upload").set_value((name, content, MIME)).run()
    return app.selectbox(key="own:model:network").set_value(network).run()


def normalise(app: AppTest, mean: str, std: str) -> None:
    for field in app.text_input:
        field.set_value({"Mean": mean, "Deviation": std}[field.label])
    app.run()


def said(app: AppTest) -> str:
    """All that the page says apart from the sidebar."""
    return "\n".join(
        element.value for kind in ("markdown", "caption") for element in app.main.get(kind)
    )


def test_it_asks_for_file_and_network_first(view: AppTest) -> None:
    assert not view.exception
    assert not view.error
    assert "Choose the file" in view.info[0].value
    assert "run code" in said(view)
    assert "torchvision resnet18" in view.selectbox(key="own:model:network").options
    assert not any("squeezenet" in name for name in view.selectbox(key="own:model:network").options)


def test_a_model_is_brought_in_and_used(view: AppTest, weights: Weights, runs: Path) -> None:
    app = bring(view, save(weights))
    assert not app.exception
    assert not app.error
    assert len(app.get("image")) >= 2 * model_look.N_SHOWN
    assert "10 of these 10 are named right" in said(app)
    bundled = read_checkpoint_header(MODELS / "digits.safetensors")
    assert f"Test accuracy {100 * bundled.test_accuracy:.1f} %" in said(app)
    assert "n = 360" in said(app)
    assert not app.warning
    assert not (runs / "models").exists()
    app.button(key="own:model:use").click().run()
    (path,) = (runs / "models").glob("*.safetensors")
    model, header = load_checkpoint(path, image_set=open_image_set("digits"))
    assert header.recipe == {}
    assert header.test_accuracy == bundled.test_accuracy
    assert torch.equal(model.head.weight, weights["head.weight"])
    assert "in use now" in app.success[0].value
    choice = next(box for box in app.sidebar.selectbox if box.label == "Model")
    assert choice.value == str(path)
    assert len(choice.options) == 2


def test_the_model_that_was_brought_is_unlearned_and_inspected(
    view: AppTest, weights: Weights, runs: Path
) -> None:
    app = bring(view, save(weights))
    app.button(key="own:model:use").click().run()
    next(b for b in app.main.button if b.label == "Choose pictures to forget").click().run()
    assert app.title[0].value == "Choose what to forget"
    app.switch_page(routes.FORGET).run()
    app.pills(key="by-class:digits").set_value([3]).run()
    app.button(key="by-class:replace").click().run()
    app.switch_page(routes.UNLEARN).run()
    assert "none can be retrained" in said(app)
    next(button for button in app.main.button if button.label == "Start").click().run()
    run_until(app, lambda page: bool(page.main.success))
    (run,) = RunStore(runs).runs()
    assert run.state == "done"
    assert "own" in run.record["spec"]["checkpoint"]
    assert run.metrics()["after"]["forget_accuracy"] <= 0.01
    for page in (routes.COMPARE, routes.INSPECT):
        app.switch_page(page).run()
        assert not app.exception
        assert not app.error
    app.segmented_control(key="look").set_value("One picture").run()
    assert not app.exception
    assert not app.error


def test_a_wrong_normalisation_is_seen_at_once(view: AppTest, weights: Weights) -> None:
    app = bring(view, save(weights))
    normalise(app, "5", "0.05")
    assert not app.exception
    assert "looks like chance" in app.warning[0].value
    assert "wrong mean, deviation or size" in app.warning[0].value
    assert "“From the pictures” 9" in app.info[0].value
    normalise(app, "0.305969", "0.3763")
    assert not app.warning
    assert not app.info


def test_presets_fill_in_their_numbers(view: AppTest, weights: Weights) -> None:
    app = bring(view, save(weights))
    app.segmented_control(key="own:model:preset").set_value("half").run()
    assert {field.label: field.value for field in app.text_input} == {
        "Mean": "0.5",
        "Deviation": "0.5",
    }
    app.segmented_control(key="own:model:preset").set_value("imagenet").run()
    assert next(f.value for f in app.text_input if f.label == "Mean") == "0.449"
    app.selectbox(key="own:model:network").set_value("torchvision:resnet18").run()
    assert next(f.value for f in app.text_input if f.label == "Mean") == "0.485, 0.456, 0.406"


def test_nothing_is_computed_twice(
    view: AppTest, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = bring(view, save(weights))
    calls: list[str] = []
    for name in ("_read", "loaded"):
        real = getattr(model_file, name)
        monkeypatch.setattr(model_file, name, lambda *a, n=name, f=real: calls.append(n) or f(*a))
    real_look = model_look._look
    monkeypatch.setattr(model_look, "_look", lambda *a: calls.append("_look") or real_look(*a))
    app.run()
    assert calls == ["loaded"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.safetensors", b"no weights\n" * 50, "is not a safetensors checkpoint"),
        ("empty.safetensors", b"", "is not a safetensors checkpoint"),
        ("weights.pt", b"PK\x03\x04", "IMU_ALLOW_PT=1"),
        ("model.onnx", b"x", ".safetensors"),
    ],
)
def test_files_that_are_no_weights(view: AppTest, name: str, content: bytes, says: str) -> None:
    app = bring(view, content, name)
    assert not app.exception
    assert len(app.error) == 1
    assert says in app.error[0].value
    assert name in app.error[0].value
    assert "/tmp" not in app.error[0].value
    assert not app.get("image") or not any(b.key == "own:model:use" for b in app.button)


def test_other_classes_other_networks_and_broken_weights(view: AppTest, weights: Weights) -> None:
    wrong = {**weights, "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)}
    app = bring(view, save(wrong))
    assert "knows 7 classes" in app.error[0].value
    app = bring(app, save(weights), network="small-cnn")
    assert "does not fit “small-cnn”" in app.error[0].value
    broken = {**weights, "head.weight": torch.full((10, 64), torch.nan)}
    app = bring(app, save(broken))
    assert "not numbers" in app.error[0].value
    app = bring(app, save(weights)[:-100])
    assert "truncated" in app.error[0].value
    # Nothing is lost: the good file is taken after all of them.
    app = bring(app, save(weights))
    assert not app.error
    assert "n = 360" in said(app)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("Mean", "dark", "must be numbers"),
        ("Mean", "0.1, 0.2", "2 numbers"),
        ("Mean", "124", "divide numbers for 0–255"),
        ("Deviation", "0", "above 0"),
        ("Deviation", "0.1, 0.2, 0.3", "3 numbers"),
    ],
)
def test_settings_that_cannot_be(
    view: AppTest, weights: Weights, field: str, value: str, says: str
) -> None:
    app = bring(view, save(weights))
    next(f for f in app.text_input if f.label == field).set_value(value).run()
    assert not app.exception
    assert len(app.error) == 1
    assert says in app.error[0].value
    # The field is still there to be put right.
    assert next(f for f in app.text_input if f.label == field).value == value


def test_a_size_the_network_cannot_take(view: AppTest, weights: Weights) -> None:
    app = bring(view, save(weights), network="torchvision:inception_v3")
    assert "cannot take pictures of 32×32" in app.error[0].value
    key = next(f.key for f in app.number_input if f.label == "Input size")
    app.number_input(key=key).set_value(80).run()
    assert not app.exception
    assert "does not fit “torchvision:inception_v3@80”" in app.error[0].value


def test_an_upload_over_the_limit(
    view: AppTest, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_pictures, "upload_limit_mb", lambda: 0)
    app = bring(view, save(weights))
    assert not app.exception
    assert "at most 0 MB" in app.error[0].value


def typed(app: AppTest, path: Path | str) -> AppTest:
    app.segmented_control(key="own:model:way").set_value(model_file.PATH).run()
    app.text_input(key="own:model:path").set_value(str(path)).run()
    return app.selectbox(key="own:model:network").set_value("digits-cnn").run()


def test_a_path_is_read_on_this_machine_only(
    view: AppTest, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(weights, path)
    app = typed(view, path)
    assert not app.error
    assert "n = 360" in said(app)
    for wrong in (tmp_path / "none.safetensors", tmp_path, "~nobody-here/x.pt", "a\x00b"):
        app = typed(app, wrong)
        assert not app.exception
        assert "There is no file" in app.error[0].value
    monkeypatch.setattr(own_pictures, "on_this_machine", lambda: False)
    app.run()
    assert not any(field.label == "Path" for field in app.text_input)
    assert len(app.file_uploader) == 1


def test_pytorch_files_where_they_are_allowed(
    view: AppTest, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": weights}, path)
    app = typed(view, path)
    assert "IMU_ALLOW_PT=1" in app.error[0].value
    monkeypatch.setenv("IMU_ALLOW_PT", "1")
    app.run()
    assert not app.error
    assert "n = 360" in said(app)
    # Not for others, whatever the setting says.
    monkeypatch.setattr(own_pictures, "on_this_machine", lambda: False)
    app.run()
    app = bring(app, path.read_bytes(), "theirs.pt")
    assert "IMU_ALLOW_PT=1" in app.error[0].value


def test_what_takes_long_is_a_job(
    view: AppTest, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "FEW_BYTES", 0)
    monkeypatch.setattr(model_look, "AT_ONCE_S", 0.0)
    app = bring(view, save(weights), "large.safetensors")
    app = run_until(app, lambda page: "n = 360" in said(page))
    jobs = [job.title for job in resources.job_queue().jobs()]
    assert any("Reading large" in title for title in jobs)
    assert any("360 pictures" in title for title in jobs)
    assert not app.error


def test_a_job_that_fails_says_why(
    view: AppTest, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "FEW_BYTES", 0)
    wrong = {**weights, "head.weight": torch.zeros(9, 64), "head.bias": torch.zeros(9)}
    app = bring(view, save(wrong), "nine.safetensors")
    app = run_until(app, lambda page: bool(page.warning))
    assert "knows 9 classes" in app.warning[0].value
    assert any(button.label == "Try again" for button in app.main.button)
