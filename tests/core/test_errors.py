"""The error tree: every class is drawn, pickles, and is what the seed's callers catch."""

from __future__ import annotations

import pickle
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
    ],
)
def test_given_values_are_shown_short_and_printable(value: Any, text: str) -> None:
    assert errors.shown(value) == text


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
