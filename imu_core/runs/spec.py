"""What a run is asked to do, as plain data, and the rules by which it stops."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imu_core.errors import BadInput

MOST_REFERENCES = 50


@dataclass(frozen=True)
class StopRule:
    """When a run ends before the method's own last step."""

    kind: Literal["method", "steps", "forget", "heldout"]
    steps: int = 0
    forget_accuracy: float = 0.0

    @property
    def sentence(self) -> str:
        return {
            "method": "after the method's own number of steps",
            "steps": f"after {self.steps:,} steps",
            "forget": f"when forget accuracy is at or below {self.forget_accuracy:.1%}",
            "heldout": "when forget accuracy is down to what the original reaches on held-out "
            "pictures of the same classes",
        }[self.kind]


def parse_stop(rule: str) -> StopRule:
    """The stop rule of `steps=200`, `forget<=0.01`, `forget<=heldout` or an empty text (the
    method's own number of steps)."""
    text = re.sub(r"\s+", "", rule)
    if not text:
        return StopRule("method")
    if text == "forget<=heldout":
        return StopRule("heldout")
    if match := re.fullmatch(r"steps=(\d+)", text):
        if int(match[1]) < 1:
            raise BadInput("The stop rule needs at least one step: steps=1 or more.")
        return StopRule("steps", steps=int(match[1]))
    if match := re.fullmatch(r"forget<=(\d*\.?\d+)", text):
        if float(match[1]) > 1:
            raise BadInput(
                f"The stop rule's accuracy is a fraction from 0 to 1 (0.01 is 1 %), not {match[1]}."
            )
        return StopRule("forget", forget_accuracy=float(match[1]))
    raise BadInput(
        f"“{rule}” is no stop rule. Use steps=200, forget<=0.01 (a fraction) or forget<=heldout."
    )


@dataclass(frozen=True)
class RunSpec:
    """One unlearning job: which pictures, model and forget set, which method, and how to stop."""

    image_set: str
    checkpoint: str
    """Path of the original's safetensors file."""
    forget_ids: tuple[int, ...]
    forget_history: tuple[str, ...]
    method: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    stop: str = ""
    retrain: int = 0
    """How many retrained references to compare with; two or more give the floor."""
    device: str = "auto"
    probe_every: int = 0
    """Steps between probes; 0 chooses."""
    protected_ids: tuple[int, ...] = ()
    """Retain pictures whose fate is to be watched; the method is not told of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.retrain <= MOST_REFERENCES:
            raise BadInput(
                f"The number of retrained references must be from 0 to {MOST_REFERENCES}, "
                f"not {self.retrain}."
            )
        if self.seed < 0:
            raise BadInput(f"The seed must be 0 or more, not {self.seed}.")
        if self.probe_every < 0:
            raise BadInput(f"The steps between probes must be 0 or more, not {self.probe_every}.")
        if both := set(self.protected_ids) & set(self.forget_ids):
            raise BadInput(
                f"{len(both):,} pictures are to be forgotten and protected at once "
                f"(the first is {min(both)}); take them out of one of the two sets."
            )
        parse_stop(self.stop)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        values = dict(data)
        values["forget_ids"] = tuple(values["forget_ids"])
        values["forget_history"] = tuple(values["forget_history"])
        values["protected_ids"] = tuple(values.get("protected_ids", ()))
        return cls(**values)
