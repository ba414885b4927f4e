"""How alike the pictures of the forget set are, and which near-duplicates remain outside it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, forget_change, known, resources, thumbnails
from pages.widgets.words import pictures

if TYPE_CHECKING:
    import numpy as np

    from imu_core.near_duplicates import NearDuplicates

# Pairs compared while the page waits (about half a second); above, a button starts it.
MOST_PAIRS_AT_ONCE = 5_000_000
N_SHOWN = 20


def _digest(ids: tuple[int, ...]) -> str:
    import numpy as np

    return sha256(np.array(ids, np.int64).tobytes()).hexdigest()[:24]


def _model(images: str) -> str:
    """The chosen model where its outputs come at once, else none: this never starts a job."""
    checkpoint = resources.chosen_checkpoint()
    if not checkpoint:
        return ""
    few = resources.image_set(images).n_train <= resources.FEW_PICTURES
    return checkpoint if few or resources.outputs_are_kept(checkpoint, images) else ""


@st.cache_resource(max_entries=64, show_spinner=False)
def _coherence(
    checkpoint: str, stamp: int, images: str, digest: str, _ids: tuple[int, ...]
) -> float | None:
    from imu_core.picking import coherence

    return coherence(known.features(checkpoint, images), _ids)


@st.cache_resource(max_entries=64, show_spinner="Looking for near-duplicates")
def _twins(
    checkpoint: str, stamp: int, images: str, digest: str, _ids: tuple[int, ...]
) -> NearDuplicates:
    from imu_core.near_duplicates import near_duplicates

    opened = resources.image_set(images)
    return near_duplicates(opened.train_images, known.features(checkpoint, images), _ids)


def alike(images: str, ids: tuple[int, ...]) -> str:
    """How near the members are to one another, as a sentence; empty for a single picture."""
    checkpoint = _model(images)
    stamp = resources.stamp(checkpoint) if checkpoint else 0
    value = _coherence(checkpoint, stamp, images, _digest(ids), ids)
    if value is None:
        return ""
    said = (
        "very alike" if value >= 0.6 else "alike" if value >= 0.25 else "as different as by chance"
    )
    if 0.05 <= value < 0.25:
        said = "somewhat alike"
    shown = f"{value:.2f}".replace("-", "−")
    return f"Its pictures are {said}: coherence {shown} (0 by chance, 1 for copies)."


def draw_twins(images: str, ids: tuple[int, ...]) -> None:
    """Draws the near-duplicates that stay outside, with a button that adds them."""
    n = resources.image_set(images).n_train
    asked, digest = "twins:asked", _digest(ids)
    if len(ids) == n:
        return
    if len(ids) * n > MOST_PAIRS_AT_ONCE and st.session_state.get(asked) != digest:
        if st.button(
            "Look for near-duplicates outside", icon=":material/join_inner:", key="twins:look"
        ):
            st.session_state[asked] = digest
            st.rerun()
        return
    checkpoint = _model(images)
    stamp = resources.stamp(checkpoint) if checkpoint else 0
    found = _twins(checkpoint, stamp, images, digest, ids).ids
    if not len(found):
        st.caption("No near-duplicate of them stays outside the set.")
        return
    _warn(images, found)


def _warn(images: str, found: np.ndarray) -> None:
    outside = tuple(int(number) for number in found)
    many = "near-duplicate stays" if len(outside) == 1 else "near-duplicates stay"
    with st.container(horizontal=True, vertical_alignment="center", key="twins"):
        st.markdown(
            f":material/warning: **{len(outside):,} {many} outside.** "
            "To forget a picture whose twin stays is not to forget it."
        )
        st.image(
            thumbnails.sheet(images, outside[:N_SHOWN], columns=N_SHOWN, side=26),
            alt=f"The nearest {len(outside[:N_SHOWN])} near-duplicates outside the set",
        )
        st.button(
            f"Add {len(outside):,}",
            icon=":material/add:",
            key="twins:add",
            on_click=forget_change.add,
            args=(outside, f"{len(outside):,} near-duplicates"),
        )
        st.button(
            f"Protect {len(outside):,}",
            icon=":material/shield:",
            key="twins:protect",
            on_click=baskets.protect,
            args=(outside,),
            help="Keep them, and watch under Compare what becomes of them.",
        )


def draw_protected(images: str) -> None:
    """Draws the second basket, where it holds anything: pictures to keep and to watch."""
    ids = baskets.protected()
    if not ids:
        return
    from pages.widgets.charts import PROTECTED

    with st.container(horizontal=True, vertical_alignment="center", key="protected-set"):
        st.markdown(f"**Protected: {pictures(len(ids))}**")
        st.image(
            thumbnails.sheet(images, ids[:N_SHOWN], columns=N_SHOWN, side=28, frame=PROTECTED),
            alt=f"The first {len(ids[:N_SHOWN])} protected pictures",
        )
        st.button(
            "Protect none",
            icon=":material/remove_moderator:",
            key="protected:clear",
            type="tertiary",
            on_click=baskets.clear_protected,
        )
