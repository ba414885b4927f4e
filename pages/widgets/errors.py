"""How mistakes look on a page: one sentence, the details in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from imu_core.errors import ImuError

logger = logging.getLogger("imu.pages")


@contextmanager
def shown() -> Iterator[None]:
    """Inside, an `ImuError` ends the block and is drawn as its sentence.

    Other exceptions are faults of the program and go on to Streamlit's own handler.
    """
    try:
        yield
    except ImuError as error:
        show(error)


def show(error: ImuError) -> None:
    """The error's sentence where the page is being drawn, its trace in the log."""
    logger.info("Shown on the page: %s", error, exc_info=error)
    st.error(str(error), icon=":material/error:")
