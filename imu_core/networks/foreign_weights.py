"""A classifier from weights that somebody else saved: compared with the architecture, then copied.

Names and shapes are compared before a single number is looked at. The result is a classifier like
any other here; saved with an empty recipe it can do all but be retrained.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from imu_core.display import quoted
from imu_core.errors import CheckpointError
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier
from imu_core.networks.foreign_file import read_tensors
from imu_core.networks.normalisation import Normalisation
from imu_core.networks.registry import build_network, get_network, network_outline
from imu_core.networks.torchvision_networks import (
    TorchvisionBody,
    is_extra_head,
    is_torchvision,
    split_of,
)

_NOT_WEIGHTS = frozenset({"mean", "std", "body.prepare.scale", "body.prepare.shift"})
"""Tensors of our own files that say how pictures are normalised; the person says that here."""
_COUNTER = "num_batches_tracked"
_N_NAMED = 3


def load_foreign(
    path: str | Path,
    network: str,
    image_set: ImageSet,
    normalisation: Normalisation,
    *,
    allow_pt: bool = False,
    name: str = "",
) -> Classifier:
    """The classifier of a file of weights, on the CPU in evaluation mode.

    `network` is one of ours or `torchvision:NAME@SIZE`. `CheckpointError` for a file that cannot be
    read, does not fit the network or was trained for another number of classes. `name` is what
    messages call the file.
    """
    name = name or Path(path).name
    # Mistakes in what was typed are told before the file is opened.
    network = get_network(network).name
    check_normalisation(normalisation, network, image_set)
    tensors = read_tensors(path, allow_pt=allow_pt, name=name)
    return normalised_by(fitted(tensors, network, image_set, name), normalisation)


def check_normalisation(normalisation: Normalisation, network: str, image_set: ImageSet) -> None:
    """Refuses numbers that are not as many as the channels that are normalised."""
    channels = image_set.image_shape[0]
    normalisation.checked(channels, three_for_grey=is_torchvision(network))


def fitted(tensors: dict[str, Tensor], network: str, image_set: ImageSet, name: str) -> Classifier:
    """The network with copies of these tensors as its weights; pixels are not normalised yet."""
    shape, n_classes = image_set.image_shape, image_set.n_classes
    wanted = network_outline(network, image_shape=shape, n_classes=n_classes).state_dict()
    names = _names(network, wanted, tensors)
    _check_names(tensors, names, network, name)
    _check_classes(tensors, names, image_set, name)
    found = {ours: tensors[theirs] for theirs, ours in names.items() if theirs in tensors}
    if shape[0] == 1:
        found = {ours: _stem_for_three(value, wanted[ours]) for ours, value in found.items()}
    called = {ours: theirs for theirs, ours in names.items()}
    _check_shapes(found, wanted, called, network, name)
    _check_numbers(found, wanted, called, name)
    classifier = build_network(
        network,
        image_shape=shape,
        n_classes=n_classes,
        mean=[0.0] * shape[0],
        std=[1.0] * shape[0],
        seed=0,
    )
    _copy(found, classifier)
    return classifier


def normalised_by(classifier: Classifier, normalisation: Normalisation) -> Classifier:
    """The classifier under another normalisation; its weights are shared, not copied.

    Three numbers for grey pictures are those of the three channels that torchvision's networks see:
    with m̄ and s̄ their means and z = (x − m̄)/s̄, (x − m)/s = z · s̄/s + (m̄ − m)/s.
    """
    body, channels = classifier.body, classifier.mean.shape[1]
    mean, std = normalisation.mean, normalisation.std
    if isinstance(body, TorchvisionBody) and body.prepare.is_grey:
        means, stds = torch.tensor(_each(mean, 3)), torch.tensor(_each(std, 3))
        mean, std = (float(means.mean()),), (float(stds.mean()),)
        prepare = copy.deepcopy(body.prepare)
        prepare.scale = (std[0] / stds).view(1, 3, 1, 1)
        prepare.shift = ((mean[0] - means) / stds).view(1, 3, 1, 1)
        body = TorchvisionBody(prepare, body.network)
    other = Classifier(body, classifier.head, _each(mean, channels), _each(std, channels))
    return other.train(classifier.training)


@torch.inference_mode()
def seen_by(classifier: Classifier, pictures: Tensor) -> Tensor:
    """The pictures (n, c, h, w) as the first layer gets them: stretched and normalised, float32."""
    normalised = classifier.normalise(pictures.to(classifier.device))
    body = classifier.body
    return body.prepare(normalised) if isinstance(body, TorchvisionBody) else normalised


def weights_digest(classifier: Classifier) -> str:
    """16 hex digits of the SHA-256 of all that the classifier holds, normalisation included."""
    digest = sha256()
    for name, tensor in classifier.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _each(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(numbers) * channels if len(numbers) == 1 else tuple(numbers)


def _names(network: str, wanted: Mapping[str, Tensor], tensors: Collection[str]) -> dict[str, str]:
    """The name in the file → our name, of every weight of the network.

    A file of torchvision's network may also have been saved from our own classifier.
    """
    ours = {name: name for name in wanted if name not in _NOT_WEIGHTS}
    if not is_torchvision(network):
        return ours
    head = split_of(network).head
    theirs = {
        f"{head}.{name.removeprefix('head.')}"
        if name.startswith("head.")
        else name.removeprefix("body.network."): name
        for name in ours
    }
    return max((theirs, ours), key=lambda names: sum(name in tensors for name in names))


def _check_names(
    tensors: Collection[str], names: Mapping[str, str], network: str, file: str
) -> None:
    """Every weight of the network must be there and nothing else.

    A counter of batch norm and the bias of the head may be missing: neither changes what a network
    without them says. Second heads of old networks serve training alone.
    """
    missing = [
        theirs
        for theirs, ours in names.items()
        if theirs not in tensors and not theirs.endswith(_COUNTER) and ours != "head.bias"
    ]
    surplus = [
        name
        for name in tensors
        if name not in names
        and name not in _NOT_WEIGHTS
        and not name.endswith(_COUNTER)
        and not is_extra_head(name)
    ]
    said = [f"lacks {quoted(missing, _N_NAMED)}"] if missing else []
    said += [f"holds {quoted(surplus, _N_NAMED)}, which it does not have"] if surplus else []
    if said:
        raise CheckpointError(
            f"“{file}” does not fit “{network}”: it {' and '.join(said)}. Choose the network that "
            "it was saved from."
        )


def _check_classes(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], image_set: ImageSet, file: str
) -> None:
    theirs = next(theirs for theirs, ours in names.items() if ours == "head.weight")
    rows = tensors[theirs].shape[0] if tensors[theirs].ndim == 2 else None
    if rows is not None and rows != image_set.n_classes:
        raise CheckpointError(
            f"“{file}” knows {rows:,} classes (its last layer “{theirs}”), but “{image_set.title}” "
            f"has {image_set.n_classes:,}; choose the pictures that it was trained for."
        )


def _stem_for_three(have: Tensor, want: Tensor) -> Tensor:
    """A first convolution made for one channel, for the same grey in three: w/3 in each."""
    if have.ndim == want.ndim == 4 and (have.shape[1], want.shape[1]) == (1, 3):
        return have.expand(-1, 3, -1, -1) / 3 if have.is_floating_point() else have
    return have


def _check_shapes(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    called: Mapping[str, str],
    network: str,
    file: str,
) -> None:
    wrong = [name for name, value in found.items() if value.shape != wanted[name].shape]
    if not wrong:
        return
    first, others = wrong[0], len(wrong) - 1
    has, needs = _shape(found[first]), _shape(wanted[first])
    size = " (a table of positions: is the input size right?)" if "pos_embed" in first else ""
    more = f"; {others} more differ" if others else ""
    raise CheckpointError(
        f"“{file}” does not fit “{network}”: “{called[first]}” is {has} and should be "
        f"{needs}{size}{more}."
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _check_numbers(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], called: Mapping[str, str], file: str
) -> None:
    """Weights must be plain floating-point numbers, all of them finite."""
    for name, value in found.items():
        if not wanted[name].is_floating_point():
            continue
        if not value.is_floating_point() or value.layout != torch.strided:
            raise CheckpointError(
                f"In “{file}” the tensor “{called[name]}” has the type {value.dtype}; weights must "
                "be plain floating-point numbers."
            )
        if not bool(torch.isfinite(value.float()).all()):
            raise CheckpointError(
                f"“{file}” is damaged: “{called[name]}” holds values that are not numbers."
            )


@torch.no_grad()
def _copy(found: Mapping[str, Tensor], classifier: Classifier) -> None:
    """Counters and index tables stay the architecture's own; a head without bias gets zeros."""
    for name, target in classifier.state_dict().items():
        if name in found and target.is_floating_point():
            target.copy_(found[name])
        elif name == "head.bias":
            target.zero_()
