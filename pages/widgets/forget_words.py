"""The forget set in words: its classes, its share, and what stands in the way of using it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.widgets import resources

if TYPE_CHECKING:
    import numpy as np

MOST_CLASSES = 4


def class_counts(images: str, ids: tuple[int, ...]) -> np.ndarray:
    """How many of the ids lie in each class: int64 (K,)."""
    import numpy as np

    opened = resources.image_set(images)
    labels = opened.train_labels.numpy()[list(ids)]
    return np.bincount(labels, minlength=opened.n_classes)


def class_summary(images: str, ids: tuple[int, ...]) -> str:
    """`all of “3”`, `“3” (12 of 146), “5” (4 of 145)`, `24 classes, most of “cat” (60)`."""
    opened = resources.image_set(images)
    counts = class_counts(images, ids)
    order = sorted(counts.nonzero()[0], key=lambda label: -counts[label])
    sizes = [len(members) for members in resources.class_members(images)]
    if len(order) > MOST_CLASSES:
        top = order[0]
        return f"{len(order)} classes, most of “{opened.class_names[top]}” ({counts[top]:,})"
    return ", ".join(
        f"all of “{opened.class_names[label]}”"
        if counts[label] == sizes[label]
        else f"“{opened.class_names[label]}” ({counts[label]:,} of {sizes[label]:,})"
        for label in order
    )


def whole_classes(images: str, ids: tuple[int, ...]) -> list[int]:
    """Labels of the classes of which every training picture is in the set."""
    counts = class_counts(images, ids)
    members = resources.class_members(images)
    return [label for label, count in enumerate(counts) if count and count == len(members[label])]


def obstacle(images: str, ids: tuple[int, ...]) -> str:
    """Why this set cannot be unlearned; empty where it can."""
    n_train = resources.image_set(images).n_train
    if not ids:
        return "The forget set is empty: choose at least one picture."
    if len(ids) == n_train:
        return (
            "The forget set holds every training picture: leave some to be kept, "
            "or there is nothing left to know."
        )
    return ""
