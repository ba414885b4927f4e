"""Quantities of a picture's logits whose change is predicted: their values and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.errors import BadInput, UnknownName

QUANTITIES = ("loss", "margin", "logit")
"""loss: cross-entropy of the label, in nats. margin: the label's logit minus logsumexp of all
others (or minus the logit of `against`). logit: the label's logit."""


def quantity_values(
    logits: Tensor, labels: Tensor, quantity: str, against: Tensor | None = None
) -> Tensor:
    """The quantity of each picture (m,), from logits (m, K)."""
    labels, against = checked_classes(logits, labels, quantity, against)
    own = logits.gather(1, labels[:, None])[:, 0]
    if quantity == "loss":
        return functional.cross_entropy(logits, labels, reduction="none")
    if quantity == "logit":
        return own
    if against is not None:
        return own - logits.gather(1, against[:, None])[:, 0]
    return own - without_label(logits, labels).logsumexp(1)


def quantity_gradients(
    logits: Tensor, labels: Tensor, quantity: str, against: Tensor | None = None
) -> Tensor:
    """The gradient of the quantity with respect to the logits, (m, K)."""
    labels, against = checked_classes(logits, labels, quantity, against)
    own = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    if quantity == "loss":
        return logits.softmax(1) - own
    if quantity == "logit":
        return own
    if against is not None:
        return own - functional.one_hot(against, logits.shape[1]).to(logits.dtype)
    return own - without_label(logits, labels).softmax(1)


def without_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits with the label's own set to −∞."""
    return logits.scatter(1, labels[:, None], -torch.inf)


def checked_classes(
    logits: Tensor, labels: Tensor, quantity: str, against: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Labels and rivals on the device of the logits; `BadInput` where one is no class."""
    if quantity not in QUANTITIES:
        raise UnknownName("quantity", quantity, QUANTITIES)
    if against is not None and quantity != "margin":
        raise BadInput("A class to compare against goes with the margin only.")
    labels = _classes(logits, labels)
    if against is None:
        return labels, None
    against = _classes(logits, against)
    if bool(torch.eq(labels, against).any()):
        raise BadInput("A margin needs two different classes.")
    return labels, against


def _classes(logits: Tensor, classes: Tensor) -> Tensor:
    n_classes = logits.shape[1]
    if len(classes) != len(logits):
        raise BadInput(f"{len(logits)} pictures came with {len(classes)} classes.")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < n_classes:
        raise BadInput(f"The class asked about must lie in 0–{n_classes - 1}.")
    return classes.to(logits.device)
