"""Driving a page through its polling fragments."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamlit.testing.v1 import AppTest


def run_until(app: AppTest, condition: Callable[[AppTest], bool], most_s: float = 120) -> AppTest:
    """Runs the page again, as its polling fragments would, until the condition holds."""
    end = time.monotonic() + most_s
    while not condition(app):
        assert time.monotonic() < end, [element.value for element in app.main.markdown]
        assert not app.exception
        time.sleep(0.2)
        app.run()
    return app
