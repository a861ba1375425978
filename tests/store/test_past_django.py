"""Runs are written on the site's connection past Django's cursor: nothing of Django's gets lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from cloaca_django import Context, DefaultRunner
from cloaca_django.engine import submission
from cloaca_django.models import PipelineExecution
from tests import workflows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site():
    workflows.single("w")
    return DefaultRunner()


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


def test_one_that_fails_half_way_leaves_nothing(site, monkeypatch):
    whole = submission._task_rows

    def broken(*arguments):
        return [replace(row, max_attempts=0) for row in whole(*arguments)]

    with monkeypatch.context() as patch:
        patch.setattr(submission, "_task_rows", broken)
        with pytest.raises(IntegrityError):
            site.enqueue("w")
    assert not PipelineExecution.objects.exists()
    assert is_written(site.enqueue("w"))
