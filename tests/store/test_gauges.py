"""What a scrape asks of the database: as often for much as for little, and never a whole table."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cloaca_django import Context, DefaultRunner
from cloaca_django.core.states import TaskStatus
from cloaca_django.engine import gauges
from tests import workflows
from tests.interface.commands import a_worker
from tests.store.rows import IS_FILE, refresh_statistics, runs_of
from tests.store.test_plans import whole_reads

# Of one scrape, whatever there is.
QUERIES = 15


def queries():
    with CaptureQueriesContext(connection) as captured:
        gauges.read("default")
    return [query["sql"] for query in captured.captured_queries]


def test_a_scrape_asks_as_often_for_many_as_for_none(transactional_db):
    for name in ("one", "two", "three"):
        workflows.single(name)
    few = len(queries())
    a_worker(workflows=["one", "two"])
    with DefaultRunner(using="default") as runner:
        for queue in ("a", "b", "c"):
            for name in ("one", "two", "three"):
                runner.enqueue_many(name, [Context()] * 5, queue=queue)
        runner.pause_workflow("three")
    many = len(queries())
    assert few <= many <= QUERIES
    a_worker()
    assert len(queries()) == many


@pytest.mark.parametrize("knows_statistics", [False, True])
def test_a_scrape_reads_no_whole_table(transactional_db, knows_statistics):
    workflows.single("w")
    runs_of("history", 3_000, TaskStatus.COMPLETED)
    with DefaultRunner(using="default") as runner:
        runner.enqueue("w")
    if knows_statistics:
        refresh_statistics()
    kind = "EXPLAIN QUERY PLAN " if IS_FILE else "EXPLAIN "
    found = {}
    for text in queries():
        # There are as many schedules as people made, and all of them are counted.
        if not re.match(r"\s*(SELECT|WITH)\b", text) or "cloaca_schedule" in text:
            continue
        with connection.cursor() as cursor:
            cursor.execute(kind + text.replace("%", "%%"))
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
        if bad := whole_reads(text, plan):
            found[text] = bad
    assert found == {}
