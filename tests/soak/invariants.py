"""What a soak promises beyond the invariants of the store: tenants, answers, bounds, connections.

Returns what is wrong, in words that begin with the promise's number, as the checker does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from django.db import connection

from cloaca_django import tenancy
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution, TaskAttempt
from tests.crash.checker import Store
from tests.soak import diary
from tests.soak.sites import ALIAS, entered, schemas
from tests.soak.stage import SOAK
from tests.soak.workflows import COMPLETING, LEAK

MAX_CRASHES = 3
# More than the slots, the parked tasks and the engine's own threads of all processes come to.
MOST_CONNECTIONS = 60

Notes = Mapping[str, Sequence[tuple[str, str]]]


def always(store: Store, schema: str) -> list[str]:
    """Return the violations of what holds at every moment, in runs of one tenant."""
    return [*_of_tenant(store, schema), *_completed_once(store), *_crashes(store)]


def _of_tenant(store: Store, schema: str) -> Iterator[str]:
    for id, run in store.runs.items():
        told = json.loads(run.context).get("tenant")
        if told != schema:
            yield f"I14 run {id} of {told!r} is in {schema!r}"


def _completed_once(store: Store) -> Iterator[str]:
    counted = Counter(task_id for task_id, _ in store.effects)
    for task in store.tasks.values():
        is_due = task.name.startswith(COMPLETING) and task.status == TaskStatus.COMPLETED
        is_taken_over = task.claim_token is None
        if is_due and not is_taken_over and counted[task.id] != 1:
            yield f"I3 task {task.id} {task.name} has {counted[task.id]} effects"


def _crashes(store: Store) -> Iterator[str]:
    for task in store.tasks.values():
        if task.crashes > MAX_CRASHES:
            yield f"I13 task {task.id} was lost {task.crashes} times and came back"


def leaks(schema: str) -> list[str]:
    """Return the attempts that found themselves with another tenant."""
    found = TaskAttempt.objects.filter(error_message__contains=LEAK)
    return [f"I14 in {schema!r}: {attempt.error_message}" for attempt in found]


def strays() -> list[str]:
    """Return the tables of the engine that are in the public schema of a site with tenants."""
    if not tenancy.has_tenants(ALIAS):
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename LIKE 'cloaca\\_%%'"
        )
        return [f"I14 public has the table {name}" for (name,) in cursor.fetchall()]


def damage() -> list[str]:
    """Return what a file's own check finds wrong with it, after all that happened to its disk."""
    if connection.vendor != "sqlite":
        return []
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        return [f"I1 the file is damaged: {line}" for (line,) in cursor.fetchall() if line != "ok"]


def answers(notes: Notes) -> Iterator[str]:
    """Yield what was answered and is not so, or was taken back and is there."""
    for schema in schemas():
        with entered(schema):
            runs = PipelineExecution.objects.exclude(idempotency_key=None)
            there = set(runs.values_list("idempotency_key", flat=True))
            cancelled = PipelineExecution.objects.filter(status=RunStatus.CANCELLED)
            ended = {str(id) for id in cancelled.values_list("pk", flat=True)}
        for key in _of(notes, diary.ANSWERED, schema) - there:
            yield f"I1 {key} was answered in {schema!r} and is not there"
        for key in _of(notes, diary.TAKEN_BACK, schema) & there:
            yield f"I1 {key} was rolled back in {schema!r} and is there"
        for key in there - _of(notes, diary.ASKED, schema):
            if not _is_again(key):
                yield f"I1 nobody asked for {key} in {schema!r}"
        for run in _of(notes, diary.CANCELLED, schema) - ended:
            yield f"I2 run {run} was cancelled in {schema!r} and is not"


def _of(notes: Notes, what: str, schema: str) -> set[str]:
    return {key for where, key in notes.get(what, ()) if where == schema}


def _is_again(key: str) -> bool:
    return "-again-" in key


def connections_now(longest_idle: float) -> tuple[int, list[str]]:
    """Count the connections of the processes under test, and say what is wrong with them.

    ``longest_idle``: how long one may sit in a transaction, as one of a frozen process does.
    """
    if connection.vendor == "sqlite":
        return 0, []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, state, extract(epoch FROM clock_timestamp() - state_change)"
            " FROM pg_stat_activity WHERE application_name = %s",
            [SOAK],
        )
        found = cursor.fetchall()
    wrong = [
        f"I16 connection {pid} has been idle in a transaction for {seconds:.0f} s"
        for pid, state, seconds in found
        if (state or "").startswith("idle in transaction") and seconds > longest_idle
    ]
    if len(found) > MOST_CONNECTIONS:
        wrong.append(f"I16 there are {len(found)} connections")
    return len(found), wrong
