"""Membership inference: can an attacker tell that the forget pictures were trained on?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from imu_core.evaluation.membership import Membership, matched_rows, phi
from imu_core.evaluation.outputs import Outputs
from pages.widgets import compare_figures, explain
from pages.widgets.comparison import Comparison


def draw(comparison: Comparison) -> None:
    attacks = comparison.memberships
    st.plotly_chart(
        compare_figures.roc_figure(attacks),
        key="membership-roc",
        alt="ROC of the membership attack on every model, logarithmic axes",
    )
    st.markdown(_sentence(attacks))
    st.table(
        [_row(name, attack) for name, attack in attacks.items()],
        alt="Area under the curve and found share of every model",
    )
    st.plotly_chart(
        compare_figures.phi_figure(
            {name: _statistics(comparison, one) for name, one in comparison.models.items()}
        ),
        key="membership-phi",
        alt="The attack's statistic on forget and held-out pictures for every model",
    )
    st.markdown(
        "Upwards the forget pictures, downwards held-out pictures of the same classes. Where the "
        "two halves mirror each other, the attack learns nothing; forget pictures further left "
        "than held-out ones give themselves away by being too wrong."
    )
    explain.how(
        "The attacker sees logits and labels of one model. The statistic is the logit margin of "
        "the true class; a threshold on it says member or not. Forget pictures and held-out ones "
        "are equally many and of the same class mix. This is the weakest attack in use: one "
        "that trains shadow models finds more. At 1 % false alarms the share is given only with "
        "at least 100 held-out pictures.",
        formula=r"\varphi = z_y - \log\sum_{j\neq y} e^{z_j}",
        reference="Carlini et al., arXiv 2112.03570; Hayes et al., arXiv 2403.01218",
        key="membership:how",
    )


def _row(name: str, attack: Membership) -> dict[str, str]:
    auc, found = attack.auc, attack.tpr_at_1
    return {
        "Model": name,
        "Area under the curve": f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
        if auc.value is not None
        else auc.why,
        "Found at 1 % false alarms": f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
        if found.value is not None
        else found.why,
        "n": f"{attack.n:,} + {attack.n:,}",
    }


def _sentence(attacks: dict[str, Membership]) -> str:
    mine = attacks["Unlearned"]
    if mine.auc.value is None:
        return f"Nothing can be said about membership here: {mine.auc.why}."
    value = f"{mine.auc.value:.2f} [{mine.auc.low:.2f}, {mine.auc.high:.2f}], n = {mine.n:,} a side"
    retrained = [a.auc.value for n, a in attacks.items() if n.startswith("Retrained")]
    known = [value for value in retrained if value is not None]
    against = (
        f" Retrained models: {min(known):.2f} to {max(known):.2f}, the floor."
        if len(known) > 1
        else ""
    )
    if mine.over_forgotten:
        verdict = (
            "below chance. That is no success: the forget pictures stand out by being called wrong "
            "more surely than pictures the model never saw, and so can be told apart"
        )
    elif mine.remembered:
        verdict = "above chance: the pictures can still be told from ones the model never saw"
    else:
        verdict = "not to be told from chance with this many pictures"
    return f"On the unlearned model the attack reaches {value}: {verdict}.{against}"


def _statistics(comparison: Comparison, outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """φ of the forget pictures and of as many held-out ones of the same classes."""
    images = comparison.images
    labels, test_labels = images.train_labels.numpy()[comparison.forget], images.test_labels.numpy()
    inside, outside = matched_rows(labels, test_labels, seed=0)
    return (
        phi(outputs.train_logits[comparison.forget][inside], labels[inside]),
        phi(outputs.test_logits[outside], test_labels[outside]),
    )
