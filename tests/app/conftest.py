"""The studio driven without a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    # `streamlit run` puts the folder of app.py there.
    sys.path.insert(0, str(ROOT))

TIMEOUT_S = 120


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs, empty and of this test alone."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("IMU_RUNS", str(folder))
    return folder


@pytest.fixture
def studio() -> Callable[..., AppTest]:
    """A function that opens a page in a new session, as an address would."""

    def open_page(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT_S)
        if "images" in query:
            # A new session looks at this once.
            app.query_params["images"] = query["images"]
            app.run()
        app.switch_page(page).run()
        if "run" in query:
            # A change of page clears the address here, as following a link does in a browser.
            app.query_params["run"] = query["run"]
            app.run()
        return app

    return open_page
