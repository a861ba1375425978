"""How things stand, as numbers: read from the database when they are asked for. Reads only.

As many queries for a hundred thousand tasks as for one, each along an index of what is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import Count, Q

from cloaca_django.core.measures import Kind, Measure, Series, bounded
from cloaca_django.core.states import TaskStatus, WorkerState
from cloaca_django.engine import overview
from cloaca_django.engine.overview import Lane, Timetable, WorkerView
from cloaca_django.models import PipelineExecution, TaskExecution


def _gauge(name: str, meaning: str, *labels: str, is_age: bool = False) -> Measure:
    return Measure(name, Kind.GAUGE, meaning, (*labels, "schema"), is_age)


TASKS = _gauge("cloaca_tasks", "Open tasks by status", "queue", "workflow", "status")
OLDEST = _gauge(
    "cloaca_oldest_ready_seconds", "How long the first ready task has waited", "queue", "workflow",
    is_age=True,
)  # fmt: skip
UNSERVED = _gauge(
    "cloaca_unserved_tasks", "Ready tasks that no live worker serves", "queue", "workflow"
)
RUNS = _gauge("cloaca_open_runs", "Runs that have not ended", "workflow")
PAUSED_RUNS = _gauge("cloaca_paused_runs", "Runs that somebody paused", "workflow")
PAUSED_WORKFLOWS = _gauge("cloaca_paused_workflows", "Workflows that somebody paused")
WORKERS = _gauge("cloaca_workers", "Workers by what they do", "state")
SERVED = _gauge("cloaca_served", "1 if a live worker claims tasks, else 0")
SLOTS = _gauge("cloaca_worker_slots", "How many tasks the claiming workers run at once")
USED = _gauge("cloaca_worker_slots_used", "How many of these slots have a task")
SILENCE = _gauge(
    "cloaca_heartbeat_age_seconds", "How long the most silent worker has not been heard of",
    is_age=True,
)  # fmt: skip
SCHEDULES = _gauge("cloaca_schedules", "Schedules by state; a parked one is enabled, too", "state")
LATE = _gauge(
    "cloaca_schedule_late_seconds", "How long the most overdue schedule has been due", is_age=True
)

MEASURES = (
    TASKS, OLDEST, UNSERVED, RUNS, PAUSED_RUNS, PAUSED_WORKFLOWS, WORKERS, SERVED, SLOTS, USED,
    SILENCE, SCHEDULES, LATE,
)  # fmt: skip
# Ready ones are counted with the lanes, and those that wait for others with their runs.
_COUNTED = (TaskStatus.SCHEDULED, TaskStatus.HELD, TaskStatus.RUNNING)


def read(alias: str, *, schema: str = "") -> list[Series]:
    """Read everything, in the tenant that this thread is in, whose name ``schema`` is."""
    at = overview.read_clock(alias)
    workers = overview.read_workers(alias, at)
    paused = overview.read_paused(alias)
    lanes = overview.read_lanes(alias, at, workers=workers, paused=paused)
    found = [
        *_of_lanes(lanes),
        *_of_tasks(alias),
        *_of_runs(alias),
        (PAUSED_WORKFLOWS, (), len(paused)),
        *_of_workers(workers, is_served=_is_served(alias, workers)),
        *_of_schedules(overview.read_schedules(alias, at)),
    ]
    return bounded(Series(one, (*labels, schema), [float(value)]) for one, labels, value in found)


Found = tuple[Measure, tuple[str, ...], float]


def _of_lanes(lanes: Sequence[Lane]) -> Iterator[Found]:
    for lane in lanes:
        labels = (lane.queue, lane.workflow)
        yield TASKS, (*labels, str(TaskStatus.READY)), lane.count
        if not lane.is_paused:
            yield OLDEST, labels, lane.oldest_seconds
        if lane.is_stuck:
            yield UNSERVED, labels, lane.count


def _of_tasks(alias: str) -> Iterator[Found]:
    # One question a status: each has an index of its own, and no index has several.
    for status in _COUNTED:
        tasks = TaskExecution.objects.using(alias).filter(status=status).order_by()
        found = tasks.values("queue", "workflow_name").annotate(count=Count("pk"))
        for queue, workflow, count in found.values_list("queue", "workflow_name", "count"):
            yield TASKS, (queue, workflow, str(status)), count


def _of_runs(alias: str) -> Iterator[Found]:
    runs = PipelineExecution.objects.using(alias).found_open().order_by().values("workflow_name")
    found = runs.annotate(
        count=Count("pk"), paused=Count("pk", filter=Q(paused_at__isnull=False))
    )  # fmt: skip
    for workflow, count, paused in found.values_list("workflow_name", "count", "paused"):
        yield RUNS, (workflow,), count
        yield PAUSED_RUNS, (workflow,), paused


def _is_served(alias: str, workers: Sequence[WorkerView]) -> bool:
    if workers:
        return any(worker.is_claiming for worker in workers)
    return overview.is_tenant_served(alias)


def _of_workers(workers: Sequence[WorkerView], *, is_served: bool) -> Iterator[Found]:
    claiming = [worker for worker in workers if worker.is_claiming]
    draining = [worker for worker in workers if worker.state == WorkerState.DRAINING]
    silent = [worker for worker in workers if worker.lease_left <= 0]
    yield WORKERS, ("claiming",), len(claiming)
    yield WORKERS, ("draining",), len(draining)
    yield WORKERS, ("silent",), len(silent)
    yield SERVED, (), is_served
    yield SLOTS, (), sum(worker.concurrency for worker in claiming)
    yield USED, (), sum(worker.running for worker in claiming)
    yield SILENCE, (), max((worker.heartbeat_age for worker in workers), default=0.0)


def _of_schedules(schedules: Timetable) -> Iterator[Found]:
    yield SCHEDULES, ("enabled",), schedules.enabled
    yield SCHEDULES, ("disabled",), schedules.disabled
    yield SCHEDULES, ("parked",), schedules.parked
    yield LATE, (), schedules.late_seconds or 0.0
