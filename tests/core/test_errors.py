"""The error tree: every class is drawn, pickles, and is what the seed's callers catch."""

from __future__ import annotations

import pickle
import time
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

from cloaca_django import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.CloacaError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_is_drawn_and_public(cls: type) -> None:
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__
    assert cls.__name__ in errors.__all__
    assert cls.__doc__


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (errors.InvalidDatabaseURL("x", "y"), [ValueError, RuntimeError]),
        (errors.InvalidSchemaName("x", "y"), [ValueError]),
        (errors.InvalidSchemaNameType(7, "y"), [ValueError, TypeError]),
        (errors.InvalidCronExpression("x", "y"), [ValueError]),
        (errors.InvalidTimezone("Mars/X", ["UTC"]), [ValueError]),
        (errors.InvalidTimestamp("x"), [ValueError]),
        (errors.InvalidIdentifier("schedule", "zz"), [ValueError]),
        (errors.InvalidPage("limit", -1, "must be 0 or more"), [ValueError]),
        (errors.WorkflowNotFound("x"), [ValueError]),
        (errors.ScheduleNotFound("x"), [ValueError]),
        (errors.ContextKeyNotFound("x", []), [KeyError]),
        (errors.DatabaseUnreachable("x", "y"), [ValueError, RuntimeError]),
        (errors.WaitTimeout("r", 1.5), [ValueError, TimeoutError]),
        (errors.RunnerClosed(), [ValueError, RuntimeError]),
        (errors.NoDatabase(), [ValueError, RuntimeError]),
        (errors.WouldDeadlock("x", "y"), [RuntimeError]),
        (errors.SchemaUnusable("u", "x", "y"), [ValueError, RuntimeError]),
        (errors.ProvisioningFailed("create tenant", "y"), [RuntimeError]),
        (errors.InvalidTenant("create tenant", "y"), [ValueError, RuntimeError]),
        (errors.NotInTenant("x", "y"), [RuntimeError]),
        (errors.InvalidTransition("run", "Failed", "Running"), [RuntimeError]),
        (errors.IdempotencyConflict("k", "a", "b"), [ValueError]),
        (errors.ContextTooLarge(9, 8, is_repeated=True), [errors.InvalidContext, ValueError]),
        (errors.CircularDependency("w", ["a", "a"]), [ValueError]),
    ],
)
def test_an_error_is_what_callers_catch_and_survives_a_pickle(
    error: errors.CloacaError, bases: list[type]
) -> None:
    assert all(isinstance(error, base) for base in bases)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\x00b\n", r"'a\x00b\n'"),
        ("a\u202eb\u200b", r"'a\u202eb\u200b'"),
        ("é", "'é'"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        (b"\xff", r"b'\xff'"),
        ([], "[]"),
        ([1, {"a": (2,)}], "[1, {'a': (2,)}]"),
        (frozenset({1}), "frozenset({1})"),
        (["x" * 100], "['" + "x" * 75 + "..."),
        (deque([1]), "deque([1])"),
        (OrderedDict(a=[1]), "OrderedDict({'a': [1]})"),
        (namedtuple("Pair", "x y")(1, 2), "Pair((1, 2))"),
        (type("Own", (list,), {})([1]), "Own([1])"),
        (type("Told", (dict,), {"__repr__": lambda self: "<told>"})(), "<told>"),
    ],
)
def test_given_values_are_shown_short_and_printable(value: Any, text: str) -> None:
    assert errors.shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("postgresql://u:S3CR3T@h/db", "'postgresql://***@h/db'"),
        ("postgresql://u:x@S3CR3T@h/db", "'postgresql://***@h/db'"),
        (["postgresql://u:S3CR3T@h/db"], "['postgresql://***@h/db']"),
        (b"postgresql://u:S3CR3T@h/db", "b'postgresql://***@h/db'"),
        ("postgresql://u:S3CR3T" + "x" * 2_000 + "@h", "'postgresql://***'"),
        ("host=h password=S3CR3T user=u", "'host=h password=*** user=u'"),
        (ValueError("postgresql://u:S3CR3T@h"), "ValueError('postgresql://***@h')"),
    ],
)
def test_a_url_in_the_wrong_place_is_shown_without_its_login(value: Any, text: str) -> None:
    assert errors.shown(value) == text


def test_large_values_are_not_written_out_to_be_cut() -> None:
    ring: list[Any] = []
    ring.append(ring)
    begun = time.thread_time()
    laughs: Any = [0]
    for _ in range(10):
        laughs = [laughs] * 10
    shared = (laughs, deque([laughs]), OrderedDict(a=laughs), defaultdict(list, a=laughs))
    named = (namedtuple("Pair", "x y")(laughs, 1), type("Own", (list,), {})(laughs))
    large = (ring, [0] * 10**6, "x" * 10**7, dict.fromkeys(range(10**5)), 10**100_000)
    for value in (*large, *shared, *named):
        assert errors.shown(value).endswith("...")
    assert errors.shown(16**4_000) == "0x1" + "0" * 74 + "..."
    assert time.thread_time() - begun < 0.1


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_broken_repr_is_no_obstacle() -> None:
    assert "Broken object at" in errors.shown(Broken())


def test_lists_of_names_are_cut() -> None:
    assert errors.listed([]) == "none"
    assert errors.listed(map(str, range(30)), limit=2) == "0, 1 and 28 more"


def test_a_hint_is_the_nearest_name_or_nothing() -> None:
    assert errors.nearest("laod", ["load", "store"]) == "; did you mean 'load'?"
    assert errors.nearest("xyz", ["load", "store"]) == ""
    assert errors.nearest("x" * 100_000, ["x" * 100_000]) == ""
