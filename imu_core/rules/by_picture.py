"""Rules that need no model: by class, by chance, by id, from a file."""

from __future__ import annotations

import difflib
import re

import torch

from imu_core.errors import BadInput
from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import check_ids, load_forget_set, n_pictures
from imu_core.images.image_set import ImageSet

N_SHOWN = 6
N_NAMES = 12


@forget_rule("class", "3,5", "Every training picture of a class: the request to drop a concept.")
def by_class(context: RuleContext, argument: str) -> Proposal:
    names = context.image_set.class_names
    # A class name may hold a comma itself.
    whole = argument.casefold() in (name.casefold() for name in names)
    parts = [argument] if whole else [part.strip() for part in argument.split(",")]
    labels = list(dict.fromkeys(_label(part, context.image_set) for part in parts))
    ids = [i for label in labels for i in context.image_set.ids_of_class(label).tolist()]
    if not ids:
        raise BadInput(f"Class {argument} has no training pictures; choose another one.")
    called = ", ".join(names[label] for label in labels)
    return Proposal(ids, f"class {called} ({n_pictures(len(ids))})")


def _label(text: str, image_set: ImageSet) -> int:
    """The label of a class given by name or, where no class is called so, by number."""
    names = [name.casefold() for name in image_set.class_names]
    if text.casefold() in names:
        return names.index(text.casefold())
    if re.fullmatch("[0-9]{1,9}", text) and int(text) < len(names):
        return int(text)
    near = difflib.get_close_matches(text.casefold(), names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    shown = ", ".join(image_set.class_names[:N_NAMES])
    more = " and so on" if len(names) > N_NAMES else ""
    raise BadInput(
        f"There is no class “{text}” in “{image_set.name}”: the classes are 0 to {len(names) - 1}, "
        f"or by name: {shown}{more}.{hint}"
    )


@forget_rule(
    "random", "10% or 100", "Pictures drawn by chance: single people asking to be dropped."
)
def by_chance(context: RuleContext, argument: str) -> Proposal:
    n = context.image_set.n_train
    count = count_of(argument, n, "random")
    generator = torch.Generator().manual_seed(context.seed)
    ids = torch.randperm(n, generator=generator)[:count].tolist()
    return Proposal(ids, f"{n_pictures(count)} drawn at random, seed {context.seed}")


@forget_rule("ids", "4,8,15", "These very pictures, by their ids.")
def by_id(context: RuleContext, argument: str) -> Proposal:
    parts = [part.strip() for part in argument.split(",") if part.strip()]
    bad = next((part for part in parts if not re.fullmatch("-?[0-9]{1,18}", part)), None)
    if bad is not None or not parts:
        wrong = f"“{bad}” is not an id; " if bad is not None else ""
        raise BadInput(
            f"ids={argument}: {wrong}give whole numbers with commas between, such as ids=4,8."
        )
    ids = [int(part) for part in parts]
    check_ids(ids, context.image_set)
    shown = ", ".join(map(str, ids[:N_SHOWN])) + (" …" if len(ids) > N_SHOWN else "")
    return Proposal(ids, f"ids {shown} ({n_pictures(len(ids))})")


@forget_rule("file", "set.csv", "A set saved before, as CSV (column id) or JSON.")
def from_file(context: RuleContext, argument: str) -> Proposal:
    if not argument:
        raise BadInput("file= names no file; give the path of a .csv or .json file.")
    loaded = load_forget_set(argument, context.image_set)
    return Proposal(list(loaded.ids), ", then ".join(loaded.history))
