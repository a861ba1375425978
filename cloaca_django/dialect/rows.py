"""The values that cross the border to SQL, both ways. Plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from cloaca_django.core.progress import RunRow


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to insert."""

    id: UUID
    workflow_name: str
    workflow_version: str
    status: str
    revision: UUID
    context: str
    origin: str
    parent_id: UUID | None = None
    parent_task_id: int | None = None
    schedule_id: UUID | None = None
    created_by: str = ""
    reason: str = ""
    priority: int = 0
    queue: str = "default"
    idempotency_key: str | None = None
    start_at: datetime | None = None
    timeout_seconds: float | None = None
    is_waiting: bool = False
    error_message: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to insert. ``claim_token`` is set when it starts as Running."""

    run_id: UUID
    position: int
    name: str
    workflow_name: str
    queue: str
    priority: int
    status: str
    dependencies: str
    trigger_rules: str
    policy: str
    max_attempts: int
    claim_token: UUID | None = None
    start_at: datetime | None = None
    changes: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InsertedTask:
    """What became of a task to insert: a paused workflow's task is Held, not Running."""

    id: int
    run_id: UUID
    position: int
    status: str


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """A running task's next status, valid only for the claim that ``token`` names."""

    task_id: int
    run_id: UUID
    token: UUID
    status: str
    changes: str | None = None
    error_message: str = ""
    delay_seconds: float = 0.0
    next_attempt: bool = False


@dataclass(frozen=True, slots=True)
class LockedRun:
    """A run's row under lock. ``is_paused`` counts a pause of its workflow too."""

    id: UUID
    status: str
    revision: UUID
    is_paused: bool


@dataclass(frozen=True, slots=True)
class TaskMove:
    """A move of a task that nobody has claimed, decided under the lock of its run."""

    task_id: int
    status: str
    token: UUID | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KnownOutcome:
    """An outcome of a run that is known as of ``known``, with how it moves that run."""

    outcome: TaskOutcome
    known: UUID
    status: str
    revision: UUID
    error_message: str
    moves: Sequence[TaskMove]


@dataclass(frozen=True, slots=True)
class RunMove:
    """A run's next status and revision, decided under its lock."""

    id: UUID
    status: str
    revision: UUID
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A task this worker now owns. ``revision`` tells whether memory of its run is current."""

    task_id: int
    run_id: UUID
    position: int
    attempt: int
    priority: int
    revision: UUID
    # The run itself, when the claim brought it along.
    run: RunRow | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that did not succeed."""

    task_id: int
    attempt: int
    outcome: str
    error_type: str
    error_message: str
    traceback: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What waits in the database. Seconds count from now; None means nothing is due."""

    has_ready: bool
    has_waiting: bool
    seconds_to_due: float | None
    seconds_to_deadline: float | None


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit to a tenant's schema found; ``seconds_to_fire`` None: no schedule is planned."""

    look: Look
    seconds_to_fire: float | None
    has_strangers: bool
    has_parked: bool
    needs_sweep: bool


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule under lock whose ``next_run_at`` has come; ``now`` is the database's clock."""

    id: UUID
    workflow_name: str
    cron_expression: str
    timezone: str
    catchup_policy: str
    overlap_policy: str
    deadline_seconds: int | None
    context: str
    queue: str
    priority: int
    end_date: datetime | None
    next_run_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Orphan:
    """A running task whose worker is gone, or that its worker does not run."""

    task_id: int
    run_id: UUID
    token: UUID
    attempt: int
    crashes: int
    is_deferred: bool


class Tally(NamedTuple):
    """How many tasks a worker ended since it registered: as completed, and as failed for good."""

    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker to register."""

    id: UUID
    kind: str
    hostname: str
    pid: int
    concurrency: int
    queues: str
    workflows: str
    version: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands in its graph, and what it is called."""

    position: int
    workflow_name: str
    name: str


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that was ended from outside its graph."""

    id: UUID
    workflow_name: str
    status: str
    error_message: str


@dataclass(frozen=True, slots=True)
class RunTimes:
    """When a run was submitted, first settled and ended."""

    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
