"""The forget set in the words of the terminal: `class=3+random=10%`."""

from __future__ import annotations

import streamlit as st

from pages.widgets import errors, forget_change, resources, session, thumbnails
from pages.widgets.words import percent

N_SHOWN = 60
LONGEST = 100_000


def draw() -> None:
    """Draws the field, what its expression stands for, and how such expressions are written."""
    images = session.images()
    opened = resources.image_set(images)
    written = st.text_input(
        "Expression",
        placeholder="class=3 + random=20",
        key=f"expression:{images}",
        persist_state="session",
        help="The same as `--forget` in the terminal.",
    )
    seed = st.number_input(
        "Seed for random parts", min_value=0, value=0, key="expression:seed", width=180
    )
    if written.strip():
        with errors.shown():
            _result(images, written.strip(), int(seed))
    first = opened.class_names[0]
    st.markdown(
        f"`class={first}` a class by name or number, `class=0,1` several · `random=10%` or "
        "`random=100` by chance · `ids=4,8,15` by id · `hardest=50` those with the highest loss. "
        "Join with `+`, take away with `-`: `class=0 - hardest=10`."
    )


def _result(images: str, written: str, seed: int) -> None:
    from imu_core.errors import BadInput
    from imu_core.forget_rules import parse_forget_spec

    if len(written) > LONGEST:
        raise BadInput(
            f"The expression is longer than {LONGEST:,} characters; save a file instead."
        )
    if "file=" in written.replace(" ", ""):
        # A visitor's text must not open files of the server.
        raise BadInput("Files are loaded by “Save or load” above, not by an expression.")
    opened, checkpoint = resources.image_set(images), resources.chosen_checkpoint()
    found = parse_forget_spec(
        written,
        opened,
        seed=seed,
        outputs=(lambda: resources.outputs(checkpoint, images)) if checkpoint else None,
    )
    forget_change.buttons(found.ids, written, key="expression")
    if found.ids:
        shown = tuple(found.ids[:N_SHOWN])
        st.image(
            thumbnails.sheet(images, shown, columns=20, side=36),
            alt=f"The first {len(shown)} pictures of the expression",
        )
        st.caption(
            f"The first {len(shown)} of {len(found.ids):,} pictures, "
            f"{percent(len(found.ids) / opened.n_train)} of the training set."
        )
