"""All that is read for a run's page, in a number of queries that its size does not change."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Case, CharField, Count, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Left, Right

from cloaca_django.core.states import RUN_FINAL, RunStatus, TaskStatus
from cloaca_django.engine import overview
from cloaca_django.models import (
    CronExecution,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    TaskLog,
    Worker,
    WorkflowControl,
)

# Errors and logs of so many failed tasks are on the page itself, each cut; the rest is one click
# away.
MAX_EXPLAINED = 20
MAX_TEXT = 6_000
MAX_ATTEMPTS = 2_000
# A task's own page has so many attempts, the newest of them with more of what they said.
MAX_LISTED = 200
MAX_WHOLE = 20
MAX_NEWEST_TEXT = 32_000
MAX_OLDER_TEXT = 2_000
MAX_CHILDREN = 50


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that has not ended, as of the moment of the page."""

    id: UUID
    name: str
    state: str
    is_claiming: bool
    is_heard_of: bool
    heartbeat_at: datetime
    running: int
    concurrency: int
    queues: frozenset[str]
    workflows: frozenset[str]

    def serves(self, queue: str, workflow: str) -> bool:
        """Say whether it takes a workflow's tasks in a queue."""
        return self.is_claiming and queue in self.queues and workflow in self.workflows


@dataclass(frozen=True)
class RunFacts:
    """A run's page as rows. ``attempts`` and ``logs`` are by task."""

    run: Any
    at: datetime
    tasks: Sequence[TaskExecution]
    attempts: Mapping[int, Sequence[TaskAttempt]]
    logs: Mapping[int, Sequence[TaskLog]]
    children: Sequence[PipelineExecution]
    control: WorkflowControl | None
    workers: Mapping[UUID, WorkerFacts]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many tasks have each status."""
        return Counter(task.status for task in self.tasks)

    @cached_property
    def status(self) -> str:
        """The run's status as people see it."""
        was_claimed = any(task.claimed_at for task in self.tasks)
        is_begun = self.run.status == RunStatus.PENDING and was_claimed
        return str(RunStatus.RUNNING if is_begun else self.run.status)

    @property
    def is_open(self) -> bool:
        """Whether the run may still move."""
        return self.run.status not in RUN_FINAL

    @property
    def ended_or_now(self) -> datetime:
        """When the run ended, or now."""
        end: datetime | None = self.run.finished_at
        return end or self.at

    @cached_property
    def begun_at(self) -> datetime | None:
        """When its first task was taken; None before that."""
        moments = [one.started_at for several in self.attempts.values() for one in several]
        moments += [task.claimed_at for task in self.tasks]
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def expected_at(self) -> datetime:
        """From when on it could begin."""
        run = self.run
        moments = (run.created_at, run.start_at, getattr(run, "due", None))
        found: datetime = max(moment for moment in moments if moment is not None)
        return found

    @property
    def heard_of(self) -> frozenset[UUID]:
        """The workers whose lease holds."""
        return frozenset(worker.id for worker in self.workers.values() if worker.is_heard_of)

    @cached_property
    def by_name(self) -> Mapping[str, TaskExecution]:
        """The tasks by their names."""
        return {task.name: task for task in self.tasks}

    def dependencies(self, task: TaskExecution) -> tuple[str, ...]:
        """Return the names of the tasks that one waits for."""
        return tuple(json.loads(task.dependencies))


def runs(alias: str) -> QuerySet[Any]:
    """Return runs with what a page says of where they come from."""
    found: Any = PipelineExecution.objects.using(alias).with_shown_status()
    return with_due(found).select_related("schedule", "parent")


def with_due(runs: QuerySet[Any]) -> QuerySet[Any]:
    """Say of each run of a schedule which of its times it is for."""
    fires = CronExecution.objects.filter(run=OuterRef("pk")).values("scheduled_time")[:1]
    found: QuerySet[Any] = runs.annotate(due=Subquery(fires))
    return found


def read(alias: str, run: PipelineExecution) -> RunFacts:
    """Read a run's page."""
    at = overview.read_clock(alias)
    tasks = list(TaskExecution.objects.using(alias).filter(run=run).in_graph_order())
    explained = [t.pk for t in tasks if t.status == TaskStatus.FAILED][:MAX_EXPLAINED]
    return RunFacts(
        run=run,
        at=at,
        tasks=tasks,
        attempts=_by_task(_attempts(alias, run, explained)),
        logs=_by_task(_logs(alias, explained)),
        children=_children(alias, run),
        control=WorkflowControl.objects.using(alias).filter(pk=run.workflow_name).first(),
        workers={worker.id: worker for worker in read_workers(alias, at)},
    )


