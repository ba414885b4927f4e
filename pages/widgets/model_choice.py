"""Image set and model in the sidebar, and the dialog that trains another model."""

from __future__ import annotations

import streamlit as st

from imu_core.display import metric
from imu_core.errors import ImuError, MissingData
from pages.widgets import errors, own_pictures, resources, session, work

DIGITS = session.DEFAULT_IMAGES


def image_choice() -> bool:
    """Draws the choice of the image set; whether its pictures are here."""
    names = _image_names()
    chosen = session.images()
    st.selectbox(
        "Images",
        names if chosen in names else [*names, chosen],
        index=names.index(chosen) if chosen in names else len(names),
        format_func=_image_title,
        key=f"sidebar:images:{chosen}",
        on_change=_take_images,
        args=(f"sidebar:images:{chosen}",),
    )
    try:
        opened = resources.chosen_image_set()
    except MissingData as error:
        _offer_download(error)
        return False
    except ImuError as error:
        errors.show(error)
        st.button(
            "Use the digits",
            key="sidebar:digits",
            on_click=session.choose_images,
            args=(DIGITS,),
        )
        return False
    channels, height, width = opened.image_shape
    st.caption(
        f"{opened.n_train:,} training and {opened.n_test:,} test pictures, "
        f"{opened.n_classes} classes, {height}×{width} {'grey' if channels == 1 else 'colour'}"
    )
    return True


def model_choice() -> None:
    """Draws the choice of the model for the chosen image set."""
    images, known = session.images(), resources.checkpoints(session.images())
    if known:
        chosen = resources.chosen_checkpoint()
        key = f"sidebar:model:{images}:{len(known)}:{chosen}"
        st.selectbox(
            "Model",
            known,
            index=known.index(chosen),
            format_func=_model_title,
            key=key,
            on_change=_take_model,
            args=(key,),
        )
        header = resources.header(chosen)
        epochs = header.recipe.get("epochs")
        trained = (
            f"trained for {epochs} epochs, seed {header.seed}" if epochs else "trained elsewhere"
        )
        st.caption(f"{header.parameters:,} weights, {trained}")
    else:
        st.markdown("**Model**")
        st.caption("There is no model for these pictures yet.")
    if st.button("Train a model", icon=":material/model_training:", key="sidebar:train"):
        train_dialog()


@st.dialog("Train a model")
def train_dialog() -> None:
    """Asks for network and seed, and puts the training into the queue."""
    from imu_core.networks import default_network, network_table

    with errors.shown():
        opened = resources.chosen_image_set()
        table = {row["name"]: row for row in network_table()}
        names, usual = list(table), default_network(opened)
        st.markdown(
            f"A new original, trained on all {opened.n_train:,} pictures of {opened.title}."
        )
        network = st.selectbox(
            "Network",
            names,
            index=names.index(usual),
            format_func=lambda name: str(table[name]["title"]),
            key="train:network",
        )
        st.caption(str(table[network]["sentence"]))
        seed = st.number_input("Seed", min_value=0, max_value=10_000, value=1, key="train:seed")
        if st.button("Train", type="primary", icon=":material/model_training:", key="train:go"):
            work.train_model(session.images(), network, int(seed))
            st.rerun()


def take_finished_models() -> bool:
    """Takes the models whose training has ended for this visitor; whether there was one."""
    found = False
    for job_id, images in session.awaited_models().items():
        job = resources.job_queue().status(job_id)
        if job is None or job.ended:
            session.await_no_longer(job_id)
            found = True
            if job is not None and job.state == "done":
                session.choose_checkpoint(job.result, images)
    return found


def _image_names() -> list[str]:
    """Names on offer: those with a bundled model first, then all that is here, then the rest."""
    from imu_core.networks.bundled import bundled_checkpoints

    known = resources.sources()
    first = [DIGITS, *sorted(name for name in bundled_checkpoints() if name != DIGITS)]
    here = [source.name for source in known if source.available]
    rest = [source.name for source in known if not source.available]
    usable = [name for name in first if name.split(":")[0] in here]
    own = [one.spec for one in own_pictures.offered()]
    return list(dict.fromkeys([*usable, *own, *here, *rest]))


def _image_title(name: str) -> str:
    if own_pictures.is_own(name):
        return own_pictures.title(name)
    base, _, count = name.partition(":")
    for source in resources.sources():
        if source.name == base:
            part = f", {int(count.split(':')[0]):,} pictures" if count[:1].isdigit() else ""
            return f"{source.title}{part}{'' if source.available else ' (not on this machine)'}"
    return name


def _model_title(path: str) -> str:
    header = resources.header(path)
    # The name of a torchvision network is long without its origin as well.
    network = header.network.removeprefix("torchvision:")
    return f"{network}, test {metric('test_accuracy', header.test_accuracy)}"


def _take_images(key: str) -> None:
    name = st.session_state[key]
    session.choose_images(name)
    session.name_in_address(name)


def _take_model(key: str) -> None:
    session.choose_checkpoint(st.session_state[key])


def _offer_download(error: MissingData) -> None:
    st.warning(str(error), icon=":material/download:")
    name = session.images()
    needed = {source.name for source in resources.sources() if source.needs_download}
    if name.split(":")[0] in needed:
        st.button("Download", icon=":material/download:", on_click=_download, args=(name,))


def _download(name: str) -> None:
    work.download_images(name)
