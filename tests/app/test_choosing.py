"""Choosing the forget set: every way in, every way back, and what cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from imu_core.forget_set import ForgetSet
from imu_core.images import open_image_set
from pages.widgets import routes

Open = Callable[..., AppTest]
BASKETS = "baskets"


@pytest.fixture(scope="module")
def digits():
    return open_image_set("digits")


def forget_ids(app: AppTest) -> tuple[int, ...]:
    return app.session_state[BASKETS].get("digits", {"ids": ()})["ids"]


def room(app: AppTest, name: str) -> AppTest:
    app.session_state["room"] = name
    return app.run()


def choose_class(app: AppTest, *labels: int) -> AppTest:
    return app.pills(key="by-class:digits").set_value(list(labels)).run()


def with_class(studio: Open, *labels: int) -> AppTest:
    app = choose_class(studio(routes.FORGET), *labels)
    return app.button(key="by-class:replace").click().run()


def test_a_class_becomes_the_forget_set(studio: Open, digits) -> None:
    app = with_class(studio, 3)
    assert list(forget_ids(app)) == digits.ids_of_class(3).tolist()
    assert any(text.value == "**Forget set: 146 pictures**" for text in app.main.markdown)
    assert any("All of “3”" in text.value for text in app.sidebar.caption)


def test_classes_are_added_and_removed(studio: Open, digits) -> None:
    app = choose_class(with_class(studio, 3), 5)
    assert app.button(key="by-class:remove").disabled
    app.button(key="by-class:add").click().run()
    both = sorted(digits.ids_of_class(3).tolist() + digits.ids_of_class(5).tolist())
    assert list(forget_ids(app)) == both
    choose_class(app, 3).button(key="by-class:remove").click().run()
    assert list(forget_ids(app)) == digits.ids_of_class(5).tolist()


def test_every_change_can_be_taken_back_and_made_again(studio: Open) -> None:
    app = with_class(studio, 3)
    three = forget_ids(app)
    app.button(key="forget-set:clear").click().run()
    assert forget_ids(app) == ()
    app.button(key="sidebar:undo").click().run()
    assert forget_ids(app) == three
    app.button(key="forget-set:redo").click().run()
    assert forget_ids(app) == ()
    app.button(key="forget-set:undo").click().run()
    app.button(key="forget-set:undo").click().run()
    assert forget_ids(app) == ()
    assert app.button(key="forget-set:undo").disabled


def test_the_set_outlives_a_change_of_page(studio: Open) -> None:
    app = with_class(studio, 7)
    seven = forget_ids(app)
    app.switch_page(routes.RUNS).run()
    app.switch_page(routes.FORGET).run()
    assert forget_ids(app) == seven
    assert app.pills(key="by-class:digits").value == [7]


def test_everything_is_warned_of_and_cannot_be_unlearned(studio: Open) -> None:
    app = with_class(studio, *range(10))
    assert len(forget_ids(app)) == 1437
    assert "every training picture" in app.warning[0].value
    assert app.button(key="forget-set:unlearn").disabled
    app.switch_page(routes.UNLEARN).run()
    assert "every training picture" in app.info[0].value


def test_a_random_draw_repeats_with_its_seed(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "At random")
    app.number_input(key="random:count:digits:-1").set_value(25).run()
    first = forget_ids(app.button(key="random:replace").click().run())
    app.number_input(key="random:seed").set_value(1).run()
    other = forget_ids(app.button(key="random:replace").click().run())
    app.number_input(key="random:seed").set_value(0).run()
    again = forget_ids(app.button(key="random:replace").click().run())
    assert len(first) == len(set(first)) == 25
    assert first == again != other
    app.selectbox(key="random:from:digits").set_value(4).run()
    of_four = forget_ids(app.button(key="random:replace").click().run())
    assert set(digits.train_labels[list(of_four)].tolist()) == {4}


def test_the_words_of_the_terminal_work(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "Expression")
    app.text_input(key="expression:digits").set_value("class=3 - hardest=10 + ids=0").run()
    assert not app.error
    ids = forget_ids(app.button(key="expression:replace").click().run())
    threes = set(digits.ids_of_class(3).tolist())
    assert 0 in ids
    assert set(ids) - {0} < threes
    assert len(ids) >= len(threes) - 10


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("class=ten", "ten"),
        ("class=11", "11"),
        ("ids=5000", "5000"),
        ("nonsense=3", "nonsense"),
        ("file=/etc/passwd", "Save or load"),
        ("file = /etc/passwd", "Save or load"),
        ("random=" + "1" * 100_001, "longer than"),
    ],
)
def test_a_mistaken_expression_is_one_sentence(studio: Open, written: str, said: str) -> None:
    app = room(studio(routes.FORGET), "Expression")
    app.text_input(key="expression:digits").set_value(written).run()
    assert not app.exception
    assert len(app.error) == 1
    assert said in app.error[0].value
    assert "root:" not in app.error[0].value


def test_the_table_shows_sorts_and_filters(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "Table")
    assert not app.exception
    shown = app.dataframe[0].value
    assert len(shown) == 500
    assert shown["influence"].is_monotonic_increasing
    assert shown["picture"].str.startswith("data:image/png;base64,").all()
    assert shown["label"].tolist() == [
        digits.class_names[label] for label in digits.train_labels.numpy()[shown["id"]]
    ]
    app.selectbox(key="table:sort").set_value("loss, highest first").run()
    assert app.dataframe[0].value["loss"].is_monotonic_decreasing
    app.multiselect(key="table:label:digits").set_value([2]).run()
    assert set(app.dataframe[0].value["label"]) == {"2"}
    app.button_group(key="table:answer").set_value("wrong").run()
    left = app.dataframe[0].value if app.dataframe else None
    assert left is None or (left["label"] != left["prediction"]).all()


def test_a_saved_set_is_loaded_again(studio: Open, digits) -> None:
    saved = ForgetSet.of(digits, [4, 8, 15], "by hand")
    app = studio(routes.FORGET)
    app.file_uploader(key="forget-set:upload").set_value(
        ("set.csv", saved.to_csv(digits).encode(), "text/csv")
    ).run()
    assert not app.exception
    assert forget_ids(app) == (4, 8, 15)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("set.csv", b"id\n4\n4\n", "twice"),
        ("set.csv", b"id\n99999\n", "99999"),
        ("set.csv", b"\xff\xfe\x00", "cannot be read"),
        ("set.json", b"{", "no saved forget set"),
        (
            "set.json",
            json.dumps({"ids": [1], "image_set_fingerprint": "00"}).encode(),
            "another image set",
        ),
    ],
)
def test_a_mistaken_file_changes_nothing(
    studio: Open, name: str, content: bytes, said: str
) -> None:
    app = with_class(studio, 3)
    before = forget_ids(app)
    app.file_uploader(key="forget-set:upload").set_value((name, content, "text/plain")).run()
    assert not app.exception
    assert any(said in error.value for error in app.error)
    assert forget_ids(app) == before
