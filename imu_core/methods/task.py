"""What a method is handed: a copy of the original to change, and the pictures it declared, no others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imu_core.errors import NotGiven
from imu_core.images.image_set import ImageSet
from imu_core.networks.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one part of an image set, on the device of the run."""

    images: Tensor
    """uint8 (n, c, h, w)"""
    labels: Tensor
    """int64 (n,)"""
    ids: Tensor
    """int64 (n,), on the CPU: training ids, or test rows for held-out pictures."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Positions (int64, on the device of the pictures) of one shuffled pass, `size` at a time."""
        order = torch.randperm(len(self), generator=generator)
        yield from order.to(self.labels.device).split(size)


class Task:
    """One unlearning problem. `model` is the method's to change in place; all else is read-only.

    `retain`, `heldout` and `fisher` raise `NotGiven` unless the method declared them: the promise
    "forget pictures only" is kept by construction.
    """

    def __init__(
        self,
        original: Classifier,
        forget: Pictures,
        *,
        generator: torch.Generator,
        retain: Pictures | None = None,
        heldout: Pictures | None = None,
        fisher: dict[str, Tensor] | None = None,
    ) -> None:
        self.original = original.eval().requires_grad_(False)
        self.model = copy.deepcopy(original).requires_grad_(True).eval()
        self.forget = forget
        self.generator = generator
        self._retain, self._heldout, self._fisher = retain, heldout, fisher
        self.body_is_constant = False

    @property
    def retain(self) -> Pictures:
        return self._given(self._retain, "retain")

    @property
    def heldout(self) -> Pictures:
        return self._given(self._heldout, "heldout")

    @property
    def fisher(self) -> dict[str, Tensor]:
        """Diagonal empirical Fisher of the original over all training pictures, by parameter name."""
        return self._given(self._fisher, "fisher")

    @property
    def device(self) -> torch.device:
        return self.forget.labels.device

    @staticmethod
    def _given(part, name: str):
        if part is None:
            raise NotGiven(
                f"This method reached for “{name}”, which it did not declare in `needs`; "
                f"add “{name}” to its registration."
            )
        return part

    def trainable(self, scope: str, batch_norm: str = "eval") -> list[torch.nn.Parameter]:
        """The parameters a scope lets move (`head` or `all`), with the model set up for it.

        With scope `head` and batch norm in eval mode the features are constants; the run loop and
        `ForgetInputs` use that.
        """
        self.model.train(batch_norm == "train")
        if scope == "all":
            self.model.requires_grad_(True)
            return list(self.model.parameters())
        self.model.body.requires_grad_(False)
        self.body_is_constant = batch_norm == "eval"
        return list(self.model.head.parameters())


def pictures_of(image_set: ImageSet, ids: Tensor, device: torch.device) -> Pictures:
    """The training pictures with these ids (int64), moved to `device`."""
    return Pictures(
        image_set.train_images[ids].to(device), image_set.train_labels[ids].to(device), ids.cpu()
    )