def _attempts(alias: str, run: PipelineExecution, explained: list[int]) -> Iterator[TaskAttempt]:
    """Read what did not succeed, tracebacks only where they are shown."""
    shown = When(task__in=explained, then=Right("traceback", MAX_TEXT))
    found = TaskAttempt.objects.using(alias).filter(task__run=run).defer("traceback")
    found = found.annotate(
        shown_traceback=Case(shown, default=Value(""), output_field=CharField()),
        shown_message=Left("error_message", 500),
    ).defer("traceback", "error_message")
    yield from reversed(found.order_by("-id")[:MAX_ATTEMPTS])


def _logs(alias: str, explained: list[int]) -> Iterator[TaskLog]:
    if explained:
        found = TaskLog.objects.using(alias).filter(task__in=explained).defer("text")
        yield from found.annotate(tail=Right("text", MAX_TEXT)).order_by("attempt")


def read_task(
    alias: str, task: TaskExecution, *, with_logs: bool
) -> tuple[list[Any], dict[int, str]]:
    """Read the attempts of a task, newest first, and the ends of its logs by attempt."""
    is_new = When(attempt__gt=task.attempt - MAX_WHOLE, then=MAX_NEWEST_TEXT)
    length = Case(is_new, default=MAX_OLDER_TEXT)
    attempts = TaskAttempt.objects.using(alias).filter(task=task).defer("traceback")
    found = attempts.annotate(shown_traceback=Right("traceback", length))
    logs: dict[int, str] = {}
    if with_logs:
        kept = TaskLog.objects.using(alias).filter(task=task).order_by("-attempt")
        tails = kept.annotate(tail=Right("text", length)).values_list("attempt", "tail")
        logs = dict(tails[:MAX_LISTED])
    return list(found.order_by("-id")[:MAX_LISTED]), logs


def _by_task(rows: Iterator[Any]) -> Mapping[int, Sequence[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.task_id].append(row)
    return found


def _children(alias: str, run: PipelineExecution) -> Sequence[PipelineExecution]:
    found = PipelineExecution.objects.using(alias).filter(parent=run).with_shown_status()
    return list(found.defer("context").newest_first()[:MAX_CHILDREN])


def is_workerless(alias: str, workers: Iterable[WorkerFacts]) -> bool:
    """Say whether nobody would take a task: none of ``workers``, nor one of all tenants."""
    return not (any(worker.is_claiming for worker in workers) or overview.is_tenant_served(alias))


def read_workers(alias: str, at: datetime) -> list[WorkerFacts]:
    """Read the workers that have not ended, with how many tasks each runs, in one query."""
    running = TaskExecution.objects.running().filter(worker_id=OuterRef("pk")).order_by()
    count = running.values("worker_id").annotate(count=Count("pk")).values("count")
    found = Worker.objects.using(alias).alive().annotate(running=Coalesce(Subquery(count), 0))
    claiming = Worker.objects.using(alias).claiming(at).values("pk")
    found = found.annotate(is_claiming=Case(When(pk__in=claiming, then=True), default=False))
    return [_worker(row, at) for row in found]


def _worker(row: Any, at: datetime) -> WorkerFacts:
    return WorkerFacts(
        id=row.pk,
        name=str(row),
        state=row.state,
        is_claiming=row.is_claiming,
        is_heard_of=row.lease_until > at,
        heartbeat_at=row.heartbeat_at,
        running=row.running,
        concurrency=row.concurrency,
        queues=frozenset(row.queues.split(",")),
        workflows=frozenset(json.loads(row.workflows)),
    )


def tag(alias: str, run_id: Any) -> tuple[Any, ...] | None:
    """Return what changes whenever a run's page does; None for a run that is gone. Two queries."""
    found = PipelineExecution.objects.using(alias).filter(pk=run_id)
    head = found.values_list("revision", "status", "paused_at", "is_waiting").first()
    if head is None:
        return None
    tasks = TaskExecution.objects.using(alias).filter(run=run_id).order_by("position")
    return (*head, *tasks.values_list("status", "claim_token", "attempt", "is_deferred"))
