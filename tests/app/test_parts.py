"""The parts of the pages that need no page: state, events, thumbnails, words."""

from __future__ import annotations

import base64
import io
import logging

import pytest
from PIL import Image

from imu_core.errors import BadInput
from pages.widgets import charts, errors, resources, run_progress, session, thumbnails, words


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A session without a browser."""
    state: dict = {}
    monkeypatch.setattr(session.st, "session_state", state)
    monkeypatch.setattr(session.st, "query_params", {})
    session.begin()
    return state


def test_each_image_set_keeps_its_own_forget_set(state: dict) -> None:
    session.set_forget([3, 1, 2], ["by hand"])
    session.choose_images("fashion-mnist")
    assert session.forget_ids() == ()
    session.set_forget([9], ["by hand"])
    session.choose_images("digits")
    assert session.forget_ids() == (1, 2, 3)
    session.set_protected([7, 5, 7])
    assert session.protected_ids() == (5, 7)
    session.choose_images("fashion-mnist")
    assert session.protected_ids() == ()


def test_undo_remembers_a_hundred_steps_and_a_new_step_ends_redo(state: dict) -> None:
    for number in range(session.LONGEST_UNDO + 20):
        session.set_forget([number], [f"step {number}"])
    taken = 0
    while session.can_undo():
        session.undo()
        taken += 1
    assert taken == session.LONGEST_UNDO
    assert session.forget_ids() == (19,)
    assert session.forget_history() == ("step 19",)
    session.redo()
    assert session.forget_ids() == (20,)
    session.set_forget([500], ["other"])
    assert not session.can_redo()


def test_the_same_set_again_is_no_step(state: dict) -> None:
    session.set_forget([1, 2], ["a"])
    session.set_forget([2, 1, 1], ["b"])
    session.undo()
    assert session.forget_ids() == ()
    assert not session.can_undo()


def test_the_session_holds_plain_data_only(state: dict) -> None:
    session.set_forget([1, 2], ["a"])
    session.await_model("job", "digits")

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(plain(key) and plain(item) for key, item in value.items())
        if isinstance(value, tuple):
            return all(plain(item) for item in value)
        return type(value) in (str, int)

    assert plain(state)


def event(kind: str, at_s: float, **rest: object) -> dict:
    return {"event": kind, "at_s": at_s, **rest}


def test_progress_of_a_run_at_work() -> None:
    weights = {"n": 10, "used": 8, "low": 0.1, "mean": 0.2, "high": 0.4}
    seen = run_progress.read_progress(
        [
            event("stage", 0.0, stage="original", text="Looking"),
            event("progress", 0.5, stage="original", done=3, of=4, text="Computing"),
            event("stage", 1.0, stage="unlearn", text="Unlearning"),
            event(
                "probe",
                1.1,
                number=0,
                forget_accuracy=1.0,
                retain_accuracy=0.9,
                heldout_accuracy=None,
                n_forget=10,
                n_retain=4096,
                n_heldout=0,
            ),
            event("step", 2.0, number=1, of=10, loss=-0.5, weights=weights),
            event("step", 3.0, number=2, of=10, loss=-0.7, weights=None),
            event("report", 3.0, number=2, row={"request": 1, "retain_accuracy": 0.8}),
            event(
                "probe",
                3.1,
                number=2,
                forget_accuracy=0.5,
                retain_accuracy=0.8,
                heldout_accuracy=None,
                n_forget=10,
                n_retain=4096,
                n_heldout=0,
            ),
        ]
    )
    assert (seen.stage, seen.step, seen.n_steps) == ("unlearn", 2, 10)
    assert seen.seconds_left == pytest.approx((3.1 - 1.0) / 2 * 8)
    assert seen.weights == weights
    assert seen.losses == [(1, -0.5), (2, -0.7)]
    assert seen.reports == [{"request": 1, "retain_accuracy": 0.8}]
    rows = run_progress.accuracy_rows(seen.probes)
    assert {row["part"] for row in rows} == {"Forget", "Retain"}
    assert run_progress.path_rows(seen.probes)[-1] == {"step": 2, "forget": 0.5, "retain": 0.8}
    said = run_progress.in_words(seen)
    assert "50.0\u00a0% (100.0\u00a0% before)" in said
    assert "still to be known is not known" in said
    assert "10, 4,096 and 0 of them" in said


def test_progress_of_a_run_that_has_not_begun() -> None:
    seen = run_progress.read_progress([])
    assert seen.seconds_left is None
    assert run_progress.accuracy_rows(seen.probes) == []
    assert "first step" in run_progress.in_words(seen)


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    rows = list(range(10_007))
    thin = charts.thin(rows)
    assert len(thin) == charts.MOST_POINTS
    assert (thin[0], thin[-1]) == (0, 10_006)
    assert thin == sorted(set(thin))
    assert charts.thin(rows[:5]) == rows[:5]


def test_a_sheet_holds_the_pictures_themselves() -> None:
    digits = resources.image_set("digits")
    address = thumbnails.sheet("digits", (5, 9, 2), columns=2, side=26)
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    sheet = Image.open(io.BytesIO(base64.b64decode(content)))
    side, gap = 24, thumbnails.GAP
    assert sheet.size == (2 * side + gap, 2 * side + gap)
    tile = sheet.convert("L").crop((side + gap, 0, 2 * side + gap, side))
    expected = Image.fromarray(digits.train_images[9, 0].numpy())
    assert tile.resize((8, 8), Image.Resampling.NEAREST).tobytes() == expected.tobytes()
    assert sheet.convert("RGBA").getpixel((side, 0))[3] == 0


def test_a_mistake_is_logged_and_a_fault_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="imu.pages"), errors.shown():
        raise BadInput("Choose a class that there is.")
    assert "Choose a class that there is." in caplog.text
    assert "Traceback" in caplog.text
    with pytest.raises(ZeroDivisionError), errors.shown():
        raise ZeroDivisionError


def test_numbers_read_alike_everywhere() -> None:
    assert words.percent(0.9125) == "91.2\u00a0%"
    assert words.percent(None) == "not known"
    assert words.pictures(1) == "1 picture"
    assert words.pictures(1437) == "1,437 pictures"
    assert words.sentence("all of “3”") == "All of “3”"
