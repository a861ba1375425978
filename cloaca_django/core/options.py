"""The checks that option values of tasks, policies and workflows have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any

from cloaca_django.errors import (
    InvalidName,
    InvalidNameType,
    InvalidOption,
    InvalidOptionType,
    OptionOutOfRange,
    UnknownChoice,
)

MAX_NAME_LENGTH = 255

# Each commit waits for the disk, or only the one that ends a run.
FULL, RELAXED = "full", "relaxed"

QUEUE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_TASK_NAME = re.compile(r"\w[\w.-]*")
_SCOPE_NAME = re.compile(r"\w(?:[\w .-]|:(?!:))*(?<! )")


def integer(owner: str, option: str, value: Any, *, low: int, high: int) -> int:
    """Return ``value`` as an ``int`` if it is one, and no ``bool``, between the bounds."""
    span = f"{low}-{high}" if low >= 0 else f"from {low} to {high}"
    rule = f"must be an integer {span}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidOptionType(owner, option, value, rule=rule)
    if not low <= value <= high:
        raise OptionOutOfRange(owner, option, value, rule=rule)
    return int(value)


def number(owner: str, option: str, value: Any, *, low: float, high: float) -> float:
    """Return ``value`` as a float if it is a finite number between the bounds."""
    rule = f"must be a number {low:.15g}-{high:.15g}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidOptionType(owner, option, value, rule=rule)
    if not low <= value <= high or not isfinite(value):
        raise OptionOutOfRange(owner, option, value, rule=rule)
    return float(value)


def boolean(owner: str, option: str, value: Any) -> bool:
    """Return ``value`` if it is True or False."""
    if type(value) is not bool:
        raise InvalidOptionType(owner, option, value, rule="must be a bool")
    return value


def choice(owner: str, option: str, value: Any, *, accepted: Iterable[str]) -> str:
    """Return ``value`` if it is one of the accepted words."""
    accepted = list(accepted)
    if not isinstance(value, str):
        raise InvalidOptionType(owner, option, value, rule=f"must be one of {accepted}")
    if value not in accepted:
        raise UnknownChoice(owner, option, value, accepted=accepted)
    return value


def durability(owner: str, option: str, value: Any) -> str:
    """Return ``value`` if it says what the commits in the middle of a run wait for."""
    return choice(owner, option, value, accepted=(FULL, RELAXED))


def function(owner: str, option: str, value: Any) -> Any:
    """Return ``value`` if it can be called."""
    if not callable(value):
        raise InvalidOptionType(owner, option, value, rule="must be a function")
    return value


def task_name(name: Any) -> str:
    """Return ``name`` if a task may be called that."""
    rule = (
        f"1 to {MAX_NAME_LENGTH} letters, digits, '_', '-' and '.', starting with a letter, "
        "a digit or '_'"
    )
    return _name("task", name, pattern=_TASK_NAME, rule=rule)


def scope_name(kind: str, name: Any) -> str:
    """Return ``name`` if a workflow, a package or a tenant may be called that."""
    rule = (
        f"1 to {MAX_NAME_LENGTH} letters, digits, inner spaces, '_', '-', '.' and ':', "
        "without '::', starting with a letter, a digit or '_'"
    )
    return _name(kind, name, pattern=_SCOPE_NAME, rule=rule)


def text(owner: str, option: str, value: Any, *, low: int = 0, high: int | None = None) -> str:
    """Return ``value`` if it is text that a database can store, of so many characters."""
    if not isinstance(value, str):
        raise InvalidOptionType(owner, option, value, rule="must be a str")
    if len(value) < low or (high is not None and len(value) > high):
        span = f"{low} to {high}" if low else f"at most {high}"
        raise InvalidOption(owner, option, value, rule=f"must have {span} characters")
    if "\x00" in value or (not value.isascii() and _has_surrogate(value)):
        raise InvalidOption(owner, option, value, rule="must not contain NUL or surrogates")
    # Exactly a str: the words that a class has for its values, as an Enum has, are not stored.
    return str.__str__(value)


def queue_name(owner: str, option: str, value: Any) -> str:
    """Return ``value`` if a queue may be called that."""
    rule = "must be 1 to 64 letters, digits, '.', '_' and '-'"
    if not isinstance(value, str):
        raise InvalidOptionType(owner, option, value, rule=rule)
    if not QUEUE_NAME.fullmatch(value):
        raise InvalidOption(owner, option, value, rule=rule)
    return str.__str__(value)


def priority(owner: str, option: str, value: Any) -> int:
    """Return ``value`` if it is a priority: higher runs first."""
    return integer(owner, option, value, low=-32_768, high=32_767)


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)


def _name(kind: str, name: Any, *, pattern: re.Pattern[str], rule: str) -> str:
    if not isinstance(name, str):
        raise InvalidNameType(kind, name, rule)
    if len(name) > MAX_NAME_LENGTH or not pattern.fullmatch(name):
        raise InvalidName(kind, name, rule)
    return name
