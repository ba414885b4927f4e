"""Numbers and counts as they read on every page."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """`91.2 %` of a share from 0 to 1; “not known” where there is none."""
    # The space before the sign does not break.
    return "not known" if share is None else f"{100 * share:.1f}\u00a0%"


def pictures(count: int) -> str:
    """`1 picture`, `1,437 pictures`"""
    return f"{count:,} {'picture' if count == 1 else 'pictures'}"


def sentence(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]
