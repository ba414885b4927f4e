"""Pictures drawn by chance into the forget set."""

from __future__ import annotations

import streamlit as st

from pages.widgets import forget_change, resources, session, thumbnails
from pages.widgets.words import percent

N_SHOWN = 60


def draw() -> None:
    """Draws how many, from where and by which seed, and what was drawn."""
    images = session.images()
    opened, members = resources.image_set(images), resources.class_members(images)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = st.selectbox(
            "From",
            [-1, *range(opened.n_classes)],
            format_func=lambda label: (
                "all classes" if label < 0 else f"class “{opened.class_names[label]}”"
            ),
            key=f"random:from:{images}",
            persist_state="session",
            width=220,
        )
        n_most = opened.n_train if source < 0 else len(members[source])
        count = st.number_input(
            "How many",
            min_value=1,
            max_value=n_most,
            value=max(1, n_most // 10),
            key=f"random:count:{images}:{source}",
            persist_state="session",
            width=180,
        )
        seed = st.number_input(
            "Seed", min_value=0, value=0, key="random:seed", persist_state="session", width=140
        )
    ids = drawn(n_most if source < 0 else members[source], min(int(count), n_most), int(seed))
    where = "all classes" if source < 0 else f"class “{opened.class_names[source]}”"
    forget_change.buttons(ids, f"{len(ids):,} at random from {where} (seed {seed})", key="random")
    shown = ids[:N_SHOWN]
    st.image(
        thumbnails.sheet(images, shown, columns=20, side=36),
        alt=f"{len(shown)} pictures drawn at random",
    )
    st.caption(
        f"{len(shown)} of the {len(ids):,} pictures drawn from {n_most:,}: "
        f"{percent(len(ids) / n_most)}. The same seed draws the same pictures."
    )


def drawn(pool, count: int, seed: int) -> tuple[int, ...]:
    """This many ids of the pool (or of all below a number), ascending."""
    import numpy as np

    chosen = np.random.default_rng(seed).choice(pool, count, replace=False)
    return tuple(int(number) for number in np.sort(chosen))
