"""The buttons by which found pictures enter or leave the forget set."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from pages.widgets import session


def buttons(ids: Iterable[int], how: str, *, key: str) -> None:
    """Replace, Add, Remove and Keep only for these ids; `how` says in words what they are."""
    found = tuple(int(number) for number in ids)
    already = set(session.forget_ids())
    n_new, n_held = len(set(found) - already), len(set(found) & already)
    many = "picture" if len(found) == 1 else "pictures"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Forget these {len(found):,} {many}" if found else "Forget these pictures",
            type="primary",
            icon=":material/check:",
            key=f"{key}:replace",
            disabled=not found,
            help="The forget set becomes exactly these pictures.",
            on_click=replace,
            args=(found, how),
        )
        st.button(
            f"Add {n_new:,}" if n_new else "Add",
            icon=":material/add:",
            key=f"{key}:add",
            disabled=not n_new,
            help="Those of them that the forget set does not hold yet.",
            on_click=add,
            args=(found, how),
        )
        st.button(
            f"Remove {n_held:,}" if n_held else "Remove",
            icon=":material/remove:",
            key=f"{key}:remove",
            disabled=not n_held,
            help="Those of them that the forget set holds.",
            on_click=remove,
            args=(found, how),
        )
        st.button(
            f"Keep only {n_held:,}" if n_held else "Keep only",
            icon=":material/join_inner:",
            key=f"{key}:keep",
            disabled=not n_held or n_held == len(already),
            help="Those of the forget set that are among these pictures; the others leave it.",
            on_click=keep_only,
            args=(found, how),
        )


def replace(ids: tuple[int, ...], how: str) -> None:
    session.set_forget(ids, (how,))


def add(ids: tuple[int, ...], how: str) -> None:
    history = session.forget_history()
    step = f"+ {how}" if history else how
    session.set_forget({*session.forget_ids(), *ids}, (*history, step))


def remove(ids: tuple[int, ...], how: str) -> None:
    left = set(session.forget_ids()) - set(ids)
    session.set_forget(left, (*session.forget_history(), f"− {how}") if left else ())


def keep_only(ids: tuple[int, ...], how: str) -> None:
    left = set(session.forget_ids()) & set(ids)
    step = f"only those also in {how}"
    session.set_forget(left, (*session.forget_history(), step) if left else ())
