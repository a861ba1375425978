"""Values that are in a context many times over: what they take once each is written out.

JSON cannot say "the same as before". Ten lists in a list, ten levels deep, are a hundred pointers
in memory and ten billion values in text; this finds out without a walk through all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloaca_django.errors import ContextTooLarge

DEFAULT_LIMIT = 1024 * 1024
# What is shorter costs next to nothing in each place, and keeping account of it would cost more.
LONG = 128
# How many times the limit what is repeated may be: the exact size is asked when it is stored.
LEEWAY = 8
# As many numbers of a range are weighed, which is as many as a context takes.
MAX_RANGE = 100_000

_SHORT = frozenset({float, bool, type(None)})
_SMALL = 1 << 64
_ENDLESS = 1 << 62


class _Limit:
    """Where the site's limit comes from; the app sets it when it is ready."""

    in_bytes: Callable[[], int] = staticmethod(lambda: DEFAULT_LIMIT)


def limit_by(in_bytes: Callable[[], int]) -> None:
    """Let repetitions add up to ``LEEWAY`` times ``in_bytes()`` at most."""
    _Limit.in_bytes = staticmethod(in_bytes)


def check_repeats(value: Any, *, max_depth: int) -> None:
    """Raise ContextTooLarge if what is in ``value`` more than once makes it far too large to store.

    What is there once counts not, whatever its size: it may be what a task received. Takes as long
    as there are values in memory. What is deeper than ``max_depth`` is not looked at.
    """
    scale = _Scale(max_depth)
    size = scale.weight_of(value, 0)
    limit = _Limit.in_bytes()
    # What a worker remembers of a run shares its texts; the whole of a run may be above the limit.
    if scale.repeated > LEEWAY * limit:
        raise ContextTooLarge(min(size, _ENDLESS), limit, is_repeated=True)


class _Scale:
    """Weighs a value: the least number of bytes of its text, and how many of them are repeated."""

    def __init__(self, max_depth: int) -> None:
        self.repeated = 0
        self._max_depth = max_depth
        self._known: dict[int, int] = {}
        # An id is of one value only as long as that value lives; a Mapping may make its own.
        self._kept: list[Any] = []

    def weight_of(self, value: Any, depth: int) -> int:
        """Return the weight with all repetitions."""
        known = self._known.get(id(value))
        if known is not None:
            self.repeated += known
            return known
        self._kept.append(value)
        # Whoever contains itself has no end.
        self._known[id(value)] = _ENDLESS
        weight = self._known[id(value)] = self._weighed(value, depth)
        return weight

    def _weighed(self, value: Any, depth: int) -> int:
        kind = type(value)
        if kind is not dict and kind is not list:
            if isinstance(value, str):
                return len(value) + 2
            if isinstance(value, int):
                return value.bit_length() // 4 + 1
            if isinstance(value, range):
                return 2 * len(value[:MAX_RANGE])
        if depth >= self._max_depth:
            return 0
        # One comma fewer than there are values.
        empty = 2 - bool(value)
        if kind is dict or isinstance(value, Mapping):
            return empty + _weight_of_keys(value) + self._weight_inside(value.values(), depth + 1)
        if kind is list or isinstance(value, (list, tuple, deque)):
            return empty + self._weight_inside(value, depth + 1)
        return 1

    def _weight_inside(self, values: Iterable[Any], depth: int) -> int:
        """Return the weight of values side by side; most of them are short and need no account."""
        weight = 0
        for value in values:
            kind = type(value)
            if kind is str and len(value) < LONG:
                weight += len(value) + 3
            elif kind in _SHORT or (kind is int and -_SMALL < value < _SMALL):
                weight += 2
            else:
                weight += 1 + self.weight_of(value, depth)
        return weight


def _weight_of_keys(value: Mapping[Any, Any]) -> int:
    try:
        return 3 * len(value) + sum(map(len, value))
    except TypeError:  # a key that is no text: the walk refuses it in its own words
        return 0
