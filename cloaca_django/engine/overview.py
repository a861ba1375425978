"""What stands where, for people and probes: runs, tasks, workers, and what waits. Reads only.

Ages count on the database's clock, so a host whose clock is off misjudges nobody.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import presence, schemas, site_session
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    TaskExecution,
    Worker,
    WorkflowControl,
)

# As many schedules are named when something is wrong with them.
MAX_PARKED = 20


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker. It ``is_claiming`` when its lease holds and it takes what anybody submits."""

    id: UUID
    kind: str
    state: str
    host: str
    pid: int
    concurrency: int
    running: int
    queues: tuple[str, ...]
    workflows: tuple[str, ...]
    heartbeat_age: float
    lease_left: float
    is_claiming: bool

    def serves(self, queue: str, workflow: str) -> bool:
        """Say whether it claims tasks of a workflow in a queue."""
        return self.is_claiming and queue in self.queues and workflow in self.workflows


@dataclass(frozen=True, slots=True)
class Lane:
    """The ready tasks of one workflow in one queue, and how long the first of them has waited."""

    queue: str
    workflow: str
    count: int
    oldest_seconds: float
    is_paused: bool
    is_served: bool

    @property
    def is_stuck(self) -> bool:
        """Whether nobody will ever start these tasks as things are."""
        return not self.is_paused and not self.is_served


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedules as a whole, with the first of those that are parked: name and error."""

    enabled: int
    disabled: int
    parked: int
    first_parked: Sequence[tuple[str, str]]
    next_name: str | None
    next_run_at: datetime | None
    next_seconds: float | None

    @property
    def late_seconds(self) -> float | None:
        """How long the most overdue schedule has been due; None: none is."""
        due = self.next_seconds
        return -due if due is not None and due < 0 else None


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it, as of the moment ``at``. Every status is counted, those without rows as 0."""

    at: datetime
    runs: Mapping[str, int]
    tasks: Mapping[str, int]
    workers: Sequence[WorkerView]
    lanes: Sequence[Lane]
    paused: Sequence[str]
    schedules: Timetable

    @property
    def stuck(self) -> list[Lane]:
        """The ready tasks that no live worker has code for."""
        return [lane for lane in self.lanes if lane.is_stuck]

    @property
    def oldest_ready_seconds(self) -> float | None:
        """How long the first ready task has waited, of those that nobody paused; None: none."""
        waiting = [lane.oldest_seconds for lane in self.lanes if not lane.is_paused]
        return max(waiting, default=None)


def read(alias: str) -> Overview:
    """Read everything."""
    at = read_clock(alias)
    workers = read_workers(alias, at)
    paused = read_paused(alias)
    runs = PipelineExecution.objects.using(alias).counts_by_status()
    tasks = TaskExecution.objects.using(alias).counts_by_status()
    return Overview(
        at=at,
        runs={str(status): runs.get(status, 0) for status in RunStatus},
        tasks={str(status): tasks.get(status, 0) for status in TaskStatus},
        workers=workers,
        lanes=read_lanes(alias, at, workers=workers, paused=paused),
        paused=paused,
        schedules=read_schedules(alias, at),
    )


def read_clock(alias: str) -> datetime:
    """Read the database's time."""
    return site_session(alias).clock()


def read_paused(alias: str) -> list[str]:
    """Read the names of the workflows that somebody paused."""
    paused = WorkflowControl.objects.using(alias).paused()
    return list(paused.order_by("name").values_list("name", flat=True))


def read_schedules(alias: str, at: datetime) -> Timetable:
    """Read how schedules stand: how many, which are parked and why, which is due first."""
    schedules = CronSchedule.objects.using(alias)
    enabled, disabled, stuck = schedules.counts()
    parked = schedules.parked().order_by("parked_at", "id")[:MAX_PARKED]
    first = schedules.planned().first()
    due = first.next_run_at if first else None
    return Timetable(
        enabled=enabled,
        disabled=disabled,
        parked=stuck,
        first_parked=[(str(row), row.error_message) for row in parked],
        next_name=str(first) if first else None,
        next_run_at=due,
        next_seconds=(due - at).total_seconds() if due else None,
    )


def read_workers(alias: str, at: datetime) -> list[WorkerView]:
    """Read the workers that have not ended, those heard of last first."""
    workers = Worker.objects.using(alias)
    claiming = set(workers.claiming(at).values_list("pk", flat=True))
    running = TaskExecution.objects.using(alias).counts_by_worker()
    return [
        WorkerView(
            id=row.id,
            kind=row.kind,
            state=row.state,
            host=row.hostname,
            pid=row.pid,
            concurrency=row.concurrency,
            running=running.get(row.id, 0),
            queues=tuple(row.queues.split(",")),
            workflows=tuple(json.loads(row.workflows)),
            heartbeat_age=(at - row.heartbeat_at).total_seconds(),
            lease_left=(row.lease_until - at).total_seconds(),
            is_claiming=row.id in claiming,
        )
        for row in workers.alive().order_by("-heartbeat_at", "id")
    ]


def read_lanes(
    alias: str, at: datetime, *, workers: Collection[WorkerView], paused: Collection[str]
) -> list[Lane]:
    """Read which tasks could be claimed now, by queue and workflow."""
    found = TaskExecution.objects.using(alias).ready_lanes()
    # It has no row yet, so nobody knows which queues and workflows it serves.
    is_there = bool(found) and not workers and is_tenant_served(alias)
    since = _ready_since(alias, [first for _, _, _, first in found])
    return [
        Lane(
            queue=queue,
            workflow=workflow,
            count=count,
            # Claimed or deleted since the lanes were read: it waits no longer.
            oldest_seconds=max(0.0, (at - since.get(first, at)).total_seconds()),
            is_paused=workflow in paused,
            is_served=is_there or any(worker.serves(queue, workflow) for worker in workers),
        )
        for queue, workflow, count, first in found
    ]


def _ready_since(alias: str, task_ids: list[int]) -> dict[int, datetime]:
    """Return when tasks became ready at the latest: nobody writes it down for the claim's sake.

    It was after the run's start, after the end of every dependency, and after the last claim.
    """
    tasks = TaskExecution.objects.using(alias)
    chosen = list(tasks.filter(pk__in=task_ids).select_related("run"))
    ended = tasks.filter(run__in={task.run_id for task in chosen}, finished_at__isnull=False)
    ends = {(run, name): end for run, name, end in ended.values_list("run", "name", "finished_at")}
    result = {}
    for task in chosen:
        moments = [task.run.created_at, task.run.start_at, task.claimed_at]
        moments += [ends.get((task.run_id, name)) for name in json.loads(task.dependencies)]
        result[task.pk] = max(moment for moment in moments if moment is not None)
    return result


def has_claimer(alias: str, *, queue: str, workflow: str) -> bool:
    """Say whether a live worker would take a workflow's tasks in a queue.

    One that is there for this tenant and has no row yet may: it says what it serves when it claims.
    """
    workers = read_workers(alias, read_clock(alias))
    if not workers:
        return is_tenant_served(alias)
    return any(worker.serves(queue, workflow) for worker in workers)


def is_tenant_served(alias: str) -> bool:
    """Say whether a worker of all tenants is there for the one that this thread is in."""
    connection = connections[alias]
    schema = schemas.tenant_of(connection)
    return bool(schema) and presence.is_served(connection, schema)


def has_worker(alias: str, at: datetime) -> bool:
    """Say whether a worker is alive that would claim."""
    return Worker.objects.using(alias).claiming(at).exists() or is_tenant_served(alias)
