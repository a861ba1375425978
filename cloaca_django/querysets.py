"""Named reads. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models

from cloaca_django.core.states import TaskStatus, WorkerState

if TYPE_CHECKING:
    from cloaca_django.models import PipelineExecution, TaskExecution, Worker


class RunQuerySet(models.QuerySet["PipelineExecution"]):
    """The questions asked about runs."""

    def unfinished(self) -> Self:
        """Return runs that have not ended."""
        return self.filter(finished_at__isnull=True)

    def newest_first(self) -> Self:
        """Return runs by submission; their ids are ordered by time."""
        return self.order_by("-id")


class TaskQuerySet(models.QuerySet["TaskExecution"]):
    """The questions asked about tasks."""

    def in_graph_order(self) -> Self:
        """Return tasks in topological order."""
        return self.order_by("run_id", "position")

    def running(self) -> Self:
        """Return tasks that a worker has claimed."""
        return self.filter(status=TaskStatus.RUNNING)


class WorkerQuerySet(models.QuerySet["Worker"]):
    """The questions asked about workers."""

    def alive(self) -> Self:
        """Return workers that renew their lease."""
        return self.filter(state__in=[WorkerState.ALIVE, WorkerState.DRAINING])
