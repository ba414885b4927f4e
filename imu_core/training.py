"""Training: the one fit loop, for originals and for models retrained without the forget set."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.device import forward_batch
from imu_core.epochs import Epoch, augmented, draw_epoch
from imu_core.errors import BadInput, Cancelled, RunError
from imu_core.images.image_set import ImageSet
from imu_core.networks.checkpoint_header import CheckpointHeader, describe
from imu_core.networks.classifier import Classifier
from imu_core.networks.registry import build_network
from imu_core.optimisers import AdamW, Sgd
from imu_core.recipe import Recipe, default_recipe

__all__ = ["Recipe", "default_recipe", "fit", "one_cycle", "retrain", "train_original"]

_OPTIMISERS = {"sgd": Sgd, "adamw": AdamW}
Progress = Callable[[int, int, str], None]
_ORDER_STREAM = 1 << 32
"""Added to the seed for order and augmentation, so that weights and order are drawn apart."""


def fit(
    classifier: Classifier,
    image_set: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    forget_ids: Tensor | None = None,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> float:
    """Seconds it took to train `classifier` in place on all training pictures but `forget_ids`.

    Cross entropy under SGD (or AdamW) and a one-cycle learning rate; bf16 autocast on a GPU,
    plain float32 on the processor, channels last on both. With equal seeds, two fits see equal
    orders and augmentations apart from the forget ids. Left in evaluation mode. Raises `Cancelled`
    between two steps and `RunError` when the loss is no longer a number.
    """
    kept = _kept(image_set, forget_ids)
    started = time.perf_counter()
    # On a processor this layout saves a quarter of the small CNN's time and costs others nothing.
    classifier.to(device).to(memory_format=torch.channels_last).train()
    images, labels = image_set.train_images.to(device), image_set.train_labels.to(device)
    generator = torch.Generator().manual_seed(seed + _ORDER_STREAM)
    max_shift = max(1, max(image_set.image_shape[1:]) // 8)
    n_batches = recipe.epochs * math.ceil(image_set.n_train / recipe.batch_size)
    optimiser = _OPTIMISERS[recipe.optimiser](
        classifier.parameters(), momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    done = 0
    with _repeatable(device):
        for number in range(1, recipe.epochs + 1):
            epoch = draw_epoch(kept, recipe.batch_size, recipe.augment, max_shift, generator)
            total_loss = torch.zeros((), device=device)
            for batch, targets in _batches(epoch, images, labels):
                if should_stop is not None and should_stop():
                    raise Cancelled
                # An empty batch still counts, so that the learning rates stay paired as well.
                if len(targets):
                    total_loss += _backward(classifier, batch, targets, recipe.label_smoothing)
                    optimiser.step(one_cycle(done, n_batches, recipe.lr))
                done += 1
                if progress is not None:
                    progress(done, n_batches, f"epoch {number} of {recipe.epochs}")
            _check_loss(total_loss, number)
    classifier.to(memory_format=torch.contiguous_format).eval()
    return time.perf_counter() - started


def train_original(
    image_set: ImageSet,
    network: str,
    *,
    seed: int,
    recipe: Recipe | None = None,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Classifier, CheckpointHeader]:
    """A new classifier trained on all training pictures, with the header to save it under."""
    recipe = recipe or default_recipe(network, image_set)
    mean, std = image_set.pixel_statistics
    classifier = build_network(
        network,
        image_shape=image_set.image_shape,
        n_classes=image_set.n_classes,
        mean=mean,
        std=std,
        seed=seed,
    )
    fit(
        classifier,
        image_set,
        recipe,
        seed=seed,
        device=device,
        progress=progress,
        should_stop=should_stop,
    )
    header = describe(
        classifier,
        image_set,
        network=network,
        recipe=recipe.to_dict(),
        seed=seed,
        test_accuracy=accuracy_on_test(classifier, image_set),
    )
    return classifier, header


def retrain(
    header: CheckpointHeader,
    image_set: ImageSet,
    forget_ids: Tensor,
    *,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Classifier:
    """The model of `header` trained anew, by the same recipe, without the forget ids.

    With the seed of the header it is paired with the original: same initial weights, same order.
    Pixels are normalised by the header's mean and deviation in every case.
    """
    if header.image_shape != image_set.image_shape or header.n_classes != image_set.n_classes:
        raise BadInput(
            f"The model was trained on “{header.image_set}”, whose pictures or classes differ from "
            f"those of “{image_set.name}”; retrain it on its own image set."
        )
    recipe = Recipe.from_dict(header.recipe)
    classifier = build_network(
        header.network,
        image_shape=header.image_shape,
        n_classes=header.n_classes,
        mean=header.mean,
        std=header.std,
        seed=seed,
    )
    fit(
        classifier,
        image_set,
        recipe,
        seed=seed,
        forget_ids=forget_ids,
        device=device,
        progress=progress,
        should_stop=should_stop,
    )
    return classifier


def one_cycle(step: int, of: int, peak: float) -> float:
    """Learning rate of step 0…of−1: up from peak/25 over 30 % of the steps, then down to nearly 0,
    both along half a cosine (Smith and Topin 2018, arXiv 1708.07120)."""
    lowest, highest = peak / 25, peak
    top = 0.3 * of - 1
    if step <= top:
        share, start, end = step / top if top > 0 else 1.0, lowest, highest
    else:
        share, start, end = (step - top) / max(of - 1 - top, 1e-9), highest, lowest / 1e4
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@torch.inference_mode()
def accuracy_on_test(classifier: Classifier, image_set: ImageSet) -> float:
    """Share of the test pictures that the classifier names rightly, on its own device."""
    right, size = 0, forward_batch(classifier.device)
    for images, labels in zip(
        image_set.test_images.split(size), image_set.test_labels.split(size), strict=True
    ):
        predicted = classifier(images.to(classifier.device)).argmax(1)
        right += int((predicted.cpu() == labels).sum())
    return right / image_set.n_test


def _kept(image_set: ImageSet, forget_ids: Tensor | None) -> Tensor:
    """bool (n,): the training ids that are left; `BadInput` where that is too few."""
    kept = torch.ones(image_set.n_train, dtype=torch.bool)
    if forget_ids is not None and len(forget_ids):
        ids = forget_ids.cpu()
        if int(ids.min()) < 0 or int(ids.max()) >= image_set.n_train:
            raise BadInput(f"Forget ids must lie in 0–{image_set.n_train - 1}.")
        kept[ids] = False
    if int(kept.sum()) < 2:
        raise BadInput("Training needs at least two pictures that are not in the forget set.")
    return kept


def _batches(epoch: Epoch, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures and labels of each batch, on the device of the pictures."""
    shifts, flips = epoch.shifts.to(images.device), epoch.flips.to(images.device)
    moved = bool(epoch.shifts.any() or epoch.flips.any())
    for ids in epoch.batches:
        here = ids.to(images.device)
        batch = images[here]
        yield augmented(batch, shifts[here], flips[here]) if moved else batch, labels[here]


def _backward(
    classifier: Classifier, batch: Tensor, targets: Tensor, label_smoothing: float
) -> Tensor:
    """The mean loss of the batch (scalar, detached); its gradients are left on the parameters."""
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=batch.is_cuda):
        logits = classifier(batch)
    loss = functional.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)
    loss.backward()
    return loss.detach()


def _check_loss(total: Tensor, epoch: int) -> None:
    if not math.isfinite(total.item()):
        raise RunError(
            f"Training failed in epoch {epoch}: the loss is no longer a number. "
            "A smaller learning rate or a larger batch usually helps."
        )


def _repeatable(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which cuDNN picks only algorithms that give the same sums each time."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
