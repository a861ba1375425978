"""A server that counted the tables while they were almost empty still looks every row up.

A prepared plan is kept until somebody counts again. One that walked a table, because it had two
rows then, would cost more with every run there is.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import contextmanager

import pytest
from django.db import connection
from psycopg import sql as composed
from psycopg.pq import ExecStatus, TransactionStatus

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import sql
from cloaca_django.engine import operations, recovery
from cloaca_django.models import Worker
from tests import workflows
from tests.store.rows import IS_FILE, Recorder, refresh_statistics, runs_of

MANY = 20_000
# A walk through so many runs or tasks touches three times as many.
WALK = 100
NAMED = re.compile(r"%\((\w+)\)s")
EXPLAIN = composed.SQL(
    "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) EXECUTE {}{}"
)

pytestmark = pytest.mark.skipif(IS_FILE, reason="a file counts its tables only when it is told to")


class Counter(Recorder):
    """Stands before a connection and rehearses each statement with the plan that is kept of it.

    ``pages`` says how many each touched, at most.
    """

    def __init__(self, session):
        super().__init__(session)
        self.pages = defaultdict(int)
        self._names = {}

    def execute(self, text, params):
        if re.match(r"(INSERT|UPDATE|DELETE|WITH)\b|SELECT\b.* FROM ", text):
            self.pages[text] = max(self.pages[text], self._rehearsed(text, params))
        return super().execute(text, params)

    def _rehearsed(self, text, params):
        connection = self.transport.connection
        wanted = list(dict.fromkeys(NAMED.findall(text)))
        if text not in self._names:
            self._names[text] = composed.Identifier(f"kept_{len(self._names)}")
            numbered = NAMED.sub(lambda found: f"${wanted.index(found[1]) + 1}", text)
            prepare = composed.SQL("PREPARE {} AS {}")
            connection.execute(prepare.format(self._names[text], composed.SQL(numbered)))
        given = composed.SQL(", ").join(composed.Literal(params[name]) for name in wanted)
        given = composed.SQL("({})").format(given) if wanted else composed.SQL("")
        explain = EXPLAIN.format(self._names[text], given)
        # Past the driver: it forgets what is prepared when it hears of a rollback.
        raw = connection.pgconn
        is_inside = raw.transaction_status == TransactionStatus.INTRANS
        raw.exec_(b"SAVEPOINT rehearsal" if is_inside else b"BEGIN")
        found = raw.exec_(explain.as_bytes(connection))
        assert found.status == ExecStatus.TUPLES_OK, found.error_message
        raw.exec_(b"ROLLBACK TO rehearsal" if is_inside else b"ROLLBACK")
        plan = json.loads(found.get_value(0, 0))[0]["Plan"]
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@contextmanager
def counted(sessions):
    """Count what some sessions' statements touch within the block."""
    counters = [Counter(session) for session in sessions]
    yield counters
    for session, counter in zip(sessions, counters, strict=True):
        session.transport = counter.transport


def most(counters):
    """Return how many pages each statement touched since the last call."""
    found = {}
    for counter in counters:
        for text, pages in counter.pages.items():
            found[text] = max(found.get(text, 0), pages)
        counter.pages.clear()
    return found


def perform_all(world):
    for job in world.take():
        world.perform(job)
    world.tick()


def work_all_day(world):
    """Do once what a worker does most: short ways and long, what is lost, what is put off."""
    Worker.objects.all().delete()
    world.register()
    done = world.enqueue("chain")
    world.step()
    perform_all(world)
    perform_all(world)
    assert world.run(done).status == RunStatus.COMPLETED
    for name in ("fan", "failing"):
        world.ask(name)
        world.drain()
    world.pass_by(10.0)
    world.drain()
    world.ask("chain")
    world.tick()
    world.turn.memory.clear()
    perform_all(world)
    world.drain()
    lose(world)
    operate(world)


def lose(world):
    """Claim a task, look at it from all sides, and let its worker die."""
    world.enqueue("chain")
    world.step()
    (job,) = world.take()
    session = world.at_now()
    session.run(sql.mark_deferred, [(job.task_id, job.token, False)])
    session.run(sql.resolve_tokens, [(job.task_id,)])
    session.run(sql.open_among, [(job.run_id,)])
    session.run(sql.next_due, [(job.run_id,)])
    session.look()
    recovery.renew(session, world.id)
    recovery.reconcile(session, world.id, {}, grace=10.0)
    world.pass_by(3600.0)
    recovery.sweep(world.at_now(), max_crashes=3)
    assert world.statuses(job.run_id)["a"] == TaskStatus.READY
    world.turn.running.clear()
    world.drain()


def operate(world):
    """Do what operators do."""
    run = world.enqueue("chain")
    for act in (operations.pause, operations.resume, operations.cancel):
        act(world.at_now(), run)
    operations.replay(world.session, run)
    world.drain()


@pytest.fixture
def never_counted(transactional_db):
    """Forget what was counted for other tests: a count outlives the rollback of its transaction."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE cloaca_run, cloaca_task CASCADE")


@pytest.mark.parametrize("planned", ["while it was small", "when it had grown"])
@pytest.mark.parametrize("has_ended", [True, False])
def test_no_statement_walks_a_table_that_was_counted_while_it_was_small(
    never_counted, make_world, has_ended, planned
):
    workflows.chain("chain", workflows.nothing, workflows.nothing)
    workflows.fan("fan", 3)
    workflows.single("failing", workflows.boom, retry_attempts=2, retry_delay_ms=1000)
    world = make_world(slots=8)
    world.enqueue("chain")
    if has_ended:
        world.drain()
    refresh_statistics()
    world.drain()
    with counted([world.session, world.turn._connected()]) as counters:
        if planned == "while it was small":
            work_all_day(world)
        runs_of("other", MANY, TaskStatus.COMPLETED)
        most(counters)
        work_all_day(world)
        stale = most(counters)
        refresh_statistics()
        work_all_day(world)
        fresh = most(counters)
    assert len(stale) > 25
    walks = {t: (n, fresh[t]) for t, n in stale.items() if n > fresh[t] + WALK}
    assert walks == {}
    assert [text for text, pages in fresh.items() if pages > 3 * WALK] == []
