"""Pictures that visitors bring: reading them as a job, and the sets that were read before."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.widgets import resources, session, thumbnails

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from imu_core.images.own_sets import OwnSet
    from imu_core.images.preparation import Preparation
    from imu_core.runs import JobContext

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Set by a server in front of this one, which lets others in.
PASSED_ON = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


def on_this_machine() -> bool:
    """Whether only people at this machine can reach the server, who may read its disk anyway.

    The address it listens on must be of this machine alone, and the visit must not have come
    through another server or under another name.
    """
    if st.get_option("server.address") not in LOOPBACK:
        return False
    headers = st.context.headers
    host = re.sub(r":[0-9]+$", "", headers.get("Host") or "localhost").strip("[]")
    return host in LOOPBACK and not any(headers.get(name) for name in PASSED_ON)


def is_own(spec: str) -> bool:
    """Whether a SPEC names pictures that somebody brought."""
    return spec.startswith((*session.PATHS, "upload:"))


def upload_limit_mb() -> int:
    """The most megabytes that an upload may have."""
    return int(st.get_option("server.maxUploadSize"))


def read_path(path: str, preparation: Preparation) -> str:
    """Id of a job that reads a folder, zip or .npz of this machine; its result is the SPEC."""
    from imu_core.errors import BadInput
    from imu_core.images.own_sets import path_spec

    if not on_this_machine():
        raise BadInput("Paths are read only for people at the machine itself; upload a zip.")
    return read_again(path_spec(path, preparation))


def read_again(spec: str) -> str:
    """Id of a job that reads the pictures of a SPEC; its result is the SPEC."""
    from imu_core.images.own_sets import open_own

    def work(context: JobContext) -> str:
        return open_own(spec, _progress(context)).spec

    called = title(spec) if spec.startswith("upload:") else Path(place(spec)).name
    return resources.job_queue().submit(f"Reading {plain(called)}", work, key=f"own-{spec}")


def read_upload(file: UploadedFile, preparation: Preparation) -> str:
    """Id of a job that keeps and reads an uploaded zip or .npz; its result is the SPEC."""
    from imu_core.errors import BadInput
    from imu_core.images.own_sets import open_upload

    limit = upload_limit_mb()
    if file.size > limit << 20:
        # The browser refuses such a file; what comes past the browser is refused here.
        raise BadInput(f"“{file.name}” has {file.size >> 20:,} MB; at most {limit} MB are taken.")
    name, held = file.name, [file]

    def work(context: JobContext) -> str:
        # Taken out, because the worker remembers its last job until the next one comes.
        return open_upload(name, held.pop(), preparation, _progress(context)).spec

    key = f"own-{file.file_id}-{preparation.options}"
    return resources.job_queue().submit(f"Reading {plain(name)}", work, key=key)


def _progress(context: JobContext) -> Callable[[int, int, str], None]:
    def report(done: int, of: int, text: str) -> None:
        context.check()
        context.progress(done, of, text)

    return report


@st.cache_resource(max_entries=2, show_spinner=False)
def _records(folder: str, stamp: int) -> dict[str, OwnSet]:
    from imu_core.images.own_sets import own_sets

    return {own.spec: own for own in own_sets()}


def _known() -> dict[str, OwnSet]:
    """Every set that was opened on this server, by its SPEC; read anew when one comes or goes."""
    from imu_core.images.download import data_folder

    folder = (data_folder() / "own").absolute()
    return _records(str(folder), resources.stamp(str(folder)))


def offered() -> list[OwnSet]:
    """The sets that this visitor may open, the newest first.

    All there are for people at this machine; for others only those of this visit, because on a
    shared server the rest belong to somebody else.
    """
    mine = session.own_pictures()["specs"]
    everything = on_this_machine()
    return [own for own in _known().values() if everything or own.spec in mine]


def find(spec: str) -> OwnSet | None:
    """What is known of a set that was opened before."""
    return _known().get(spec)


def title(spec: str) -> str:
    """The name of a set in a list: `pets, 32×32`."""
    own = find(spec)
    if own is None:
        return "Pictures of your own"
    _, height, width = own.image_shape
    return f"{own.title}, {width}×{height}"


def use(spec: str) -> None:
    """Makes a set the visitor's image set."""
    session.choose_images(spec)
    session.name_in_address(spec)


def take(spec: str) -> None:
    """Shows a set whose pictures have just been read."""
    # What was opened under this name before may be out of date.
    resources.image_set.clear(spec)
    thumbnails.sheet.clear()
    _records.clear()
    now = session.own_pictures()
    specs = (spec, *(one for one in now["specs"] if one != spec))
    session.keep_own_pictures(job="", shown=spec, specs=specs, turn=now["turn"] + 1)


def delete(spec: str) -> None:
    """Removes what was kept of a set; whoever used it goes back to the digits."""
    from imu_core.images.own_sets import delete_own

    if all(own.spec != spec for own in offered()):
        return
    delete_own(spec)
    _records.clear()
    resources.image_set.clear(spec)
    thumbnails.sheet.clear()
    thumbnails.addresses.clear()
    now = session.own_pictures()
    specs = tuple(one for one in now["specs"] if one != spec)
    session.keep_own_pictures(shown="" if now["shown"] == spec else now["shown"], specs=specs)
    if session.images() == spec:
        use(session.DEFAULT_IMAGES)


def made_with(spec: str) -> tuple[int, int]:
    """How many models and how many runs were made with a set."""
    runs: list[Any] = resources.run_store().runs()
    n_runs = sum(run.record.get("spec", {}).get("image_set") == spec for run in runs)
    return len(resources.checkpoints(spec)), n_runs


def plain(text: str) -> str:
    """The text so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+!$~:<>|-])", r"\\\1", text)


def place(spec: str) -> str:
    """The path that a `folder:` or `npz:` SPEC names."""
    from imu_core.images.preparation import split_options

    return split_options(spec.partition(":")[2])[0]
