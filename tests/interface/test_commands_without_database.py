"""Commands on a database that is not there. No other test may leave one behind."""

from __future__ import annotations

import pytest
from django.db import connections

from tests import workflows
from tests.interface.commands import run


@pytest.fixture
def lost_database(own_databases, tmp_path):
    """Configure an alias whose database is not there, and never was."""
    if connections["default"].vendor == "sqlite":
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "none" / "x.db"}
    else:
        entry = {
            "ENGINE": "django.db.backends.postgresql", "NAME": "x", "USER": "x",
            "PASSWORD": "hidden", "HOST": "127.0.0.1", "PORT": "1",
        }  # fmt: skip
    connections.databases["lost"] = connections.configure_settings({"default": {}, "lost": entry})[
        "lost"
    ]
    yield "lost"
    connections["lost"].close()
    del connections["lost"]
    del connections.databases["lost"]


def test_health_names_a_database_that_cannot_be_reached(lost_database):
    ran = run("cloaca_health", "--database", lost_database)
    assert ran.code == 1
    assert "FAILED  database: " in ran.out
    assert "--      backlog: not checked: database failed" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["cloaca_status"],
        ["cloaca_worker", "--burst"],
        ["cloaca_run", "one"],
        ["cloaca_prune"],
        ["cloaca_graph", "one", "--version", "a"],
        ["cloaca_schedules", "list"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_database_that_cannot_be_reached_means_try_again(lost_database, arguments):
    workflows.single("one")
    ran = run(*arguments, "--database", lost_database)
    assert ran.code == 75
    assert f"database '{lost_database}' cannot be reached" in ran.err
    assert "hidden" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["cloaca_worker", "--concurrency", "0"],
        ["cloaca_run", "nix"],
        ["cloaca_prune", "--batch-size", "0"],
        ["cloaca_health", "--max-ready-age", "0"],
        ["cloaca_graph"],
        ["cloaca_schedules", "preview", "* * *"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_usage_error_is_found_before_anything_connects(lost_database, arguments):
    ran = run(*arguments, "--database", lost_database)
    assert ran.code == 2


def test_a_graph_of_the_code_needs_no_database(lost_database):
    workflows.single("one")
    assert run("cloaca_graph", "one", "--database", lost_database).code == 0


def test_a_preview_of_an_expression_needs_no_database(lost_database):
    ran = run("cloaca_schedules", "preview", "0 2 * * *", "--database", lost_database)
    assert ran.code == 0
