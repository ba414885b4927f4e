"""Jobs that pages put into the queue. What runs in the worker never touches Streamlit."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from pages.widgets import resources, session

if TYPE_CHECKING:
    from imu_core.runs import JobContext

_LONGEST_NAME = 60


def train_model(images: str, network: str, seed: int) -> str:
    """Id of a job that trains a model on all training pictures; its result is the file's path."""
    from imu_core.device import pick_device
    from imu_core.networks import save_checkpoint
    from imu_core.training import train_original

    opened = resources.image_set(images)
    folder = resources.trained_models()
    name = f"{_in_a_file_name(images)}-{network}-s{seed}.safetensors"

    def work(context: JobContext) -> str:
        model, header = train_original(
            opened,
            network,
            seed=seed,
            device=pick_device("auto"),
            progress=context.progress,
            should_stop=context.should_stop,
        )
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / name, model, header)
        return str(folder / name)

    title = f"Training {network} on {opened.title}"
    job_id = resources.job_queue().submit(title, work, key=f"train-{name}")
    session.await_model(job_id, images)
    return job_id


def _in_a_file_name(images: str) -> str:
    """The name of an image set as part of a file's name; a path is shortened to its end."""
    plain = images.replace(":", "-").replace("/", "-")
    if len(plain) <= _LONGEST_NAME and plain.isascii():
        return plain
    digest = sha256(images.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{''.join(sign for sign in plain if sign.isascii())[-_LONGEST_NAME:]}-{digest}"


def download_images(images: str) -> str:
    """Id of a job that downloads an image set."""
    from imu_core.images import open_image_set

    def work(context: JobContext) -> str:
        def report(done: int, of: int, text: str) -> None:
            context.check()
            context.progress(done, of, text)

        open_image_set(images, download=True, progress=report)
        return images

    return resources.job_queue().submit(f"Downloading {images}", work, key=f"download-{images}")


def compute_outputs(checkpoint: str, images: str) -> str:
    """Id of a job that shows every picture to a model once and keeps the outputs on disk."""
    from imu_core.device import pick_device
    from imu_core.networks import checkpoint_digest, load_checkpoint
    from imu_core.runs.references import original_outputs

    opened, store = resources.image_set(images), resources.run_store()

    def work(context: JobContext) -> str:
        # A copy of its own: moving the shared model to a device would change it for all.
        model, _ = load_checkpoint(checkpoint, image_set=opened)
        original_outputs(
            store,
            model,
            checkpoint_digest(checkpoint),
            opened,
            device=pick_device("auto"),
            progress=context.progress,
            should_stop=context.should_stop,
        )
        return checkpoint

    key = f"outputs-{resources.stamp(checkpoint)}-{images}"
    title = f"Looking at every picture of {opened.title}"
    return resources.job_queue().submit(title, work, key=key)
