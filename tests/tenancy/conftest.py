"""A database of the test's own, runners in schemas of it, and roles that nobody else has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig
from cloaca_django.dialect import urls, urls_postgresql
from tests import workflows
from tests.interface.conftest import (
    gate,
    make_database,
    own_databases,
    run_alone,
    workflows_of_test,
)

__all__ = ["gate", "make_database", "own_databases", "run_alone", "workflows_of_test"]

PATIENCE = 20.0

needs_server = pytest.mark.skipif(connection.vendor != "postgresql", reason="a file has no schemas")


@pytest.fixture
def roles_of_test(own_databases: None) -> Iterator[list[str]]:
    """Names of roles; they are dropped at the end, after the database that has their tables."""
    given: list[str] = []
    yield given
    for name in given:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def url(roles_of_test: list[str], make_database: Callable[[str], str]) -> str:
    """The URL of an empty database."""
    return make_database(f"tenancy_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def server(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A look at the test's database from outside."""
    params = urls_postgresql.connection_params(urls.parse(url))
    with psycopg.connect(**params, autocommit=True) as opened:
        yield opened


@pytest.fixture
def open_tenant(url: str) -> Iterator[Callable[..., DefaultRunner]]:
    """Return a function that makes a runner in a schema, with fields of a configuration."""
    made: list[DefaultRunner] = []

    def make(schema: str, at: str = url, **fields: Any) -> DefaultRunner:
        quick = {"scheduler_poll_interval_ms": 50, "executor_poll_interval_ms": 10}
        config = DefaultRunnerConfig(**quick | fields)
        made.append(DefaultRunner.with_schema(at, schema, config=config))
        return made[-1]

    yield make
    for runner in made:
        runner.shutdown(grace=PATIENCE)


@pytest.fixture
def marking(workflows_of_test: None) -> str:
    """A workflow whose run carries a marker from its context to its end."""

    def body(context: Context) -> None:
        context["seen"] = context["marker"]

    workflows.single("marking", body)
    return "marking"


@pytest.fixture
def role(roles_of_test: list[str]) -> Callable[[], str]:
    """Return a function that gives names of roles; whatever it named is gone after the test."""

    def name() -> str:
        roles_of_test.append(f"role_{uuid.uuid4().hex[:12]}")
        return roles_of_test[-1]

    return name


def tables_by_schema(server: psycopg.Connection[Any]) -> dict[str, int]:
    """Count tables, apart from the server's own, by schema."""
    found = server.execute(
        "SELECT schemaname, count(*) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1"
    )
    return dict(found.fetchall())


def schemas_of(server: psycopg.Connection[Any]) -> set[str]:
    """Return the schemas that are not the server's own."""
    found = server.execute(
        "SELECT nspname FROM pg_namespace"
        " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    return {row[0] for row in found}
