"""One connection for all tenants: every transaction is in its schema, or does not happen."""

from __future__ import annotations

from contextlib import nullcontext

import psycopg
import pytest

from cloaca_django.dialect import sql_tenants
from cloaca_django.errors import NotInTenant
from tests.tenants.conftest import marks_of
from tests.tenants.workers import execute, trunk

__all__ = ["trunk"]

WHERE = "SELECT current_schema(), current_setting('search_path')"
MARK = "INSERT INTO ledger_mark (tenant, text) VALUES (%(tenant)s, %(text)s)"


def where(session):
    return session.transport.execute(WHERE, {})[0]


def mark(session, text):
    session.transport.execute(MARK, {"tenant": session.schema, "text": text})


def backend(session):
    return session.transport.execute("SELECT pg_backend_pid()", {})[0][0]


def outside(session):
    """Look at the connection itself, past what a session does."""
    return session.transport.connection.execute(WHERE).fetchone()


@pytest.fixture
def pair(make_tenants, trunk):
    tenants = make_tenants(2)
    return [trunk.session(tenant.schema_name) for tenant in tenants], tenants


def test_every_transaction_is_in_its_schema_and_between_them_there_is_none(pair):
    (a, b), _ = pair
    for _ in range(3):
        assert where(a) == ("t1", '"t1"')
        assert outside(a) == (None, '""')
        with b.transaction():
            assert where(b) == ("t2", '"t2"')
            with b.transaction():
                assert where(b)[0] == "t2"
        assert outside(a) == (None, '""')
    assert a.transport.connection is b.transport.connection


def test_nothing_can_be_read_outside_a_transaction(pair):
    (a, _), _ = pair
    with pytest.raises(psycopg.errors.UndefinedTable):
        a.transport.connection.execute("SELECT 1 FROM cloaca_task")
    with pytest.raises(psycopg.errors.UndefinedTable):
        a.transport.connection.execute("SELECT 1 FROM directory_tenant")
    assert where(a)[0] == "t1"


def test_a_transaction_does_not_see_public(pair):
    (a, _), _ = pair
    with pytest.raises(NotInTenant, match="directory_tenant"):
        a.transport.execute("SELECT 1 FROM directory_tenant", {})
    assert where(a)[0] == "t1"


def test_prepared_statements_give_the_rows_of_the_schema_they_are_carried_out_in(pair):
    (a, b), (t1, t2) = pair
    for number in range(6):
        mark(a, f"a{number}")
        mark(b, f"b{number}")
        for session, letter in ((a, "a"), (b, "b")):
            found = session.transport.execute("SELECT tenant, text FROM ledger_mark", {})
            assert found == [(session.schema, f"{letter}{at}") for at in range(number + 1)]
    prepared = a.transport.connection.execute("SELECT count(*) FROM pg_prepared_statements")
    assert prepared.fetchone()[0] >= 2
    assert {text[0] for _, text in marks_of(t1)} == {"a"}
    assert {text[0] for _, text in marks_of(t2)} == {"b"}


@pytest.mark.parametrize("name", ["missing", "public; --", 'x"y', "é" * 31 + "x"])
def test_a_schema_that_is_missing_fails_and_the_next_one_works(pair, trunk, name):
    (a, _), _ = pair
    stranger = trunk.session(name)
    with pytest.raises(NotInTenant):
        where(stranger)
    with pytest.raises(NotInTenant), stranger.transaction():
        pytest.fail("the block was entered")
    assert where(a)[0] == "t1"


def test_names_that_the_server_would_cut_to_the_same_are_not_taken_for_each_other(pair, trunk):
    (a, _), _ = pair
    long = "é" * 31 + "x"
    execute(f'CREATE SCHEMA "{long}A"')
    try:
        with pytest.raises(NotInTenant):
            where(trunk.session(f"{long}B"))
        assert where(a)[0] == "t1"
    finally:
        execute(f'DROP SCHEMA "{long}A"')


def test_a_schema_that_was_dropped_meanwhile_fails(pair):
    (a, b), _ = pair
    mark(a, "x")
    execute("DROP SCHEMA t1 CASCADE")
    with pytest.raises(NotInTenant):
        mark(a, "y")
    assert where(b)[0] == "t2"


def test_an_entrance_that_is_cancelled_fails_and_the_next_one_works(pair, monkeypatch):
    (a, b), (t1, _) = pair
    mark(a, "before")
    slow = a.transport._enter.replace(b"BEGIN;", b"BEGIN; SET LOCAL statement_timeout = 1;")
    slow = slow.replace(b"SELECT ", b"SELECT pg_sleep(5)::text, ", 1)
    with monkeypatch.context() as patch:
        patch.setattr(a.transport, "_enter", slow)
        with pytest.raises(psycopg.errors.QueryCanceled):
            mark(a, "during")
    assert outside(a) == (None, '""')
    assert where(b)[0] == "t2"
    mark(a, "after")
    assert marks_of(t1) == {("t1", "before"), ("t1", "after")}


