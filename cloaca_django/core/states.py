"""The states of runs and tasks, and every move between them. Nothing else spells a status."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import TextChoices


class RunStatus(TextChoices):
    """Where a run stands. Stored Pending until its first settle."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class TaskStatus(TextChoices):
    """Where a task stands."""

    PENDING = "Pending"  # dependencies are open
    READY = "Ready"  # claimable now
    SCHEDULED = "Scheduled"  # a retry or a delayed start that is not due yet
    HELD = "Held"  # its run or workflow is paused, or waits for max_running
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"


RUN_FINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
# In the order in which their index names them.
RUN_TROUBLED = (RunStatus.FAILED, RunStatus.CANCELLED)
TASK_FINAL = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED}
)

RUN_OPEN = frozenset(RunStatus) - RUN_FINAL
TASK_OPEN = frozenset(TaskStatus) - TASK_FINAL

RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.PAUSED}) | RUN_FINAL,
    RunStatus.RUNNING: frozenset({RunStatus.PAUSED}) | RUN_FINAL,
    # A running task of a paused run may be its last one: the run then ends while paused.
    RunStatus.PAUSED: frozenset({RunStatus.PENDING, RunStatus.RUNNING}) | RUN_FINAL,
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}

_PARKED = frozenset({TaskStatus.READY, TaskStatus.SCHEDULED, TaskStatus.HELD})

TASK_MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: _PARKED | {TaskStatus.RUNNING, TaskStatus.SKIPPED, TaskStatus.CANCELLED},
    TaskStatus.READY: frozenset({TaskStatus.RUNNING, TaskStatus.HELD, TaskStatus.CANCELLED}),
    TaskStatus.SCHEDULED: frozenset(
        {TaskStatus.READY, TaskStatus.HELD, TaskStatus.RUNNING, TaskStatus.CANCELLED}
    ),
    TaskStatus.HELD: frozenset({TaskStatus.READY, TaskStatus.SCHEDULED, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: _PARKED | {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED},
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.SKIPPED: frozenset(),
    TaskStatus.CANCELLED: frozenset(),
}


class AttemptOutcome(TextChoices):
    """How an attempt that did not succeed ended. A success lives on its task."""

    FAILED = "Failed"
    TIMED_OUT = "Timed out"
    LOST = "Lost"


class WorkerState(TextChoices):
    """Where a worker process stands."""

    ALIVE = "Alive"
    DRAINING = "Draining"
    STOPPED = "Stopped"
    DEAD = "Dead"


class WorkerKind(TextChoices):
    """What a worker claims: everything it has code for, or only what it submitted itself."""

    WORKER = "worker"  # a cloaca_worker process
    RUNNER = "runner"  # a DefaultRunner with a URL: a whole engine inside a program
    EMBEDDED = "embedded"  # the site's runner: it drives its own runs and nobody else's


class CatchupPolicy(TextChoices):
    """What becomes of a schedule's times that passed while nobody could fire them."""

    ALL = "all"  # the newest ones up to a cap, oldest first
    LATEST = "latest"  # one run for the newest
    SKIP = "skip"  # none


class OverlapPolicy(TextChoices):
    """What a schedule does when the run of an earlier time is still open."""

    START = "start"
    SKIP = "skip"


class Origin(TextChoices):
    """Who asked for a run."""

    API = "api"
    COMMAND = "command"
    ADMIN = "admin"
    SCHEDULE = "schedule"
    RETRY = "retry"
    TASK = "task"
