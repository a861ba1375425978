"""Numbers as people read them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return ``1 task`` or ``2 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def span(seconds: float) -> str:
    """Return a length of time, no more exact than anybody wants it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
