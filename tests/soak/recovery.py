"""How long tasks were away that a worker took with it: from its death until they may be claimed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from cloaca_django.core.states import TaskStatus
from cloaca_django.models import TaskExecution, Worker
from tests.soak.sites import entered, schemas

BACK = {TaskStatus.READY, TaskStatus.SCHEDULED, TaskStatus.HELD, TaskStatus.FAILED}


@dataclass(frozen=True, slots=True)
class Loss:
    """One task that a worker ran when it was lost, and what the journal had come to by then."""

    how: str
    at: datetime
    schema: str
    task_id: int
    seq: int


def losses(how: str, pids: Collection[int], at: datetime) -> list[Loss]:
    """Return what the processes held, which are dead or frozen by now."""
    found = []
    for schema in schemas():
        with entered(schema):
            workers = Worker.objects.filter(pid__in=pids).values_list("pk", flat=True)
            held = TaskExecution.objects.filter(
                status=TaskStatus.RUNNING, worker_id__in=list(workers)
            )
            with connection.cursor() as cursor:
                cursor.execute("SELECT coalesce(max(seq), 0) FROM crash_journal")
                (seq,) = cursor.fetchone()
            tasks = held.values_list("pk", flat=True)
            found += [Loss(how, at, schema, task, seq) for task in tasks]
    return found


def delays(
    lost: Iterable[Loss], spans: Collection[tuple[datetime, datetime]] = (), *, window: float = 0
) -> dict[str, list[float]]:
    """Return by how they were lost how many seconds the tasks were away, in order.

    Those are apart in whose ``window`` of seconds one of the ``spans`` fell, in which others could
    not work either. What was settled all the same, or cancelled meanwhile, was not away.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for loss in lost:
        row = _next_move(loss)
        if row is None or row[0] not in BACK:
            continue
        end = loss.at + timedelta(seconds=window)
        # Its own span begins with it.
        is_apart = any(
            loss.at < until and since <= end and since != loss.at for since, until in spans
        )
        how = loss.how + ", others away too" * is_apart
        found[how].append((moment_of(row[1]) - loss.at).total_seconds())
    return {how: sorted(seconds) for how, seconds in found.items()}


def _next_move(loss: Loss) -> Any:
    with entered(loss.schema), connection.cursor() as cursor:
        cursor.execute(
            "SELECT new, at FROM crash_journal WHERE kind = 'task' AND row_id = %s"
            " AND seq > %s AND old = %s ORDER BY seq LIMIT 1",
            [str(loss.task_id), loss.seq, TaskStatus.RUNNING],
        )
        return cursor.fetchone()


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of the values, in order, does not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]


def moment_of(value: datetime | str) -> datetime:
    """Return when the journal says something happened."""
    if isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)
