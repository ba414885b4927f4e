"""The registry of unlearning methods. Forms, terminal flags and the README's table come from it."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from imu_core.errors import BadInput, UnknownName
from imu_core.methods.task import Task

Need = Literal["forget", "retain", "heldout", "fisher"]
Scope = Literal["head", "last layers", "all", "head or all", "none"]


def parameter(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field of a method's config, with the sentence and the range people are shown."""
    return field(
        default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices}
    )


@dataclass(frozen=True)
class MethodConfig:
    """Parameters of a method; every value is checked against the range its field declares."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MethodConfig:
        """A config from names to values or their text (as `--set name=value` and forms give)."""
        known = {item.name: item for item in dataclasses.fields(cls)}
        chosen = {}
        for name, value in values.items():
            if name not in known:
                raise UnknownName("parameter", name, known)
            chosen[name] = _parse(known[name], value)
        return cls(**chosen)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _parse(item: dataclasses.Field, value: Any) -> Any:
    kind = type(item.default)
    try:
        if isinstance(value, str) and kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                value.strip().lower()
            ]
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        return int(float(value)) if kind is int else kind(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(
            kind, "a text"
        )
        raise BadInput(f"Parameter {item.name} must be {expected}, not “{value}”.") from None


def _check(item: dataclasses.Field, value: Any) -> None:
    low, high, choices = (item.metadata.get(key) for key in ("low", "high", "choices"))
    if choices is not None and value not in choices:
        raise BadInput(f"Parameter {item.name} must be one of {', '.join(choices)}, not “{value}”.")
    # Written so that NaN fails too.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        upper = f" and at most {high:g}" if high is not None else ""
        lower = f" at least {low:g}" if low is not None else ""
        raise BadInput(f"Parameter {item.name} must be{lower}{upper}, not {value}.")


@dataclass(frozen=True)
class WeightStatistics:
    """How a method weighed its forget samples: of `n` samples, `used` have a weight above 0."""

    n: int
    used: int
    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Step:
    """What a method yields after each update: number (from 1), of how many, and what to draw."""

    number: int
    of: int
    loss: float
    weights: WeightStatistics | None = None
    note: str = ""
    """What the method is doing, in a few words, where a plain count would not say it."""
    report: Mapping[str, float | None] | None = None
    """A row of the method's own table, by column: whole numbers are counts, others shares."""


StepFunction = Callable[[Task, Any], Iterator[Step]]


@dataclass(frozen=True)
class Method:
    """An unlearning method: what it is, what it is given, and the generator that does it."""

    name: str
    title: str
    needs: tuple[Need, ...]
    scope: Scope
    paper: str
    summary: str
    formula: str
    """LaTeX."""
    config: type[MethodConfig]
    steps: StepFunction

    def parameters(self) -> list[dict[str, Any]]:
        """Name, kind, default, sentence and range of each parameter, in order, as plain data."""
        return [
            {
                "name": item.name,
                "kind": type(item.default).__name__,
                "default": item.default,
                **{key: item.metadata[key] for key in ("doc", "low", "high", "choices")},
            }
            for item in dataclasses.fields(self.config)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The entry of `imu methods --json`."""
        return {
            "name": self.name,
            "title": self.title,
            "needs": list(self.needs),
            "scope": self.scope,
            "paper": self.paper,
            "summary": self.summary,
            "parameters": self.parameters(),
        }


_METHODS: dict[str, Method] = {}


def register(
    name: str,
    *,
    title: str,
    needs: tuple[Need, ...],
    scope: Scope,
    paper: str,
    summary: str,
    formula: str,
    config: type[MethodConfig],
) -> Callable[[StepFunction], StepFunction]:
    """A decorator that puts a generator `(task, config) -> steps` into the registry."""

    def add(steps: StepFunction) -> StepFunction:
        if name in _METHODS and _METHODS[name].steps.__module__ != steps.__module__:
            raise ValueError(f"Two methods are called “{name}”.")
        _METHODS[name] = Method(name, title, needs, scope, paper, summary, formula, config, steps)
        return steps

    return add


@cache
def _load_all() -> None:
    package = importlib.import_module("imu_core.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"imu_core.methods.{module.name}")


def all_methods() -> list[Method]:
    """Every method, by name."""
    _load_all()
    return [_METHODS[name] for name in sorted(_METHODS)]


def get_method(name: str) -> Method:
    """The method of this name; an unknown one is an `UnknownName` that lists the near ones."""
    _load_all()
    if name not in _METHODS:
        raise UnknownName("method", name, sorted(_METHODS))
    return _METHODS[name]
