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

from cloaca_django.core.wording import Said, said
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
    "?": said("? is not supported"),
    "#": said("# (the nth weekday of a month) is not supported"),
    "W": said("W (the nearest weekday) is not supported"),
    "L": said("L (the last one) is not supported"),
    "R": said("R (a random value) is not supported"),
    "~": said("~ (a random value) is not supported"),
    "H": said("H (a hashed value) is not supported"),
}
_ALLOWED = said("write *, numbers, lists a,b, ranges a-b and steps /n")


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five columns. ``last`` is the end of ``*``; Sunday's second number lies behind."""

    name: Said
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
    Field(said("minute"), 0, 59, 59),
    Field(said("hour"), 0, 23, 23),
    Field(said("day"), 1, 31, 31),
    Field(
        said("month"), 1, 12, 12, {name: at for at, name in enumerate(_MONTHS, 1)}, ("JAN", "DEC")
    ),
    Field(
        said("weekday"), 0, 7, 6, {name: at for at, name in enumerate(_WEEKDAYS)}, ("MON", "SUN")
    ),
)
_COLUMNS = said("minute hour day month weekday")


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A refusal on its way to where the whole expression is known."""

    def __init__(self, problem: Said) -> None:
        super().__init__(problem)
        self.problem = problem


def cleaned(expression: Any) -> str:
    """Return the expression without needless blanks; TypeError if it is no text."""
    if not isinstance(expression, str):
        raise TypeError(f"a cron expression must be a str, not {type(expression).__name__}")
    try:
        return " ".join(_checked_text(expression).split())
    except _Refused as refusal:
        raise InvalidCronExpression(expression[:100], refusal.problem) from None


def spelled_out(expression: str) -> tuple[str, ...]:
    """Return the five fields of a cleaned expression in plain numbers.

    What is left is ``*``, ``*/n``, ``a``, ``a-b`` with a < b, ``a-b/n``, and lists of these.
    """
    try:
        columns = columns_of(expression)
        return tuple(_plain(*pair) for pair in zip(FIELDS, columns, strict=True))
    except _Refused as refusal:
        raise InvalidCronExpression(expression, refusal.problem) from None


def columns_of(expression: str) -> list[str]:
    """Return the five fields as they were written, in capitals; an alias is expanded."""
    if expression.startswith("@"):
        expression = _expanded(expression)
    columns = expression.upper().split()
    if len(columns) != len(FIELDS):
        facts = {"fields": _COLUMNS, "number": len(columns)}
        if len(columns) > len(FIELDS):
            raise _Refused(said(
                "needs 5 fields (%(fields)s), got %(number)d; "
                "seconds and a year field are not supported",
                **facts,
            ))  # fmt: skip
        raise _Refused(said("needs 5 fields (%(fields)s), got %(number)d", **facts))
    return columns


def values_of(plain: tuple[str, ...]) -> tuple[frozenset[int], ...]:
    """Return the values that each of five spelled-out fields stands for; Sunday is 0."""
    expanded, _ = croniter.expand(" ".join(plain))
    return tuple(_values(*pair) for pair in zip(FIELDS, expanded, strict=True))


def _checked_text(expression: str) -> str:
    if len(expression) > MAX_LENGTH:
        raise _Refused(said("longer than %(number)d characters", number=MAX_LENGTH))
    text = expression.strip(_BLANKS)
    if not text:
        raise _Refused(said("empty; give 5 fields: %(fields)s", fields=_COLUMNS))
    if not text.isascii():
        raise _Refused(said("ASCII only; write digits 0-9 and plain * , - /"))
    if not text.replace("\t", " ").isprintable():
        raise _Refused(
            said("one line of plain text only; remove the line break or control character")
        )
    return text


def _expanded(alias: str) -> str:
    try:
        return ALIASES[alias.lower()]
    except KeyError:
        name, _, _ = alias.partition(" ")
        facts = {"name": name, "known": ", ".join(ALIASES)}
        text = said("%(name)s is not supported; use %(known)s or 5 fields", **facts)
        raise _Refused(text) from None


def _plain(column: Field, text: str) -> str:
    items = [_plain_item(column, item) for item in text.split(",")]
    return "*" if "*" in items else ",".join(items)


def _plain_item(column: Field, text: str) -> str:
    if not text:
        raise _refused(column, said("empty item in a list; remove the comma"))
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
        facts = {"range": f"{start}-{end}", "instead": _two(column, start, end)}
        text = said("range start after end in %(range)s; write %(instead)s", **facts)
        raise _refused(column, text)
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
        facts = {"number": shown(number), "low": column.low, "high": column.high}
        raise _refused(column, said("%(number)s is out of range (%(low)d-%(high)d)", **facts))
    return number


def _step(column: Field, text: str) -> int:
    if not text.isdigit():
        raise _refused(column, said("step must be a number, not %(text)s", text=shown(text)))
    number = int(text)
    if number < 1:
        raise _refused(column, said("step must be >= 1"))
    if number > column.size:
        facts = {"number": shown(number), "size": column.size}
        text = said("step %(number)s is larger than the field (1-%(size)d)", **facts)
        raise _refused(column, text)
    return number


def _not_understood(column: Field, text: str) -> _Refused:
    if any(text in other.names for other in FIELDS):
        facts = {"text": text, "allowed": _ALLOWED}
        problem = said("the name %(text)s is not valid in this field; %(allowed)s", **facts)
        return _refused(column, problem)
    # Names hold these letters too.
    signs = re.sub("[A-Z]{3,}", "", text)
    for sign, problem in _FOREIGN.items():
        if sign in signs:
            facts = {"problem": problem, "allowed": _ALLOWED}
            return _refused(column, said("%(problem)s; %(allowed)s", **facts))
    facts = {"text": shown(text), "allowed": _ALLOWED}
    return _refused(column, said("%(text)s is not understood; %(allowed)s", **facts))


def _refused(column: Field, problem: Said) -> _Refused:
    return _Refused(said("%(field)s: %(problem)s", field=column.name, problem=problem))


def _values(column: Field, expanded: list[Any]) -> frozenset[int]:
    if "*" in expanded:
        return frozenset(range(column.low, column.last + 1))
    return frozenset(0 if column.name == "weekday" and at == 7 else at for at in expanded)
