"""Runs are written on the site's connection past Django's cursor: nothing of Django's gets lost."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from cloaca_django import Context, DefaultRunner
from cloaca_django.engine import submission
from cloaca_django.errors import WouldDeadlock
from cloaca_django.models import PipelineExecution
from tests import workflows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site():
    workflows.single("w")
    return DefaultRunner()


@pytest.fixture
def half_way(monkeypatch):
    """In the block a run can be written and its tasks cannot."""
    whole = submission._task_rows

    def broken(*arguments):
        return [replace(row, max_attempts=0) for row in whole(*arguments)]

    @contextmanager
    def block():
        with monkeypatch.context() as patch:
            patch.setattr(submission, "_task_rows", broken)
            yield

    return block


def is_written(handle):
    return PipelineExecution.objects.filter(pk=handle.id).exists()


@pytest.fixture
def by_hand():
    """The site commits by hand, as ``AUTOCOMMIT`` False wants it."""
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def test_who_commits_by_hand_commits_the_run(site, by_hand):
    kept = site.enqueue("w")
    transaction.commit()
    dropped, many = site.enqueue("w"), site.enqueue_many("w", [Context(), Context()])
    transaction.rollback()
    assert list(map(is_written, [kept, dropped, *many])) == [True, False, False, False]


def test_what_fails_half_way_is_nothing_for_who_commits_by_hand_too(site, by_hand, half_way):
    with half_way(), pytest.raises(IntegrityError):
        site.enqueue("w")
    # PostgreSQL takes nothing more in a transaction in which a statement failed.
    (transaction.commit if connection.vendor == "sqlite" else transaction.rollback)()
    assert not PipelineExecution.objects.exists()


def test_a_transaction_that_somebody_began_in_sql_is_theirs_to_end(site, half_way):
    with connection.cursor() as cursor:
        for end in ("ROLLBACK", "COMMIT"):
            cursor.execute("BEGIN")
            handle = site.enqueue("w")
            cursor.execute(end)
            assert is_written(handle) is (end == "COMMIT")
        if connection.vendor == "sqlite":
            cursor.execute("BEGIN")
            before = site.enqueue("w")
            with half_way(), pytest.raises(IntegrityError):
                site.enqueue("w")
            cursor.execute("COMMIT")
            assert is_written(before)


def test_in_eager_mode_the_run_of_who_commits_by_hand_is_carried_out(site, settings):
    settings.CLOACA = {"EAGER": True}
    transaction.set_autocommit(False)
    try:
        handle = site.enqueue("w")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert handle.status == "Completed"


def test_nobody_waits_for_a_run_in_a_transaction_of_their_own_hand(site, by_hand):
    with pytest.raises(WouldDeadlock, match="inside an open transaction"):
        site.execute("w", Context())


class Plain(str, Enum):  # noqa: UP042 - the kind that calls itself Plain.FAST
    """As many sites have them: what it is called is not what it holds."""

    FAST = "fast"


def test_what_an_enum_holds_is_stored_and_not_what_it_is_called(site):
    names = ("queue", "created_by", "reason", "idempotency_key")
    facts: dict[str, Any] = dict.fromkeys(names, Plain.FAST)
    first, again = site.enqueue("w", **facts), site.enqueue("w", **facts)
    plain = site.enqueue("w", idempotency_key="fast", queue="fast")
    assert first == again == plain
    row = PipelineExecution.objects.get()
    assert {getattr(row, name) for name in facts} == {"fast"}


def test_where_queries_are_forbidden_ours_are_too(site, monkeypatch):
    """Django's own tests replace the method that every query of its own goes through."""

    def forbidden(*arguments):
        raise RuntimeError("no queries here")

    with monkeypatch.context() as patch:
        patch.setattr(connections["default"], "cursor", forbidden)
        with pytest.raises(RuntimeError, match="no queries here"):
            site.enqueue("w")
    assert not PipelineExecution.objects.exists()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a server has one statement for it")
def test_who_is_interrupted_while_waiting_for_the_file_leaves_it_free(site, monkeypatch):
    site.enqueue("w")
    own = connection.connection

    class Interrupted:
        def __getattr__(self, name):
            return getattr(own, name)

        def execute(self, text, *arguments):
            own.execute(text, *arguments)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connections["default"], "connection", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            site.enqueue("w")
    assert not own.in_transaction


def test_who_watches_queries_sees_ours(site):
    with CaptureQueriesContext(connection) as captured:
        site.enqueue("w")
    assert any("INSERT INTO cloaca_run" in query["sql"] for query in captured)
    seen = []

    def watch(execute, sql, *rest):
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        handle = site.enqueue("w")
    assert any("INSERT INTO cloaca_run" in sql for sql in seen)
    assert is_written(handle)


def test_a_broken_transaction_takes_no_run(site):
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError, match="until the end of the 'atomic' block"):
            site.enqueue("w")
    assert not PipelineExecution.objects.exists()


@pytest.fixture
def checked(monkeypatch):
    """The site keeps its connections and checks each at its first query of a request."""
    for name, value in {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    connection.close()
    yield
    connection.close()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file's connection does not break")
def test_a_connection_that_broke_between_requests_is_replaced(site, checked):
    site.enqueue("w")
    stale = connection.connection
    stale.close()
    connection.close_if_unusable_or_obsolete()  # as Django does when a request begins
    handle = site.enqueue("w")
    assert connection.connection is not stale
    assert is_written(handle)


def test_one_that_fails_half_way_leaves_nothing(site, half_way):
    with half_way(), pytest.raises(IntegrityError):
        site.enqueue("w")
    assert not PipelineExecution.objects.exists()
    assert is_written(site.enqueue("w"))
