"""A model of your own: its file, its network, how it takes pictures, and what it then says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from imu_core.display import metric_with_interval
from pages.own import model_file, model_look
from pages.widgets import errors, explain, resources, routes, session

if TYPE_CHECKING:
    from imu_core.evaluation.first_look import FirstLook
    from imu_core.networks import Classifier
    from imu_core.networks.normalisation import Normalisation


def draw() -> None:
    """Draws the view: three questions, then at once what the model says."""
    images = session.images()
    opened = resources.image_set(images)
    st.markdown(
        f"A classifier that you trained on **{opened.title}** elsewhere. Weights carry neither "
        "their network nor how the pictures were prepared: say both, and see at once whether the "
        "model agrees."
    )
    with st.container(border=True):
        file, settings = st.columns(2, gap="large")
        source = None
        with file, errors.shown():
            source = model_file.ask()
        with settings:
            network = _network(images)
            normalisation = _normalisation(images, network)
    if source is None:
        st.info("Choose the file of weights above.", icon=":material/upload_file:")
    elif not network:
        st.info("Choose the network that the weights belong to.", icon=":material/account_tree:")
    else:
        _judge(source, network, normalisation, images)
    _explain()


def _network(images: str) -> str:
    """Draws the choice of architecture and input size; its full name, or empty."""
    from imu_core.networks import network_table
    from imu_core.networks.torchvision_networks import (
        LARGEST,
        PREFIX,
        SMALLEST,
        full_name,
        is_torchvision,
        torchvision_names,
    )

    titles = {row["name"]: f"{row['title']} of this studio" for row in network_table()}
    # The first import of torchvision takes seconds.
    with st.spinner("Asking torchvision for its networks", show_time=False):
        names = torchvision_names()
    titles |= {f"{PREFIX}{name}": f"torchvision {name}" for name in names}
    chosen = st.selectbox(
        "Network",
        list(titles),
        index=None,
        format_func=lambda name: titles[name],
        placeholder="Which network do the weights belong to?",
        key="own:model:network",
    )
    _, height, width = resources.image_set(images).image_shape
    if not chosen or not is_torchvision(chosen):
        if chosen:
            st.caption(f"Takes the pictures as they are, {height}×{width}.")
        return chosen or ""
    size = st.number_input(
        "Input size",
        min_value=SMALLEST,
        max_value=LARGEST,
        value=max(32, height, width),
        key=f"own:model:size:{images}",
        help="Pixels a side. Every picture is stretched to a square of this size, bilinearly with "
        "antialiasing; nothing is cut off.",
    )
    return full_name(chosen.removeprefix(PREFIX), int(size))


def _normalisation(images: str, network: str) -> Normalisation:
    """Draws presets, mean and deviation; raises `BadInput` for what cannot be used."""
    from imu_core.networks.foreign_weights import check_normalisation
    from imu_core.networks.normalisation import PRESETS, Normalisation, numbers, preset
    from imu_core.networks.torchvision_networks import is_torchvision

    name = (
        st.segmented_control(
            "Normalised by",
            list(PRESETS),
            default="pictures",
            required=True,
            format_func=lambda name: PRESETS[name],
            key="own:model:preset",
        )
        or "pictures"
    )
    opened, three = resources.image_set(images), is_torchvision(network)
    usual = preset(name, opened, three_for_grey=three)
    # A field of its own for each preset, so that choosing one shows its numbers.
    which = f"{name}:{images}:{three}"
    typed = []
    columns = st.columns(2)
    for column, title, key, values in zip(
        columns, ("Mean", "Deviation"), ("mean", "std"), (usual.mean, usual.std), strict=True
    ):
        text = column.text_input(
            title,
            ", ".join(f"{value:g}" for value in values),
            key=f"own:model:{key}:{which}",
            help="Of pixels in 0–1: one number a channel, or one for all.",
        )
        typed.append(numbers(text, title.lower()))
    normalisation = Normalisation(*typed)
    if network:
        check_normalisation(normalisation, network, opened)
    return normalisation


def _judge(
    source: model_file.Source, network: str, normalisation: Normalisation, images: str
) -> None:
    """Draws what the model says, and the button that takes it."""
    from imu_core.networks.foreign_weights import normalised_by
    from imu_core.networks.torchvision_networks import is_torchvision

    bare = model_file.loaded(source, network, images)
    if bare is None:
        return
    make = partial(normalised_by, bare, normalisation)
    opened = resources.image_set(images)
    key = f"{source.key}|{network}|{normalisation}|{opened.fingerprint}"
    found = model_look.strip(key, images, make)
    model_look.draw_strip(found, opened.class_names)
    look = model_look.accuracy(key, images, make, found.seconds_a_picture)
    if look is None:
        return
    _draw_accuracy(look, opened.class_names)
    hint = model_look.better_normalisation(
        key,
        images,
        partial(normalised_by, bare),
        normalisation,
        is_torchvision(network),
        look,
        found.seconds_a_picture,
    )
    if hint:
        st.info(hint, icon=":material/lightbulb:")
    _offer(make, _path(images, network, found.digest), network, look)


def _draw_accuracy(look: FirstLook, class_names: tuple[str, ...]) -> None:
    values = {
        "test_accuracy": look.accuracy.value,
        "detail": {"test_accuracy": look.accuracy.to_dict()},
    }
    st.markdown(f"**Test accuracy {metric_with_interval('test_accuracy', values)}**")
    if warning := look.warning(class_names):
        st.warning(warning, icon=":material/casino:")
    else:
        st.caption(
            "On the test pictures of this set. Lower than you measured elsewhere? Then the size, "
            "mean or deviation, or the order of the classes, differs from the training's."
        )


def _offer(make: Callable[[], Classifier], path: Path, network: str, look: FirstLook) -> None:
    """The button that keeps the model among those of the image set and takes it."""
    if str(path) == resources.chosen_checkpoint():
        st.success(
            "This is the model in use now. It can be unlearned, inspected and compared; it cannot "
            "be retrained, since nobody here knows how it was trained.",
            icon=":material/check_circle:",
        )
        if st.button("Choose pictures to forget", icon=":material/photo_library:"):
            routes.to_forget()
    elif st.button("Use this model", type="primary", icon=":material/check:", key="own:model:use"):
        _save(path, make(), network, look)
        session.choose_checkpoint(str(path))
        st.rerun()


def _path(images: str, network: str, digest: str) -> Path:
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{images[-40:]}-{network}")
    return resources.trained_models() / f"{slug}-own-{digest}.safetensors"


def _save(path: Path, model: Classifier, network: str, look: FirstLook) -> None:
    from imu_core.networks import save_checkpoint
    from imu_core.networks.checkpoint_header import describe

    header = describe(
        model,
        resources.chosen_image_set(),
        network=network,
        recipe={},
        seed=0,
        test_accuracy=look.accuracy.value or 0.0,
    )
    save_checkpoint(path, model, header)


def _explain() -> None:
    explain.how(
        "Names and shapes of all tensors are compared with the network before a number is read; "
        "wrappers such as “state_dict” and prefixes such as “module.” are taken off. The last "
        "linear layer becomes the head, all before it the features. Pixels run from 0 to 1; the "
        "picture is stretched to the input size, grey is repeated to three channels for "
        "torchvision's networks, then normalised. The classes are in the order of the image set.",
        formula=r"z = \mathrm{head}(\mathrm{features}((x - \mathrm{mean}) / \mathrm{deviation}))",
        key="own:model:how",
    )
