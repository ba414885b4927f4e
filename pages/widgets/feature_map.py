"""The map of all training pictures: PCA at once, UMAP as a job whose result stays on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, known, resources, routes, session
from pages.widgets.map import MOST_POINTS, MapEvents, Mode, Scores, picture_map

if TYPE_CHECKING:
    import numpy as np

    from imu_core.runs import JobContext

SHIPPED = routes.ROOT / "assets" / "maps"
LAYOUTS = ("PCA", "UMAP")
COLOURS = ("class", "prediction", "confidence", "loss", "influence")
DRAWING: dict[str, Mode] = {"replaces": "replace", "adds": "add", "takes away": "subtract"}


def controls(columns: dict[str, np.ndarray]) -> tuple[str, str, Mode]:
    """Draws layout, colour and what a drawn shape does; the three."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layout = st.segmented_control(
            "Layout",
            LAYOUTS,
            default="PCA",
            required=True,
            key="map:layout",
            persist_state="session",
        )
        offered = [name for name in COLOURS if name == "class" or name in columns]
        colour = st.selectbox(
            "Colour by", offered, key="map:colour", persist_state="session", width=130
        )
        drawing = st.selectbox(
            "A drawn shape",
            list(DRAWING),
            key="map:drawing",
            persist_state="session",
            width=130,
            help="What it does to the forget set. With shift held it adds, with alt it takes away.",
        )
    return layout or "PCA", colour or "class", DRAWING.get(drawing or "", "replace")


def draw(
    checkpoint: str, columns: dict[str, np.ndarray], choice: tuple[str, str, Mode], *, height: int
) -> None:
    """Draws the map; what is drawn round becomes, joins or leaves the forget set."""
    images = session.images()
    opened = resources.image_set(images)
    if opened.n_train > MOST_POINTS:
        st.info(f"The map draws up to {MOST_POINTS:,} pictures; here there are more.")
        return
    layout, colour, drawing = choice
    picture_map(
        coordinates(checkpoint, images, layout),
        key=f"map:{images}",
        groups=columns["prediction" if colour == "prediction" else "label"],
        group_names=opened.class_names,
        scores=_scores(colour, columns),
        selected=session.forget_ids(),
        protected=baskets.protected(),
        highlight=baskets.looked_at(),
        sheet_of=lambda ids: known.sheet(images, ids),
        drawing=drawing,
        height=height,
        name=f"Map of the {opened.n_train:,} training pictures",
        events=MapEvents(
            on_select=baskets.drawn, on_clear=baskets.cleared, on_pin=baskets.look_from_map
        ),
    )


def _scores(colour: str, columns: dict[str, np.ndarray]) -> Scores | None:
    if colour in ("class", "prediction"):
        return None
    return Scores(columns[colour], colour, signed=colour == "influence")


@st.cache_resource(max_entries=4, show_spinner=False)
def _pca(checkpoint: str, stamp: int, images: str) -> np.ndarray:
    from imu_core.embedding import pca_coordinates

    return pca_coordinates(known.features(checkpoint, images))


def coordinates(checkpoint: str, images: str, layout: str) -> np.ndarray:
    """float32 (n, 2). Until a UMAP is there, its job is drawn and the PCA takes its place."""
    slot = st.container()
    if layout == "UMAP":
        # One that was kept needs no features: it is there before the model has looked at them all.
        kept = _kept_umap(checkpoint or resources.chosen_checkpoint(), images)
        if kept is not None:
            return kept
        # A place of its own, so that what comes and goes there does not start the map anew.
        with slot:
            _offer_umap(checkpoint, images)
    return _pca(checkpoint, resources.stamp(checkpoint) if checkpoint else 0, images)


def umap_key(checkpoint: str, images: str) -> str:
    """The name of the file of this model's UMAP."""
    from imu_core.embedding import UmapSettings, map_key
    from imu_core.networks import checkpoint_digest

    weights = checkpoint_digest(checkpoint) if checkpoint else "pixels"
    return map_key("umap", weights, resources.image_set(images).fingerprint, UmapSettings())


def _folder() -> Path:
    return resources.run_store().directory / "maps"


def _kept_umap(checkpoint: str, images: str) -> np.ndarray | None:
    from imu_core.embedding import stored_map

    key, n = umap_key(checkpoint, images), resources.image_set(images).n_train
    shipped = stored_map(SHIPPED, key, n=n)
    return shipped if shipped is not None else stored_map(_folder(), key, n=n)


def _offer_umap(checkpoint: str, images: str) -> None:
    asked = f"umap:{images}"
    if known.waits_for(st.session_state.get(asked)):
        st.caption("Until it is there, the map is the PCA.")
        return
    st.caption(
        "UMAP puts pictures that the model takes for similar close together. It takes seconds for "
        "a thousand pictures and minutes for 60,000, and is then kept on disk."
    )
    if st.button("Compute the UMAP", icon=":material/scatter_plot:", key="map:umap"):
        st.session_state[asked] = _submit_umap(checkpoint, images)
        st.rerun()


def _submit_umap(checkpoint: str, images: str) -> str:
    """Id of the job that makes the UMAP and puts it on disk."""
    values, folder = known.features(checkpoint, images), _folder()
    key = umap_key(checkpoint, images)

    def work(context: JobContext) -> str:
        from imu_core.embedding import store_map, umap_coordinates

        found = umap_coordinates(values, progress=context.progress, should_stop=context.should_stop)
        return str(store_map(folder, key, found))

    title = f"UMAP of {resources.image_set(images).title}"
    return resources.job_queue().submit(title, work, key=f"umap-{key}")
