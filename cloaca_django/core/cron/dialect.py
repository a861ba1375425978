"""The text of a cron expression: what we accept, and why the rest is refused. No times, no zones.

Everything is checked here, and spelled out in plain numbers, before croniter sees it: croniter
takes more (seconds, years, ``L``, ``#``, random fields), wraps ranges that start after their end
and reads ``5-5`` as the whole field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from croniter import croniter

from cloaca_django.errors import InvalidCronExpression, shown

MAX_LENGTH = 128

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_BLANKS = " \t\r\n"
_ITEM = re.compile(r"(\*|[0-9A-Z]+)(?:-([0-9A-Z]+))?(?:/([0-9A-Z]*))?")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# Other dialects have them; each is refused by its name.
_FOREIGN = {
    "?": "? is not supported",
    "#": "# (the nth weekday of a month) is not supported",
    "W": "W (the nearest weekday) is not supported",
    "L": "L (the last one) is not supported",
    "R": "R (a random value) is not supported",
    "~": "~ (a random value) is not supported",
    "H": "H (a hashed value) is not supported",
}
_ALLOWED = "write *, numbers, lists a,b, ranges a-b and steps /n"


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five columns. ``last`` is the end of ``*``; Sunday's second number lies behind."""

    name: str
    low: int
    high: int
    last: int
    names: dict[str, int] = field(default_factory=dict)
    named_ends: tuple[str, str] = ("", "")

    @property
    def size(self) -> int:
        """How many different values there are."""
        return self.last - self.low + 1


FIELDS = (
    Field("minute", 0, 59, 59),
    Field("hour", 0, 23, 23),
    Field("day", 1, 31, 31),
    Field("month", 1, 12, 12, {name: at for at, name in enumerate(_MONTHS, 1)}, ("JAN", "DEC")),
    Field("weekday", 0, 7, 6, {name: at for at, name in enumerate(_WEEKDAYS)}, ("MON", "SUN")),
)
_COLUMNS = " ".join(column.name for column in FIELDS)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A refusal on its way to where the whole expression is known."""


def cleaned(expression: Any) -> str:
    """Return the expression without needless blanks; TypeError if it is no text."""
    if not isinstance(expression, str):
        raise TypeError(f"a cron expression must be a str, not {type(expression).__name__}")
    try:
        return " ".join(_checked_text(expression).split())
    except _Refused as refusal:
        raise InvalidCronExpression(expression[:100], str(refusal)) from None


def spelled_out(expression: str) -> tuple[str, ...]:
    """Return the five fields of a cleaned expression in plain numbers.

    What is left is ``*``, ``*/n``, ``a``, ``a-b`` with a < b, ``a-b/n``, and lists of these.
    """
    try:
        columns = columns_of(expression)
        return tuple(_plain(*pair) for pair in zip(FIELDS, columns, strict=True))
    except _Refused as refusal:
        raise InvalidCronExpression(expression, str(refusal)) from None


def columns_of(expression: str) -> list[str]:
    """Return the five fields as they were written, in capitals; an alias is expanded."""
    if expression.startswith("@"):
        expression = _expanded(expression)
    columns = expression.upper().split()
    if len(columns) != len(FIELDS):
        more = "; seconds and a year field are not supported" if len(columns) > len(FIELDS) else ""
        raise _Refused(f"needs 5 fields ({_COLUMNS}), got {len(columns)}{more}")
    return columns


def values_of(plain: tuple[str, ...]) -> tuple[frozenset[int], ...]:
    """Return the values that each of five spelled-out fields stands for; Sunday is 0."""
    expanded, _ = croniter.expand(" ".join(plain))
    return tuple(_values(*pair) for pair in zip(FIELDS, expanded, strict=True))


def _checked_text(expression: str) -> str:
    if len(expression) > MAX_LENGTH:
        raise _Refused(f"longer than {MAX_LENGTH} characters")
    text = expression.strip(_BLANKS)
    if not text:
        raise _Refused(f"empty; give 5 fields: {_COLUMNS}")
    if not text.isascii():
        raise _Refused("ASCII only; write digits 0-9 and plain * , - /")
    if not text.replace("\t", " ").isprintable():
        raise _Refused("one line of plain text only; remove the line break or control character")
    return text


def _expanded(alias: str) -> str:
    try:
        return ALIASES[alias.lower()]
    except KeyError:
        name, _, _ = alias.partition(" ")
        known = ", ".join(ALIASES)
        raise _Refused(f"{name} is not supported; use {known} or 5 fields") from None


def _plain(column: Field, text: str) -> str:
    items = [_plain_item(column, item) for item in text.split(",")]
    return "*" if "*" in items else ",".join(items)


def _plain_item(column: Field, text: str) -> str:
    if not text:
        raise _refused(column, "empty item in a list; remove the comma")
    match = _ITEM.fullmatch(text)
    if match is None or (match[1] == "*" and match[2]):
        raise _not_understood(column, text)
    start, end, step = match.groups()
    by = 1 if step is None else _step(column, step)
    if start == "*":
        return "*" if by == 1 else f"*/{by}"
    low, high = _bounds(column, start, end or start)
    if end is None and step is not None:
        high = max(low, column.last)
    if low == high:
        return str(low)
    return f"{low}-{high}" if by == 1 else f"{low}-{high}/{by}"


def _bounds(column: Field, start: str, end: str) -> tuple[int, int]:
    low, high = _value(column, start), _value(column, end)
    if start == end:
        return low, high
    # By name the week runs from Monday to Sunday, so that FRI-SUN is what it says.
    low, high = (7 if name == "SUN" else at for name, at in ((start, low), (end, high)))
    if low > high:
        instead = _two(column, start, end)
        raise _refused(column, f"range start after end in {start}-{end}; write {instead}")
    return low, high


def _two(column: Field, start: str, end: str) -> str:
    """Return the two ranges that somebody means who lets one run over the field's end."""
    is_named = start.isalpha() and end.isalpha()
    first, last = column.named_ends if is_named else (str(column.low), str(column.last))
    before = start if start in (last, str(column.high)) else f"{start}-{last}"
    after = end if end == first else f"{first}-{end}"
    return f"{before},{after}"


