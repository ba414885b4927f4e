"""A trained classifier of the digits and tasks on it, for the tests of methods."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from imu_core.images import ImageSet
from imu_core.methods.fisher import diagonal_fisher
from imu_core.methods.registry import get_method
from imu_core.methods.task import Pictures, Task, pictures_of
from imu_core.networks import Classifier
from imu_core.training import train_original

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def digits_original(digits) -> Classifier:
    """digits-cnn trained on all digits."""
    return train_original(digits, "digits-cnn", seed=0, device=CPU)[0]


@pytest.fixture(scope="session")
def few_digits(digits) -> ImageSet:
    """200 training and 100 test digits."""
    return ImageSet(
        name="digits",
        title="Few digits",
        train_images=digits.train_images[:200],
        train_labels=digits.train_labels[:200],
        test_images=digits.test_images[:100],
        test_labels=digits.test_labels[:100],
        class_names=digits.class_names,
    )


def retain_ids(image_set: ImageSet, ids: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(image_set.n_train, dtype=torch.bool)
    mask[ids] = False
    return mask.nonzero().flatten()


@pytest.fixture(scope="session")
def task_of():
    """A function (method name, model, image set, forget ids, seed) → the task its needs allow."""

    def make(
        name: str, model: Classifier, image_set: ImageSet, ids: torch.Tensor, seed: int = 0
    ) -> Task:
        needs = get_method(name).needs
        n_test = len(image_set.test_labels)
        heldout = Pictures(image_set.test_images, image_set.test_labels, torch.arange(n_test))
        fisher = None
        if "fisher" in needs:
            fisher = diagonal_fisher(model, image_set.train_images, image_set.train_labels)
        retain = pictures_of(image_set, retain_ids(image_set, ids), CPU)
        return Task(
            copy.deepcopy(model),
            pictures_of(image_set, ids, CPU),
            generator=torch.Generator().manual_seed(seed),
            retain=retain if "retain" in needs else None,
            heldout=heldout if "heldout" in needs else None,
            fisher=fisher,
        )

    return make


@pytest.fixture(scope="session")
def unlearn(task_of):
    """A function that runs a method to its end: (task, steps)."""

    def run(name, model, image_set, ids, seed=0, **parameters):
        task = task_of(name, model, image_set, ids, seed)
        method = get_method(name)
        steps = list(method.steps(task, method.config.from_mapping(parameters)))
        task.model.eval()
        return task, steps

    return run


@pytest.fixture
def linear_case():
    """A linear classifier of 4×4 pictures of three classes: 12 to forget, 18 to retain."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(30) % 3
    head = nn.Linear(16, 3)
    with torch.no_grad():
        head.weight.copy_(torch.randn(3, 16, generator=generator))
        head.bias.copy_(torch.randn(3, generator=generator))
    model = Classifier(nn.Flatten(), head, [0.5], [0.3])
    parts = [Pictures(images[a:b], labels[a:b], torch.arange(a, b)) for a, b in ((0, 12), (12, 30))]
    return Task(
        model,
        parts[0],
        generator=torch.Generator().manual_seed(0),
        retain=parts[1],
        heldout=parts[1],
        fisher=diagonal_fisher(
            model, torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
        ),
    )


@pytest.fixture
def one_step():
    """A function that runs one full-batch step of plain SGD with lr 0.1: the change of each weight
    divided by −0.1, which is the gradient of the loss."""

    def run(name, task, **parameters):
        method = get_method(name)
        known = {item["name"] for item in method.parameters()}
        plain = {"lr": 0.1, "momentum": 0, "weight_decay": 0, "epochs": 1, "batch_size": 1000}
        chosen = {k: v for k, v in plain.items() if k in known} | parameters
        before = [p.detach().clone() for p in task.model.parameters()]
        steps = list(method.steps(task, method.config.from_mapping(chosen)))
        assert len(steps) == 1
        return [
            (a - p.detach()) / 0.1 for a, p in zip(before, task.model.parameters(), strict=True)
        ]

    return run
