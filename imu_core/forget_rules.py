"""Rules that propose forget sets, and the SPEC language that names and joins them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imu_core.errors import BadInput, UnknownName
from imu_core.forget_set import ForgetSet, check_ids, load_forget_set
from imu_core.images.image_set import ImageSet

if TYPE_CHECKING:
    from imu_core.evaluation.outputs import Outputs


@dataclass(frozen=True)
class RuleContext:
    """What a rule may look at: the pictures, a seed, and the model's outputs, computed if asked."""

    image_set: ImageSet
    seed: int = 0
    compute_outputs: Callable[[], Outputs] | None = field(default=None, compare=False)

    @cached_property
    def outputs(self) -> Outputs:
        """Outputs of the original; a rule that needs them without a model is a `BadInput`."""
        if self.compute_outputs is None:
            raise BadInput("This rule looks at a model's outputs; choose a model first.")
        return self.compute_outputs()

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of every training picture, float64 (n,)."""
        logits = torch.from_numpy(self.outputs.train_logits).double()
        return torch.nn.functional.cross_entropy(
            logits, self.image_set.train_labels, reduction="none"
        )


@dataclass(frozen=True)
class Proposal:
    """Ids that a rule proposes, and how it says so in the history."""

    ids: list[int]
    how: str


@dataclass(frozen=True)
class ForgetRule:
    """A way to choose pictures: its name in a SPEC, what it takes, and why one would choose it."""

    name: str
    argument: str
    sentence: str
    needs_outputs: bool
    propose: Callable[[RuleContext, str], Proposal]


_RULES: dict[str, ForgetRule] = {}


def forget_rule(
    name: str, argument: str, sentence: str, *, needs_outputs: bool = False
) -> Callable[[Callable[[RuleContext, str], Proposal]], Callable[[RuleContext, str], Proposal]]:
    """A decorator that puts `(context, argument) -> Proposal` into the registry of rules."""

    def add(
        propose: Callable[[RuleContext, str], Proposal],
    ) -> Callable[[RuleContext, str], Proposal]:
        if name in _RULES and _RULES[name].propose.__module__ != propose.__module__:
            raise ValueError(f"Two rules are called “{name}”.")
        _RULES[name] = ForgetRule(name, argument, sentence, needs_outputs, propose)
        return propose

    return add


def forget_rules() -> list[ForgetRule]:
    """Every rule, in the order it was registered."""
    return list(_RULES.values())


def parse_forget_spec(
    spec: str,
    image_set: ImageSet,
    *,
    seed: int = 0,
    outputs: Callable[[], Outputs] | None = None,
) -> ForgetSet:
    """The forget set of a SPEC such as `class=3`, `random=10%+ids=4,8`, `class=3-file=kept.csv`.

    Terms are joined by + and −, from left to right; every term is `rule=argument`. The result may
    be empty or everything: `ForgetSet.check_usable` decides whether it can be forgotten.
    """
    context = RuleContext(image_set, seed, outputs)
    result: ForgetSet | None = None
    for sign, name, argument in _terms(spec):
        if name not in _RULES:
            raise UnknownName("rule for a forget set", name, _RULES)
        proposal = _RULES[name].propose(context, argument)
        proposed = ForgetSet.of(image_set, proposal.ids, proposal.how)
        if result is not None:
            result = result.union(proposed) if sign == "+" else result.difference(proposed)
        elif sign == "+":
            result = proposed
        else:
            raise BadInput(f"“{spec}” begins with -, but there is nothing yet to take from.")
    if result is None:
        raise BadInput("The forget set is empty: write for example class=3 or random=10%.")
    return result


def _terms(spec: str) -> list[tuple[str, str, str]]:
    """(sign, rule, argument) of each term. Only a sign before `name=` splits, so that paths and
    negative numbers keep theirs."""
    text = spec.strip()
    if not text:
        return []
    starts = [m.start() for m in re.finditer(r"(?:^|[+-])\s*[a-z][a-z_-]*=", text)]
    if not starts or starts[0] != 0:
        raise BadInput(
            f"“{spec}” is no forget set. Write terms such as class=3, random=10%, ids=4,8,15 or "
            f"file=set.csv, joined by + and -. Rules: {', '.join(_RULES)}."
        )
    terms = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        term = text[start:end].strip()
        sign = term[0] if term[0] in "+-" else "+"
        name, _, argument = term.lstrip("+-").strip().partition("=")
        terms.append((sign, name, argument.strip()))
    return terms


def count_of(argument: str, n: int, rule: str) -> int:
    """How many of `n` pictures an argument asks for: a whole number, or a share such as 10%."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", argument)
    if match is None or (not match[2] and "." in match[1]):
        raise BadInput(
            f"{rule}={argument}: give a whole number of pictures or a share such as {rule}=10%."
        )
    count = round(n * float(match[1]) / 100) if match[2] else int(match[1])
    if not 1 <= count <= n:
        raise BadInput(f"{rule}={argument} asks for {count:,} pictures; there are {n:,}.")
    return count


