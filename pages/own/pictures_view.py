"""Pictures of one's own: bring them, see what was read, use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.widgets import errors, own_pictures, session

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


UPLOAD, PATH = "Upload", "From this machine"
COLOURS = {"auto": "As they are", "grey": "Grey", "colour": "Colour"}
LAYOUTS = """\
pets              pets
├─ cat            ├─ train
│  ├─ tom.jpg     │  ├─ cat …
│  └─ puss.png    │  └─ dog …
└─ dog            └─ test
   └─ rex.jpg        ├─ cat …
                     └─ dog …"""


def draw() -> None:
    """Draws the form, the job while it reads, what was read, and the sets read before."""
    st.markdown(
        "Put the pictures of each class into a folder named after it. Then train a model on them "
        "here, and make it forget some."
    )
    # Each part has its place from the start: while the page runs again, what was drawn before
    # would otherwise stand in the place of something else, with its buttons.
    form, reading, summary, before = (st.container() for _ in range(4))
    own = session.own_pictures()
    shown = own["shown"] if own_pictures.find(own["shown"]) else ""
    with form:
        _form_and_layouts(folded=bool(shown), turn=own["turn"])
    with reading:
        _reading()
    with summary:
        if shown:
            from pages.own import pictures_summary

            with errors.shown():
                pictures_summary.draw(shown)
    with before:
        _before()


def _form_and_layouts(*, folded: bool, turn: int) -> None:
    """The form; folded once there is something else to see, and again after each reading."""
    if folded:
        slot = st.expander(
            "Read other pictures", icon=":material/upload_file:", key=f"own:form:{turn}"
        )
    else:
        slot = st.container()
    with slot:
        form, layouts = st.columns([3, 2], gap="large")
        with layouts:
            _layouts()
        with form:
            _form()


def _layouts() -> None:
    st.caption("A folder, or a zip of it, laid out in one of these two ways")
    st.code(LAYOUTS, language=None)
    st.caption(
        "In place of “test” it may say “val”. Or an .npz file with the arrays `images` (or "
        "`x_train`) and `labels` (`y_train`), and if you have them `x_test`, `y_test` and "
        "`class_names`.  \n"
        "Pictures may be .png, .jpg, .webp, .bmp, .gif, .tif or .ppm. Files that cannot be read "
        "are left out and listed."
    )


def _form() -> None:
    here = own_pictures.on_this_machine()
    source = UPLOAD
    if here:
        source = st.segmented_control(
            "Where they are", [UPLOAD, PATH], default=UPLOAD, required=True, key="own:source"
        )
    file, path = None, ""
    if source == PATH:
        path = st.text_input(
            "Folder, .zip or .npz file",
            key="own:path",
            placeholder="/home/me/pets",
            help="A path on the machine that this studio runs on. Nothing there is changed.",
        )
    else:
        file = _uploader(here)
    options = _options()
    pressed = st.button(
        "Read the pictures",
        type="primary",
        icon=":material/photo_library:",
        key="own:read",
        disabled=file is None and not path.strip(),
    )
    if pressed:
        with errors.shown():
            _start(file, path, options)


def _uploader(here: bool) -> UploadedFile | None:
    limit = own_pictures.upload_limit_mb()
    advice = f" For more than {limit} MB give the path of the folder." if here else ""
    return st.file_uploader(
        f"A .zip or .npz file of up to {limit} MB",
        type=["zip", "npz"],
        # A new key lets go of the file that was taken: it lies on the disk then.
        key=f"own:upload:{session.own_pictures()['turn']}",
        help="The file is unpacked on the machine that this studio runs on and kept there until "
        f"you delete it.{advice}",
    )


def _options() -> dict[str, int | float | str]:
    size, colour = st.columns([1, 2])
    with size:
        n_pixels = st.number_input("Pixels a side", 4, 512, 32, key="own:size")
    with colour:
        kind = st.segmented_control(
            "Colour",
            list(COLOURS),
            default="auto",
            required=True,
            format_func=COLOURS.__getitem__,
            key="own:colour",
        )
    share, seed = st.columns([2, 1])
    with share:
        percent = st.slider("Kept for testing", 5, 50, 20, 5, format="%d %%", key="own:share")
    with seed:
        number = st.number_input("Seed", 0, 999_999_999, 0, key="own:seed")
    made = {
        "auto": "They stay grey if all of them are grey; otherwise all have three colours.",
        "grey": "All are made grey.",
        "colour": "All are given three colours.",
    }
    st.caption(
        f"Each picture is scaled until its shorter side has {n_pixels} pixels, and its middle "
        f"{n_pixels}×{n_pixels} are kept; pictures in an .npz keep their size. {made[kind]} "
        f"Without folders for training and testing, {percent} % of each class are drawn for "
        f"testing by seed {number}."
    )
    return {"size": n_pixels, "colour": kind, "test_share": percent / 100, "seed": number}


def _start(file: UploadedFile | None, path: str, options: dict[str, int | float | str]) -> None:
    """Puts the reading into the queue."""
    from imu_core.images.preparation import Preparation

    # What the browser sends is checked here.
    preparation = Preparation(**options)
    if file is not None:
        job_id = own_pictures.read_upload(file, preparation)
    else:
        job_id = own_pictures.read_path(path, preparation)
    session.keep_own_pictures(job=job_id)


def _reading() -> None:
    """The job that reads, until it has ended; then its sentence, or what it has read."""
    from pages.widgets import job_panel, resources

    job_id = session.own_pictures()["job"]
    job = resources.job_queue().status(job_id) if job_id else None
    if job is None:
        return
    if not job.ended:
        job_panel.wait_for(job_id)
    elif job.state == "done":
        own_pictures.take(job.result)
        # The form above still holds the file that was taken.
        st.rerun()
    elif job.state == "failed":
        st.error(job.error, icon=":material/error:")
    else:
        st.info("Cancelled: nothing of these pictures was kept.", icon=":material/cancel:")


def _before() -> None:
    """The sets that were read before, to be used, looked at or deleted."""
    known = own_pictures.offered()
    if not known:
        return
    st.subheader("Read before")
    for own in known:
        chosen = own.spec == session.images()
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            with st.container(gap=None):
                st.markdown(f"**{own_pictures.plain(own_pictures.title(own.spec))}**")
                st.caption(_facts(own.spec))
            st.button(
                "In use" if chosen else "Use",
                key=f"own:use:{own.spec}",
                icon=":material/check:",
                disabled=chosen,
                on_click=own_pictures.use,
                args=(own.spec,),
            )
            st.button(
                "Look",
                key=f"own:look:{own.spec}",
                icon=":material/visibility:",
                on_click=session.keep_own_pictures,
                kwargs={"shown": own.spec, "job": ""},
            )
            if st.button("Delete", key=f"own:delete:{own.spec}", icon=":material/delete:"):
                confirm_delete(own.spec)


def _facts(spec: str) -> str:
    own = own_pictures.find(spec)
    if own is None:
        return ""
    origin = "uploaded" if spec.startswith("upload:") else own_pictures.place(spec)
    return own_pictures.plain(
        f"{own.n_train:,} training and {own.n_test:,} test pictures, {own.n_classes:,} classes; "
        f"{origin}; read {own.opened[:16].replace('T', ' ')} UTC"
    )


@st.dialog("Delete for good?")
def confirm_delete(spec: str) -> None:
    """Asks once more, then removes the upload and what was decoded of it."""
    n_models, n_runs = own_pictures.made_with(spec)
    kept = (
        "The uploaded file and the pictures decoded from it are removed from this machine."
        if spec.startswith("upload:")
        else "The decoded pictures are removed; your own folder or file stays as it is."
    )
    st.markdown(f"**{own_pictures.plain(own_pictures.title(spec))}**: {kept}")
    if n_models or n_runs:
        models = f"{n_models} {'model' if n_models == 1 else 'models'}"
        runs = f"{n_runs} {'run' if n_runs == 1 else 'runs'}"
        st.markdown(
            f"{models} and {runs} were made with them. They stay, and show no pictures until the "
            "same ones are read again."
        )
    if st.button("Delete", type="primary", icon=":material/delete:", key="own:delete:sure"):
        own_pictures.delete(spec)
        st.rerun()
