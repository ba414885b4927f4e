"""Where the pages are, for the router and for the buttons that lead from one to another."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]

START = "pages/start/start.py"
FORGET = "pages/forget/forget.py"
OWN = "pages/own/own.py"
INSPECT = "pages/inspect/inspect.py"
UNLEARN = "pages/unlearn/unlearn.py"
RUNS = "pages/unlearn/runs.py"
COMPARE = "pages/compare/compare.py"


def to_forget() -> NoReturn:
    st.switch_page(FORGET, query_params=_shared())


def to_unlearn(run_id: str = "") -> NoReturn:
    """The live page; with a run, that run on it."""
    st.switch_page(UNLEARN, query_params=_shared(run_id))


def to_runs() -> NoReturn:
    st.switch_page(RUNS, query_params=_shared())


def to_compare(run_id: str) -> NoReturn:
    st.switch_page(COMPARE, query_params=_shared(run_id))


def _shared(run_id: str = "") -> dict[str, str]:
    """What the address keeps from page to page."""
    kept = {"images": st.query_params["images"]} if "images" in st.query_params else {}
    return kept | ({"run": run_id} if run_id else {})
