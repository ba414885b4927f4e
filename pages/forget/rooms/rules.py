"""Rules that propose pictures to forget, each with why one would choose it."""

from __future__ import annotations

import streamlit as st

from pages.widgets import (
    explain,
    forget_change,
    known,
    picture_gallery,
    proposals,
    resources,
    rule_fields,
    session,
)
from pages.widgets.words import percent, pictures, sentence

N_SHOWN = 500


def draw() -> None:
    """Draws the choice of a rule, its sentence and fields, and what it proposes."""
    from imu_core.forget_rules import forget_rules

    images = session.images()
    rules = {rule.name: rule for rule in forget_rules() if rule.name not in rule_fields.LEFT_OUT}
    order = [*(name for name in rule_fields.TITLES if name in rules)]
    order += [name for name in rules if name not in order]
    name = st.pills(
        "Rule",
        order,
        default=order[0],
        required=True,
        format_func=lambda one: rule_fields.TITLES.get(one, one),
        key="rule",
        persist_state="session",
        label_visibility="collapsed",
    )
    rule = rules[name if name in rules else order[0]]
    st.markdown(f"**{rule_fields.TITLES.get(rule.name, rule.name)}.** {rule.sentence}")
    checkpoint = known.model_for(images)
    if rule.needs_outputs and not checkpoint:
        st.info(
            "This rule needs a model: train one for these pictures in the sidebar.",
            icon=":material/model_training:",
        )
        return
    argument = rule_fields.argument(rule.name, rule.argument)
    seed = _seed() if rule.name in ("random", "mislabelled") else 0
    if argument:
        _proposed(images, checkpoint, rule.name, argument, seed)
    if rule.name in HOW:
        text, reference = HOW[rule.name]
        explain.how(text, reference=reference, key=f"rule:{rule.name}:how")


def _seed() -> int:
    return int(st.number_input("Seed", min_value=0, value=0, key="rule:seed", width=150))


def _proposed(images: str, checkpoint: str, rule: str, argument: str, seed: int) -> None:
    import numpy as np

    found = proposals.propose(images, checkpoint, rule, argument, seed)
    if found is None:
        return
    if not found.ids:
        st.info("This rule finds no picture; ask for more, or for less alike ones.")
        return
    forget_change.buttons(found.ids, found.how, key="rules")
    # The order of the proposal is that of the rule: the most fitting first.
    shown = np.array(found.ids[:N_SHOWN], np.int64)
    columns = known.columns(checkpoint, images)
    picture_gallery.draw(
        shown, columns, key="proposal", name="Proposed pictures", size=40, height=330
    )
    n = resources.image_set(images).n_train
    which = "All of them" if len(shown) == len(found.ids) else f"The first {len(shown):,}"
    st.caption(
        f"{sentence(found.how)}: {pictures(len(found.ids))}, {percent(len(found.ids) / n)} of the "
        f"training set. {which} shown; a click chooses one by one."
    )


HOW = {
    "imu": (
        "IMU's influence of a picture on the forgetting of its whole class, in closed form at the "
        "classifier head. A negative score means that the picture's gradient agrees with that of "
        "its class.",
        "arXiv 2508.01620.",
    ),
    "influential": (
        "gᵀ H⁻¹ g / n with the gradient g of the picture's own loss and the Hessian H of the "
        "classifier head, features frozen. The head is read off the outputs by least squares.",
        "Koh and Liang 2017, arXiv 1703.04730.",
    ),
    "mislabelled": (
        "Five heads (logistic regression on the cached features) are each fitted to four fifths of "
        "the pictures and asked about the last fifth. Ranked by how much more probable another "
        "class is than the label. The features themselves come from a model that has seen all "
        "labels, so labels it has learnt by heart stay hidden.",
        "Northcutt, Jiang and Chuang 2021, Confident learning (arXiv 1911.00068).",
    ),
    **dict.fromkeys(
        ("worst", "easiest"),
        (
            "A search on two levels: below, the head is fitted to the cached features without the "
            "chosen pictures; above, the choice moves to those whose loss stays lowest (highest) "
            "although they are left out. Twenty rounds. The paper unlearns the whole network in "
            "each round; here the features stay as they are, so that it takes seconds. Take the "
            "set as hard for the head, and as likely, not surely, hard for the network.",
            "Fan et al. 2024, Challenging Forgets (arXiv 2403.07362).",
        ),
    ),
    "component": (
        "Principal components of the features of all training pictures, the first along their "
        "largest variance. Its ends are the pictures that lie furthest along it.",
        "",
    ),
}
