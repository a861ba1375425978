"""The trunk of the error tree, and how an error quotes what it was given."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import Any


def shown(value: object) -> str:
    """Return ``value`` as an error may quote it: its repr, at most 80 characters."""
    try:
        text = repr(value)
    except Exception:  # a repr of the user's own making may fail; the error must not
        text = object.__repr__(value)
    # ascii() would hide letters; repr() lets a few invisible ones pass.
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:81])
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` or nothing."""
    close = closest(name, known)
    return f"; did you mean {shown(close)}?" if close else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``; empty when none is."""
    # Bounded: comparing a long name with ten thousand others takes seconds.
    if len(name) > 80:
        return ""
    return next(iter(difflib.get_close_matches(name, list(islice(known, 500)), n=1)), "")


def listed(names: Iterable[str], *, limit: int = 20) -> str:
    """Return the names, comma separated and cut after ``limit``; ``none`` if there are none."""
    names = list(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + rest


def _rebuilt(cls: type[CloacaError], args: tuple[Any, ...], facts: dict[str, Any]) -> CloacaError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(facts)
    return error


class CloacaError(Exception):
    """Anything this package refuses or reports."""

    def __str__(self) -> str:
        # KeyError would print its repr.
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors take facts, not the text, so pickle cannot call them again.
        return _rebuilt, (type(self), self.args, self.__dict__)


class InvalidInput(CloacaError, ValueError):
    """A value the caller gave is refused. Nothing was stored."""


class InvalidDefinition(InvalidInput):
    """A task or a workflow that cannot be what its author wrote. Nothing was registered."""


class InvalidState(CloacaError, RuntimeError):
    """A call that is right in itself but not here or not now."""
