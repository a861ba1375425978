"""Schemas behind a real PgBouncer: refused where they could mix, at work where they cannot."""

from __future__ import annotations

import pytest
from psycopg import connect

from cloaca_django import Context, DatabaseAdmin, DefaultRunner, TenantConfig
from cloaca_django.dialect import urls
from cloaca_django.errors import SchemaUnusable
from tests import pooler
from tests.tenancy.conftest import needs_server, tables_by_schema
from tests.tenancy.test_isolation import markers

pytestmark = [
    needs_server,
    pytest.mark.skipif(pooler.BINARY is None, reason="there is no pgbouncer here"),
]


@pytest.fixture
def through(url):
    """Return a function that gives the URL of the test's database through a pooler."""
    name = urls.parse(url).settings()["NAME"]
    return lambda port, login="postgres": f"postgresql://{login}@127.0.0.1:{port}/{name}"


@pytest.fixture
def tenant(url, server, role):
    """Return a function that makes a tenant whose login is always in its schema.

    In the end only these schemas may have tables.
    """
    admin, schemas = DatabaseAdmin(url), set()

    def make(schema):
        schemas.add(schema)
        return admin.create_tenant(TenantConfig(schema, role()))

    yield make
    assert set(tables_by_schema(server)) <= schemas


@pytest.mark.parametrize("mode", ["transaction", "statement", "session"])
@pytest.mark.parametrize(
    ("ignored", "words"),
    [
        ("", "unsupported startup parameter: options"),
        ("options", "its connection is in 'public': a pooler drops the startup parameter"),
    ],
)
def test_a_pooler_that_does_not_pass_the_schema_on_is_refused(
    server, through, mode, ignored, words
):
    with (
        pooler.running(mode, ignored=ignored) as port,
        pytest.raises(SchemaUnusable, match="Failed to set up schema 'tenant_a'") as caught,
    ):
        DefaultRunner.with_schema(through(port), "tenant_a")
    # In statement mode no transaction may be begun, which PgBouncer says first.
    is_seen = mode == "transaction" and ignored and "a transaction pooler" in str(caught.value)
    assert words in str(caught.value) or is_seen or mode == "statement"
    assert tables_by_schema(server) == {}, "not a table, and least of all in public"


def test_what_is_refused_in_transaction_mode_would_mix_tenants(server, through):
    server.execute("CREATE SCHEMA tenant_a CREATE TABLE marks (text text)")
    server.execute("CREATE SCHEMA tenant_b CREATE TABLE marks (text text)")
    server.execute("INSERT INTO tenant_b.marks VALUES ('of b')")
    with (
        pooler.running("transaction", size=1) as port,
        connect(through(port), autocommit=True, prepare_threshold=None) as a,
        connect(through(port), autocommit=True, prepare_threshold=None) as b,
    ):
        a.execute("SET search_path = tenant_a")
        b.execute("SET search_path = tenant_b")
        assert a.execute("SELECT text FROM marks").fetchall() == [("of b",)]


def test_in_session_mode_logins_that_live_in_their_schema_work_side_by_side(  # noqa: PLR0917 - fixtures
    server, through, tenant, open_tenant, marking, together
):
    tenants = [tenant("tenant_a"), tenant("tenant_b")]
    logins = [one.username for one in tenants]
    with pooler.running("session", ignored="options", users=logins) as port:
        runners = {
            one.schema_name: open_tenant(one.schema_name, through(port, one.username))
            for one in tenants
        }

        def caller(schema, at):
            def call():
                runner, marker = runners[schema], Context({"marker": f"{schema}/{at}"})
                if at % 2:
                    return runner.execute(marking, marker).status
                return runner.enqueue(marking, marker).wait(20).status

            return call

        calls = [caller(schema, at) for schema in runners for at in range(4)]
        assert together(*calls) == ["Completed"] * len(calls)
        assert set(tables_by_schema(server)) == set(runners)
        for schema, runner in runners.items():
            assert markers(runner) == {f"{schema}/{at}" for at in range(4)}
            runner.shutdown()


def test_in_transaction_mode_a_login_that_lives_in_its_schema_is_refused_too(
    server, through, tenant
):
    login = tenant("tenant_a").username
    with (
        pooler.running("transaction", ignored="options", users=[login]) as port,
        pytest.raises(SchemaUnusable, match="a transaction pooler stands before the server"),
    ):
        DefaultRunner.with_schema(through(port, login), "tenant_a")
    assert tables_by_schema(server) == {}


def test_in_session_mode_an_engine_without_a_schema_is_as_at_the_server(through, marking):
    with (
        pooler.running("session") as port,
        DefaultRunner(through(port)) as runner,
    ):
        assert runner.execute(marking, Context({"marker": 1})).status == "Completed"
        assert runner.enqueue(marking, Context({"marker": 2})).wait(20).status == "Completed"
