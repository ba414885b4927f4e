"""Wrong labels for the forget pictures: random, nearest, or as a person gives them."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from imu_core.errors import BadInput
from imu_core.methods.answers import logits_of, nearest_wrong
from imu_core.methods.task import Pictures, Task


def random_wrong(labels: Tensor, n_classes: int, generator: torch.Generator) -> Tensor:
    """For each label another one, uniform over the other classes: int64 (n,).

    A shift by 1 to K − 1 can never hit the true label; the usual "draw, and replace if equal" can.
    """
    shift = torch.randint(1, n_classes, labels.shape, generator=generator)
    return (labels + shift.to(labels.device)) % n_classes


def relabel_targets(text: str, task: Task) -> Tensor:
    """The wrong label wanted for each forget picture: int64 (n,).

    `nearest`: the original's most probable wrong class. `4`: this class for all. `3:5,4:9`: by the
    true class. `id17:5,id40:2` (or `1017:5`, where 1017 cannot be a class): by training id.
    """
    labels, n_classes = task.forget.labels, task.model.n_classes
    spec = re.sub(r"\s+", "", text)
    if spec == "nearest":
        return nearest_wrong(logits_of(task.original, task.forget), labels)
    if re.fullmatch(r"\d+", spec):
        targets = torch.full_like(labels, int(spec))
    elif re.fullmatch(r"(id)?\d+:\d+(,(id)?\d+:\d+)*", spec):
        pairs = dict(item.split(":") for item in spec.split(","))
        if len(pairs) < spec.count(":"):
            raise BadInput("The relabel targets name a class or picture twice; keep one of them.")
        by_id = any(key.startswith("id") or int(key) >= n_classes for key in pairs)
        wanted = {int(key.removeprefix("id")): int(value) for key, value in pairs.items()}
        targets = _look_up(wanted, task.forget.ids if by_id else labels.cpu(), by_id)
        targets = targets.to(labels.device)
    else:
        raise BadInput(
            f"“{text}” gives no relabel targets. Use nearest, one class (4), one per class "
            "(3:5,4:9) or one per picture (id17:5,id40:2)."
        )
    _check(targets, task.forget, n_classes)
    return targets


def _look_up(wanted: dict[int, int], keys: Tensor, by_id: bool) -> Tensor:
    missing = sorted(set(keys.tolist()) - set(wanted))
    if missing:
        kind = "picture" if by_id else "class"
        shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise BadInput(f"The relabel targets say nothing about {kind} {shown}; add it.")
    return torch.tensor([wanted[key] for key in keys.tolist()], dtype=torch.int64)


def _check(targets: Tensor, forget: Pictures, n_classes: int) -> None:
    if int(targets.max()) >= n_classes:
        raise BadInput(
            f"The relabel target {int(targets.max())} is no class; classes are 0–{n_classes - 1}."
        )
    equal = (targets == forget.labels).nonzero().flatten()
    if len(equal):
        first = int(equal[0])
        raise BadInput(
            f"The relabel target of picture {int(forget.ids[first])} is its true label "
            f"({int(targets[first])}); a picture can only be relabelled to another class."
        )
