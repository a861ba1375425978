"""Each invariant has one home: statuses, vendors, the clock, what is never used."""

from __future__ import annotations

import re

import pytest

from cloaca_django.core import states
from tests.contract.source import PACKAGE, name_of, names, package_files, texts

STATUSES = {
    *states.RunStatus.values,
    *states.TaskStatus.values,
    *states.AttemptOutcome.values,
    *states.WorkerState.values,
}
QUOTED_STATUS = re.compile(rf"""(['"])({"|".join(sorted(STATUSES))})\1""")
VENDOR = re.compile(r"sqlite|postgres|psycopg|libpq|pgbouncer|\bvendor\b", re.IGNORECASE)
SQL = re.compile(r"\b(SELECT\b.+\bFROM|INSERT INTO|UPDATE\b.+\bSET|DELETE FROM)\b", re.DOTALL)
CLOCKS = {"now", "utcnow", "today", "time_ns"}
TEMPLATES = sorted(PACKAGE.rglob("templates/**/*.*"))


def test_statuses_are_spelled_in_states_only():
    found = [
        f"{name_of(file)}:{line} {text!r}"
        for file in package_files()
        if name_of(file) != "cloaca_django/core/states.py"
        for line, text in texts(file)
        if text in STATUSES or QUOTED_STATUS.search(text)
    ]
    assert found == []


def test_no_template_compares_a_status():
    found = [name_of(file) for file in TEMPLATES if QUOTED_STATUS.search(file.read_text())]
    assert found == []


# Which errors are transient is known by the dotted names of their classes, without importing them.
NAMES_ERROR_CLASSES = "cloaca_django/core/conditions.py"


def test_no_module_outside_dialect_names_a_vendor():
    found = [
        f"{name_of(file)}:{line} {text!r}"
        for file in package_files()
        if "dialect" not in file.parts and name_of(file) != NAMES_ERROR_CLASSES
        for line, text in (*texts(file), *names(file))
        if VENDOR.search(text)
    ]
    assert found == []


def test_sql_is_written_in_dialect_only():
    found = [
        f"{name_of(file)}:{line} {text!r}"
        for file in package_files()
        if "dialect" not in file.parts
        for line, text in texts(file)
        if SQL.search(text)
    ]
    assert found == []


def test_rows_are_locked_in_dialect_only():
    found = [
        f"{name_of(file)}:{line}"
        for file in package_files()
        if "dialect" not in file.parts
        for line, name in names(file)
        if name == "select_for_update"
    ]
    assert found == []


def test_only_clock_reads_the_wall_clock():
    """Ruff bans the calls by their full name; this finds them by any import."""
    found = [
        f"{name_of(file)}:{line} {name}"
        for file in package_files()
        if name_of(file) != "cloaca_django/clock.py"
        for line, name in _calls(file)
        if name in CLOCKS or name in {"time.time", "time.sleep", "time.time_ns"}
    ]
    assert found == []


def _calls(file):
    import ast

    from tests.contract.source import syntax

    for node in ast.walk(syntax(file)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=name)):
                yield node.lineno, f"time.{name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
                if owner in {"datetime", "date", "timezone", "dt"}:
                    yield node.lineno, name


@pytest.mark.parametrize(
    "word",
    ["pickle", "marshal", "shelve", "eval", "exec", "mark_safe", "dill", "cloudpickle", "yaml"],
)
def test_nothing_turns_data_into_code(word):
    found = [
        f"{name_of(file)}:{line}"
        for file in package_files()
        for line, name in names(file)
        if name == word or name.startswith(f"{word}.")
    ]
    assert found == []


def test_no_template_prints_raw_text():
    raw = re.compile(r"\|\s*safe\b|autoescape\s+off")
    assert [name_of(file) for file in TEMPLATES if raw.search(file.read_text())] == []
