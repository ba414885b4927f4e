"""Checkpoints: weights as safetensors with a header that says what they are.

Nothing here ever reads a pickle. Names, shapes, types and sizes are checked against the
architecture before a single weight is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from imu_core.errors import BadInput, CheckpointError, UnknownName
from imu_core.files import replace_whole
from imu_core.images.image_set import ImageSet
from imu_core.networks.checkpoint_header import CheckpointHeader
from imu_core.networks.classifier import Classifier
from imu_core.networks.registry import build_network, network_names, network_outline
from imu_core.networks.safetensors_layout import Layout, read_layout

HEADER_VERSION = 1
_METADATA_KEY = "imu"


def save_checkpoint(path: str | Path, classifier: Classifier, header: CheckpointHeader) -> None:
    """Write weights and header; the file appears whole or not at all."""
    from safetensors.torch import save

    path = Path(path)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()
    }
    text = json.dumps({"version": HEADER_VERSION, **header.to_dict()})
    content = save(weights, metadata={_METADATA_KEY: text})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, lambda part: part.write_bytes(content))
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint “{path}” could not be written: {error.strerror or error}."
        ) from error


def read_checkpoint_header(path: str | Path) -> CheckpointHeader:
    """What the file says it is. Weights are not read."""
    return _read_header(Path(path))[0]


def load_checkpoint(
    path: str | Path, *, image_set: ImageSet | None = None
) -> tuple[Classifier, CheckpointHeader]:
    """The classifier of the file, on the CPU in evaluation mode, and its header.

    `CheckpointError` unless every tensor has the name, shape and type the architecture asks for
    and, where `image_set` is given, the pictures have the shape and number of classes of the
    header. Whether they are the very pictures of the training, `same_pictures` says.
    """
    path = Path(path)
    header, layout = _read_header(path)
    _check_tensors(path, header, layout)
    if image_set is not None:
        _check_image_set(path, header, image_set)
    classifier = build_network(
        header.network,
        image_shape=header.image_shape,
        n_classes=header.n_classes,
        mean=header.mean,
        std=header.std,
        seed=0,
    )
    _read_weights(path, classifier, header)
    return classifier, header


def same_pictures(header: CheckpointHeader, image_set: ImageSet) -> bool:
    """Whether the model was trained on exactly these pictures, labels and split."""
    return header.fingerprint == image_set.fingerprint


def checkpoint_digest(path: str | Path) -> str:
    """The first 16 hex digits of the SHA-256 of the file's bytes."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint “{path}” cannot be read: {error.strerror or error}."
        ) from error


def _read_header(path: Path) -> tuple[CheckpointHeader, Layout]:
    layout, metadata = read_layout(path)
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            f"The checkpoint “{path}” has no header of this studio, so its architecture is not "
            "known; save it with `save_checkpoint`."
        )
    try:
        values = json.loads(metadata[_METADATA_KEY])
    except ValueError as error:
        raise CheckpointError(f"The header of the checkpoint “{path}” is not JSON.") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != HEADER_VERSION:
        raise CheckpointError(
            f"The checkpoint “{path}” has header version {version!r}; this program reads version "
            f"{HEADER_VERSION}."
        )
    try:
        header = CheckpointHeader.from_dict(values)
    except BadInput as error:
        raise CheckpointError(f"The checkpoint “{path}” cannot be used: {error}.") from error
    return header, layout


def _check_tensors(path: Path, header: CheckpointHeader, layout: Layout) -> None:
    """Compare names, types and shapes with those of the architecture."""
    try:
        outline = network_outline(
            header.network, image_shape=header.image_shape, n_classes=header.n_classes
        )
    except UnknownName as error:
        raise CheckpointError(
            f"The checkpoint “{path}” holds a network “{header.network}”, which this program does "
            f"not know; known: {', '.join(network_names())}."
        ) from error
    except BadInput as error:
        raise CheckpointError(f"The checkpoint “{path}” cannot be used: {error}") from error
    wanted = {
        name: ("I64" if tensor.dtype == torch.int64 else "F32", tuple(tensor.shape))
        for name, tensor in outline.state_dict().items()
    }
    for verb, names in (("lacks", wanted.keys() - layout), ("holds", layout.keys() - wanted)):
        if names:
            surplus = " that does not belong there" if verb == "holds" else ""
            raise CheckpointError(
                f"The checkpoint “{path}” says it is “{header.network}” but {verb} the tensor "
                f"“{min(names)}”{surplus} ({len(names)} such in all)."
            )
    for name, (kind, shape) in wanted.items():
        if layout[name][0] != kind:
            raise CheckpointError(
                f"In the checkpoint “{path}” the tensor “{name}” has type {layout[name][0]}; it "
                f"must be {kind}."
            )
        if layout[name][1] != shape:
            raise CheckpointError(
                f"In the checkpoint “{path}” the tensor “{name}” has shape {layout[name][1]}; "
                f"“{header.network}” needs {shape}."
            )


def _check_image_set(path: Path, header: CheckpointHeader, image_set: ImageSet) -> None:
    if header.image_shape != image_set.image_shape:
        shapes = (header.image_shape, image_set.image_shape)
        trained, given = ("×".join(map(str, shape)) for shape in shapes)
        raise CheckpointError(
            f"The checkpoint “{path}” is for pictures of {trained} (channels × height × width), "
            f"but those of “{image_set.name}” are {given}."
        )
    if header.n_classes != image_set.n_classes:
        raise CheckpointError(
            f"The checkpoint “{path}” knows {header.n_classes} classes, but “{image_set.name}” has "
            f"{image_set.n_classes}."
        )


def _read_weights(path: Path, classifier: Classifier, header: CheckpointHeader) -> None:
    """Copy the weights into the classifier once all of them are numbers."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint “{path}” cannot be read: {error}.") from error
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"The checkpoint “{path}” is damaged: the tensor “{name}” holds values that are "
                "not numbers."
            )
    for name, values in (("mean", header.mean), ("std", header.std)):
        if not torch.allclose(weights[name].flatten(), torch.tensor(values), rtol=1e-4):
            raise CheckpointError(
                f"The checkpoint “{path}” contradicts itself: its header and its weights have "
                f"different values of “{name}”."
            )
    classifier.load_state_dict(weights)
