"""Inspect: every sentence against the engine's own numbers, every bad input as one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import run_until
from streamlit.testing.v1 import AppTest

from imu_core.ensemble import train_ensemble
from imu_core.evaluation.outputs import compute_outputs
from imu_core.images import ImageSet
from imu_core.influence import head_problem, predict_removal, quantity_values, refit
from imu_core.networks import checkpoint_digest, load_checkpoint, read_checkpoint_header
from imu_core.networks.bundled import bundled_checkpoint
from pages.inspect.pictures import overlaid
from pages.widgets import resources, routes

Open = Callable[..., AppTest]


def with_set(app: AppTest, ids: list[int], protected: tuple[int, ...] = ()) -> AppTest:
    """The app with this forget set, as the Forget page leaves it."""
    basket = {"ids": tuple(ids), "history": ("by hand",), "undo": (), "redo": ()}
    app.session_state["baskets"] = {"digits": {**basket, "protected": protected}}
    return app.run()


def one_picture(app: AppTest, row: int, part: str = "Training") -> AppTest:
    app.session_state["look"] = "One picture"
    app.session_state["split"] = part
    app.session_state["picture"] = row
    return app.run()


def texts(app: AppTest) -> str:
    return "\n".join(one.value for one in [*app.main.markdown, *app.main.caption])


def button(app: AppTest, key: str):
    return next(one for one in app.button if one.key == key)


def test_an_empty_forget_set_says_what_to_do(studio: Open) -> None:
    app = studio(routes.INSPECT)
    assert not app.exception
    assert [one.value for one in app.info] == [
        "The forget set is empty: choose at least one picture."
    ]
    button(app, "inspect:choose").click().run()
    assert [title.value for title in app.title] == ["Choose what to forget"]


def test_a_class_has_weights_predictions_and_its_finished_run(
    studio: Open, digits: ImageSet
) -> None:
    ids = digits.ids_of_class(3).tolist()
    protected = digits.ids_of_class(8).tolist()[:3]
    app = with_set(studio(routes.INSPECT), ids, protected=(*protected, *ids[:2]))
    assert not app.exception
    assert not app.error
    # Weights: the numbers of the engine.
    told = texts(app)
    assert "Half of all weight lies on" in told
    # Predictions: the step leads, the sum sees less, the retain set hardly moves.
    table = app.table[0].value.set_index("Pictures")
    assert list(table["n"]) == ["360", "146", "1,291", "3"]
    now, step, total = (
        float(table.loc["Forget set", name].split("\u00a0")[0])
        for name in ("Accuracy now", "Newton step", "Influence sum")
    )
    assert step < total <= now
    assert "Effect on the classifier head, features frozen." in told
    assert "Residual gradient" in told
    # The shipped example is a run of this very set: its retrained models are the measure.
    fits = app.table[1].value
    assert list(fits["n"]) == ["360", "360", "323", "323"]
    assert float(fits["Correlation"][0]) > 0.9
    assert "Two retrained models agree with each other at r =" in told


def test_steps_to_the_end_foresee_more_than_one_step(studio: Open, digits: ImageSet) -> None:
    app = with_set(studio(routes.INSPECT), digits.ids_of_class(3).tolist())
    assert any("One Newton step leaves" in one.value for one in app.info)
    app.toggle(key="inspect:refit").set_value(True).run()
    assert not any("One Newton step leaves" in one.value for one in app.info)
    row = app.table[0].value.set_index("Pictures").loc["Forget set"]
    shares = [
        float(row[name].split("\u00a0")[0])
        for name in ("Steps to the end", "Newton step", "Influence sum")
    ]
    assert shares == sorted(shares)
    assert shares[0] < 20


def test_a_set_larger_than_the_rest_is_one_sentence(studio: Open) -> None:
    app = with_set(studio(routes.INSPECT), list(range(1000)))
    assert not app.exception
    assert len(app.error) == 1
    assert "larger than the retain set" in app.error[0].value
    assert "Half of all weight lies on" in texts(app)


def test_one_picture_of_one_class_alone(studio: Open) -> None:
    app = with_set(studio(routes.INSPECT), [7])
    assert not app.exception
    assert not app.error
    assert "There is no run of this forget set" in "".join(one.value for one in app.info)


@pytest.mark.parametrize("row", [-1, 1437, 10**9])
def test_an_id_out_of_range_is_one_sentence(studio: Open, row: int) -> None:
    app = one_picture(studio(routes.INSPECT), row)
    assert not app.exception
    assert len(app.error) == 1
    assert "go from 0 to 1,436" in app.error[0].value


def test_supporters_are_those_whose_removal_lowers_the_margin(
    studio: Open, digits: ImageSet
) -> None:
    """The first supporter, taken out with the head refit, lowers the margin by about its score."""
    app = one_picture(studio(routes.INSPECT), 5, "Test")
    assert not app.exception
    assert not app.error
    first = next(one for one in app.button if (one.key or "").startswith("inspect:support:look:"))
    supporter = int(first.label)
    captions = [one.value for one in app.main.caption]
    shown = float(next(c for c in captions if "” +" in c).split("+")[1])

    classifier, _ = load_checkpoint(bundled_checkpoint("digits"), image_set=digits)
    outputs = compute_outputs(classifier, digits, device=torch.device("cpu"))
    features = torch.from_numpy(outputs.train_features)
    problem = refit(head_problem(classifier, features, digits.train_labels)).problem
    gone = predict_removal(problem, torch.tensor([supporter]), "refit")
    row = torch.from_numpy(outputs.test_features[5:6])
    label = torch.from_numpy(outputs.test_logits[5:6]).argmax(1)
    before, after = (float(quantity_values(z, label, "margin")) for z in gone.logits(row))
    assert before - after > 0
    assert shown == pytest.approx(before - after, rel=0.35)


def test_a_supporter_joins_and_leaves_the_forget_set(studio: Open) -> None:
    app = one_picture(studio(routes.INSPECT), 5, "Test")
    key = next(
        one.key for one in app.button if (one.key or "").startswith("inspect:support:change:")
    )
    chosen = int(key.rsplit(":", 1)[1])
    button(app, key).click().run()
    assert app.session_state["baskets"]["digits"]["ids"] == (chosen,)
    assert "supports test picture 5" in app.session_state["baskets"]["digits"]["history"][0]
    button(app, key).click().run()
    assert app.session_state["baskets"]["digits"]["ids"] == ()


def test_shuffled_weights_change_the_maps(studio: Open) -> None:
    app = one_picture(studio(routes.INSPECT), 5, "Test")
    app.session_state["inspect:shuffled"] = "of all layers"
    app.run()
    assert not app.exception
    found = [one.value for one in app.main.caption if "Shuffled: rank correlation" in one.value]
    assert len(found) == 5
    values = [
        float(one.split("rank correlation ")[1].split()[0].replace("−", "-")) for one in found
    ]
    assert all(-1 <= value < 0.99 for value in values)
    assert any("Convergence delta" in one for one in found)


def test_models_stand_in_a_row_with_drift_and_floor(studio: Open, digits: ImageSet) -> None:
    ids = digits.ids_of_class(3).tolist()
    app = one_picture(with_set(studio(routes.INSPECT), ids), ids[0])
    assert not app.exception
    assert not app.error
    told = texts(app)
    assert "The unlearned model's map drifted" in told
    assert "Two retrained models lie" in told
    assert sum(one.value.startswith("says “") for one in app.main.caption) == 3


def test_several_models_give_an_average_and_memorisation(
    studio: Open, digits: ImageSet, runs: Path
) -> None:
    """With two briefly trained models in the folder the page shows them and asks for more."""
    path = bundled_checkpoint("digits")
    header = read_checkpoint_header(path)
    header = replace(header, recipe={**header.recipe, "epochs": 1})
    place = runs / "ensembles" / checkpoint_digest(path)
    train_ensemble(place, header, digits, n_models=2, device=torch.device("cpu"))
    app = with_set(studio(routes.INSPECT), digits.ids_of_class(3).tolist())
    assert not app.exception
    assert not app.error
    told = texts(app)
    assert "Averaged over 2 models, overall accuracy" in told
    assert "this one model alone at r =" in told
    assert "Over 2 models the 146 pictures of the forget set have a mean memorisation" in told
    assert button(app, "inspect:train").label == "Train 2 models"
    one_picture(app, 5, "Test").toggle(key="inspect:average").set_value(True).run()
    assert not app.exception
    assert any(" ± " in one.value for one in app.main.caption)


def test_training_several_models_is_a_job_that_can_be_cancelled(studio: Open) -> None:
    app = with_set(studio(routes.INSPECT), [1, 2, 3])
    button(app, "inspect:train").click().run()
    job = app.session_state["inspect:members-job"]
    assert resources.job_queue().status(job).title == "Training 4 models on halves of Digits"
    resources.job_queue().cancel(job)
    run_until(app, lambda _: resources.job_queue().status(job).ended)
    app.run()
    assert [one.value for one in app.warning] == ["Cancelled"]


def test_an_overlay_is_the_picture_at_nought_and_the_map_at_one() -> None:
    picture = np.full((2, 2, 3), 90, dtype=np.uint8)
    signed = np.array([[1.0, -1.0], [0.0, 0.5]])
    assert (overlaid(picture, signed, 1.0, 0.0) == picture).all()
    full = overlaid(picture, signed, 1.0, 1.0)
    assert full[0, 0].tolist() == [213, 94, 0]
    assert full[0, 1].tolist() == [0, 114, 178]
    assert full[1, 0].tolist() == [255, 255, 255]
