"""Every page opens, cold and by its address; mistakes are one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from pages.widgets import routes

Open = Callable[..., AppTest]
TITLES = {
    routes.START: "Make a trained model forget",
    routes.FORGET: "Choose what to forget",
    routes.OWN: "Your own",
    routes.INSPECT: "Inspect",
    routes.UNLEARN: "Unlearn",
    routes.COMPARE: "Compare",
    routes.RUNS: "Earlier runs",
}
PAGES = tuple(TITLES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_with_a_title_and_the_sidebar(studio: Open, page: str) -> None:
    app = studio(page)
    assert not app.exception
    assert [title.value for title in app.title] == [TITLES[page]]
    assert not app.error
    assert app.sidebar.selectbox[0].value == "digits"
    assert any("Forget set" in text.value for text in app.sidebar.markdown)


@pytest.mark.parametrize("page", PAGES)
def test_the_title_does_not_wait_for_the_engine(page: str) -> None:
    """When the title is drawn, none of the slow packages is imported."""
    program = f"""
import sys
import streamlit as st
from streamlit.testing.v1 import AppTest

slow = {{"torch", "umap", "captum", "sklearn", "scipy", "pandas", "altair", "plotly"}}
before = set(sys.modules)
seen = []
title = st.title

def watched(*args, **kwargs):
    seen.append([args[0], *sorted((slow & set(sys.modules)) - before)])
    return title(*args, **kwargs)

st.title = watched
app = AppTest.from_file("app.py", default_timeout=120).switch_page({page!r})
app.run()
assert not app.exception, app.exception
print(seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=routes.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str([[TITLES[page]]])


def test_every_page_is_in_the_navigation(studio: Open) -> None:
    source = (routes.ROOT / "app.py").read_text()
    scripts = [
        path
        for folder in ("start", "forget", "own", "inspect", "unlearn", "compare")
        for path in (routes.ROOT / "pages" / folder).glob("*.py")
        if "st.title(" in path.read_text()
    ]
    assert {str(path.relative_to(routes.ROOT)) for path in scripts} == set(PAGES)
    assert source.count("url_path=") == len(PAGES)


@pytest.mark.parametrize("page", [routes.UNLEARN, routes.COMPARE])
@pytest.mark.parametrize("run_id", ["no-such-run", "../models", "..", "/etc", "a\x00b"])
def test_an_unknown_run_in_the_address_is_one_sentence(
    studio: Open, page: str, run_id: str
) -> None:
    app = studio(page, run=run_id)
    assert not app.exception
    assert len(app.error) == 1
    assert "There is no run" in app.error[0].value


def test_a_mistaken_run_is_not_remembered(studio: Open) -> None:
    app = studio(routes.UNLEARN, run="no-such-run")
    del app.query_params["run"]
    app.switch_page(routes.RUNS).run()
    app.switch_page(routes.UNLEARN).run()
    assert not app.error


def test_an_unknown_image_set_in_the_address_offers_the_digits(studio: Open) -> None:
    app = studio(routes.FORGET, images="digit")
    assert not app.exception
    assert all("Did you mean digits?" in error.value for error in app.error)
    assert len(app.error) == 2
    app.sidebar.button(key="sidebar:digits").click().run()
    assert not app.error
    assert app.sidebar.selectbox[0].value == "digits"


@pytest.mark.parametrize("spec", ["folder:/etc", "npz:/etc/passwd"])
def test_an_address_cannot_name_files_of_the_server(studio: Open, spec: str) -> None:
    app = studio(routes.FORGET, images=spec)
    assert not app.exception
    assert app.sidebar.selectbox[0].value == "digits"


def test_images_that_are_not_here_are_offered_for_download(studio: Open) -> None:
    app = studio(routes.FORGET, images="svhn")
    assert not app.exception
    assert any("Download" in button.label for button in app.sidebar.button)
    assert [choice.label for choice in app.sidebar.selectbox] == ["Images"]


def test_unlearning_an_empty_set_leads_to_the_choice(studio: Open) -> None:
    app = studio(routes.UNLEARN)
    assert "empty" in app.info[0].value
    app.button(key="setup:choose").click().run()
    assert app.title[0].value == "Choose what to forget"


def test_no_runs_yet_leads_to_the_choice(studio: Open) -> None:
    app = studio(routes.RUNS)
    assert "No run" in app.info[0].value
    assert any(button.label == "Choose pictures" for button in app.main.button)
