"""Reading moments that people write. Plain Python; what is returned is aware UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from cloaca_django.errors import InvalidTimestamp


def read_moment(value: Any, option: str = "since") -> datetime:
    """Return a moment from ISO 8601 text, a ``datetime`` or a ``date`` (its midnight).

    Without an offset it is this process's local time, as ``datetime.astimezone()`` reads it: a
    time that occurs twice is the first one. Raises InvalidTimestamp, TypeError.
    """
    if isinstance(value, str):
        moment = _from_text(value)
    elif isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    else:
        raise TypeError(
            f"{option} must be ISO 8601 text, a datetime or a date, not {type(value).__name__}"
        )
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError):  # outside of what the platform's clock can say
        raise InvalidTimestamp(value) from None


def _from_text(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidTimestamp(value) from None
