"""The registry of rules that propose forget sets, and the SPEC language that joins them.

The rules themselves are in `imu_core.rules`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from imu_core.errors import BadInput, UnknownName
from imu_core.forget_set import ForgetSet
from imu_core.images.image_set import ImageSet

if TYPE_CHECKING:
    from imu_core.evaluation.outputs import Outputs


@dataclass(frozen=True)
class RuleContext:
    """What a rule may look at: the pictures, a seed, and the model's outputs, computed if asked."""

    image_set: ImageSet
    seed: int = 0
    compute_outputs: Callable[[], Outputs] | None = field(default=None, compare=False)
    report: Callable[[int, int, str], None] | None = field(default=None, compare=False)
    """Told how far a slow rule is: done, of, text; it may raise `Cancelled`."""

    @cached_property
    def outputs(self) -> Outputs:
        """Outputs of the original; a rule that needs them without a model is a `BadInput`."""
        if self.compute_outputs is None:
            raise BadInput("This rule looks at a model's outputs; choose a model first.")
        return self.compute_outputs()


@dataclass(frozen=True)
class Proposal:
    """Ids that a rule proposes, in any order, and how it says so in the history."""

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


@cache
def _load_all() -> None:
    package = importlib.import_module("imu_core.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"imu_core.rules.{module.name}")


def _rules() -> Mapping[str, ForgetRule]:
    _load_all()
    return _RULES


def forget_rules() -> list[ForgetRule]:
    """Every rule; those that need no model first."""
    return sorted(_rules().values(), key=lambda rule: rule.needs_outputs)


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
    rules, context = _rules(), RuleContext(image_set, seed, outputs)
    result: ForgetSet | None = None
    for sign, name, argument in _terms(spec):
        if name not in rules:
            raise UnknownName("rule for a forget set", name, rules)
        proposal = rules[name].propose(context, argument)
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
    """(sign, rule, argument) of each term."""
    text = spec.strip()
    if not text:
        return []
    starts = _starts(text)
    if starts[:1] != [0]:
        raise BadInput(
            f"“{spec}” is no forget set. Write terms such as class=3, random=10%, ids=4,8,15 or "
            f"file=set.csv, joined by + and -. Rules: {', '.join(_rules())}."
        )
    terms = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        term = text[start:end].strip()
        sign = term[0] if term[0] in "+-" else "+"
        name, _, argument = term.lstrip("+-").strip().partition("=")
        terms.append((sign, name, argument.strip()))
    return terms


def _starts(text: str) -> list[int]:
    """Where terms begin: at a sign before `name=`, so that names and negative numbers keep theirs.

    Inside a path only the name of a rule begins a term, since `a-b=c.csv` may be a file.
    """
    starts, in_path = [], False
    known = "|".join(map(re.escape, _rules()))
    for match in re.finditer(rf"(?:^|[+-])\s*({known}|[a-z][a-z_]*)=", text):
        if in_path and match[1] not in _rules():
            continue
        starts.append(match.start())
        in_path = match[1] == "file"
    return starts


def count_of(argument: str, n: int, rule: str) -> int:
    """How many of `n` pictures an argument asks for: a whole number, or a share such as 10%."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(%?)", argument)
    if match is None or (not match[2] and "." in match[1]):
        raise BadInput(
            f"{rule}={argument}: give a whole number of pictures or a share such as {rule}=10%."
        )
    count = round(n * float(match[1]) / 100) if match[2] else int(match[1])
    if not 1 <= count <= n:
        raise BadInput(
            f"{rule}={argument} asks for {count:,} pictures; give from 1 to {n:,}, or a share up "
            "to 100%."
        )
    return count
