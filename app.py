"""The router of the studio: page config, navigation, the shared sidebar. No logic."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.widgets import routes, server, session, sidebar


def draw() -> None:
    """Draws the page that the address names, in its frame."""
    st.set_page_config(
        page_title="Unlearning studio",
        page_icon=str(routes.ROOT / "assets" / "icon.svg"),
        layout="wide",
    )
    session.begin()

    page = st.navigation(
        [
            st.Page(
                routes.START,
                title="Start",
                icon=":material/home:",
                url_path="start",
                default=True,
                help="What this is, and a finished example to open.",
            ),
            st.Page(
                routes.FORGET,
                title="Forget",
                icon=":material/photo_library:",
                url_path="forget",
                help="Choose the pictures that the model is to forget.",
            ),
            st.Page(
                routes.OWN,
                title="Your own",
                icon=":material/upload_file:",
                url_path="own",
                help="Bring your own pictures, or a model that you trained elsewhere.",
            ),
            st.Page(
                routes.INSPECT,
                title="Inspect",
                icon=":material/troubleshoot:",
                url_path="inspect",
                help="Why pictures matter, and what will happen when they go.",
            ),
            st.Page(
                routes.UNLEARN,
                title="Unlearn",
                icon=":material/play_circle:",
                url_path="unlearn",
                help="Run an unlearning method on the forget set and watch it work.",
            ),
            st.Page(
                routes.COMPARE,
                title="Compare",
                icon=":material/compare:",
                url_path="compare",
                help="Before, after and retrained side by side.",
            ),
            st.Page(
                routes.RUNS,
                title="Runs",
                icon=":material/history:",
                url_path="runs",
                help="Earlier runs: open, compare or delete them.",
            ),
        ],
        position="top",
    )
    slot = st.sidebar.container()
    # The page has its title on screen before anything waits for the engine or for pictures.
    page.run()
    sidebar.draw(slot)


if get_script_run_ctx(suppress_warning=True) is None:
    # `streamlit run` reads this file once to find the server, and again for every visitor.
    app = st.App(__file__, lifespan=server.lifespan)
else:
    draw()