@forget_rule("class", "3,5", "Every training picture of a class: the request to drop a concept.")
def _class(context: RuleContext, argument: str) -> Proposal:
    names = context.image_set.class_names
    labels = []
    for one in (part.strip() for part in argument.split(",")):
        if one in names:
            labels.append(names.index(one))
        elif one.isascii() and one.isdigit() and int(one) < len(names):
            labels.append(int(one))
        else:
            near = f"the classes are 0 to {len(names) - 1}, or by name: {', '.join(names[:12])}"
            more = " and so on" if len(names) > 12 else ""
            raise BadInput(
                f"There is no class “{one}” in “{context.image_set.name}”: {near}{more}."
            )
    ids = sorted({i for label in labels for i in context.image_set.ids_of_class(label).tolist()})
    if not ids:
        raise BadInput(f"Class {argument} has no training pictures.")
    called = ", ".join(names[label] for label in dict.fromkeys(labels))
    return Proposal(ids, f"class {called} ({len(ids):,} pictures)")


@forget_rule(
    "random", "10% or 100", "Pictures drawn by chance: single people asking to be dropped."
)
def _random(context: RuleContext, argument: str) -> Proposal:
    n = context.image_set.n_train
    count = count_of(argument, n, "random")
    generator = torch.Generator().manual_seed(context.seed)
    ids = torch.randperm(n, generator=generator)[:count].sort().values.tolist()
    return Proposal(ids, f"{count:,} drawn at random, seed {context.seed}")


@forget_rule("ids", "4,8,15", "These very pictures, by their ids.")
def _ids(context: RuleContext, argument: str) -> Proposal:
    parts = [part.strip() for part in argument.split(",") if part.strip()]
    bad = next((part for part in parts if not re.fullmatch(r"-?\d+", part)), None)
    if bad is not None or not parts:
        raise BadInput(f"ids={argument}: give whole numbers with commas between, such as ids=4,8.")
    ids = [int(part) for part in parts]
    check_ids(ids, context.image_set)
    shown = ", ".join(map(str, ids[:6])) + (" …" if len(ids) > 6 else "")
    return Proposal(ids, f"{len(ids):,} by id ({shown})")


@forget_rule("file", "set.csv", "A set saved before, as CSV (column id) or JSON.")
def _file(context: RuleContext, argument: str) -> Proposal:
    loaded = load_forget_set(argument, context.image_set)
    return Proposal(list(loaded.ids), ", then ".join(loaded.history))


@forget_rule(
    "hardest",
    "50",
    "The pictures with the highest loss: often mislabelled or odd, so the model has had to "
    "memorise them.",
    needs_outputs=True,
)
def _hardest(context: RuleContext, argument: str) -> Proposal:
    count = count_of(argument, context.image_set.n_train, "hardest")
    ids = context.losses.argsort(descending=True, stable=True)[:count].sort().values.tolist()
    return Proposal(ids, f"the {count:,} with the highest loss")


@forget_rule(
    "confident",
    "50",
    "The pictures the model is surest of: what it has learnt best, and what is hardest to undo.",
    needs_outputs=True,
)
def _confident(context: RuleContext, argument: str) -> Proposal:
    count = count_of(argument, context.image_set.n_train, "confident")
    ids = context.losses.argsort(stable=True)[:count].sort().values.tolist()
    return Proposal(ids, f"the {count:,} with the lowest loss")
