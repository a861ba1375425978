"""What nobody should give, and what is to become of it: taken, or refused in words of ours."""

from __future__ import annotations

import gc
import time
import traceback
from collections import UserDict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cloaca_django.errors import CloacaError
from tests.interface.refusals import LONGEST, counts

CANARY = "S3CR3T-CANARY"
# Of this thread alone; up to five times as much is a neighbour's fault or that of a first time.
SECONDS = 0.1

# One database and one runner for all the examples of a property; each example asks it often.
on_one_site = settings(
    max_examples=max(8, settings().max_examples // 25),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Mute:
    """Fails at whatever is asked of it."""

    def _fail(self, *given: object) -> Any:
        raise RuntimeError(CANARY)

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __hash__ = __eq__ = _fail
    __int__ = __float__ = __index__ = __contains__ = __getitem__ = __call__ = _fail


class Word(str):
    """Text of a class of its own."""


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 10


class Odd(dict[Any, Any]):
    """An object of a class of its own."""


def _cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"a": ring})
    return ring


def _laughs(leaf: Any, *, levels: int) -> Any:
    """Few lists that are in each other ten times: little to have, and too much to write out.

    Not so much that a failure could not be reported: a walk through it ends after seconds.
    """
    for _ in range(levels):
        leaf = [leaf] * 10
    return leaf


def _deep(depth: int, *, is_list: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if is_list else {"a": value}
    return value


# Made anew each time: some are used up, and some may be changed.
_MADE: tuple[Callable[[], Any], ...] = (
    Mute, object, _cycle, lambda: Mute, lambda: len, lambda: (lambda context: None),
    lambda: (one for one in "ab"), lambda: range(10**9), lambda: [0] * 200_000,
    lambda: {str(at): at for at in range(20_000)}, lambda: "x" * 2_000_000,
    lambda: "\ud800", lambda: "\x00", lambda: "a\nb\r\x1b[31m", lambda: "\u202e\u200b",
    lambda: b"\xff", lambda: bytearray(b"x"), lambda: memoryview(b"x"), lambda: Word("daily"),
    lambda: Colour.RED, lambda: Level.HIGH, lambda: Odd(a=1), lambda: UserDict(a=1),
    lambda: deque([1]), lambda: {1}, lambda: {None: 1}, lambda: {("a",): 1}, lambda: {True: 1},
    lambda: {b"a": 1}, lambda: {"": 1}, lambda: {"a" * 256: 1}, lambda: {"\ud800": 1},
    lambda: float("nan"), lambda: float("inf"), lambda: -0.0, lambda: 1e308, lambda: 10**5_000,
    lambda: -(2**63), lambda: 2**63, lambda: 2**70, lambda: 1j, lambda: Decimal("NaN"),
    lambda: UUID(int=0), lambda: Path("/etc/passwd"), lambda: timedelta(days=-1),
    lambda: datetime(9999, 12, 31),  # noqa: DTZ001 - its zone is what is missing
    lambda: datetime.min.replace(tzinfo=UTC), lambda: date.max,
    lambda: datetime(2026, 1, 31, tzinfo=UTC), lambda: ..., lambda: NotImplemented, lambda: (),
    lambda: _deep(63, is_list=True), lambda: _deep(65, is_list=False),
    lambda: _deep(100_000, is_list=True), lambda: _laughs(0, levels=7),
    lambda: _laughs({"a": "x" * 1_000_000}, levels=2), lambda: deque([_laughs(0, levels=7)]),
    lambda: Odd(a=_laughs(0, levels=7)), lambda: f"postgresql://u:{CANARY}@h/db",
    lambda: f"host=h password={CANARY}", lambda: RuntimeError("x"),
)  # fmt: skip

letters = st.text(max_size=20) | st.text(st.sampled_from("a\x00\n\ud800\u202e"), max_size=4)
plain = st.none() | st.booleans() | st.integers() | st.floats() | letters | st.binary(max_size=8)
oddities = st.sampled_from(_MADE).map(lambda make: make())
things = st.recursive(
    plain | oddities,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3),
    max_leaves=5,
)


def mixed(pieces: Iterable[str], *, most: int) -> st.SearchStrategy[str]:
    """Texts that are put together from pieces, with a bit of anything in between."""
    piece = st.sampled_from(list(pieces))
    return st.lists(piece | piece | st.text(max_size=3), max_size=most).map("".join)


def judged(call: Callable[[], object], *, secret: str = CANARY) -> bool:
    """Call, and say whether it was taken. What is refused is refused fast, and in words of ours."""
    refusal: Exception | None = None
    # What others left behind is not collected on this call's time.
    gc.disable()
    begun = time.thread_time()
    try:
        call()
    except (CloacaError, TypeError) as error:
        refusal = error
    finally:
        spent = time.thread_time() - begun
        gc.enable()
    assert spent < 5 * SECONDS, f"it took {spent:.3f} s"
    if refusal is not None:
        _check(refusal, secret)
    return refusal is None


def _check(refusal: Exception, secret: str) -> None:
    text = str(refusal)
    assert _is_said_by_us(refusal), f"Python's own {refusal!r:.200}"
    assert len(text) <= LONGEST, f"too long: {text:.200}"
    assert text.isprintable(), f"cannot be printed: {text!r:.200}"
    assert secret not in f"{refusal!r} {refusal.__cause__!r}", "the secret is in the error"


def _is_said_by_us(error: BaseException) -> bool:
    """Whether a statement of ours raised it: Python's own TypeErrors name no rule."""
    if isinstance(error, CloacaError):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "cloaca_django" in last.filename and (last.line or "").startswith("raise ")


def refused_without_a_trace(call: Callable[[], object]) -> bool:
    """As ``judged``, the other way round, and nothing is written by what is refused."""
    before = counts()
    if judged(call):
        return False
    assert counts() == before, "something was written"
    return True
