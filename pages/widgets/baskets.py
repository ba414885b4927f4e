"""What the gallery and the map change: the forget set, the protected set, the picture looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import forget_change, session
from pages.widgets.words import pictures

if TYPE_CHECKING:
    import numpy as np

    from pages.widgets.gallery import Pick

_BY_HAND = re.compile(r"([+−] |)([0-9]+) by hand")


def protected() -> tuple[int, ...]:
    """Ids to protect, ascending: those of the basket that are not to be forgotten."""
    forget = set(session.forget_ids())
    return tuple(number for number in session.protected_ids() if number not in forget)


def picked(pick: Pick) -> None:
    """Takes over what was clicked in a gallery."""
    if pick.basket == "protect":
        protect(pick.added)
        unprotect(pick.removed)
        return
    if len(pick.added):
        _by_hand("+ ", {*session.forget_ids(), *pick.added.tolist()}, len(pick.added))
    if len(pick.removed):
        _by_hand("− ", set(session.forget_ids()) - set(pick.removed.tolist()), len(pick.removed))


def _by_hand(sign: str, ids: set[int], count: int) -> None:
    """One step of the history for all clicks in a row, however many there are."""
    history = session.forget_history()
    last = _BY_HAND.fullmatch(history[-1]) if history else None
    sign = sign if history else ""
    if last and (last[1] == sign or (len(history) == 1 and sign == "+ " and not last[1])):
        sign, count, history = last[1], count + int(last[2]), history[:-1]
    session.set_forget(ids, (*history, f"{sign}{count} by hand") if ids else ())


def drawn(ids: np.ndarray, mode: str) -> None:
    """Takes over what was drawn on the map: it replaces, joins or leaves the forget set."""
    found, how = tuple(ids.tolist()), f"{pictures(len(ids))} drawn on the map"
    if mode == "add":
        forget_change.add(found, how)
    elif mode == "subtract":
        forget_change.remove(found, how)
    elif found:
        forget_change.replace(found, how)


def cleared() -> None:
    """Escape on the map: the forget set is empty, until it is had back by Undo."""
    if session.forget_ids():
        session.clear_forget()
        st.toast("The forget set is empty. Undo brings it back.", icon=":material/undo:")


def protect(ids: Iterable[int]) -> None:
    """Adds to the protected set; a picture that is to be forgotten cannot be protected."""
    wanted = {int(number) for number in ids}
    refused = wanted & set(session.forget_ids())
    session.set_protected({*session.protected_ids(), *(wanted - refused)})
    if refused:
        st.toast(
            f"{pictures(len(refused))} of the forget set cannot be protected as well.",
            icon=":material/info:",
        )


def unprotect(ids: Iterable[int]) -> None:
    session.set_protected(set(session.protected_ids()) - {int(number) for number in ids})


def clear_protected() -> None:
    session.set_protected(())


def looked_at() -> int | None:
    """The id of the picture that was opened last in a gallery or clicked on the map."""
    return st.session_state.get(f"looked-at:{session.images()}")


def look_at(number: int) -> None:
    st.session_state[f"looked-at:{session.images()}"] = int(number)


def look_from_map(number: int) -> None:
    """The picture was clicked on the map: the gallery is to turn to its page."""
    look_at(number)
    st.session_state["gallery:seek"] = int(number)


def asked_for() -> int | None:
    """The picture whose page the gallery is to turn to, once."""
    return st.session_state.pop("gallery:seek", None)


def notes() -> dict[int, str]:
    """Id → note of the pictures of the chosen image set that have one."""
    return dict(st.session_state.get(f"notes:{session.images()}", {}))


def set_note(number: int, text: str) -> None:
    kept = notes()
    kept.pop(number, None)
    if text.strip():
        kept[number] = text.strip()
    set_notes(kept)


def set_notes(kept: dict[int, str]) -> None:
    st.session_state[f"notes:{session.images()}"] = dict(sorted(kept.items()))
