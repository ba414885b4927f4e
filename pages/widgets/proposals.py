"""What a rule proposes: quick rules while the page waits, slow ones as a job."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import known, resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from imu_core.forget_rules import Proposal
    from imu_core.runs import JobContext

# These fit heads or factorise a curvature: seconds for thousands of pictures.
SLOW = {"influential", "mislabelled", "worst", "easiest"}


def propose(images: str, checkpoint: str, rule: str, argument: str, seed: int) -> Proposal | None:
    """The rule's proposal; None while it is not there, with its button or its job drawn.

    A mistaken argument is a `BadInput`.
    """
    if rule not in SLOW:
        return _quick(images, checkpoint, resources.stamp(checkpoint), rule, argument, seed)
    text = f"{images}|{checkpoint}|{resources.stamp(checkpoint)}|{rule}|{argument}|{seed}"
    key = f"rule-{sha256(text.encode()).hexdigest()[:24]}"
    status = resources.job_queue().status(st.session_state.get(key, ""))
    if status is not None and status.state == "done":
        return status.result
    if known.waits_for(st.session_state.get(key)):
        return None
    if st.button("Propose", type="primary", icon=":material/search:", key=f"{key}:go"):
        st.session_state[key] = _submit(images, checkpoint, rule, argument, seed, key)
        st.rerun()
    return None


@st.cache_resource(max_entries=64, show_spinner=False)
def _quick(
    images: str, checkpoint: str, stamp: int, rule: str, argument: str, seed: int
) -> Proposal:
    return _work(images, checkpoint, rule, argument, seed)(None)


def _work(
    images: str, checkpoint: str, rule: str, argument: str, seed: int
) -> Callable[[JobContext | None], Proposal]:
    """A function that applies the rule; it touches nothing of Streamlit."""
    from imu_core.forget_rules import RuleContext, forget_rules

    opened = resources.image_set(images)
    outputs = resources.outputs(checkpoint, images) if checkpoint else None
    chosen = next(one for one in forget_rules() if one.name == rule)

    def work(job: JobContext | None) -> Proposal:
        def report(done: int, of: int, text: str) -> None:
            if job is not None:
                job.check()
                job.progress(done, of, text)

        given = None if outputs is None else lambda: outputs
        return chosen.propose(RuleContext(opened, seed, given, report), argument)

    return work


def _submit(images: str, checkpoint: str, rule: str, argument: str, seed: int, key: str) -> str:
    title = f"Rule “{rule}” on {resources.image_set(images).title}"
    work = _work(images, checkpoint, rule, argument, seed)
    return resources.job_queue().submit(title, work, key=key)
