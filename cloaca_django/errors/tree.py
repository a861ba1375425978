"""The trunk of the error tree, and how an error quotes what it was given."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import WrapperDescriptorType
from typing import Any

_LONGEST = 80
# Some parts of a long text are not looked at; a password behind its end is not shown either.
_SEARCHED = 1_000
# With as many bits a number has more digits than Python writes.
_MOST_BITS = 14_000
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
    deque: ("deque([", "])"),
}
_LOGIN = re.compile(r"://\S*@")
_PASSWORD = re.compile(r"(passw\w*|pwd)(\s*=\s*)('[^']*'?|[^\s&;]+)", re.IGNORECASE)


def shown(value: object) -> str:
    """Return ``value`` as an error may quote it: its repr, at most 80 characters.

    The login of a URL is left out: whoever gives one where something else belongs gave a password.
    A value of any size takes no longer than those 80 characters.
    """
    text = ""
    try:
        for piece in _pieces(value):
            text += piece
            if len(text) > _LONGEST:
                break
    except Exception:  # a repr of the user's own making may fail; the error must not
        text = object.__repr__(value)
    # ascii() would hide letters; repr() lets a few invisible ones pass.
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _pieces(value: Any) -> Iterator[str]:
    """Yield the repr of a value bit by bit, so that its end need not be made."""
    kind = type(value)
    if kind is str or kind is bytes:
        yield repr(_without_login(value)[: _LONGEST + 1])
    elif kind is int and value.bit_length() > _MOST_BITS:
        yield hex(value)
    elif kind in _BRACKETS and value:
        opening, closing = _BRACKETS[kind]
        yield opening
        yield from _items(value)
        yield f",{closing}" if kind is tuple and len(value) == 1 else closing
    elif base := _plain_base(kind):
        opening, closing = _BRACKETS[base]
        yield f"{kind.__name__}({opening}"
        yield from _items(value)
        yield f"{closing})"
    else:
        yield _without_login(repr(value)[:_SEARCHED])


def _plain_base(kind: type) -> type | None:
    """Return whose repr a derived kind of list or dict has, which makes it to its end; or None."""
    if kind in _BRACKETS or not (
        isinstance(kind.__repr__, WrapperDescriptorType) or hasattr(kind, "_fields")
    ):
        return None
    return next((base for base in kind.__mro__ if base in _BRACKETS), None)


def _items(value: Iterable[Any]) -> Iterator[str]:
    for at, item in enumerate(value):
        yield ", " if at else ""
        yield from _pieces(item)
        if isinstance(value, dict):
            yield ": "
            yield from _pieces(value[item])


def _without_login(text: Any) -> Any:
    if isinstance(text, bytes):
        # Text of one character for each byte, and back.
        return _without_login(text[:_SEARCHED].decode("latin-1")).encode("latin-1")
    searched = text[:_SEARCHED]
    found = _PASSWORD.sub(r"\1\2***", _LOGIN.sub("://***@", searched))
    is_cut = len(text) > _SEARCHED and "://" in found and "@" not in found
    return found.partition("://")[0] + "://***" if is_cut else found


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
