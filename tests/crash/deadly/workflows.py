"""What a worker that dies was doing. Bodies write what they did where the test looks for it."""

from __future__ import annotations

from typing import Any

from django.db import connection

from cloaca_django.engine.capture import current_job
from tests.crash.deadly import points
from tests.crash.graphs import chain, define, leave_mark


def _note(table: str) -> None:
    job = current_job.get()
    assert job is not None
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (%s, %s)", [job.task_id, job.token.hex])


def _plain(task: str, context: Any, handle: Any) -> None:
    _note("crash_started")
    points.pass_through(points.IN_BODY)
    leave_mark(task, context)


def _atomic(task: str, context: Any, handle: Any) -> None:
    _note("crash_effect")
    points.pass_through(points.IN_ATOMIC_BODY)
    leave_mark(task, context)


def _deferring(task: str, context: Any, handle: Any) -> None:
    _note("crash_started")

    def is_noticed() -> bool:
        """Wait until the engine has stored that this task waits."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT is_deferred FROM cloaca_task WHERE id = %s", [handle.task_id])
            is_stored = bool(cursor.fetchone()[0])
        if is_stored:
            points.pass_through(points.DEFERRED)
        return is_stored

    handle.defer_until(is_noticed, poll_interval_ms=20)
    leave_mark(task, context)


define("deadly plain", chain("a", "b"), _plain)
define("deadly atomic", chain("a", "b", atomic=True), _atomic)
define("deadly deferring", chain("a", "b"), _deferring)
