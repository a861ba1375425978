"""Values that are in a context many times over: refused in no time, or taken as what they are."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from typing import Any

import pytest

from cloaca_django.core.context import Context
from cloaca_django.core.values import checked
from cloaca_django.errors import ContextTooLarge, InvalidContext

# A good deal more than it takes, for machines with other things to do; without the guard: hours.
SECONDS = 0.5
TEXT = "x" * 1_000_000
DIGITS = 10**4_299


def laughs(leaf: Any = 0, *, wide: int = 10, levels: int = 10) -> Any:
    for _ in range(levels):
        leaf = [leaf] * wide
    return leaf


def dicts(kind: type = dict) -> Any:
    value: Any = 0
    for _ in range(10):
        value = kind({str(at): value for at in range(10)})
    return value


def around_itself() -> Any:
    ring: list[Any] = []
    ring.extend([ring] * 10)
    return [laughs(), ring]


TOO_OFTEN = {
    "ten lists in a list, ten levels": laughs(),
    "two lists in a list, sixty levels": laughs(wide=2, levels=60),
    "a thousand lists in a list, sixty levels": laughs(wide=1_000, levels=60),
    "ten dicts in a dict, ten levels": dicts(),
    "dicts of other kinds": [dicts(OrderedDict), dicts(UserDict)],
    "tuples and deques": [(deque([laughs(levels=7)] * 10),) * 10] * 10,
    "empty lists": laughs([]),
    "one long text": [TEXT] * 100_000,
    "one long text in lists of lists": laughs(TEXT, levels=4),
    "one long integer": [DIGITS] * 100_000,
    "one range": [range(100_000)] * 10_000,
    "one list of many": [list(range(10_000))] * 10_000,
    "behind what is there once": [list(range(100_000)), laughs()],
    "with a list that contains itself": around_itself(),
    "with a key that is no text": [laughs(), {1: 2}],
}


def set_in_place(value: Any) -> None:
    context = Context.trusted({"a": [1]})
    context["a"].append(value)
    context.snapshot()


def set_beside(value: Any) -> None:
    context = Context({"kept": 1})
    try:
        context["a"] = value
    finally:
        assert context == {"kept": 1}


def test_what_each_of_many_keys_repeats_counts_together() -> None:
    context = Context.trusted({str(at): [] for at in range(5_000)})
    shared = list(range(30_000))
    for key in context:
        context[key].append(shared)
    begun = time.thread_time()
    with pytest.raises(ContextTooLarge, match="it has the same values many times"):
        context.snapshot()
    assert time.thread_time() - begun < SECONDS


WAYS: dict[str, Callable[[Any], object]] = {
    "Context()": lambda value: Context({"a": value}),
    "set": set_beside,
    "update_from_dict": lambda value: Context().update_from_dict({"a": value}),
    "in place": set_in_place,
    "one value": checked,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("value", TOO_OFTEN.values(), ids=TOO_OFTEN)
def test_what_is_too_large_by_repetition_alone_is_refused_in_no_time(
    value: Any, way: Callable[[Any], object]
) -> None:
    begun = time.thread_time()
    with pytest.raises(ContextTooLarge) as caught:
        way(value)
    assert time.thread_time() - begun < SECONDS
    text = str(caught.value)
    assert "$: context is at least " in text
    assert "limit 1048576; it has the same values many times: store each once, or store" in text
    assert len(text) < 250
    assert caught.value.size > caught.value.limit == 1024 * 1024
    assert caught.value.is_repeated


def test_what_is_there_once_may_have_any_size() -> None:
    # What tasks received may be more than one of them could write.
    rows = [{"at": at, "name": f"row {at}"} for at in range(40_000)]
    assert len(Context({"rows": rows})["rows"]) == 40_000
    assert len(Context({"text": TEXT + TEXT})["text"]) == 2_000_000


@pytest.mark.parametrize("value", [True, None, 1, -0.5, "text", ()])
def test_short_values_may_be_there_as_often_as_they_are(value: Any) -> None:
    count = 400_000 if value != () else 100_000
    assert len(Context({"a": [value] * count})["a"]) == count


@pytest.mark.parametrize(
    "value", [laughs(levels=4), [[0] * 1_000] * 400, ["x" * 1_000] * 1_000, [range(1_000)] * 100]
)
def test_what_is_repeated_and_not_too_large_is_taken_and_shares_nothing(value: Any) -> None:
    context = Context({"a": value})
    own = context["a"]
    assert own[0] == (value[0] if isinstance(value[0], list | str) else list(value[0]))
    assert isinstance(own[0], str) or own[0] is not own[1]


def test_the_limit_is_the_sites(settings: Any) -> None:
    """It may be exceeded eightfold until it is stored: a run as a whole is larger than a change."""
    value = [[0] * 1_000] * 600
    settings.CLOACA = {"MAX_CONTEXT_BYTES": 128 * 1024}
    with pytest.raises(ContextTooLarge, match=r"is at least 120\d{4} bytes, limit 131072;"):
        Context({"a": value})
    settings.CLOACA = {"MAX_CONTEXT_BYTES": 256 * 1024}
    assert len(Context({"a": value})["a"]) == 600


def test_a_size_is_never_said_to_be_larger_than_it_is() -> None:
    value = [[[[[[1]]]]]] * 1_000_000
    with pytest.raises(ContextTooLarge) as refused:
        Context({"a": value})
    said = re.search(r"at least (\d+) bytes", str(refused.value))
    assert said is not None
    assert int(said[1]) == len(json.dumps({"a": value}, separators=(",", ":")))


def test_what_is_wrong_before_it_is_too_much_is_said_first() -> None:
    with pytest.raises(InvalidContext, match=r"\$\.a\[0\]: nan is not JSON"):
        Context({"a": [float("nan"), laughs()]})