def test_an_entrance_that_leads_elsewhere_is_an_error(pair, monkeypatch):
    (a, b), (_, t2) = pair
    with monkeypatch.context() as patch:
        patch.setattr(a.transport, "_enter", b.transport._enter)
        with pytest.raises(NotInTenant, match="t2"):
            mark(a, "stray")
    assert marks_of(t2) == set()
    assert where(a)[0] == "t1"


def test_a_statement_that_breaks_a_transaction_takes_it_back_and_the_next_works(pair):
    (a, b), (t1, _) = pair

    def breaks():
        with a.transaction():
            mark(a, "lost")
            a.transport.execute("SELECT 1 / 0", {})

    with pytest.raises(psycopg.errors.DivisionByZero):
        breaks()
    assert marks_of(t1) == set()
    assert where(b)[0] == "t2"


def test_a_commit_of_a_broken_transaction_is_an_error(pair):
    (a, b), (t1, _) = pair

    def passes_over():
        with a.transaction():
            mark(a, "lost")
            with pytest.raises(psycopg.errors.DivisionByZero):
                a.transport.execute("SELECT 1 / 0", {})

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        passes_over()
    assert marks_of(t1) == set()
    assert where(b)[0] == "t2"


def test_a_commit_that_is_cancelled_leaves_no_transaction_open_to_the_next(pair, monkeypatch):
    (a, b), (t1, _) = pair
    connection = a.transport.connection
    execute_ = connection.execute

    def cancelled(text, *arguments, **facts):
        return execute_("SELECT 1 / 0" if text == "COMMIT" else text, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(connection, "execute", cancelled)
        with pytest.raises(psycopg.errors.DivisionByZero):
            mark(a, "lost")
    assert where(b)[0] == "t2"
    assert where(a)[0] == "t1"
    assert not a.is_closed
    assert marks_of(t1) == set()


def test_a_transaction_that_nobody_knows_of_ends_with_its_connection(pair, trunk):
    (a, b), (t1, _) = pair
    mark(a, "kept")
    a.transport.connection.execute("BEGIN")
    with pytest.raises(psycopg.OperationalError):
        mark(b, "stray")
    assert where(trunk.session("t2"))[0] == "t2"
    assert marks_of(t1) == {("t1", "kept")}


def test_a_savepoint_that_is_taken_back_leaves_the_transaction_in_its_schema(pair):
    (a, _), (t1, _) = pair
    with a.transaction():
        with pytest.raises(psycopg.errors.DivisionByZero), a.transaction():
            a.transport.execute("SELECT 1 / 0", {})
        assert where(a)[0] == "t1"
        mark(a, "kept")
    assert marks_of(t1) == {("t1", "kept")}


def test_a_tenant_cannot_speak_in_the_transaction_of_another(pair):
    (a, b), (_, t2) = pair
    with b.transaction():
        with pytest.raises(NotInTenant, match="a transaction of 't2' is open"):
            mark(a, "stray")
        with pytest.raises(NotInTenant), a.transaction():
            pytest.fail("the block was entered")
        mark(b, "own")
    assert marks_of(t2) == {("t2", "own")}


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_backend_that_is_killed_fails_and_the_trunk_opens_another(pair, trunk, is_inside):
    (a, b), (t1, _) = pair
    pid = backend(a)

    def is_killed():
        with a.transaction() if is_inside else nullcontext():
            execute("SELECT pg_terminate_backend(%s)", pid)
            mark(a, "lost")

    with pytest.raises(psycopg.OperationalError):
        is_killed()
    assert b.is_closed
    with pytest.raises(psycopg.OperationalError):
        where(b)
    fresh = trunk.session("t2")
    assert where(fresh)[0] == "t2"
    assert backend(fresh) != pid
    assert marks_of(t1) == set()


def test_a_statement_waits_a_second_for_a_lock_and_no_longer(pair):
    (a, _), _ = pair
    assert a.transport.execute("SHOW lock_timeout", {}) == [("1s",)]


def test_a_task_that_a_dead_worker_left_is_a_reason_to_sweep(pair):
    (a, _), _ = pair
    assert a.run(sql_tenants.needs_sweep) == [(False,)]
    assert a.visit([("mark",)], patience=60.0).needs_sweep is False


def test_a_schema_without_a_record_of_migrations_has_none(pair):
    (a, _), _ = pair
    assert a.run(sql_tenants.is_recorded) == [(True,)]
    a.transport.execute("DROP TABLE django_migrations", {})
    assert a.run(sql_tenants.is_recorded) == [(False,)]
