"""The engine's side of Context: stored text, limits and the writes of a task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from cloaca_django.core.context import Context, decode, decode_writes, encode, encode_writes
from cloaca_django.core.merge import REMOVED, Write, apply
from cloaca_django.errors import ContextTooLarge, UnreadableContext

from .json_values import contexts, exact


@given(contexts)
def test_stored_text_gives_exactly_the_same_data_back(data: dict[str, Any]) -> None:
    assert exact(decode(encode(Context(data).snapshot()))) == exact(data)


@pytest.mark.parametrize("number", [1e16, -0.0, 5e-324, 0.1, 2**70, 10**4299, 1.0, True])
def test_numbers_keep_value_and_type(number: float) -> None:
    assert exact(decode(encode({"n": number}))) == exact({"n": number})


def test_the_limit_is_in_bytes_and_inclusive() -> None:
    data = {"a": "é" * 100}
    size = len(encode(data).encode())
    assert encode(data, limit=size) == encode(data)
    with pytest.raises(ContextTooLarge, match=f"context is {size} bytes, limit {size - 1}; store"):
        encode(data, limit=size - 1)
    with pytest.raises(ContextTooLarge):
        encode_writes([Write(("a",), "x" * 100)], limit=99)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"a": NaN}', "[" * 100_000, None])
def test_a_context_edited_by_hand_is_never_taken_for_an_empty_one(text: Any) -> None:
    with pytest.raises(UnreadableContext, match="stored context of run 1 is not valid"):
        decode(text, what="context of run 1")


@pytest.mark.parametrize(
    "text", ["{}", "[1]", "[[]]", '[["a"]]', "[[[]]]", "[[[1],2]]", '[[["a"],1,2]]', "x"]
)
def test_writes_edited_by_hand_are_refused(text: str) -> None:
    with pytest.raises(UnreadableContext, match="is not valid"):
        decode_writes(text)


def test_no_writes_have_short_texts() -> None:
    assert decode_writes(None) == decode_writes("[]") == ()
    assert encode_writes(()) == "[]"


def test_a_removal_and_none_differ_in_text() -> None:
    writes = (Write(("a",), REMOVED), Write(("a", "b"), None))
    assert encode_writes(writes) == '[[["a"]],[["a","b"],null]]'
    assert decode_writes(encode_writes(writes)) == writes


def test_writes_are_what_was_touched() -> None:
    base = {"a": 1, "b": {"c": [1], "d": 1}, "gone": 0}
    context = Context.trusted(base)
    context.set("a", 1)
    context.set("b", {"c": [1, 2], "d": 1})
    context.remove("gone")
    context.set("new", {"x": {}})
    assert context.writes_since(base) == (
        Write(("b", "c"), [1, 2]),
        Write(("gone",), REMOVED),
        Write(("new",), {"x": {}}),
    )
    assert base == {"a": 1, "b": {"c": [1], "d": 1}, "gone": 0}


def test_a_context_of_other_origin_replaces_everything() -> None:
    base = {"a": 1, "b": 2}
    assert Context({"b": 2}).writes_since(base) == (Write(("a",), REMOVED),)
    other = Context.trusted({"a": 9})
    other.set("b", 2)
    assert set(other.writes_since(base)) == {Write(("a",), 9)}


def test_a_copy_of_a_tasks_context_knows_what_was_touched() -> None:
    base = {"a": 1}
    context = Context.trusted(base)
    context.set("b", 1)
    twin = context.copy()
    twin.set("c", 1)
    assert apply(base, twin.writes_since(base)) == {"a": 1, "b": 1, "c": 1}
    assert apply(base, context.writes_since(base)) == {"a": 1, "b": 1}


def test_reading_is_no_write() -> None:
    base = {"a": [1]}
    context = Context.trusted(base)
    assert context["a"] == [1]
    assert context.writes_since(base) == ()
