"""What callers of the engine give it besides contexts: ids, options, an operator's words, seconds.

Each is checked here and nowhere else, before anything is written. No text of an error holds a value
of a context.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cloaca_django.core import options
from cloaca_django.core.context import Context
from cloaca_django.errors import (
    InvalidContextType,
    InvalidIdentifier,
    InvalidIdentifierType,
    InvalidOption,
    InvalidOptionType,
    InvalidPage,
    InvalidPageType,
    UnknownOption,
)

MAX_REASON = 10_000
# The columns of who submitted, paused or cancelled.
MAX_AUTHOR = 255
MAX_LIMIT = 1_000
MAX_OFFSET = 1_000_000_000
# As long as a run may take: see conf.PIPELINE_TIMEOUT_SECONDS.
YEAR = 365 * 86_400

# UUID() itself forgives braces, blanks, underscores and the digits of every alphabet.
_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# A deadline is up to a year after the start, and no database goes on after the year 9999 as
# Python's datetime does not.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9998, 1, 1, tzinfo=UTC)


def run_id(value: object) -> UUID:
    """Return a run's id from a UUID or its text. Raises InvalidIdentifier."""
    return _id("run", value)


def schedule_id(value: object) -> UUID:
    """Return a schedule's id from a UUID or its text. Raises InvalidIdentifier."""
    return _id("schedule", value)


def page(limit: object, offset: object, *, default: int | None = None) -> slice:
    """Return which part of a list is asked for; ``limit`` None: ``default``. Raises InvalidPage."""
    start = 0 if offset is None else _page_number("offset", offset, high=MAX_OFFSET)
    room = default if limit is None else _page_number("limit", limit, high=MAX_LIMIT)
    return slice(start, None if room is None else start + room)


def run_options(owner: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a caller says about a run. Raises InvalidOption, UnknownOption.

    ``owner`` is the call, as ``enqueue()``.
    """
    return {name: _run_option(owner, name, value) for name, value in facts.items()}


def check_words(owner: str, *, by: object = "", reason: object = "") -> None:
    """Check who an operator says to be, and why. Raises InvalidOption."""
    _author(owner, "by", by)
    _reason(owner, "reason", reason)


def seconds(owner: str, option: str, value: object) -> float | None:
    """Return a length of time; None if it is not given. Raises InvalidOption."""
    return None if value is None else options.number(owner, option, value, low=0, high=YEAR)


def context(value: object) -> Context:
    """Return ``value`` if it is a Context. Raises InvalidContextType."""
    if not isinstance(value, Context):
        kind = type(value).__name__
        raise InvalidContextType(
            "$", f"context must be a Context, not {kind}; write Context({{...}})"
        )
    return value


def contexts(value: object) -> Iterable[Any]:
    """Return ``value`` if it can be a list of contexts. Raises InvalidContextType."""
    # What a caller has who means one run; its keys or letters are no contexts.
    if not isinstance(value, Iterable) or isinstance(value, Mapping | str | bytes):
        kind = type(value).__name__
        raise InvalidContextType("$", f"contexts must be a list of Contexts, not {kind}")
    return value


def _id(kind: str, value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise InvalidIdentifierType(kind, value)
    if not _UUID.fullmatch(value):
        raise InvalidIdentifier(kind, value)
    return UUID(value)


def _page_number(name: str, value: object, *, high: int) -> int:
    rule = f"must be an integer 0-{high}, or None"
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidPageType(name, value, rule)
    if not 0 <= value <= high:
        raise InvalidPage(name, value, rule)
    return value


def _run_option(owner: str, name: str, value: object) -> Any:
    check = _CHECKS.get(name)
    if check is None:
        raise UnknownOption(owner, name, _CHECKS)
    return check(owner, name, value)


def _start(owner: str, name: str, value: object) -> datetime | None:
    rule = "must be an aware datetime of the years 1970 to 9997, such as timezone.now()"
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidOptionType(owner, name, value, rule=rule)
    if value.utcoffset() is None or not _EARLIEST <= value < _LATEST:
        raise InvalidOption(owner, name, value, rule=rule)
    return value


def _key(owner: str, name: str, value: object) -> str | None:
    return None if value is None else options.text(owner, name, value, low=1, high=255)


def _author(owner: str, name: str, value: object) -> str:
    return options.text(owner, name, value, high=MAX_AUTHOR)


def _reason(owner: str, name: str, value: object) -> str:
    return options.text(owner, name, value, high=MAX_REASON)


_CHECKS: Mapping[str, Callable[[str, str, object], Any]] = {
    "start_at": _start,
    "priority": options.priority,
    "queue": options.queue_name,
    "idempotency_key": _key,
    "created_by": _author,
    "reason": _reason,
}
