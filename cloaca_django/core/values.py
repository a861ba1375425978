"""What a context may hold: the check and copy of one value, and its text. No knowledge of Context.

Exact JSON types come out of ``checked``; everything behind it relies on that and on nobody
changing a stored value in place.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from math import inf, isfinite
from typing import Any, TypeAlias

from cloaca_django.core.repeats import LONG, MAX_RANGE, check_repeats
from cloaca_django.core.wording import said
from cloaca_django.errors import InvalidContext, InvalidContextType, shown

Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_KEY_LENGTH = 255
# Python's own limit for turning an integer into text and back.
MAX_DIGITS = 4_300

_MAX_INTEGER = 10**MAX_DIGITS
_SMALL = 1 << 64
# How much is copied before anybody asks whether it is the same over and over.
_UNWEIGHED = 1 << 16

# How much may still come, in values and characters of long texts; and the value as a whole.
_Room: TypeAlias = list[Any]

# Type, by the dotted name of a class in its MRO, to the conversion that keeps its meaning.
_CONVERSIONS = {
    "datetime.datetime": "use value.isoformat()",
    "datetime.date": "use value.isoformat()",
    "datetime.time": "use value.isoformat()",
    "datetime.timedelta": "use value.total_seconds()",
    "decimal.Decimal": "use str(value)",
    "fractions.Fraction": "use str(value)",
    "uuid.UUID": "use str(value)",
    "pathlib.PurePath": "use str(value)",
    "pathlib._local.PurePath": "use str(value)",  # as Python 3.13 calls it
    "builtins.bytes": "base64-encode it",
    "builtins.bytearray": "base64-encode it",
    "builtins.memoryview": "base64-encode it",
    "builtins.set": "use sorted(value) or list(value)",
    "builtins.frozenset": "use sorted(value) or list(value)",
    "builtins.complex": "use [value.real, value.imag]",
    "builtins.generator": "use list(value)",
    "builtins.coroutine": "await it first",
    "enum.Enum": "use value.value",
    "numpy.generic": "use value.item()",
    "numpy.ndarray": "use value.tolist()",
    "django.db.models.base.Model": "use value.pk and load it again in the task",
    "django.db.models.query.QuerySet": "use list(value.values())",
    "django.utils.functional.Promise": "use str(value)",
    "cloaca_django.core.context.Context": "use value.to_dict()",
}


def checked(value: Any, path: str = "$") -> Json:
    """Return a copy of ``value`` made of exact JSON types.

    ``path`` names the value in errors, as ``$.order`` does. Raises InvalidContext, or
    InvalidContextType for a Python type that JSON does not have, or ContextTooLarge if the same
    lists, dicts or texts are in it so often that it could not be stored.
    """
    try:
        return _checked(value, path.count(".") + path.count("["), [_UNWEIGHED, value])
    except _Refused as refusal:
        raise refusal.error(path) from None


def checked_object(value: Mapping[Any, Any]) -> dict[str, Json]:
    """Return a copy of a whole context's content; as ``checked``."""
    try:
        return _checked_object(value, 0, [_UNWEIGHED, value])
    except _Refused as refusal:
        raise refusal.error("$") from None


def checked_item(key: Any, value: Any) -> tuple[str, Json]:
    """Return one top-level key and its value; as ``checked``."""
    name = None
    try:
        name = _checked_key(key)
        return name, _checked(value, 1, [_UNWEIGHED, value])
    except _Refused as refusal:
        raise refusal.error("$" if name is None else _step("$", name)) from None


def checked_items(values: Mapping[str, Any]) -> dict[str, Json]:
    """Return top-level values whose keys are known to be fine; as ``checked``."""
    room: _Room = [_UNWEIGHED, values]
    result: dict[str, Json] = {}
    for name, value in values.items():
        try:
            result[name] = _checked(value, 1, room)
        except _Refused as refusal:
            raise refusal.error(_step("$", name)) from None
    return result


