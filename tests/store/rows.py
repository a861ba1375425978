"""Many rows at once, as years of use or a bad day would leave them; and what statements cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection

from cloaca_django import ids
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import Session
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskExecution,
)
from tests.engine.world import START

IS_FILE = connection.vendor == "sqlite"

# A row source with one column, i, from 0.
_NUMBERS = (
    "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    " SELECT i FROM n) AS n"
    if IS_FILE
    else "generate_series(0, {last}) AS n(i)"
)
# Ids as runs of START have them: their first digits are a time.
_TIME = ids.run_id_at(int(START.timestamp() * 1000), 0).hex[:13]
_RANDOM_ID = (
    f"('{_TIME}' || substr(lower(hex(randomblob(16))), 14))"
    if IS_FILE
    else f"('{_TIME}' || substr(md5(random()::text), 14))::uuid"
)
_MOMENT = "" if IS_FILE else "::timestamptz"


def one_run(name: str = "other", status: str = RunStatus.PENDING, **facts: Any) -> Any:
    """Insert one run by hand."""
    ended = START if status in {RunStatus.COMPLETED, RunStatus.FAILED} else None
    return PipelineExecution.objects.create(
        workflow_name=name, workflow_version="v", status=status, created_at=START,
        finished_at=ended, **facts,
    )  # fmt: skip


def tasks_of(run: Any, count: int, status: TaskStatus, *, name: str = "other") -> None:
    """Give a run many tasks of one status in one statement."""
    source = _NUMBERS.format(last=count - 1)
    owner = f"'{run.pk.hex}'" if IS_FILE else f"'{run.pk}'::uuid"
    _insert_tasks(owner, "i", source, status=status, name=name)


def runs_of(name: str, count: int, status: TaskStatus) -> None:
    """Insert many runs of one task each."""
    is_final = status in _FINAL
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO cloaca_run (id, workflow_name, workflow_version, status, revision, context,
                origin, created_by, reason, priority, queue, is_waiting, paused_by, pause_reason,
                created_at, finished_at, error_message)
            SELECT {_RANDOM_ID}, %(name)s, 'bulk', %(status)s, {_RANDOM_ID}, '{{}}', 'api', '',
                '', 0, 'default', %(no)s, '', '', %(now)s{_MOMENT}, %(end)s{_MOMENT}, ''
            FROM {_NUMBERS.format(last=count - 1)}""",
            {
                "name": name,
                "status": RunStatus.COMPLETED if is_final else RunStatus.PENDING,
                "now": START,
                "end": START if is_final else None,
                "no": False,
            },
        )
    bulk = "workflow_version = 'bulk' AND workflow_name = %(workflow)s"
    source = f"(SELECT id FROM cloaca_run WHERE {bulk}) AS r"
    _insert_tasks("r.id", "0", source, status=status, name=name)


_FINAL = {TaskStatus.COMPLETED, TaskStatus.FAILED}


def _insert_tasks(run: str, position: str, source: str, *, status: TaskStatus, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO cloaca_task (run_id, position, name, workflow_name, queue, priority,
                status, dependencies, trigger_rules, policy, max_attempts, attempt, crashes,
                due_at, finished_at, is_deferred, error_message, reason)
            SELECT {run}, {position}, 'a', %(workflow)s, 'default', 0, %(status)s, '[]', '', '', 3,
                1, 0, %(due)s{_MOMENT}, %(end)s{_MOMENT}, %(no)s, '', '' FROM {source}""",
            {
                "workflow": name,
                "status": status,
                "due": "2027-01-01" if status == TaskStatus.SCHEDULED else None,
                "end": START if status in _FINAL else None,
                "no": False,
            },
        )


def schedules_of(name: str, count: int, **facts: Any) -> None:
    """Insert many every-minute schedules of a workflow in one statement."""
    values = {"enabled": True, "next_run_at": START, "parked_at": None, **facts}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO cloaca_schedule (id, workflow_name, cron_expression, timezone, enabled,
                disabled_by, disabled_reason, catchup_policy, overlap_policy, context, queue,
                priority, next_run_at, skipped_count, parked_at, error_message, declared,
                created_at, updated_at)
            SELECT {_RANDOM_ID}, %(name)s, '* * * * *', 'UTC', %(enabled)s, '', '', 'all', 'start',
                '{{}}', 'default', 0, %(next_run_at)s{_MOMENT}, 0, %(parked_at)s{_MOMENT}, '', '',
                %(now)s{_MOMENT}, %(now)s{_MOMENT}
            FROM {_NUMBERS.format(last=count - 1)}""",
            {"name": name, "now": START, **values},
        )


