"""The fields of each rule: what is asked for on the page, as the rule's argument."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.widgets import baskets, resources, session, thumbnails

TITLES = {
    "class": "A class",
    "random": "At random",
    "hardest": "Highest loss",
    "confident": "Most confident",
    "imu": "Most influential",
    "influential": "Known by heart",
    "mislabelled": "Likely mislabelled",
    "twins": "Near-duplicates",
    "alike": "More like these",
    "neighbours": "Neighbours of a test picture",
    "component": "Extremes of a component",
    "worst": "Hardest to unlearn",
    "easiest": "Easiest to unlearn",
    "ids": "By id",
}
# A visitor's text must not open files of the server.
LEFT_OUT = {"file"}
MOST_PICKED = 1000
SOURCES = ("the forget set", "the picture looked at")


def argument(rule: str, example: str) -> str:
    """Draws the rule's fields; the argument they make, empty while something is missing."""
    images = session.images()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        return _FIELDS.get(rule, lambda name, _: _text(name, example))(rule, images)


def _text(rule: str, example: str) -> str:
    return st.text_input(
        "Argument", placeholder=example, key=f"rule:{rule}:text", persist_state="session", width=300
    ).strip()


def _class(rule: str, images: str) -> str:
    names = resources.image_set(images).class_names
    chosen = st.multiselect(
        "Classes",
        range(len(names)),
        format_func=lambda label: names[label],
        key=f"rule:class:{images}",
        persist_state="session",
        width=300,
    )
    return ",".join(str(label) for label in chosen)


def _count(rule: str, images: str, *, most: int | None = None, usual: int = 50) -> str:
    n = most if most is not None else resources.image_set(images).n_train
    return str(
        st.number_input(
            "How many",
            min_value=1,
            max_value=max(1, n),
            value=min(usual, max(1, n)),
            key=f"rule:{rule}:count:{images}",
            persist_state="session",
            width=150,
        )
    )


def _searched_count(rule: str, images: str) -> str:
    n = resources.image_set(images).n_train
    return _count(rule, images, most=n - 1, usual=n // 10)


def _picked(rule: str) -> list[int]:
    """Draws whose likes are sought; those pictures."""
    source = st.segmented_control(
        "Of", SOURCES, default=SOURCES[0], required=True, key=f"rule:{rule}:of"
    )
    if source == SOURCES[0]:
        ids = list(session.forget_ids())
        if len(ids) > MOST_PICKED:
            st.caption(f"The forget set holds more than {MOST_PICKED:,} pictures; pick fewer.")
            return []
        if not ids:
            st.caption("The forget set is empty: pick pictures first.")
        return ids
    picture = baskets.looked_at()
    if picture is None:
        st.caption("Double-click a picture in the gallery, or click a point on the map, first.")
        return []
    st.image(
        thumbnails.sheet(session.images(), (picture,), columns=1, side=40),
        alt=f"Training picture {picture}",
    )
    return [picture]


def _twins(rule: str, images: str) -> str:
    from imu_core.near_duplicates import FEATURE_DISTANCE

    ids = _picked(rule)
    distance = st.slider(
        "Distance of features, at most",
        0.0,
        0.3,
        FEATURE_DISTANCE,
        step=0.01,
        key="rule:twins:distance",
        persist_state="session",
        width=220,
        help="0: the same to the model. The pixels must be nearly the same as well.",
    )
    return f"{','.join(map(str, ids))}:{distance:.2f}" if ids else ""


def _alike(rule: str, images: str) -> str:
    ids = _picked(rule)
    most = max(2, min(1000, resources.image_set(images).n_train - len(ids)))
    count = st.slider(
        "How many more",
        1,
        most,
        min(50, most),
        key=f"rule:alike:count:{images}:{most}",
        persist_state="session",
        width=260,
    )
    return f"{','.join(map(str, ids))}:{count}" if ids else ""


def _neighbours(rule: str, images: str) -> str:
    opened = resources.image_set(images)
    number = st.number_input(
        "Test picture",
        min_value=0,
        max_value=opened.n_test - 1,
        value=0,
        key=f"rule:neighbours:{images}",
        persist_state="session",
        width=150,
    )
    number = min(max(int(number), 0), opened.n_test - 1)
    pixels = opened.test_images[number].permute(1, 2, 0).numpy()
    st.image(
        pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3],
        width=44,
        alt=f"Test picture {number}",
    )
    st.caption(f"labelled {opened.class_names[int(opened.test_labels[number])]}")
    return f"{number}:{_count(rule, images)}"


def _component(rule: str, images: str) -> str:
    number = st.number_input(
        "Component",
        min_value=1,
        max_value=50,
        key="rule:component",
        persist_state="session",
        width=130,
    )
    end = st.segmented_control(
        "End", ["high", "low"], default="high", required=True, key="rule:component:end"
    )
    return f"{'-' if end == 'low' else ''}{number}:{_count(rule, images)}"


_FIELDS: dict[str, Callable[[str, str], str]] = {
    "class": _class,
    **dict.fromkeys(
        ("random", "hardest", "confident", "imu", "influential", "mislabelled"), _count
    ),
    "worst": _searched_count,
    "easiest": _searched_count,
    "twins": _twins,
    "alike": _alike,
    "neighbours": _neighbours,
    "component": _component,
}
