"""What happens once when the server starts, before anybody visits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streamlit.runtime.pages_manager import PagesManager

from pages.widgets import warm_up


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    """Makes the first visit like any other."""
    # Streamlit takes a folder called “pages” for its older kind of app until `st.navigation` has
    # run once: whoever first opens the address of a page would be told that it does not exist.
    PagesManager.uses_pages_directory = False
    warm_up.start()
    yield {}
