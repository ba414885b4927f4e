"""Errors meant for people: one sentence that says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ImuError(Exception):
    """A mistake the person can mend; `str(error)` is the sentence the page and terminal show."""


class BadInput(ImuError):
    """A value, set of ids, file or combination that cannot be used."""


class UnknownName(BadInput):
    """A name that no registry holds."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."
        super().__init__(f"There is no {kind} “{name}”. {hint}")
        self.kind, self.name, self.near = kind, name, near


class MissingData(ImuError):
    """Files of an image set that are not on this machine."""


class CheckpointError(ImuError):
    """A file of weights that does not fit what it is asked to be."""


class RunError(ImuError):
    """A run that does not exist, is incomplete, or could not be written."""


class NotGiven(ImuError):
    """A method reached for data it did not declare."""


class Cancelled(Exception):
    """Raised inside a job between two steps when the person pressed Cancel."""
