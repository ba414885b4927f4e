"""Saving and loading the forget set: under a name on this server, or as a file."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import baskets, errors, forget_change, resources, session
from pages.widgets.words import pictures

if TYPE_CHECKING:
    from imu_core.forget_set import ForgetSet
    from imu_core.images import ImageSet
    from imu_core.saved_sets import SavedSet

WAYS = ("instead", "added", "taken away", "only what both have")


def draw(ids: tuple[int, ...]) -> None:
    """Draws named sets first, then files."""
    _save_by_name(ids)
    _saved()
    st.divider()
    _files(ids)


def chosen_set() -> ForgetSet:
    """The session's forget set as the engine knows it."""
    from imu_core.forget_set import ForgetSet

    images = resources.chosen_image_set()
    return ForgetSet(
        ids=session.forget_ids(),
        image_set=images.name,
        fingerprint=images.fingerprint,
        history=session.forget_history(),
    )


def _save_by_name(ids: tuple[int, ...]) -> None:
    from imu_core.saved_sets import LONGEST_NAME

    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Save under a name",
            key="saved:name",
            max_chars=LONGEST_NAME,
            placeholder="for example: blurred threes",
            width=260,
        )
        pressed = st.button(
            "Save", icon=":material/save:", key="saved:save", disabled=not ids or not name.strip()
        )
    if pressed:
        with errors.shown():
            _save(name)


def _save(name: str) -> None:
    from imu_core.saved_sets import SavedSet, save_set

    kept = save_set(
        resources.run_store().directory,
        resources.chosen_image_set(),
        SavedSet(name, chosen_set(), baskets.protected(), baskets.notes()),
    )
    st.toast(f"Saved “{kept.name}”: {pictures(len(kept.forget))}.", icon=":material/save:")


def _saved() -> None:
    from imu_core.saved_sets import saved_sets

    opened = resources.chosen_image_set()
    found = {one.name: one for one in saved_sets(resources.run_store().directory, opened)}
    if not found:
        st.caption("Saved sets appear here; they outlive a reload of the page.")
        return
    name = st.selectbox(
        f"Saved sets ({len(found)})",
        list(found),
        format_func=lambda one: f"{one} ({pictures(len(found[one].forget))})",
        key=f"saved:chosen:{opened.name}",
    )
    chosen = found[name]
    way = st.segmented_control(
        "Taken into the forget set", WAYS, default=WAYS[0], required=True, key="saved:way"
    )
    st.caption(_told(chosen))
    with st.container(horizontal=True):
        st.button(
            "Load",
            type="primary",
            icon=":material/folder_open:",
            key="saved:load",
            on_click=_take,
            args=(chosen, way or WAYS[0]),
        )
        st.button(
            "Delete",
            icon=":material/delete:",
            key="saved:delete",
            on_click=_delete,
            args=(chosen.name,),
        )


def _told(saved: SavedSet) -> str:
    parts = [f"How it came about: {'; '.join(saved.forget.history)}"]
    if saved.protected:
        parts.append(f"{pictures(len(saved.protected))} protected")
    if saved.notes:
        n_notes = len(saved.notes)
        parts.append(f"{n_notes} {'note' if n_notes == 1 else 'notes'}")
    return f"{'. '.join(parts)}. Saved {saved.saved[:16].replace('T', ' ')} UTC."


def _take(saved: SavedSet, way: str) -> None:
    how = f"“{saved.name}”"
    if way == "added":
        forget_change.add(saved.forget.ids, how)
    elif way == "taken away":
        forget_change.remove(saved.forget.ids, how)
    elif way == WAYS[3]:
        forget_change.keep_only(saved.forget.ids, how)
    else:
        session.set_forget(saved.forget.ids, saved.forget.history)
        session.set_protected(saved.protected)
    baskets.set_notes({**baskets.notes(), **saved.notes})


def _delete(name: str) -> None:
    from imu_core.errors import ImuError
    from imu_core.saved_sets import delete_set

    try:
        delete_set(resources.run_store().directory, resources.chosen_image_set(), name)
    except ImuError as error:
        st.toast(str(error), icon=":material/error:")


def _files(ids: tuple[int, ...]) -> None:
    # Taken now: the content is asked for later, outside this session.
    chosen, opened = chosen_set(), resources.chosen_image_set()
    with st.container(horizontal=True):
        for ending, mime in (("csv", "text/csv"), ("json", "application/json")):
            st.download_button(
                f"Save as {ending.upper()}",
                partial(_as_file, chosen, opened, ending) if ids else "",
                file_name=f"forget-set-{session.images().replace(':', '-')}.{ending}",
                mime=mime,
                icon=":material/download:",
                disabled=not ids,
                on_click="ignore",
                key=f"forget-set:{ending}",
            )
    uploaded = st.file_uploader(
        "Load a saved file", type=["csv", "json"], key="forget-set:upload", max_upload_size=16
    )
    if uploaded is not None and st.session_state.get("forget-set:loaded") != uploaded.file_id:
        with errors.shown():
            _load(uploaded.name, uploaded.getvalue())
            st.session_state["forget-set:loaded"] = uploaded.file_id
            st.rerun()


def _as_file(chosen: ForgetSet, opened: ImageSet, ending: str) -> str:
    return chosen.to_csv(opened) if ending == "csv" else json.dumps(chosen.to_dict(), indent=1)


def _load(name: str, content: bytes) -> None:
    """Takes an uploaded set; one of other pictures, or a broken file, is refused."""
    from imu_core.errors import BadInput
    from imu_core.forget_set import read_forget_set

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"“{name}” cannot be read as text; give a .csv or .json file.") from None
    loaded = read_forget_set(text, name, resources.chosen_image_set())
    session.set_forget(loaded.ids, loaded.history or (f"loaded from {name}",))
