"""Numbers as people read them, and sentences that can be said in other languages."""

from __future__ import annotations

from collections.abc import Mapping


class Said(str):
    """An English sentence that remembers what it was made of: the admin says it in others.

    ``template`` is with the parts as ``%(name)s``; ``plural`` is the same for several, where the
    part ``count`` decides. A part may be said itself.
    """

    template: str
    plural: str
    parts: Mapping[str, object]


def said(template: str, **parts: object) -> Said:
    """Return a sentence; both templates of the catalogues are looked for in calls of this."""
    return _made(template, "", parts)


def said_of(template: str, plural: str, *, count: int, **parts: object) -> Said:
    """Return a sentence about ``count`` things."""
    return _made(template, plural, {"count": count, **parts})


def _made(template: str, plural: str, parts: Mapping[str, object]) -> Said:
    is_many = bool(plural) and parts["count"] != 1
    made = Said((plural if is_many else template) % parts)
    made.template, made.plural, made.parts = template, plural, parts
    return made


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