def checked_key(key: Any) -> str:
    """Return a top-level key; as ``checked``."""
    try:
        return _checked_key(key)
    except _Refused as refusal:
        raise refusal.error("$") from None


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A refusal on its way up, collecting the path: innermost step first."""

    def __init__(self, problem: str, kind: type[InvalidContext] = InvalidContext) -> None:
        super().__init__(problem)
        self.problem = problem
        self.kind = kind
        self.steps: list[Any] = []

    def error(self, path: str) -> InvalidContext:
        for step in reversed(self.steps):
            path = _step(path, step)
        if len(path) > 80:
            path = f"{path[:50]}...{path[-27:]}"
        return self.kind(path, self.problem)


def _step(path: str, step: Any) -> str:
    if isinstance(step, str) and step.isidentifier():
        return f"{path}.{step}"
    return f"{path}[{shown(step)}]"


def _checked(value: Any, depth: int, room: _Room) -> Json:
    kind = type(value)
    if kind is str:
        if len(value) > LONG:
            _take(room, len(value))
        return value if value.isascii() and "\x00" not in value else _checked_text(value)
    if kind is int:
        return value if -_SMALL < value < _SMALL else _checked_integer(value, room)
    if value is None or value is True or value is False:
        return value
    if kind is float:
        return value if isfinite(value) else _checked_float(value)
    if kind is dict:
        return _checked_object(value, depth, room)
    if kind is list or kind is tuple:
        return _checked_array(value, depth, room)
    return _checked_relative(value, depth, room)


def _checked_key(key: Any) -> str:
    if type(key) is str and 0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and "\x00" not in key:
        return key
    if not isinstance(key, str):
        raise _Refused(
            f"keys must be str, not {_named(type(key))} {shown(key)}", InvalidContextType
        )
    if not key:
        raise _Refused(said("empty key; a key has 1 to %(most)d characters", most=MAX_KEY_LENGTH))
    if len(key) > MAX_KEY_LENGTH:
        raise _Refused(
            said(
                "key too long: %(key)s has %(count)d characters, over %(most)d",
                key=shown(key),
                count=len(key),
                most=MAX_KEY_LENGTH,
            )
        )
    try:
        return _checked_text(key)
    except _Refused as refusal:
        refusal.problem = said("key %(key)s %(problem)s", key=shown(key), problem=refusal.problem)
        raise


def _checked_text(text: str) -> str:
    if "\x00" in text:
        raise _Refused(said("contains NUL, which databases cannot store; remove it"))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: no valid text anywhere else
            raise _Refused(
                said("contains a lone surrogate; decode the bytes with the right encoding")
            ) from None
    return text if type(text) is str else str.__str__(text)


def _checked_integer(value: int, room: _Room) -> int:
    if not -_MAX_INTEGER < value < _MAX_INTEGER:
        refused = said(
            "integer of more than %(most)d digits; store it as hexadecimal text", most=MAX_DIGITS
        )
        raise _Refused(refused)
    _take(room, value.bit_length() // 4)
    return value


def _checked_float(value: float) -> float:
    if not isfinite(value):
        raise _Refused(said("%(value)s is not JSON; use None or text for it", value=repr(value)))
    return value


def _checked_object(value: Mapping[Any, Any], depth: int, room: _Room) -> dict[str, Json]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    count = len(value)
    if count > MAX_KEYS:
        refused = said(
            "%(count)d keys, over %(most)s keys in one object; use an array",
            count=count, most=f"{MAX_KEYS:,}",
        )  # fmt: skip
        raise _Refused(refused)
    room[0] -= count
    if room[0] < 0:
        _weigh(room)
    depth += 1
    result: dict[str, Json] = {}
    for key, item in value.items():
        name = _checked_key(key)
        try:
            result[name] = _checked(item, depth, room)
        except _Refused as refusal:
            refusal.steps.append(name)
            raise
    return result


def _checked_array(value: Iterable[Any], depth: int, room: _Room) -> list[Json]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    depth += 1
    result: list[Json] = []
    try:
        for item in value:
            result.append(_checked(item, depth, room))
    except _Refused as refusal:
        refusal.steps.append(len(result))
        raise
    room[0] -= len(result)
    if room[0] < 0:
        _weigh(room)
    return result


def _checked_range(value: range, depth: int, room: _Room) -> list[Json]:
    # Its numbers are not there yet, so nothing has kept them from being more than memory holds.
    if value[MAX_RANGE:]:
        raise _Refused(
            said("a range of over %(most)s numbers; store its ends", most=f"{MAX_RANGE:,}")
        )
    return _checked_array(value, depth, room)


def _too_deep() -> _Refused:
    # Also ends the walk through a list that contains itself.
    return _Refused(said("depth over %(most)d; flatten the data", most=MAX_DEPTH))


def _take(room: _Room, size: int) -> None:
    room[0] -= size
    if room[0] < 0:
        _weigh(room)


def _weigh(room: _Room) -> None:
    check_repeats(room[1], max_depth=MAX_DEPTH)
    room[0] = inf


def _checked_relative(value: Any, depth: int, room: _Room) -> Json:
    """Accept what behaves as a JSON type and refuse the rest with a way to convert it."""
    if isinstance(value, str):
        _take(room, len(value) if len(value) > LONG else 0)
        return _checked_text(value)
    if isinstance(value, int):
        return _checked_integer(int.__index__(value), room)
    if isinstance(value, float):
        return _checked_float(float.__float__(value))
    conversion = _conversion(type(value))
    if conversion is None:
        if isinstance(value, Mapping):
            return _checked_object(value, depth, room)
        if isinstance(value, range):
            return _checked_range(value, depth, room)
        if isinstance(value, (list, tuple, deque)):
            return _checked_array(value, depth, room)
    hint = conversion or "use str, numbers, bool, None, lists and dicts"
    raise _Refused(
        f"unsupported type: {_named(type(value))} is not JSON; {hint}", InvalidContextType
    )


def _conversion(kind: type) -> str | None:
    for ancestor in kind.__mro__:
        hint = _CONVERSIONS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if hint:
            return hint
    return None


def _named(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def same(first: Any, second: Json) -> bool:
    """Whether two values are one JSON value: 1, 1.0 and True differ; order of keys does not."""
    if first is second:
        return True
    kind = type(first)
    if kind is not type(second):
        return False
    # Not by == alone, which takes 1 for True somewhere inside.
    if kind is dict:
        return _same_items(first, second)
    if kind is list:
        return _same_elements(first, second)
    return first == second and (kind is not float or repr(first) == repr(second))  # -0.0 == 0.0


def _same_items(first: dict[str, Any], second: Any) -> bool:
    if len(first) != len(second):
        return False
    for key, item in first.items():
        if key not in second:
            return False
        other = second[key]
        # Mostly one is a copy of the other, and shares what cannot change.
        if item is not other and not same(item, other):
            return False
    return True


def _same_elements(first: list[Any], second: Any) -> bool:
    if len(first) != len(second):
        return False
    for item, other in zip(first, second, strict=True):
        if item is not other and not same(item, other):
            return False
    return True


# Reused: building a JSONEncoder for each call costs more than a small context.
# No check for cycles: ``checked`` made the value, so there are none.
text_of = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
sorted_text = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")
).encode
