"""A small app with the two picking widgets on real pictures, for tests and measurements.

The image set comes from the environment variable IMU_PICKING_IMAGES (digits when it is absent).
"""

from __future__ import annotations

import os
import time

import numpy as np
import streamlit as st

from imu_core.embedding import pca_coordinates
from imu_core.images import open_image_set
from imu_core.picking import combine, page_of
from imu_core.thumbnails import picture_sheet
from pages.widgets.gallery import Pick, gallery
from pages.widgets.map import MapEvents, Scores, picture_map


@st.cache_resource
def pictures():
    return open_image_set(os.environ.get("IMU_PICKING_IMAGES", "digits"))


@st.cache_resource
def coordinates() -> np.ndarray:
    images = pictures().train_images
    return pca_coordinates(images.flatten(1).numpy() / np.float32(255))


@st.cache_resource
def brightness_of_all() -> np.ndarray:
    return pictures().train_images.flatten(1).float().mean(1).numpy() / 255


@st.cache_resource(max_entries=8)
def page_sheet(ids: tuple[int, ...]):
    return picture_sheet(pictures().train_images[list(ids)])


def now(event: str) -> None:
    st.session_state.heard = [*st.session_state.get("heard", []), event][-6:]


def states() -> tuple[np.ndarray, ...]:
    """The forget sets so far, the present one last."""
    return st.session_state.get("states", (np.zeros(0, np.int64),))


def keep(ids: np.ndarray, mode: str) -> None:
    new = combine(states()[-1], ids, mode)
    if not np.array_equal(new, states()[-1]):
        st.session_state.states = (*states(), new)


def picked(pick: Pick) -> None:
    now(f"{pick.basket} +{pick.added.tolist()} -{pick.removed.tolist()}")
    if pick.basket == "forget":
        keep(pick.added, "add")
        keep(pick.removed, "subtract")
    else:
        before = st.session_state.get("protect", np.zeros(0, np.int64))
        added = combine(before, pick.added, "add")
        st.session_state.protect = combine(added, pick.removed, "subtract")


def selected(ids: np.ndarray, mode: str) -> None:
    now(f"map {mode} {len(ids)}")
    keep(ids, mode)


def cleared() -> None:
    now("map clear")
    keep(np.zeros(0, np.int64), "replace")


def shown(picture: int) -> None:
    now(f"shown {picture}")
    st.session_state.shown = picture


def undo() -> None:
    st.session_state.states = states()[:-1] or states()


st.set_page_config(layout="wide")
images = pictures()
forget = states()[-1]
protect = st.session_state.get("protect", np.zeros(0, np.int64))
st.write(f"forget {len(forget)}: {forget[:12].tolist()} sum {int(forget.sum())}")
st.write(f"protect {len(protect)}: {protect[:12].tolist()}")
st.write("heard: " + " | ".join(st.session_state.get("heard", [])))
top = st.columns([1, 1, 1, 1, 1, 1])
top[0].button("Undo", on_click=undo)
number = top[1].number_input("Page", 1, value=1)
size = top[2].slider("Size", 24, 128, 56)
per_page = top[3].selectbox("Tiles", [200, 1000], bind="query-params", key="tiles")
basket = top[4].segmented_control("Basket", ["forget", "protect"], default="forget", required=True)
colour = top[5].selectbox("Colour", ["class", "brightness", "signed"])
if st.query_params.get("slow"):
    time.sleep(float(st.query_params["slow"]))

ids = page_of(np.arange(images.n_train), int(number), per_page)
labels = images.train_labels.numpy()
predictions = np.where(np.arange(images.n_train) % 9 == 4, (labels + 1) % images.n_classes, labels)
brightness = brightness_of_all()
left, right = st.columns(2)
with left:
    gallery(
        ids,
        page_sheet(tuple(ids.tolist())),
        key="gallery",
        class_names=images.class_names,
        labels=labels[ids],
        predictions=predictions[ids],
        numbers={"brightness": brightness[ids]},
        selected=forget,
        protected=protect,
        basket=basket,
        tile_size=size,
        highlight=st.session_state.get("shown"),
        on_pick=picked,
        on_open=shown,
    )
scores = {
    "class": None,
    "brightness": Scores(brightness, "brightness"),
    "signed": Scores(brightness - brightness.mean(), "brighter than the mean", signed=True),
}
with right:
    picture_map(
        coordinates(),
        key="map",
        groups=labels,
        group_names=images.class_names,
        scores=scores[colour],
        selected=forget,
        protected=protect,
        highlight=st.session_state.get("shown"),
        sheet_of=lambda some: picture_sheet(images.train_images[some]),
        send_all_up_to=int(st.query_params.get("send_all_up_to", 2000)),
        events=MapEvents(on_select=selected, on_clear=cleared, on_pin=shown),
    )
