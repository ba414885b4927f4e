"""Confusion matrices before, after and retrained, and their difference."""

from __future__ import annotations

import numpy as np
import streamlit as st

from imu_core.evaluation.accuracy import confusion, renamed
from imu_core.evaluation.outputs import Outputs
from pages.widgets import compare_figures, explain
from pages.widgets.comparison import Comparison

PARTS = ["Forget set", "Retain set", "Test pictures"]


def draw(comparison: Comparison) -> None:
    part = st.segmented_control("Pictures", PARTS, default=PARTS[0], required=True, key="part")
    labels = _labels(comparison, part)
    logits = {name: _logits(comparison, part, one) for name, one in comparison.models.items()}
    n_classes = len(comparison.class_names)
    matrices = {name: confusion(labels, one, n_classes) for name, one in logits.items()}
    st.plotly_chart(
        compare_figures.confusion_figure(matrices, comparison.class_names),
        key=f"confusion-{part}",
        alt=f"Confusion matrices of the {part.lower()} for {', '.join(matrices)}",
    )
    st.markdown(_sentence(comparison, part, labels, logits["Unlearned"]))
    _difference(comparison, matrices)
    explain.how(
        "Row: what the picture is. Column: the class with the largest logit. A cell's shade is its "
        "share of the row, its number the count of pictures. The difference is counts after minus "
        "counts before (or minus retrained): orange cells gained pictures, blue ones lost them.",
        key="confusion:how",
    )


def _labels(comparison: Comparison, part: str) -> np.ndarray:
    images = comparison.images
    if part == "Test pictures":
        return images.test_labels.numpy()
    return images.train_labels.numpy()[_ids(comparison, part)]


def _logits(comparison: Comparison, part: str, outputs: Outputs) -> np.ndarray:
    if part == "Test pictures":
        return outputs.test_logits
    return outputs.train_logits[_ids(comparison, part)]


def _ids(comparison: Comparison, part: str) -> np.ndarray:
    return comparison.forget if part == "Forget set" else comparison.retain


def _sentence(comparison: Comparison, part: str, labels: np.ndarray, logits: np.ndarray) -> str:
    """“All 146 pictures are now called something else, 77 of them 9.”"""
    moved = renamed(labels, logits, comparison.class_names)
    wrong = sum(count for _, count in moved)
    if not wrong:
        return f"All {len(labels):,} pictures of the {part.lower()} are still named right."
    most = ", ".join(f"{count:,} of them {name}" for name, count in moved[:3])
    share = "All" if wrong == len(labels) else f"{wrong:,} of the"
    return (
        f"{share} {len(labels):,} pictures of the {part.lower()} are called something else by the "
        f"unlearned model: {most}."
    )


def _difference(comparison: Comparison, matrices: dict[str, np.ndarray]) -> None:
    after = matrices["Unlearned"]
    differences = {
        f"Unlearned minus {name.lower()}": after - matrix
        for name, matrix in matrices.items()
        if name != "Unlearned"
    }
    st.subheader("Difference")
    st.plotly_chart(
        compare_figures.confusion_figure(differences, comparison.class_names, difference=True),
        key="confusion-difference",
        alt="Change of every cell from the original, and distance from the retrained model",
    )
    moved = {name: int(np.abs(one).sum()) // 2 for name, one in differences.items()}
    total = int(after.sum())
    st.markdown(
        "; ".join(
            f"{name}: {count:,} of {total:,} pictures sit in another cell"
            for name, count in moved.items()
        )
        + ("." if "Retrained" in matrices else ". There is no retrained model to compare with.")
    )
    if len(comparison.retrained) > 1:
        labels_matrix = _between_retrained(comparison, after.shape[0])
        st.caption(
            "Floor: between the first two retrained models, which differ by their seed alone, "
            f"{labels_matrix:,} of {len(comparison.images.test_labels):,} test pictures sit in "
            "another cell."
        )


def _between_retrained(comparison: Comparison, n_classes: int) -> int:
    labels = comparison.images.test_labels.numpy()
    first, second = (
        confusion(labels, one.test_logits, n_classes) for one in comparison.retrained[:2]
    )
    return int(np.abs(first - second).sum()) // 2