def _value(column: Field, text: str) -> int:
    if text in column.names:
        return column.names[text]
    if not text.isdigit():
        raise _not_understood(column, text)
    number = int(text)
    if not column.low <= number <= column.high:
        bounds = f"({column.low}-{column.high})"
        raise _refused(column, f"{shown(number)} is out of range {bounds}")
    return number


def _step(column: Field, text: str) -> int:
    if not text.isdigit():
        raise _refused(column, f"step must be a number, not {shown(text)}")
    number = int(text)
    if number < 1:
        raise _refused(column, "step must be >= 1")
    if number > column.size:
        raise _refused(column, f"step {shown(number)} is larger than the field (1-{column.size})")
    return number


def _not_understood(column: Field, text: str) -> _Refused:
    if any(text in other.names for other in FIELDS):
        return _refused(column, f"the name {text} is not valid in this field; {_ALLOWED}")
    # Names hold these letters too.
    signs = re.sub("[A-Z]{3,}", "", text)
    for sign, problem in _FOREIGN.items():
        if sign in signs:
            return _refused(column, f"{problem}; {_ALLOWED}")
    return _refused(column, f"{shown(text)} is not understood; {_ALLOWED}")


def _refused(column: Field, problem: str) -> _Refused:
    return _Refused(f"{column.name}: {problem}")


def _values(column: Field, expanded: list[Any]) -> frozenset[int]:
    if "*" in expanded:
        return frozenset(range(column.low, column.last + 1))
    return frozenset(0 if column.name == "weekday" and at == 7 else at for at in expanded)
