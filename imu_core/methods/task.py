"""What a method is handed: a copy of the original to change, and the pictures it declared."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        """Positions (int64, on the pictures' device) of one shuffled pass, `size` at a time."""
        order = torch.randperm(len(self), generator=generator)
        yield from split_batches(order.to(self.labels.device), size)

    def take(self, positions: Tensor) -> Pictures:
        """These pictures alone."""
        rows = positions.to(self.labels.device)
        return Pictures(self.images[rows], self.labels[rows], self.ids[rows.cpu()])


def split_batches(order: Tensor, size: int) -> tuple[Tensor, ...]:
    """`order` cut into batches; one picture left over joins the last batch.

    A batch of one picture has no statistics worth the name, and batch norm in train mode refuses it
    where its maps are down to 1×1.
    """
    batches = order.split(size)
    if size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        return (*batches[:-2], torch.cat(batches[-2:]))
    return batches


def n_batches(n: int, size: int) -> int:
    """How many batches `split_batches` makes of `n` pictures."""
    return max(1, n // size if size > 1 and n % size == 1 else -(-n // size))


def one_by_one(n: int, batch_size: int) -> bool:
    """Whether each batch of `n` pictures is a single one, which alone has no batch statistics."""
    return min(n, batch_size) == 1


def batch_norm_for(wanted: str, n: int, batch_size: int) -> str:
    """`wanted`, but `eval` where pictures come one by one."""
    return "eval" if one_by_one(n, batch_size) else wanted


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
        """Diagonal Fisher of the original over all training pictures, by parameter name."""
        return self._given(self._fisher, "fisher")

    @property
    def device(self) -> torch.device:
        return self.forget.labels.device

    @staticmethod
    def _given(part, name: str):
        if part is None:
            raise NotGiven(
                f"This method reached for “{name}”, which it was not given: a method is handed "
                f"what its registration declares in `needs`, so “{name}” has to stand there."
            )
        return part

    def trainable(self, scope: str, batch_norm: str = "eval") -> list[torch.nn.Parameter]:
        """The parameters a scope lets move (`head` or `all`), with the model set up for it.

        With scope `head` and batch norm in eval mode the features are constants; the run loop and
        `ForgetInputs` use that. Dropout stays off: its noise would come from the global generator.
        """
        set_batch_norm(self.model, batch_norm)
        if scope == "all":
            self.model.requires_grad_(True)
            return list(self.model.parameters())
        self.model.body.requires_grad_(False)
        self.body_is_constant = batch_norm == "eval"
        return list(self.model.head.parameters())


def set_batch_norm(model: nn.Module, mode: str) -> None:
    """Puts batch norm in `train` or `eval` mode, and all else in eval mode."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(mode == "train")


def pictures_of(image_set: ImageSet, ids: Tensor, device: torch.device) -> Pictures:
    """The training pictures with these ids (int64), moved to `device`."""
    return Pictures(
        image_set.train_images[ids].to(device), image_set.train_labels[ids].to(device), ids.cpu()
    )
