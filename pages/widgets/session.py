"""All that one visitor has chosen: the one place that knows the session's keys.

Plain data only (texts, ints, tuples), so that it outlives a reload of modules and holds no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

DEFAULT_IMAGES = "digits"
LONGEST_UNDO = 100
PATHS = ("folder:", "npz:")
"""How the SPEC of an image set begins that names a place on this machine."""

_IMAGES, _MODELS, _BASKETS, _RUN = "chosen_images", "chosen_models", "baskets", "chosen_run"
_AWAITED, _OWN = "awaited_models", "own_pictures"
_EMPTY: dict[str, Any] = {
    "ids": (),
    "history": (),
    "undo": (),
    "redo": (),
    "protected": (),
}


def begin() -> None:
    """Sets up a new session, from the address where it names an image set."""
    if _IMAGES not in st.session_state:
        asked = st.query_params.get("images", "")
        # An address may come from anybody: it may name an image set, never a path on this machine.
        named = asked and not asked.startswith(PATHS)
        st.session_state[_IMAGES] = asked if named else DEFAULT_IMAGES
        st.session_state[_MODELS] = {}
        st.session_state[_BASKETS] = {}
        st.session_state[_RUN] = ""
        st.session_state[_AWAITED] = {}


def images() -> str:
    """Name of the chosen image set."""
    return st.session_state.get(_IMAGES, DEFAULT_IMAGES)


def choose_images(name: str) -> None:
    """Every image set keeps its own model, forget set and protected set."""
    st.session_state[_IMAGES] = name


def name_in_address(name: str) -> None:
    """Puts an image set into the address, but never a path on this machine: `begin` refuses it."""
    if name == DEFAULT_IMAGES or name.startswith(PATHS):
        st.query_params.pop("images", None)
    else:
        st.query_params["images"] = name


def own_pictures() -> dict[str, Any]:
    """What this visitor does with pictures of their own.

    `job` reads some, `shown` is the SPEC of those looked at, `specs` are all that were read,
    `turn` counts the uploads that were taken.
    """
    return {"job": "", "shown": "", "specs": (), "turn": 0} | st.session_state.get(_OWN, {})


def keep_own_pictures(**changes: Any) -> None:
    """Changes parts of `own_pictures`."""
    st.session_state[_OWN] = own_pictures() | changes


def checkpoint() -> str:
    """Path of the model chosen for the image set; empty where none was chosen."""
    return st.session_state.get(_MODELS, {}).get(images(), "")


def choose_checkpoint(path: str, name: str = "") -> None:
    """Takes this model for the image set `name` (the chosen one, when empty)."""
    st.session_state[_MODELS] = {**st.session_state[_MODELS], name or images(): path}


def await_model(job_id: str, name: str) -> None:
    """The model that this job trains is to be taken for the image set `name` once it is there."""
    st.session_state[_AWAITED] = {**st.session_state[_AWAITED], job_id: name}


def awaited_models() -> dict[str, str]:
    """Job id → image set of the models in training that this visitor asked for."""
    return st.session_state.get(_AWAITED, {})


def await_no_longer(job_id: str) -> None:
    st.session_state[_AWAITED] = {k: v for k, v in awaited_models().items() if k != job_id}


def run_id() -> str:
    """The run that the address names, else the one last looked at; empty where there is none."""
    return st.query_params.get("run") or st.session_state.get(_RUN, "")


def choose_run(run_id: str) -> None:
    st.session_state[_RUN] = run_id


def forget_ids() -> tuple[int, ...]:
    """The forget set: training ids, ascending."""
    return _basket()["ids"]


def forget_history() -> tuple[str, ...]:
    """How the forget set came about."""
    return _basket()["history"]


def set_forget(ids: Iterable[int], history: Iterable[str]) -> None:
    """A new forget set; the one before can be had back by `undo`."""
    basket = _basket()
    now = (basket["ids"], basket["history"])
    new = (tuple(sorted({int(i) for i in ids})), tuple(history))
    if new[0] == now[0]:
        return
    undo = (*basket["undo"], now)[-LONGEST_UNDO:]
    _keep({**basket, "ids": new[0], "history": new[1], "undo": undo, "redo": ()})


def clear_forget() -> None:
    set_forget((), ())


def can_undo() -> bool:
    return bool(_basket()["undo"])


def can_redo() -> bool:
    return bool(_basket()["redo"])


def undo() -> None:
    """Takes back the last change of the forget set."""
    _step_to("undo", "redo")


def redo() -> None:
    """Makes the change again that was taken back last."""
    _step_to("redo", "undo")


def protected_ids() -> tuple[int, ...]:
    """Retain pictures whose fate is to be watched: training ids, ascending."""
    return _basket()["protected"]


def set_protected(ids: Iterable[int]) -> None:
    _keep({**_basket(), "protected": tuple(sorted({int(i) for i in ids}))})


def _step_to(source: str, other: str) -> None:
    basket = _basket()
    if not basket[source]:
        return
    *rest, (ids, history) = basket[source]
    now = (basket["ids"], basket["history"])
    _keep(
        {
            **basket,
            "ids": ids,
            "history": history,
            source: tuple(rest),
            other: (*basket[other], now),
        }
    )


def _basket() -> dict[str, Any]:
    return st.session_state.get(_BASKETS, {}).get(images(), _EMPTY)


def _keep(basket: dict[str, Any]) -> None:
    st.session_state[_BASKETS] = {**st.session_state[_BASKETS], images(): basket}
