"""What to run: method, parameters, stop rule, seed, references; and Start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from imu_core.display import seconds
from pages.widgets import (
    baskets,
    errors,
    explain,
    forget_words,
    method_form,
    resources,
    routes,
    session,
)

if TYPE_CHECKING:
    from imu_core.methods.registry import Method
    from imu_core.runs import Run, RunSpec

FIRST_METHOD = "imu"
MOST_REFERENCES = 5
RULES = {
    "own": "the method's own steps are done",
    "forget": "forget accuracy is low enough",
    "heldout": "forget accuracy is down to that of unseen pictures",
}
SCOPES = {
    "head": "the classifier head",
    "last layers": "the last layers, as many as its parameter “k” says",
    "all": "all weights",
    "head or all": "the classifier head or all weights, as its parameter “scope” says",
    "none": "no weights",
}
NEEDS = {
    "forget": "the forget pictures",
    "retain": "the retain pictures",
    "heldout": "held-out pictures",
    "fisher": "the Fisher information of all training pictures",
}


def draw() -> None:
    """Draws the setup for the chosen images, model and forget set."""
    images, ids = session.images(), session.forget_ids()
    checkpoint = resources.chosen_checkpoint()
    if not checkpoint:
        st.info(
            "There is no model for these pictures yet. Train one in the sidebar; it takes seconds "
            "for the small sets.",
            icon=":material/model_training:",
        )
        return
    obstacle = forget_words.obstacle(images, ids)
    if obstacle:
        st.info(obstacle, icon=":material/photo_library:")
        if st.button("Choose pictures", type="primary", key="setup:choose"):
            routes.to_forget()
        return
    st.markdown(
        f"Forget **{len(ids):,}** of {resources.image_set(images).n_train:,} pictures: "
        f"{forget_words.class_summary(images, ids)}."
    )
    method = _method()
    rule = _stop_rule(images, ids, "retain" in method.needs)
    with st.form("run", border=False):
        seed, n_references = _seed_and_references()
        # Start stands above the folded parameters, which it reads.
        button = st.container()
        values = method_form.draw(method)
        if button.form_submit_button("Start", type="primary", icon=":material/play_arrow:"):
            with errors.shown():
                start(method, values, stop=rule, seed=seed, n_references=n_references)
    _cost(method, images)


def start(
    method: Method, values: dict[str, Any], *, stop: str, seed: int, n_references: int
) -> None:
    """Puts the run into the queue and shows it. Everything the browser sent is checked again."""
    from imu_core.errors import BadInput
    from imu_core.runs import RunSpec

    images, ids = session.images(), session.forget_ids()
    obstacle = forget_words.obstacle(images, ids)
    if obstacle:
        raise BadInput(obstacle)
    if not 0 <= n_references <= MOST_REFERENCES:
        raise BadInput(f"Choose from 0 to {MOST_REFERENCES} retrained references.")
    submit(
        RunSpec(
            image_set=images,
            checkpoint=resources.chosen_checkpoint(),
            forget_ids=ids,
            forget_history=session.forget_history(),
            method=method.name,
            parameters=method.config.from_mapping(values).to_dict(),
            seed=seed,
            stop=stop,
            retrain=n_references,
            protected_ids=baskets.protected(),
        )
    )


def submit(spec: RunSpec) -> None:
    """Queues a run and turns the page to it."""
    from imu_core.runs import submit_run

    run_id = submit_run(resources.job_queue(), spec, resources.run_store())
    session.choose_run(run_id)
    st.query_params["run"] = run_id
    st.rerun()


def _method() -> Method:
    """Draws the choice of the method, and what it is."""
    from imu_core.methods.registry import all_methods

    known = {method.name: method for method in all_methods()}
    names = sorted(known, key=lambda name: (name != FIRST_METHOD, known[name].title.lower()))
    name = st.selectbox(
        "Method",
        names,
        format_func=lambda name: known[name].title,
        key="method",
        persist_state="session",
    )
    method = known.get(name, known[FIRST_METHOD])
    st.markdown(method.summary)
    needs = " and ".join(NEEDS[need] for need in method.needs)
    explain.how(
        f"It is given {needs}; it moves {SCOPES[method.scope]}.",
        formula=method.formula,
        reference=method.paper,
        key=f"setup:how:{method.name}",
    )
    return method


def _stop_rule(images: str, ids: tuple[int, ...], repairs: bool) -> str:
    """Draws the stop rule; its text as `parse_stop` reads it.

    A method that sees retain pictures repairs what it breaks and goes to its own end; the others
    only lose from the depth on that is enough.
    """
    whole = bool(forget_words.whole_classes(images, ids))
    kinds = ["forget", "own"] if whole else ["heldout", "forget", "own"]
    if repairs:
        kinds = ["own", *kinds[:-1]]
    kind = st.selectbox(
        "Stop when",
        kinds,
        format_func=RULES.__getitem__,
        key=f"stop:{whole}:{repairs}",
        persist_state="session",
        help="Asked after every step. Down to what the original reaches on held-out "
        "pictures of the same classes is about where a retrained model stands; it is not offered "
        "for whole classes, where a retrained model has none right.",
    )
    if kind == "heldout":
        return "forget<=heldout"
    if kind == "own":
        return ""
    target = st.number_input(
        "Forget accuracy at or below, per cent",
        min_value=0.0,
        max_value=100.0,
        value=1.0,
        step=1.0,
        format="%g",
        key="stop:target",
        persist_state="session",
    )
    return f"forget<={target / 100:.6f}".rstrip("0").rstrip(".")


def _seed_and_references() -> tuple[int, int]:
    seed = st.number_input("Seed", min_value=0, value=0, key="run:seed", persist_state="session")
    if not resources.header(resources.chosen_checkpoint()).recipe:
        st.caption(
            "This model was trained elsewhere: without its recipe none can be retrained to compare "
            "with."
        )
        return int(seed), 0
    n_references = st.number_input(
        "Retrained models",
        min_value=0,
        max_value=MOST_REFERENCES,
        value=2,
        key="run:references",
        persist_state="session",
        help="Models trained anew without the forget set, to compare with. Two or more also show "
        "how far such models differ among themselves.",
    )
    return int(seed), int(n_references)


def _cost(method: Method, images: str) -> None:
    """What earlier runs like this one took."""
    took = [
        run.record["seconds"]["method"]
        for run in _earlier(method.name, images)
        if run.has_metrics()
    ]
    if took:
        low, high = seconds(min(took)), seconds(max(took))
        between = low if low == high else f"{low} to {high}"
        st.caption(f"{method.title} took {between} in the last {len(took)} runs on these images.")


def _earlier(method: str, images: str, most: int = 10) -> list[Run]:
    def alike(record: dict[str, Any]) -> bool:
        return (record["method"]["name"], record["image_set"]["name"]) == (method, images)

    return [run for run in resources.run_store().runs()[:50] if alike(run.record)][:most]
