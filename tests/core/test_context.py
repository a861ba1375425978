"""Context as a mapping, and everything it refuses."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle
import types
import uuid
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given

from cloaca_django.core.context import Context
from cloaca_django.errors import (
    ContextKeyExists,
    ContextKeyNotFound,
    InvalidContext,
    InvalidContextType,
    MalformedContext,
)

from .json_values import contexts, exact

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(str):
    pass


class Ratio(float):
    pass


def nested_lists(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


REFUSED = [
    ({"a": float("nan")}, InvalidContext, "$.a: nan is not JSON"),
    ({"a": float("inf")}, InvalidContext, "$.a: inf is not JSON"),
    ({"a": [-float("inf")]}, InvalidContext, "$.a[0]: -inf is not JSON"),
    ({"a": "x\x00y"}, InvalidContext, "$.a: contains NUL"),
    ({"a\x00": 1}, InvalidContext, r"key 'a\x00' contains NUL"),
    ({"a": "\ud800"}, InvalidContext, "$.a: contains a lone surrogate"),
    ({"\udfff": 1}, InvalidContext, "contains a lone surrogate"),
    ({"a": b"x"}, InvalidContextType, "$.a: unsupported type: bytes is not JSON; base64-encode"),
    ({"a": bytearray(b"x")}, InvalidContextType, "base64-encode"),
    ({"a": {1, 2}}, InvalidContextType, "set is not JSON; use sorted(value)"),
    ({"a": frozenset()}, InvalidContextType, "frozenset is not JSON"),
    ({"a": object()}, InvalidContextType, "object is not JSON"),
    ({"a": lambda: 1}, InvalidContextType, "function is not JSON"),
    ({"a": 1j}, InvalidContextType, "complex is not JSON"),
    ({"a": (one for one in "x")}, InvalidContextType, "generator is not JSON; use list(value)"),
    ({"a": {}.keys()}, InvalidContextType, "dict_keys is not JSON"),
    ({"a": datetime.datetime(2026, 1, 1)}, InvalidContextType, "use value.isoformat()"),  # noqa: DTZ001
    ({"a": datetime.date(2026, 1, 1)}, InvalidContextType, "use value.isoformat()"),
    ({"a": datetime.time(1)}, InvalidContextType, "use value.isoformat()"),
    ({"a": datetime.timedelta(1)}, InvalidContextType, "use value.total_seconds()"),
    ({"a": decimal.Decimal(1)}, InvalidContextType, "decimal.Decimal is not JSON; use str(value)"),
    ({"a": fractions.Fraction(1)}, InvalidContextType, "use str(value)"),
    ({"a": uuid.UUID(int=1)}, InvalidContextType, "use str(value)"),
    ({"a": pathlib.Path("x")}, InvalidContextType, "use str(value)"),
    ({"a": Colour.RED}, InvalidContextType, "use value.value"),
    ({"a": Context()}, InvalidContextType, "use value.to_dict()"),
    ({"a": {1: 2}}, InvalidContextType, "$.a: keys must be str, not int 1"),
    ({1: 2}, InvalidContextType, "$: keys must be str, not int 1"),
    ({True: 1}, InvalidContextType, "keys must be str, not bool"),
    ({None: 1}, InvalidContextType, "keys must be str, not NoneType"),
    ({("a",): 1}, InvalidContextType, "keys must be str, not tuple"),
    ({"": 1}, InvalidContext, "$: empty key; a key has 1 to 255 characters"),
    ({"a": {"": 1}}, InvalidContext, "$.a: empty key"),
    ({"k" * 256: 1}, InvalidContext, "key too long"),
    ({"a": 10**4300}, InvalidContext, "$.a: integer of more than 4300 digits"),
    ({"a": -(10**4300)}, InvalidContext, "integer of more than 4300 digits"),
    ({"a": nested_lists(64)}, InvalidContext, "depth over 64"),
    ({"a": nested_lists(990)}, InvalidContext, "depth over 64"),
    ({"a": nested_lists(100_000)}, InvalidContext, "depth over 64"),
    ({"a": endless()}, InvalidContext, "depth over 64"),
    ({"a": range(10**9)}, InvalidContext, "$.a: a range of over 100,000 numbers"),
    ({"a": range(0, 10**30, 7)}, InvalidContext, "a range of over 100,000 numbers; store its ends"),
    (dict.fromkeys(map(str, range(100_000))), InvalidContext, "over 10,000 keys"),
    ({"a": dict.fromkeys(map(str, range(10_001)))}, InvalidContext, "$.a: 10001 keys, over 10,000"),
    ({"a b": {"c": [{"d": {1}}]}}, InvalidContextType, "$['a b'].c[0].d: unsupported type: set"),
    ([1], InvalidContextType, "must be a mapping with str keys, not list"),
    ([("a", 1)], InvalidContextType, "must be a mapping with str keys"),
    ("x", InvalidContextType, "must be a mapping with str keys"),
    (1, InvalidContextType, "must be a mapping with str keys"),
]


@pytest.mark.parametrize(
    ("data", "kind", "fragment"), REFUSED, ids=[fragment for *_, fragment in REFUSED]
)
def test_what_json_cannot_hold_is_refused_with_its_path(
    data: Any, kind: type[Exception], fragment: str
) -> None:
    with pytest.raises(ValueError, match="Invalid context") as caught:
        Context(data)
    assert type(caught.value) is kind
    assert fragment in str(caught.value)
    if kind is InvalidContextType:
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(("data", "kind", "fragment"), REFUSED[:42], ids=range(42))
def test_set_refuses_the_same_and_changes_nothing(
    data: dict[Any, Any], kind: type[Exception], fragment: str
) -> None:
    context = Context({"kept": 1})
    ((key, value),) = data.items()
    with pytest.raises(kind):
        context.set(key, value)
    assert context == {"kept": 1}


def test_an_error_never_holds_a_value() -> None:
    with pytest.raises(InvalidContext) as caught:
        Context({"password": "hunter2\x00", "other": 1})
    assert "hunter2" not in str(caught.value)


def test_a_long_path_is_cut() -> None:
    value: Any = {1}
    for _ in range(60):
        value = {"abcdefgh": value}
    with pytest.raises(InvalidContextType) as caught:
        Context({"a": value})
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (2**64, 2**64),
        (-(2**200), -(2**200)),
        (10**4300 - 1, 10**4300 - 1),
        (1.0, 1.0),
        (-0.0, -0.0),
        (1.7976931348623157e308, 1.7976931348623157e308),
        ("é\U0001f600", "é\U0001f600"),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (UserDict({"a": 1}), {"a": 1}),
        (Level.LOW, 1),
        (Word("x"), "x"),
        (Ratio(0.5), 0.5),
        ({Word("k"): 1}, {"k": 1}),
        (nested_lists(63), nested_lists(63)),
    ],
)
def test_what_json_holds_comes_back_as_plain_types(value: Any, stored: Any) -> None:
    for context in (Context({"a": value}), Context.from_json(Context({"a": value}).to_json())):
        assert exact(context["a"]) == exact(stored)
        assert type(context["a"]) is type(stored)


def test_numbers_of_numpy_are_told_how_to_become_plain_ones() -> None:
    class Generic:
        __module__ = "numpy"
        __qualname__ = "generic"

    class Int64(Generic):
        pass

    with pytest.raises(InvalidContextType, match=r"use value\.item\(\)"):
        Context({"a": Int64()})


@pytest.mark.parametrize("empty", [None, {}, Context()])
def test_nothing_and_empty_mappings_make_an_empty_context(empty: Any) -> None:
    context = Context(empty)
    assert not context
    assert len(context) == 0


def test_insert_needs_an_absent_key() -> None:
    context = Context({"a": None})
    with pytest.raises(ContextKeyExists, match="Key already exists"):
        context.insert("a", 2)
    context.insert("b", 2)
    assert context == {"a": None, "b": 2}


def test_update_needs_a_present_key() -> None:
    context = Context({"a": None})
    with pytest.raises(KeyError, match="Key not found: 'b'"):
        context.update("b", 1)
    context.update("a", 1)
    assert context == {"a": 1}


def test_a_missing_key_is_a_key_error_that_names_the_nearest() -> None:
    with pytest.raises(ContextKeyNotFound) as caught:
        Context({"user_id": 1})["userid"]
    assert str(caught.value) == "Key not found: 'userid'; did you mean 'user_id'?"
    with pytest.raises(KeyError):
        del Context()["a"]


def test_items_can_be_assigned_and_deleted() -> None:
    context = Context()
    context["a"] = (1,)
    assert context == {"a": [1]}
    del context["a"]
    assert context == {}
    with pytest.raises(InvalidContext):
        context["a"] = float("nan")


def test_none_is_a_value() -> None:
    context = Context({"a": None})
    assert context.get("a", "default") is None
    assert context["a"] is None
    assert "a" in context
    del context["a"]
    assert context.get("a", "default") == "default"


def test_remove_returns_the_value_and_never_raises() -> None:
    context = Context({"a": [1]})
    assert context.remove("a") == [1]
    assert context.remove("a") is None


@pytest.mark.parametrize("use", [lambda c, k: c[k], lambda c, k: c.get(k), lambda c, k: k in c])
@pytest.mark.parametrize(("key", "words"), [(1, "int 1"), ([], r"list \[\]"), ({}, "dict {}")])
def test_keys_are_text_when_reading_too(use: Any, key: Any, words: str) -> None:
    with pytest.raises(InvalidContextType, match=f"keys are str, not {words}"):
        use(Context(), key)


def test_to_dict_gives_a_copy() -> None:
    context = Context({"list": [[1]], "object": {"a": [1]}})
    context.to_dict()["object"]["a"].append(2)
    context.to_dict()["list"].clear()
    assert context == {"list": [[1]], "object": {"a": [1]}}


def test_what_goes_in_is_a_copy() -> None:
    inner = [1]
    context = Context({"a": inner})
    context.set("b", inner)
    context.update_from_dict({"c": inner})
    inner.append(2)
    assert context == {"a": [1], "b": [1], "c": [1]}


def test_update_from_dict_sets_all_or_nothing() -> None:
    context = Context({"a": 1})
    with pytest.raises(InvalidContextType):
        context.update_from_dict({"a": 2, "b": {1}})
    with pytest.raises(InvalidContextType, match="a mapping is needed, not list"):
        context.update_from_dict([("a", 2)])  # type: ignore[arg-type]
    assert context == {"a": 1}
    context.update_from_dict(Context({"a": 2, "b": None}))
    assert context == {"a": 2, "b": None}


def test_it_is_a_mapping() -> None:
    context = Context({"a": 1, "b": [2]})
    assert list(context) == ["a", "b"]
    assert list(context.items()) == [("a", 1), ("b", [2])]
    assert list(context.keys()) == ["a", "b"]
    assert list(context.values()) == [1, [2]]
    assert dict(context) == {"a": 1, "b": [2]}
    assert {**context} == {"a": 1, "b": [2]}
    assert Context(context) == context


def test_equality_is_by_value() -> None:
    assert Context({"a": 1}) == Context({"a": 1}) == {"a": 1}
    assert Context({"a": 1}) != Context({"a": 2})
    assert Context() != []
    with pytest.raises(TypeError, match="unhashable"):
        hash(Context())


@pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, Context.copy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_copies_are_independent(twin_of: Any) -> None:
    context = Context({"a": [1]})
    twin = twin_of(context)
    assert twin == context
    twin.set("a", 2)
    assert context == {"a": [1]}


def test_repr_is_json_without_secrets() -> None:
    assert repr(Context({"a": 1})) == 'Context({"a":1})'
    context = Context({"api_key": "x", "user": {"password": "y", "tokens": None}})
    assert repr(context) == 'Context({"api_key":"***","user":{"password":"***","tokens":null}})'


@pytest.mark.parametrize(
    "text",
    ["[1]", '"a"', "1", "null", "", "{} x", '{"a": NaN}', '{"a": 1e400}', '{"a": -Infinity}'],
)
def test_from_json_reads_objects_only(text: str) -> None:
    with pytest.raises(MalformedContext, match="Failed to deserialize from JSON"):
        Context.from_json(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a":' + "9" * 5000 + "}"])
def test_from_json_survives_hostile_text(text: str) -> None:
    with pytest.raises(MalformedContext):
        Context.from_json(text)


@pytest.mark.parametrize("given_text", [b"{}", None, {}])
def test_from_json_takes_text(given_text: Any) -> None:
    with pytest.raises(TypeError, match="JSON text is needed"):
        Context.from_json(given_text)


def test_from_json_keeps_the_last_of_a_key_given_twice_and_large_integers() -> None:
    assert Context.from_json('{"a": 1, "a": 18446744073709551617}') == {"a": 2**64 + 1}


def test_json_keeps_letters() -> None:
    context = Context({"a": {"b": [1, None, "é"]}})
    assert context.to_json() == '{"a":{"b":[1,null,"é"]}}'


@given(contexts)
def test_json_gives_the_same_context_back(data: dict[str, Any]) -> None:
    assert exact(Context.from_json(Context(data).to_json()).to_dict()) == exact(data)
