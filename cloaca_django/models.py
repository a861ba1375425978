"""Tables, constraints and indexes. Nothing here writes: rows move through ``engine`` only."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from cloaca_django import querysets
from cloaca_django.core.states import (
    RUN_FINAL,
    AttemptOutcome,
    Origin,
    RunStatus,
    TaskStatus,
    WorkerState,
)

_OPEN = Q(finished_at__isnull=True)
_FINAL = sorted(RUN_FINAL)
_UNCLAIMED = [TaskStatus.PENDING, TaskStatus.READY, TaskStatus.SCHEDULED, TaskStatus.HELD]


class PipelineExecution(models.Model):
    """One run of a workflow. The engine locks this row before it moves the run's graph."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workflow_name = models.CharField(max_length=255)
    workflow_version = models.CharField(
        max_length=64, help_text="Fingerprint of the definition; see WorkflowDefinition."
    )
    status = models.CharField(
        max_length=16,
        choices=RunStatus.choices,
        default=RunStatus.PENDING,
        help_text="Stays Pending until the first outcome is settled.",
    )
    revision = models.UUIDField(
        default=uuid.uuid4, help_text="Random; changes with every move of the graph."
    )
    context = models.TextField(default="{}", help_text="Initial context, a JSON object.")
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.API)
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="children",
        db_index=False,
        help_text="The run this one repeats, or the run whose task started it.",
    )
    parent_task_id = models.BigIntegerField(
        null=True, blank=True, help_text="The task that started this run through execute()."
    )
    schedule = models.ForeignKey(
        "CronSchedule",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="runs",
        db_index=False,
    )
    created_by = models.CharField(max_length=255, default="", blank=True)
    reason = models.TextField(default="", blank=True, help_text="Why a person started it.")
    priority = models.SmallIntegerField(default=0, help_text="Higher runs first.")
    queue = models.CharField(max_length=64, default="default")
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)
    start_at = models.DateTimeField(null=True, blank=True, help_text="Not before. UTC.")
    deadline_at = models.DateTimeField(
        null=True, blank=True, help_text="Fails when still open then. UTC; empty: no limit."
    )
    is_waiting = models.BooleanField(
        default=False, help_text="Waits for a place under the workflow's max_running."
    )
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=255, default="", blank=True)
    pause_reason = models.TextField(default="", blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_message = models.TextField(
        default="", blank=True, help_text="The first failure, or why the run was ended."
    )

    # Set by RunQuerySet.with_shown_status().
    shown_status: str

    objects = querysets.RunQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_run"
        verbose_name = "run"
        constraints = [
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="cloaca_run_once_per_key",
            ),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="cloaca_run_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=_FINAL, finished_at__isnull=False)
                | (~Q(status__in=_FINAL) & Q(finished_at__isnull=True)),
                name="cloaca_run_finished_iff_final",
            ),
        ]
        indexes = [
            # Serves the pages of open runs and the count behind max_running.
            models.Index(fields=["workflow_name", "id"], name="cloaca_run_open", condition=_OPEN),
            # Serves the statement that ends overdue runs.
            models.Index(
                fields=["deadline_at"],
                name="cloaca_run_deadline",
                condition=_OPEN & Q(deadline_at__isnull=False),
            ),
            # Serves the admission of runs under max_running.
            models.Index(
                fields=["workflow_name", "-priority", "id"],
                name="cloaca_run_waiting",
                condition=Q(is_waiting=True),
            ),
            # Serves the cancellation of child runs and the links of a run's page.
            models.Index(
                fields=["parent"],
                name="cloaca_run_children",
                condition=Q(parent__isnull=False),
            ),
            # Serves a schedule's history.
            models.Index(
                fields=["schedule", "id"],
                name="cloaca_run_of_schedule",
                condition=Q(schedule__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_name} {self.id}"


class TaskExecution(models.Model):
    """One task of one run: the row a worker claims.

    ``claim_token`` is the fence. Every claim writes a new random one, every write to a running
    task names it, and a final row keeps it, so that an unknown commit can be resolved.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(
        PipelineExecution, on_delete=models.CASCADE, related_name="tasks", db_index=False
    )
    position = models.IntegerField(help_text="Topological order, ties as declared.")
    name = models.CharField(max_length=255)
    workflow_name = models.CharField(max_length=255)
    queue = models.CharField(max_length=64, default="default")
    priority = models.SmallIntegerField(default=0)
    status = models.CharField(max_length=16, choices=TaskStatus.choices, default=TaskStatus.PENDING)
    dependencies = models.TextField(default="[]", help_text="JSON list of task names.")
    trigger_rules = models.TextField(default="", blank=True, help_text="JSON; empty: default.")
    policy = models.TextField(default="", help_text="JSON: retries, timeout, atomic.")
    max_attempts = models.IntegerField(default=3)
    attempt = models.IntegerField(default=1, help_text="Number of the current attempt.")
    crashes = models.IntegerField(default=0, help_text="Times its worker was lost.")
    claim_token = models.UUIDField(null=True, blank=True)
    worker_id = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When a Scheduled task becomes Ready. UTC."
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    is_deferred = models.BooleanField(
        default=False, help_text="Waits in defer_until and holds no slot."
    )
    changes = models.TextField(
        null=True, blank=True, help_text="What it changed in the context: JSON list of writes."
    )
    error_message = models.TextField(default="", blank=True)
    reason = models.TextField(default="", blank=True, help_text="Why skipped or cancelled.")

    objects = querysets.TaskQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_task"
        verbose_name = "task"
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="cloaca_task_once_per_run"),
            models.CheckConstraint(
                condition=Q(status__in=TaskStatus.values), name="cloaca_task_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status=TaskStatus.RUNNING)
                | Q(claim_token__isnull=False, worker_id__isnull=False),
                name="cloaca_task_running_is_claimed",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=_UNCLAIMED)
                | Q(claim_token__isnull=True, worker_id__isnull=True),
                name="cloaca_task_waiting_is_unclaimed",
            ),
            models.CheckConstraint(
                condition=Q(attempt__lte=models.F("max_attempts")),
                name="cloaca_task_attempts_bounded",
            ),
        ]
        indexes = [
            # Serves the claim; stays small however old the table gets.
            models.Index(
                fields=["queue", "workflow_name", "-priority", "id"],
                name="cloaca_task_ready",
                condition=Q(status=TaskStatus.READY),
            ),
            # Serves the promotion of retries and delayed starts.
            models.Index(
                fields=["due_at"],
                name="cloaca_task_due",
                condition=Q(status=TaskStatus.SCHEDULED),
            ),
            # Serves reconcile and the sweep.
            models.Index(
                fields=["worker_id"],
                name="cloaca_task_running",
                condition=Q(status=TaskStatus.RUNNING),
            ),
            # Serves resuming a workflow.
            models.Index(
                fields=["workflow_name"],
                name="cloaca_task_held",
                condition=Q(status=TaskStatus.HELD),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_name}.{self.name}"


class TaskAttempt(models.Model):
    """An attempt that failed, timed out or was lost with its worker."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(TaskExecution, on_delete=models.CASCADE, related_name="attempts")
    attempt = models.IntegerField()
    outcome = models.CharField(max_length=16, choices=AttemptOutcome.choices)
    error_type = models.CharField(max_length=255, default="", blank=True)
    error_message = models.TextField(default="", blank=True)
    traceback = models.TextField(default="", blank=True)
    worker_id = models.UUIDField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField()

    class Meta:
        db_table = "cloaca_attempt"
        verbose_name = "attempt"

    def __str__(self) -> str:
        return f"attempt {self.attempt}: {self.outcome}"


class TaskLog(models.Model):
    """What one attempt logged, cut to ``CLOACA["LOG_CAPTURE_BYTES"]``."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(TaskExecution, on_delete=models.CASCADE, related_name="logs")
    attempt = models.IntegerField()
    text = models.TextField()

    class Meta:
        db_table = "cloaca_log"
        verbose_name = "task log"

    def __str__(self) -> str:
        return f"log of attempt {self.attempt}"


class WorkflowDefinition(models.Model):
    """One version of a workflow's graph, kept so that an old run can still be drawn."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    version = models.CharField(max_length=64)
    graph = models.TextField(help_text="JSON: tasks with dependencies, rules and policies.")
    first_seen_at = models.DateTimeField()

    objects = querysets.WorkflowDefinitionQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_definition"
        verbose_name = "workflow definition"
        constraints = [
            models.UniqueConstraint(
                fields=["name", "version"], name="cloaca_definition_once_per_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class WorkflowControl(models.Model):
    """What an operator or a definition says about a workflow as a whole.

    Admission under ``max_running`` locks this row, so two workers never admit at once.
    """

    name = models.CharField(max_length=255, primary_key=True)
    max_running = models.IntegerField(null=True, blank=True, help_text="Empty: no limit.")
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=255, default="", blank=True)
    pause_reason = models.TextField(default="", blank=True)

    objects = querysets.WorkflowControlQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_workflow"
        verbose_name = "workflow"

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """One worker process, or one runner embedded in a program. Its id never comes back."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=16, choices=WorkerState.choices, default=WorkerState.ALIVE)
    kind = models.CharField(max_length=16, default="worker")
    hostname = models.CharField(max_length=255)
    pid = models.IntegerField()
    concurrency = models.IntegerField()
    queues = models.TextField(default="", help_text="Comma-separated.")
    workflows = models.TextField(default="[]", help_text="JSON list of the names it knows.")
    version = models.CharField(max_length=64, default="")
    lease_seconds = models.FloatField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    lease_until = models.DateTimeField()

    objects = querysets.WorkerQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_worker"
        verbose_name = "worker"
        indexes = [
            # Serves the sweep.
            models.Index(fields=["state", "lease_until"], name="cloaca_worker_lease")
        ]

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"


class CronSchedule(models.Model):
    """A cron expression in a time zone, and the workflow it starts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255, null=True, blank=True, unique=True)
    workflow_name = models.CharField(max_length=255)
    cron_expression = models.CharField(max_length=128)
    timezone = models.CharField(max_length=64, default="UTC")
    enabled = models.BooleanField(default=True)
    catchup_policy = models.CharField(max_length=16, default="all")
    context = models.TextField(default="{}", help_text="Context of its runs, a JSON object.")
    start_date = models.DateTimeField(null=True, blank=True)
    end_date = models.DateTimeField(null=True, blank=True)
    next_run_at = models.DateTimeField(null=True, blank=True)
    last_run_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "cloaca_schedule"
        verbose_name = "schedule"
        indexes = [
            # Serves the query for due schedules.
            models.Index(
                fields=["next_run_at"],
                name="cloaca_schedule_due",
                condition=Q(enabled=True, next_run_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.workflow_name} at {self.cron_expression} {self.timezone}"


class CronExecution(models.Model):
    """One fire of a schedule, and the run it started: at most one per scheduled time."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    schedule = models.ForeignKey(
        CronSchedule, on_delete=models.CASCADE, related_name="executions", db_index=False
    )
    run = models.ForeignKey(
        PipelineExecution,
        null=True,
        on_delete=models.SET_NULL,
        related_name="fires",
        db_index=False,
    )
    scheduled_time = models.DateTimeField()
    claimed_at = models.DateTimeField()

    class Meta:
        db_table = "cloaca_fire"
        verbose_name = "fire"
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "scheduled_time"], name="cloaca_fire_once_per_time"
            )
        ]
        indexes = [models.Index(fields=["run"], name="cloaca_fire_of_run")]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.scheduled_time}"
