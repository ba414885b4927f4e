"""Start: what this is, a finished example, and the way to try it live."""

from __future__ import annotations

import streamlit as st

from imu_core.display import metric_title, metric_with_interval
from pages.widgets import example, explain, routes
from pages.widgets.words import percent

PICTURE = routes.ROOT / "assets" / "start" / "weights.svg"
METRICS = (
    "forget_accuracy",
    "retain_accuracy",
    "test_accuracy",
    "membership_auc",
    "probe_forget_accuracy",
)

st.title("Make a trained model forget")
st.markdown(
    "Choose training pictures that an image classifier should no longer know, remove them from the "
    "model without training it anew, and see what that did.  \n"
    "The method at the centre is IMU: it needs the pictures to be forgotten alone, and pushes each "
    "one as strongly as it influenced the model.  \n"
    "Every result stands beside the model before and beside models retrained without those "
    "pictures, and the page says what was not achieved."
)

shipped = example.shipped_example()
with st.container(horizontal=True):
    if st.button(
        "Open the finished example",
        type="primary",
        icon=":material/play_circle:",
        disabled=shipped is None,
    ):
        routes.to_compare(shipped.id)
    if st.button("Try it live", icon=":material/photo_library:"):
        routes.to_forget()

if PICTURE.exists():
    st.subheader("Not every picture counts the same")
    st.image(
        PICTURE.read_text(encoding="utf-8"),
        alt="Handwritten threes, each under a bar that shows how strongly IMU pushes it",
        width="stretch",
    )
    st.markdown(
        "Sixteen scans of a handwritten 3, spread evenly over the whole class in the order of "
        "their weight: the bar is the weight that IMU gives to each. Scans that look like any "
        "other 3 hardly moved the model and weigh little; unusual ones moved it most."
    )
    explain.how(
        "With the features *h* that the last layer sees and the prediction *p*, each picture's "
        "gradient at the last layer is an outer product, so one pass over the pictures gives every "
        "score. Pictures whose gradient opposes the mean are dropped; the others weigh √|I|, "
        "clipped at the 93 % quantile.",
        formula=r"I_i = -\,g_i^\top \hat F^{-1}\bar g,\qquad g_i = (p_i - y_i)\,[h_i, 1]^\top",
        reference="Influence-guided Machine Unlearning, arXiv 2508.01620",
        key="start:how",
    )


def example_table() -> None:
    """The shipped run in numbers: before, after, retrained."""
    record, metrics = shipped.record, shipped.metrics
    references = metrics["retrained"][:1]
    columns = {"Before": metrics["before"], "Unlearned": metrics["after"]}
    columns |= {"Retrained": references[0]} if references else {}
    names = [name for name in METRICS if metrics["after"].get(name) is not None]
    st.subheader("The finished example in numbers")
    st.table(
        {
            "": [metric_title(name) for name in names],
            **{
                title: [metric_with_interval(name, values) for name in names]
                for title, values in columns.items()
            },
        },
        border="horizontal",
        width="content",
        hide_index=True,
        alt="Metrics of the shipped run before and after unlearning, and of a retrained model",
    )
    st.caption("In brackets the 95 % interval; n is the number of pictures it is measured on.")
    after, before = metrics["after"], metrics["before"]
    st.markdown(
        f"{record['method']['title']} forgot {record['forget']['n']:,} pictures of "
        f"{record['image_set']['title']} in {record['steps']:,} steps: the model named "
        f"{percent(before['forget_accuracy'])} of them rightly before and "
        f"{percent(after['forget_accuracy'])} after, and lost "
        f"{100 * (before['test_accuracy'] - after['test_accuracy']):.1f} points on new pictures of "
        "the other classes."
    )


if shipped is not None:
    example_table()
else:
    st.caption("This copy comes without the finished example; “Try it live” makes one of your own.")
