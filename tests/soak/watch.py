"""The checker of a soak: what changed is looked at every few seconds, and everything at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from django.db import DatabaseError, connection, connections, transaction

from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, Origin, RunStatus, TaskStatus
from cloaca_django.dialect import open_session
from cloaca_django.models import CronSchedule, PipelineExecution, TaskExecution, WorkflowControl
from tests.crash import checker, fires
from tests.soak import diary, invariants
from tests.soak.plan import Plan
from tests.soak.recovery import moment_of
from tests.soak.sites import ALIAS, entered, runner, schemas

AT_ONCE = 300


@dataclass
class Findings:
    """Violations, each once, in the order in which they were seen."""

    lines: dict[str, None] = field(default_factory=dict)

    def add(self, found: Collection[str]) -> None:
        """Keep what is new."""
        self.lines |= dict.fromkeys(found)


class Watch:
    """Looks at the store while it is being worked on, and when that is over."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seen: dict[str, int] = {}
        self.findings = Findings()
        self.looks = 0

    # -- during

    def look(self) -> None:
        """Check the runs that changed since the last look; a database that is away is let go."""
        try:
            for schema in schemas():
                with entered(schema):
                    self._look_at(schema)
            self.looks += 1
        except DatabaseError:
            connections.close_all()

    def _look_at(self, schema: str) -> None:
        last, runs = self._changed(self._seen.get(schema, 0))
        for some in _parts(runs):
            self.findings.add(self._violations(schema, some))
        with _snapshot():
            self.findings.add(self._forgotten(schema))
        self._seen[schema] = last

    def _changed(self, since: int) -> tuple[int, list[UUID]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT seq, kind, row_id FROM crash_journal WHERE seq > %s"
                " AND kind IN ('run', 'task')",
                [since],
            )
            rows = cursor.fetchall()
        runs = {UUID(row) for _, kind, row in rows if kind == "run"}
        tasks = [int(row) for _, kind, row in rows if kind == "task"]
        for at in range(0, len(tasks), checker.MOST_PARAMETERS):
            some = tasks[at : at + checker.MOST_PARAMETERS]
            found = TaskExecution.objects.filter(pk__in=some)
            runs.update(found.values_list("run_id", flat=True))
        return max((row[0] for row in rows), default=since), sorted(runs)

    def _violations(self, schema: str, runs: Collection[UUID]) -> list[str]:
        with _snapshot():
            store = checker.read_runs(connection, runs)
        return checker.always(store, store.started) + invariants.always(store, schema)

    def _forgotten(self, schema: str) -> list[str]:
        """Return the tasks that claims pass by: ready for long, and later runs were begun.

        Of those that wait because everybody is busy or dead nothing is said.
        """
        limit = timedelta(seconds=self._plan.lease_seconds + 2 * self._plan.sweep_seconds)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT t.id, t.name, t.workflow_name, t.priority, max(j.at) FROM cloaca_task t"
                " JOIN crash_journal j ON j.kind = 'task' AND j.row_id = CAST(t.id AS text)"
                " WHERE t.status = %s GROUP BY t.id, t.name, t.workflow_name, t.priority",
                [TaskStatus.READY],
            )
            rows = cursor.fetchall()
        now = clock.utc_now()
        late = [row for row in rows if moment_of(row[-1]) + limit < now]
        paused = set(WorkflowControl.objects.exclude(paused_at=None).values_list("pk", flat=True))
        return [
            f"I8 task {id} {name} of {workflow} is ready in {schema!r} since {at}, and claims pass"
            " it by"
            for id, name, workflow, priority, at in late
            if workflow not in paused and _begun(priority, since=moment_of(at) + limit)
        ]

    # -- at the end

    def drain(self, left: Callable[[], int], what: str, pause: Callable[[], object]) -> None:
        """Wait until nothing is left; it is a violation when for long nothing of it gets less."""
        least, end = None, clock.monotonic() + self._patience()
        while clock.monotonic() < end:
            try:
                now = left()
            except DatabaseError:
                connections.close_all()
            else:
                if not now:
                    return
                if least is None or now < least:
                    least, end = now, clock.monotonic() + self._patience()
            pause()
        self.findings.add([f"I8 for {self._patience():g} s without faults: {what}"])

    def _patience(self) -> float:
        """Return how long the longest of what is left may take."""
        return 2 * (self._plan.lease_seconds + self._plan.sweep_seconds) + 60.0

    def check_all(self, notes: invariants.Notes) -> None:
        """Check everything, once nothing is left to do."""
        for schema in schemas():
            with entered(schema):
                ids = list(PipelineExecution.objects.order_by("pk").values_list("pk", flat=True))
                for some in _parts(ids):
                    self.findings.add(self._violations(schema, some))
                    self.findings.add(_drained(schema, some))
                timetable = checker.read_timetable(connection)
                self.findings.add(fires.always(timetable, cap=fires.CAP))
                self.findings.add(invariants.leaks(schema))
        self.findings.add(invariants.strays())
        self.findings.add(invariants.damage())
        self.findings.add(list(invariants.answers(notes)))
        if not notes.get(diary.ANSWERED):
            self.findings.add(["I1 nothing was submitted"])


def _begun(priority: int, *, since: datetime) -> bool:
    """Say whether a run that was submitted since then was begun in the order of the queue."""
    roots = TaskExecution.objects.filter(priority=priority, dependencies="[]", run__start_at=None)
    later = roots.filter(run__origin=Origin.API, run__created_at__gt=since)
    return later.exclude(claimed_at=None).exists()


def _drained(schema: str, runs: Collection[UUID]) -> list[str]:
    session = open_session(ALIAS, schema=schema)
    try:
        return checker.drained(checker.read_runs(connection, runs), session)
    finally:
        session.close()


def open_runs() -> int:
    """Count the runs of all tenants that have not ended."""
    return sum(_in_each(lambda: PipelineExecution.objects.exclude(status__in=RUN_FINAL).count()))


def overdue_schedules() -> int:
    """Count the schedules of all tenants that should have fired."""
    return sum(_in_each(lambda: len(fires.drained(registry.names(), clock.utc_now()))))


def resume_all() -> None:
    """Resume what a driver paused that was killed before it could."""
    for schema in schemas():
        with entered(schema):
            for name in WorkflowControl.objects.exclude(paused_at=None).values_list(
                "name", flat=True
            ):
                runner(schema).resume_workflow(name)
            paused = PipelineExecution.objects.filter(status=RunStatus.PAUSED)
            for run in paused.values_list("pk", flat=True):
                runner(schema).resume(run)


def disable_schedules() -> None:
    """Let no schedule fire any more."""
    for schema in schemas():
        with entered(schema):
            CronSchedule.objects.update(enabled=False)


def _in_each(ask: Callable[[], int]) -> Iterator[int]:
    for schema in schemas():
        with entered(schema):
            yield ask()


def _parts(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    rest = iter(ids)
    while some := list(islice(rest, AT_ONCE)):
        yield some


@contextmanager
def _snapshot() -> Iterator[None]:
    """See one moment, however many statements read it."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
