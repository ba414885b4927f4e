"""One picture: what the model makes of it, on account of which pictures and which pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from imu_core.display import number
from imu_core.errors import BadInput
from pages.inspect import pictures
from pages.inspect.head import PARTS, Asked, asked
from pages.inspect.views import models, neighbours, pixels
from pages.widgets import forget_change, resources, session
from pages.widgets.words import percent

N_OFFERED = 10


@dataclass(frozen=True)
class Seen:
    """The picture that is looked at, and the class that is asked about."""

    part: str
    row: int
    label: int
    predicted: int
    asked: int

    @property
    def name(self) -> str:
        return f"{'test' if self.part == 'Test' else 'training'} picture {self.row:,}"


def draw() -> None:
    which = asked()
    part, row = _choice(which)
    picture, rest = st.columns([1, 4], gap="medium")
    seen = _prediction(which, part, row, picture, rest)
    neighbours.draw(which, seen)
    pixels.draw(which, seen)
    models.draw(which, seen)


def _choice(which: Asked) -> tuple[str, int]:
    """The picture of the address, of the number field or of a thumbnail; `BadInput` for none."""
    opened = resources.image_set(which.images)
    ids = session.forget_ids()
    if "picture" not in st.session_state and "picture" not in st.query_params and ids:
        st.session_state["picture"] = ids[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.segmented_control(
            "Pictures",
            list(PARTS),
            default=PARTS[0],
            required=True,
            key="split",
            bind="query-params",
            format_func=lambda name: f"{name} pictures",
        )
        # No upper bound here: an id beyond it gets a sentence, not another picture.
        row = st.number_input("Picture (id)", step=1, key="picture", bind="query-params", width=180)
        _offers(which, ids)
    part = part if part in PARTS else PARTS[0]
    n = opened.n_test if part == "Test" else opened.n_train
    if not 0 <= int(row) < n:
        raise BadInput(
            f"There is no {part.lower()} picture {int(row):,}; ids of {opened.title} go from 0 to "
            f"{n - 1:,}."
        )
    return part, int(row)


def _offers(which: Asked, ids: tuple[int, ...]) -> None:
    with st.popover("From the forget set", icon=":material/photo_library:", disabled=not ids):
        few = min(len(ids), N_OFFERED)
        some = [ids[i * len(ids) // few] for i in range(few)]
        with st.container(horizontal=True, width=480):
            for one in some:
                with st.container(width=72, gap=None):
                    st.image(pictures.png(which.images, "Training", one, 64), alt=f"{one}")
                    st.button(
                        f"{one}",
                        key=f"inspect:offer:{one}",
                        type="tertiary",
                        on_click=pictures.look_at,
                        args=("Training", one),
                    )


def _prediction(which: Asked, part: str, row: int, left, right) -> Seen:
    opened = resources.image_set(which.images)
    outputs = resources.outputs(which.checkpoint, which.images)
    logits = (outputs.test_logits if part == "Test" else outputs.train_logits)[row]
    label = int((opened.test_labels if part == "Test" else opened.train_labels)[row])
    shares = np.exp(logits - logits.max())
    shares = shares / shares.sum()
    predicted = int(shares.argmax())
    names = opened.class_names
    with left:
        st.image(
            pictures.png(which.images, part, row, 160), alt=f"{part} picture {row}, {names[label]}"
        )
    with right:
        right_word = "rightly" if predicted == label else "wrongly"
        st.markdown(
            f"It is “{names[label]}”; the model says **“{names[predicted]}”**, {right_word}, with "
            f"{percent(float(shares[predicted]))}."
        )
        best = [int(i) for i in np.argsort(-shares)[:3]]
        told = ", ".join(f"“{names[i]}” {percent(float(shares[i]))}" for i in best)
        loss = float(-np.log(max(shares[label], 1e-300)))
        st.caption(f"{told}. Loss {number(loss)}.")
        wanted = predicted
        if predicted != label:
            picked = st.segmented_control(
                "Ask about",
                [predicted, label],
                default=predicted,
                required=True,
                format_func=lambda one: f"“{names[one]}”",
                key="inspect:asked",
            )
            wanted = picked if picked in (predicted, label) else predicted
        if part == "Training":
            _membership(row)
    return Seen(part, row, label, predicted, wanted)


def _membership(row: int) -> None:
    inside = row in session.forget_ids()
    st.button(
        "Remove from the forget set" if inside else "Add to the forget set",
        key="inspect:this",
        icon=":material/remove:" if inside else ":material/add:",
        on_click=forget_change.remove if inside else forget_change.add,
        args=((row,), f"picture {row}"),
    )
