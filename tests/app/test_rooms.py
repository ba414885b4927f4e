"""The gallery, the map and what they share: both baskets, facts, named sets, filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driving import run_until
from streamlit.testing.v1 import AppTest

from imu_core.images import open_image_set
from pages.widgets import routes

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def digits():
    return open_image_set("digits")


def basket(app: AppTest, images: str = "digits") -> dict:
    return app.session_state["baskets"].get(images, {"ids": (), "history": (), "protected": ()})


def put(app: AppTest, **changes) -> AppTest:
    """The session with another basket, as if somebody had chosen it."""
    full = {"ids": (), "history": (), "undo": (), "redo": (), "protected": ()}
    app.session_state["baskets"] = {"digits": {**full, **changes}}
    return app.run()


def room(app: AppTest, name: str) -> AppTest:
    app.session_state["room"] = name
    app.run()
    assert not app.exception
    assert not app.error
    return app


def gallery_ids(app: AppTest, key: str = "gallery:digits") -> np.ndarray:
    """The ids of the page of tiles drawn last."""
    return list(app.session_state[f"{key}::pages"].values())[-1]


def words(app: AppTest) -> str:
    return " ".join([text.value for text in (*app.main.markdown, *app.main.caption)])


def hand(*picks: tuple[str, list[int], list[int]], **start: object) -> AppTest:
    """A session in which these clicks arrive one after the other, each in a run of its own."""

    def script() -> None:
        import numpy as np
        import streamlit as st

        from pages.widgets import baskets, session
        from pages.widgets.gallery import Pick

        session.begin()
        for kind, added, removed in st.session_state.pop("clicks", []):
            baskets.picked(Pick(kind, np.array(added, int), np.array(removed, int)))
        for name in st.session_state.pop("calls", []):
            getattr(session, name)()

    app = AppTest.from_function(script)
    full = {"ids": (), "history": (), "undo": (), "redo": (), "protected": ()}
    app.run()
    app.session_state["baskets"] = {"digits": {**full, **start}}
    for pick in picks:
        app.session_state["clicks"] = [pick]
        app.run()
        assert not app.exception
    return app


def test_the_gallery_pages_over_all_pictures(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "Gallery")
    assert gallery_ids(app).tolist() == list(range(1000))
    app.session_state["gallery:page"] = 2
    app.run()
    assert gallery_ids(app).tolist() == list(range(1000, digits.n_train))
    assert "1,001 to 1,437" in words(app)
    # Fewer pages than the one shown: the last one is shown instead.
    app.multiselect(key="gallery:label:digits").set_value([3]).run()
    assert gallery_ids(app).tolist() == digits.ids_of_class(3).tolist()


def test_sorting_and_filtering_go_by_the_models_numbers(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "Gallery")
    app.selectbox(key="gallery:sort").set_value("loss, highest first").run()
    hardest = gallery_ids(app)
    app.button_group(key="gallery:answer").set_value("wrong").run()
    wrong = gallery_ids(app)
    assert 0 < len(wrong) < 100
    # Whatever is called wrongly has a higher loss than most that is called rightly.
    assert set(wrong[:5].tolist()) <= set(hardest[:50].tolist())
    app.button_group(key="gallery:answer").set_value("right").run()
    assert not set(gallery_ids(app).tolist()) & set(wrong.tolist())


def test_a_range_of_the_loss_leaves_those_inside(studio: Open) -> None:
    app = room(studio(routes.FORGET), "Gallery")
    slider = next(one for one in app.slider if one.label == "Loss")
    _, high = slider.value
    slider.set_value((high / 2, high)).run()
    few = gallery_ids(app)
    assert 0 < len(few) < 50
    app.selectbox(key="gallery:sort").set_value("loss, highest first").run()
    assert sorted(gallery_ids(app).tolist()) == sorted(few.tolist())


def test_sorting_by_nearness_begins_with_the_picture_itself(studio: Open, digits) -> None:
    app = room(studio(routes.FORGET), "Gallery")
    by_nearness = "nearness to the picture looked at"
    app.selectbox(key="gallery:sort").set_value(by_nearness).run()
    assert "Double-click a picture first" in words(app)
    app.session_state["looked-at:digits"] = 700
    app.run()
    ids = gallery_ids(app)
    assert ids[0] == 700
    same = (digits.train_labels[ids[:20]] == digits.train_labels[700]).float().mean()
    assert same > 0.8


def test_the_gallery_can_show_one_basket(studio: Open) -> None:
    app = put(studio(routes.FORGET), ids=(4, 8, 15), history=("by hand",), protected=(16, 23))
    room(app, "Gallery")
    shown = app.selectbox(key="gallery:shown")
    assert gallery_ids(shown.set_value("the forget set").run()).tolist() == [4, 8, 15]
    assert gallery_ids(shown.set_value("protected").run()).tolist() == [16, 23]
    assert 4 not in gallery_ids(shown.set_value("outside the forget set").run())


def test_clicks_in_a_row_are_one_step_of_the_history() -> None:
    app = hand(("forget", [4], []), ("forget", [8, 15], []), ("forget", [], [4]))
    assert basket(app)["ids"] == (8, 15)
    assert basket(app)["history"] == ("3 by hand", "− 1 by hand")
    app.session_state["calls"] = ["undo"]
    app.run()
    assert (basket(app)["ids"], basket(app)["history"]) == ((4, 8, 15), ("3 by hand",))
    app.session_state["calls"] = ["undo", "redo", "redo"]
    app.run()
    assert basket(app)["ids"] == (8, 15)


def test_clicks_after_a_rule_are_added_to_its_history() -> None:
    app = hand(("forget", [8], []), ("forget", [9], []), ids=(4,), history=("class 0",))
    assert basket(app)["history"] == ("class 0", "+ 2 by hand")


def test_the_last_picture_taken_out_leaves_no_history() -> None:
    app = hand(("forget", [4], []), ("forget", [], [4]))
    assert (basket(app)["ids"], basket(app)["history"]) == ((), ())


def test_a_picture_to_forget_cannot_be_protected() -> None:
    app = hand(("protect", [4, 8], []), ("protect", [], [8]), ids=(4,), history=("one",))
    assert basket(app)["protected"] == ()
    assert "cannot be protected" in hand(("protect", [4], []), ids=(4,)).toast[0].value


def test_facts_of_the_set_are_in_view(studio: Open, digits) -> None:
    threes = tuple(digits.ids_of_class(3).tolist())
    app = put(studio(routes.FORGET), ids=threes, history=("class 3",))
    assert "coherence 0." in words(app)
    assert not app.exception


def test_near_duplicates_outside_are_added_or_protected(studio: Open, digits) -> None:
    from imu_core.near_duplicates import near_duplicates
    from pages.widgets import known, resources

    checkpoint = resources.checkpoints("digits")[0]
    features = known.features(checkpoint, "digits")
    half = near_duplicates(digits.train_images, features, range(0, digits.n_train, 2))
    one = int(half.twins[0])
    twins = near_duplicates(digits.train_images, features, [one]).ids.tolist()
    app = put(studio(routes.FORGET), ids=(one,), history=("one",))
    assert "outside" in words(app)
    app.button(key="twins:protect").click().run()
    assert basket(app)["protected"] == tuple(sorted(twins))
    assert f"Protected: {len(twins)} picture" in words(app)
    app.button(key="twins:add").click().run()
    assert basket(app)["ids"] == tuple(sorted([one, *twins]))
    assert "Protected:" not in words(app)
    app.button(key="forget-set:undo").click().run()
    assert f"Protected: {len(twins)} picture" in words(app)


def test_a_set_saved_under_a_name_is_found_by_the_next_session(studio: Open) -> None:
    app = put(studio(routes.FORGET), ids=(4, 8), history=("by hand",), protected=(23,))
    app.session_state["notes:digits"] = {4: "smudged"}
    app.text_input(key="saved:name").set_value("two / smudged").run()
    app.button(key="saved:save").click().run()
    assert not app.error
    other = studio(routes.FORGET)
    assert basket(other)["ids"] == ()
    assert "1 note." in words(other)
    other.button(key="saved:load").click().run()
    found = basket(other)
    assert (found["ids"], found["history"], found["protected"]) == ((4, 8), ("by hand",), (23,))
    assert other.session_state["notes:digits"] == {4: "smudged"}
    other.button(key="saved:delete").click().run()
    assert not any(one.key == "saved:load" for one in other.button)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("added", (4, 8, 15)),
        ("taken away", (15,)),
        ("only what both have", (8,)),
        ("instead", (4, 8)),
    ],
)
def test_a_saved_set_joins_leaves_or_limits(
    studio: Open, way: str, expected: tuple[int, ...]
) -> None:
    app = put(studio(routes.FORGET), ids=(4, 8), history=("by hand",))
    app.text_input(key="saved:name").set_value("two").run()
    app.button(key="saved:save").click().run()
    put(app, ids=(8, 15), history=("others",))
    app.button_group(key="saved:way").set_value(way).run()
    app.button(key="saved:load").click().run()
    assert basket(app)["ids"] == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_map_draws_pca_at_once_and_umap_by_a_job(
    studio: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pages.widgets import feature_map

    monkeypatch.setattr(feature_map, "SHIPPED", tmp_path)
    app = room(studio(routes.FORGET), "Map")
    app.button_group(key="map:layout").set_value("UMAP").run()
    assert not app.exception
    app.button(key="map:umap").click().run()
    run_until(app, lambda one: "Until it is there" not in words(one), 500)
    assert not any(one.key == "map:umap" for one in app.button)
    assert not app.exception
    assert not app.warning


def test_the_umap_of_a_bundled_model_is_there_at_once(studio: Open) -> None:
    app = room(studio(routes.FORGET), "Map")
    app.button_group(key="map:layout").set_value("UMAP").run()
    assert not any(one.key == "map:umap" for one in app.button)
    assert not app.exception


def test_the_rooms_work_without_a_model(studio: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.widgets import resources

    monkeypatch.setattr(resources, "checkpoints", lambda images: [])
    app = put(studio(routes.FORGET), ids=(4,), history=("one",))
    room(app, "Gallery")
    assert len(gallery_ids(app)) == 1000
    assert app.selectbox(key="gallery:sort").options[:2] == ["id", "label"]
    room(app, "Map")


def test_a_cell_of_the_confusion_matrix_shows_its_pictures(studio: Open, digits) -> None:
    from pages.widgets import resources

    app = room(studio(routes.FORGET), "Confusion")
    assert "named right" in words(app)
    key = f"confusion:digits:{resources.stamp(resources.checkpoints('digits')[0])}"
    app.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [(3, "3")]}}
    app.run()
    assert not app.exception
    threes = set(digits.ids_of_class(3).tolist())
    shown = set(gallery_ids(app, "cell:digits").tolist())
    assert shown <= threes
    assert len(shown) > 100
    app.button(key="confusion:replace").click().run()
    assert set(basket(app)["ids"]) == shown


def test_a_cell_that_is_none_is_no_cell() -> None:
    from pages.forget.rooms.confusion import chosen_cell

    def selected(*cells: object) -> dict:
        return {"selection": {"cells": list(cells)}}

    names = ["a", "b"]
    assert chosen_cell(selected((1, "a")), names) == (1, 0)
    assert chosen_cell(selected(), names) is None
    assert chosen_cell(selected((1, "c")), names) is None
    assert chosen_cell(selected((2, "a")), names) is None
    assert chosen_cell(selected((0, "a"), (1, "a")), names) is None


QUICK = ("random", "hardest", "confident", "imu", "neighbours", "component")
SLOW = ("mislabelled", "worst", "easiest", "influential")


@pytest.mark.parametrize("rule", [*QUICK, *SLOW])
def test_a_rule_proposes_pictures_with_its_sentence(studio: Open, rule: str) -> None:
    from imu_core.forget_rules import forget_rules

    app = room(studio(routes.FORGET), "Rules")
    app.button_group(key="rule").set_value(rule).run()
    why = next(one.sentence for one in forget_rules() if one.name == rule)
    assert why in words(app)
    app.number_input(key=f"rule:{rule}:count:digits").set_value(7).run()
    if rule in SLOW:
        next(one for one in app.button if one.label == "Propose").click().run()
        run_until(app, lambda one: any(b.key == "rules:replace" for b in one.button))
    assert not app.exception
    assert not app.error
    shown = gallery_ids(app, "proposal:digits")
    app.button(key="rules:replace").click().run()
    assert set(basket(app)["ids"]) == set(shown.tolist())
    assert 1 <= len(shown) <= 7


def test_more_like_the_forget_set(studio: Open) -> None:
    app = put(studio(routes.FORGET), ids=(5, 6), history=("by hand",))
    room(app, "Rules")
    app.button_group(key="rule").set_value("alike").run()
    slider = next(one for one in app.slider if one.label == "How many more")
    slider.set_value(12).run()
    app.button(key="rules:add").click().run()
    assert len(basket(app)["ids"]) == 14
    assert basket(app)["history"][-1] == "+ the 12 pictures most like 2 pictures chosen"
    app.button_group(key="rule").set_value("twins").run()
    assert not app.exception
    assert not app.error


def test_rules_of_the_picture_looked_at_ask_for_one(studio: Open) -> None:
    app = room(studio(routes.FORGET), "Rules")
    app.button_group(key="rule").set_value("alike").run()
    assert "The forget set is empty" in words(app)
    app.button_group(key="rule:alike:of").set_value("the picture looked at").run()
    assert "Double-click a picture" in words(app)
    app.session_state["looked-at:digits"] = 12
    app.run()
    assert len(gallery_ids(app, "proposal:digits")) == 50
