"""Named reads. Nothing here writes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Case, Count, Exists, F, Min, OuterRef, Q, Subquery, Value, When

from cloaca_django.core.states import (
    RUN_TROUBLED,
    RunStatus,
    TaskStatus,
    WorkerKind,
    WorkerState,
)
from cloaca_django.dialect.history import Spelled

if TYPE_CHECKING:
    from cloaca_django.models import (
        CronExecution,
        CronSchedule,
        PipelineExecution,
        TaskExecution,
        Worker,
        WorkflowControl,
        WorkflowDefinition,
    )


class RunQuerySet(models.QuerySet["PipelineExecution"]):
    """The questions asked about runs."""

    def unfinished(self) -> Self:
        """Return runs that have not ended."""
        return self.filter(finished_at__isnull=True)

    def found_open(self) -> Self:
        """Return runs that have not ended, looked up by the small index of those.

        Else a database that is asked for the newest ones walks all history for them.
        """
        still_open = self.model.objects.using(self.db).unfinished().order_by().values("pk")
        return self.filter(pk__in=still_open)

    def troubled(self) -> Self:
        """Return runs that failed or were cancelled."""
        return self.filter(Spelled("status", *RUN_TROUBLED))

    def newest_first(self) -> Self:
        """Return runs by submission; their ids are ordered by time."""
        return self.order_by("-id")

    def with_shown_status(self) -> Self:
        """Add ``shown_status``: a run is Running for people once one of its tasks was claimed."""
        claimed = self.model.objects.filter(pk=OuterRef("pk"), tasks__claimed_at__isnull=False)
        is_begun = models.Q(status=RunStatus.PENDING) & Exists(claimed)
        return self.annotate(
            shown_status=Case(When(is_begun, then=Value(RunStatus.RUNNING)), default=F("status"))
        )

    def counts_by_status(self) -> dict[str, int]:
        """Count runs by the status that people see."""
        return _counts(self.with_shown_status(), "shown_status")


class TaskQuerySet(models.QuerySet["TaskExecution"]):
    """The questions asked about tasks."""

    def in_graph_order(self) -> Self:
        """Return tasks in topological order."""
        return self.order_by("run_id", "position")

    def running(self) -> Self:
        """Return tasks that a worker has claimed."""
        return self.filter(Spelled("status", TaskStatus.RUNNING))

    def ready(self) -> Self:
        """Return tasks that a worker could claim now."""
        return self.filter(Spelled("status", TaskStatus.READY))

    def counts_by_status(self) -> dict[str, int]:
        """Count tasks by status."""
        return _counts(self, "status")

    def counts_by_worker(self) -> dict[Any, int]:
        """Count running tasks by the id of the worker that owns them."""
        return _counts(self.running(), "worker_id")

    def owned_by(self, worker: UUID) -> Self:
        """Return running tasks of one worker."""
        return self.running().filter(worker_id=worker)

    def claimable_kinds(self) -> list[tuple[str, str, str]]:
        """Return ``(queue, workflow, task)`` of what is ready and not of a paused workflow."""
        kinds = self.ready().values_list("queue", "workflow_name", "name").distinct()
        controls = self.model._meta.apps.get_model("cloaca_django", "WorkflowControl")
        paused = controls.objects.using(self.db).paused().values("name")
        return list(kinds.exclude(workflow_name__in=paused).order_by())

    def ready_lanes(self) -> list[tuple[str, str, int, int]]:
        """Return ``(queue, workflow, count, lowest id)`` of the tasks that could be claimed."""
        lanes = self.ready().values("queue", "workflow_name")
        found = lanes.annotate(count=Count("id"), first=Min("id")).order_by(
            "queue", "workflow_name"
        )
        return list(found.values_list("queue", "workflow_name", "count", "first"))


class WorkerQuerySet(models.QuerySet["Worker"]):
    """The questions asked about workers."""

    def alive(self) -> Self:
        """Return workers that renew their lease."""
        return self.filter(state__in=[WorkerState.ALIVE, WorkerState.DRAINING])

    def heard_of(self, now: datetime) -> Self:
        """Return workers that renewed their lease in time; draining ones do as well."""
        return self.alive().filter(lease_until__gt=now)

    def claiming(self, now: datetime) -> Self:
        """Return workers that were heard of within their lease and claim what anybody submits."""
        return self.filter(
            state=WorkerState.ALIVE,
            lease_until__gt=now,
            kind__in=[WorkerKind.WORKER, WorkerKind.RUNNER],
        )


class ScheduleQuerySet(models.QuerySet["CronSchedule"]):
    """The questions asked about schedules."""

    def enabled(self) -> Self:
        """Return schedules that nobody disabled."""
        return self.filter(enabled=True)

    def parked(self) -> Self:
        """Return schedules that should fire and cannot be planned."""
        return self.filter(enabled=True, parked_at__isnull=False)

    def due(self, moment: datetime) -> Self:
        """Return schedules that have a time to fire at or before a moment, most overdue first."""
        return self.planned().filter(next_run_at__lte=moment)

    def planned(self) -> Self:
        """Return schedules that will fire, the next one first."""
        waiting = self.filter(enabled=True, parked_at__isnull=True, next_run_at__isnull=False)
        return waiting.order_by("next_run_at", "id")

    def counts(self) -> tuple[int, int, int]:
        """Count those that are enabled, disabled, and parked, which are enabled as well."""
        found = self.aggregate(
            on=Count("pk", filter=Q(enabled=True)),
            off=Count("pk", filter=Q(enabled=False)),
            stuck=Count("pk", filter=Q(enabled=True, parked_at__isnull=False)),
        )
        return found["on"], found["off"], found["stuck"]

    def by_workflow(self) -> Self:
        """Return schedules by workflow, those of one workflow as they were created."""
        return self.order_by("workflow_name", "created_at", "id")

    def with_last_result(self) -> Self:
        """Add ``last_run_id`` and ``last_result``: the newest run of a schedule and its status."""
        model: Any = self.model._meta.get_field("runs").related_model
        runs = RunQuerySet(model).filter(schedule=OuterRef("pk")).newest_first()
        newest: models.QuerySet[Any] = runs.with_shown_status()
        return self.annotate(
            last_run_id=Subquery(newest.values("pk")[:1]),
            last_result=Subquery(newest.values("shown_status")[:1]),
        )


class FireQuerySet(models.QuerySet["CronExecution"]):
    """The questions asked about what schedules fired."""

    def newest_first(self) -> Self:
        """Return fires by the time they were scheduled for."""
        return self.order_by("-scheduled_time")

    def with_result(self) -> Self:
        """Add ``result``, the status of the run that a fire started; None without a run."""
        model: Any = self.model._meta.get_field("run").related_model
        runs = RunQuerySet(model).filter(pk=OuterRef("run_id"))
        run: models.QuerySet[Any] = runs.with_shown_status()
        return self.annotate(result=Subquery(run.values("shown_status")[:1]))

    def started(self) -> Self:
        """Return fires that started a run, be it deleted since."""
        return self.filter(reason="")

    def claimed_since(self, moment: datetime) -> Self:
        """Return fires by when they really happened."""
        return self.filter(claimed_at__gte=moment)


class WorkflowControlQuerySet(models.QuerySet["WorkflowControl"]):
    """The questions asked about workflows as a whole."""

    def paused(self) -> Self:
        """Return workflows that somebody paused."""
        return self.filter(paused_at__isnull=False)


class WorkflowDefinitionQuerySet(models.QuerySet["WorkflowDefinition"]):
    """The questions asked about versions of graphs."""

    def of(self, name: str, version: str = "") -> Self:
        """Return the versions of a workflow that start with some text, newest first."""
        return self.filter(name=name, version__startswith=version).order_by("-id")


def _counts(rows: models.QuerySet[Any], field: str) -> dict[Any, int]:
    found = rows.order_by().values(field).annotate(count=Count("pk"))
    return dict(found.values_list(field, "count"))
