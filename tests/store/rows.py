"""Many rows at once, as years of use or a bad day would leave them; and what statements cost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import Session
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.engine.world import START

IS_FILE = connection.vendor == "sqlite"

_NUMBERS = (
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    if IS_FILE
    else "WITH n(i) AS (SELECT generate_series(0, {last}))"
)


def one_run(name: str = "other", status: str = RunStatus.PENDING, **facts: Any) -> Any:
    """Insert one run by hand."""
    ended = START if status in {RunStatus.COMPLETED, RunStatus.FAILED} else None
    return PipelineExecution.objects.create(
        workflow_name=name, workflow_version="v", status=status, created_at=START,
        finished_at=ended, **facts,
    )  # fmt: skip


def tasks_of(run: Any, count: int, status: TaskStatus, *, name: str = "other") -> None:
    """Give a run many tasks of one status in one statement."""
    is_final = status in {TaskStatus.COMPLETED, TaskStatus.FAILED}
    values = {
        "run": run.pk.hex if IS_FILE else run.pk, "workflow": name, "status": status,
        "due": "2027-01-01" if status == TaskStatus.SCHEDULED else None,
        "finished": START if is_final else None,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            _NUMBERS.format(last=count - 1)
            + """
            INSERT INTO cloaca_task (run_id, position, name, workflow_name, queue, priority,
                status, dependencies, trigger_rules, policy, max_attempts, attempt, crashes,
                due_at, finished_at, is_deferred, error_message, reason)
            SELECT %(run)s, i, 'a', %(workflow)s, 'default', 0, %(status)s, '[]', '', '', 3, 1, 0,
                %(due)s, %(finished)s, %(false)s, '', '' FROM n"""
            if IS_FILE
            else f"""
            INSERT INTO cloaca_task (run_id, position, name, workflow_name, queue, priority,
                status, dependencies, trigger_rules, policy, max_attempts, attempt, crashes,
                due_at, finished_at, is_deferred, error_message, reason)
            SELECT %(run)s, i, 'a', %(workflow)s, 'default', 0, %(status)s, '[]', '', '', 3, 1, 0,
                %(due)s::timestamptz, %(finished)s::timestamptz, %(false)s, '', ''
            FROM generate_series(0, {count - 1}) AS n(i)""",
            {**values, "false": False},
        )


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
        self.statements.append(("BEGIN", {}))
        with self.transport.transaction(durable=durable):
            yield
        self.statements.append(("COMMIT", {}))

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
    with recorded(session) as recorder:
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


def new_token() -> uuid.UUID:
    """Return a token for a claim made by hand."""
    return uuid.uuid4()