def fires_of(schedules: list[CronSchedule], count: int, *, reason: str = "") -> None:
    """Give each schedule many fires, a minute apart, that ended long ago."""
    rows = [
        CronExecution(
            schedule=schedule,
            scheduled_time=START - timedelta(minutes=n + 1),
            claimed_at=START - timedelta(minutes=n + 1),
            reason=reason,
        )
        for schedule in schedules
        for n in range(count)
    ]
    CronExecution.objects.bulk_create(rows, batch_size=2_000)


def refresh_statistics() -> None:
    """Let the planner know the tables as they are, as autovacuum would."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def skip_ids(count: int) -> None:
    """Use up task ids, as other work in between would."""
    newest = TaskExecution.objects.order_by("-id").values_list("id", flat=True).first() or 0
    with connection.cursor() as cursor:
        if IS_FILE:
            cursor.execute(
                "UPDATE sqlite_sequence SET seq = %s WHERE name = 'cloaca_task'", [newest + count]
            )
        else:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence('cloaca_task', 'id'), %s)", [newest + count]
            )


class Recorder:
    """Stands before a session's connection and keeps every statement sent."""

    def __init__(self, session: Session) -> None:
        self.transport = session.transport
        self.statements: list[tuple[str, Mapping[str, Any]]] = []
        session.transport = self

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Any]:
        self.statements.append((text, params))
        return self.transport.execute(text, params)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        self.statements.append(("BEGIN", {"durable": durable}))
        with self.transport.transaction(durable=durable):
            yield
        self.statements.append(("COMMIT", {}))

    def insist(self) -> None:
        self.statements.append(("INSIST", {}))
        self.transport.insist()

    def close(self) -> None:
        self.transport.close()


@contextmanager
def recorded(session: Session) -> Iterator[Recorder]:
    """Record what a session sends within the block."""
    recorder = Recorder(session)
    try:
        yield recorder
    finally:
        session.transport = recorder.transport


def plan_of(session: Session, statements: list[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the plans that the engine's own connection chooses for statements."""
    kind = "EXPLAIN QUERY PLAN " if IS_FILE else "EXPLAIN "
    found: list[str] = []
    for text, params in statements:
        if text not in {"BEGIN", "COMMIT"}:
            rows = session.transport.execute(kind + text, params)
            found += [str(row[-1]) for row in rows]
    return "\n".join(found)


def cost_of(session: Session, work: Callable[[], object]) -> int:
    """Return what some work costs: pages touched on a server, instructions on a file.

    Both are counts that do not depend on how busy the machine is.
    """
    return _instructions(session, work) if IS_FILE else _pages(session, work)


def _instructions(session: Session, work: Callable[[], object]) -> int:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    handle = session.transport.connection  # type: ignore[attr-defined]
    handle.set_progress_handler(step, 1)
    try:
        work()
    finally:
        handle.set_progress_handler(None, 1)
    return count


def _pages(session: Session, work: Callable[[], object]) -> int:
    """Rehearse the work to learn its statements, then let the server count while it does them."""
    handle = session.transport.connection  # type: ignore[attr-defined]
    with recorded(session) as recorder, handle.transaction(force_rollback=True):
        work()
    total = 0
    for text, params in recorder.statements:
        if text in {"BEGIN", "COMMIT"}:
            continue
        rows = session.transport.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) {text}", params
        )
        plan = rows[0][0][0]["Plan"]
        total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return total
