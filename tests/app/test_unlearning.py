"""Runs started, watched, cancelled, found again and deleted on the pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import run_until
from streamlit.testing.v1 import AppTest

from imu_core.errors import BadInput
from imu_core.evaluation.watched import watched
from imu_core.images import open_image_set
from imu_core.methods.registry import all_methods, get_method
from imu_core.runs import RunStore
from pages.widgets import resources, routes
from pages.widgets.example import shipped_example

Open = Callable[..., AppTest]


def ready_to_start(studio: Open, label: int = 3) -> AppTest:
    app = studio(routes.FORGET)
    app.pills(key="by-class:digits").set_value([label]).run()
    app.button(key="by-class:replace").click().run()
    return app.switch_page(routes.UNLEARN).run()


def start(app: AppTest) -> AppTest:
    (button,) = [button for button in app.main.button if button.label == "Start"]
    return button.click().run()


def test_a_run_from_start_to_its_summary_and_compare(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_id = app.query_params["run"]
    shown = run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    (run,) = RunStore(runs).runs()
    assert run.id == run_id
    assert run.state == "done"
    (said,) = [box.value for box in boxes(shown) if "Done in" in box.value]
    after = run.metrics()["after"]
    assert f"→ {100 * after['retain_accuracy']:.1f}\u00a0%" in said
    assert ("was not reached" in said) != run.record["stop"]["reached"]
    assert len(shown.get("vega_lite_chart")) == 3
    shown.button(key="live:compare").click().run()
    assert shown.title[0].value == "Compare"
    assert shown.query_params["run"] == run_id
    assert not shown.exception
    compared = studio(routes.COMPARE, run=run_id)
    compared.segmented_control(key="view").set_value("Protected").run()
    assert any("No picture was protected" in box.value for box in compared.main.info)

    other = studio(routes.UNLEARN, run=run_id)
    assert any("Done in" in box.value for box in boxes(other))
    other.button(key="live:take").click().run()
    assert any("all of “3”" in text.value for text in other.main.markdown)

    listed = studio(routes.RUNS).dataframe[0].value
    assert listed["Run"].tolist() == [run_id]
    assert listed["Forget"][0] == pytest.approx(100 * after["forget_accuracy"])


def test_the_protected_are_watched_in_compare(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    digits = open_image_set("digits")
    fives = tuple(digits.ids_of_class(5)[:4].tolist())
    baskets = app.session_state["baskets"]
    app.session_state["baskets"] = {"digits": {**baskets["digits"], "protected": fives}}
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    (run,) = RunStore(runs).runs()
    assert tuple(run.record["spec"]["protected_ids"]) == fives

    shown = studio(routes.COMPARE, run=run.id)
    shown.segmented_control(key="view").set_value("Protected").run()
    assert not shown.exception
    text = " ".join(one.value for one in shown.main.markdown)
    assert "4 pictures, protected when the run was started" in text
    frame = shown.dataframe[0].value
    assert sorted(frame["id"]) == sorted(fives)
    assert frame["change"].is_monotonic_increasing
    shares = [
        watched(outputs.train_logits, digits.train_labels.numpy(), fives).probability
        for outputs in (run.original_outputs(), run.outputs())
    ]
    assert min(frame["change"]) == pytest.approx(100 * min(shares[1] - shares[0]))


def test_the_example_shows_protected_pictures_with_their_floor(studio: Open) -> None:
    example = shipped_example()
    assert example is not None
    app = studio(routes.COMPARE, run=example.id)
    app.segmented_control(key="view").set_value("Protected").run()
    assert not app.exception
    text = " ".join(one.value for one in app.main.markdown)
    assert f"{len(example.record['spec']['protected_ids'])} pictures, protected" in text
    assert re.search(r"points on average \[[+−][\d.]+, [+−][\d.]+\]; \d+ of 24 fell", text)
    assert re.search(r"Two of the 3 retrained models differ by [\d.]+ points", text)


def boxes(app: AppTest) -> list:
    return [*app.main.success, *app.main.warning, *app.main.error, *app.main.info]


def test_cancel_ends_a_run_and_says_so(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    app.number_input(key="parameter:imu:epochs").set_value(10_000)
    app.number_input(key="parameter:imu:lr").set_value(1e-8)
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_id = app.query_params["run"]
    run_until(app, lambda app: bool(app.get("vega_lite_chart")))
    app.button(key=f"live:cancel:{run_id}").click().run()
    run_until(app, lambda app: any("Cancelled" in box.value for box in app.main.warning))
    assert RunStore(runs).open(run_id).state == "cancelled"
    assert not app.exception
    assert not any(button.label.startswith("Compare") for button in app.main.button)


def test_a_run_that_fails_shows_its_sentence(studio: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BadInput("The weights stopped being finite; lower the learning rate.")

    monkeypatch.setattr("imu_core.runs.execute.run_method", fails)
    app = start(ready_to_start(studio))
    run_until(app, lambda app: bool(app.main.error))
    assert "lower the learning rate" in app.main.error[0].value
    assert not app.exception


def test_a_run_whose_program_ended_reads_as_interrupted(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    (run,) = RunStore(runs).runs()
    record = run.path / "run.json"
    text = record.read_text().replace('"state": "done"', '"state": "running"')
    (run.path.parent / "20200101-000000-000-imu-digits-s0-dead").mkdir()
    (run.path.parent / "20200101-000000-000-imu-digits-s0-dead" / "run.json").write_text(text)
    other = studio(routes.UNLEARN, run="20200101-000000-000-imu-digits-s0-dead")
    assert any("ended before the run did" in box.value for box in other.main.warning)
    assert not other.exception


def test_whole_classes_have_no_heldout_rule_and_parts_of_classes_do(studio: Open) -> None:
    app = ready_to_start(studio)
    assert app.selectbox(key="stop:True:False").options == [
        "forget accuracy is low enough",
        "the method's own steps are done",
    ]
    app.switch_page(routes.FORGET).run()
    app.session_state["room"] = "At random"
    app.run().button(key="random:replace").click().run()
    app.switch_page(routes.UNLEARN).run()
    assert app.selectbox(key="stop:False:False").options == [
        "forget accuracy is down to that of unseen pictures",
        "forget accuracy is low enough",
        "the method's own steps are done",
    ]
    app.selectbox(key="method").set_value("scrub").run()
    assert app.selectbox(key="stop:False:True").value == "own"


def test_a_run_that_ruins_the_model_is_not_called_a_success(studio: Open) -> None:
    app = ready_to_start(studio)
    app.selectbox(key="stop:True:False").set_value("own").run()
    app.number_input(key="parameter:imu:lr").set_value(1.0)
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    assert not app.main.success
    assert any("The model was damaged: it lost" in box.value for box in app.main.warning)


@pytest.mark.parametrize("name", [method.name for method in all_methods()])
def test_every_method_has_its_form(studio: Open, name: str) -> None:
    app = ready_to_start(studio)
    app.selectbox(key="method").set_value(name).run()
    assert not app.exception
    method = get_method(name)
    prefix = f"parameter:{name}:"
    widgets = [*app.number_input, *app.selectbox, *app.checkbox, *app.text_input]
    values = {
        widget.key.removeprefix(prefix): widget.value
        for widget in widgets
        if (widget.key or "").startswith(prefix)
    }
    assert method.config.from_mapping(values) == method.config()
    assert set(values) == {item["name"] for item in method.parameters()}
    assert any(method.summary == text.value for text in app.main.markdown)
    assert app.latex


def test_values_of_the_form_outlive_a_change_of_page(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    app.number_input(key="parameter:imu:lr").set_value(0.5)
    app.number_input(key="run:seed").set_value(4)
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    app.switch_page(routes.RUNS).run()
    app.switch_page(routes.UNLEARN).run()
    assert app.number_input(key="parameter:imu:lr").value == 0.5
    assert app.number_input(key="run:seed").value == 4
    (run,) = RunStore(runs).runs()
    assert run.record["spec"]["parameters"]["lr"] == 0.5
    assert run.record["spec"]["seed"] == 4


def test_requests_one_after_another_have_their_table(studio: Open, runs: Path) -> None:
    app = ready_to_start(studio)
    app.selectbox(key="method").set_value("l2ul").run()
    app.number_input(key="parameter:l2ul:requests").set_value(2)
    app.number_input(key="parameter:l2ul:epochs").set_value(1)
    app.selectbox(key="parameter:l2ul:regulariser").set_value("none")
    app.number_input(key="run:references").set_value(0)
    start(app)
    run_until(app, lambda app: any("Done in" in box.value for box in boxes(app)))
    (run,) = RunStore(runs).runs()
    table = app.main.table[-1].value
    assert table["Request"].tolist() == ["1", "2"]
    assert table["On all earlier requests"][0] == "–"
    kept = [row["retain_accuracy"] for row in run.reports()]
    assert table["Retain accuracy"].tolist() == [f"{100 * share:.1f} %" for share in kept]
    assert not app.exception


def test_what_the_browser_sends_is_checked_again(studio: Open) -> None:
    """A range of the form is no barrier: the server refuses the value in one sentence."""
    from pages.unlearn import setup

    method = get_method("imu")
    with pytest.raises(BadInput, match="momentum"):
        method.config.from_mapping({"momentum": 7})
    with pytest.raises(BadInput, match="empty"):
        setup.start(method, {}, stop="", seed=0, n_references=0)


def test_a_model_is_trained_and_taken(studio: Open, runs: Path) -> None:
    app = studio(routes.START)
    app.sidebar.button(key="sidebar:train").click().run()
    app.button(key="train:go").click().run()
    from pages.widgets import session, work

    session_state: dict = {"awaited_models": {}, "chosen_images": "digits"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.st, "session_state", session_state)
        job_id = work.train_model("digits", "digits-cnn", 5)
    assert session_state["awaited_models"] == {job_id: "digits"}
    app.session_state["awaited_models"] = {job_id: "digits"}
    path = str(runs / "models" / "digits-digits-cnn-s5.safetensors")
    run_until(app, lambda app: path in app.session_state["chosen_models"].values())
    assert app.sidebar.selectbox[1].value == path
    assert resources.header(path).seed == 5
