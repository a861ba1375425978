"""Runs and their tasks, attempts and logs."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from cloaca_django import querysets
from cloaca_django.core.states import (
    RUN_FINAL,
    RUN_TROUBLED,
    AttemptOutcome,
    Origin,
    RunStatus,
    TaskStatus,
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
    traceparent = models.CharField(
        max_length=55,
        null=True,
        blank=True,
        editable=False,
        help_text="The span that submitted it, as in W3C Trace Context; empty: nobody traced.",
    )

    # Set by RunQuerySet.with_shown_status().
    shown_status: str

    objects = querysets.RunQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_run"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        permissions = [
            ("cancel_execution", _("Can cancel runs")),
            ("retry_execution", _("Can retry runs from where they failed")),
            ("view_context", _("Can see contexts and task logs")),
        ]
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
            # Serves schedules that start no run beside an open one.
            models.Index(
                fields=["schedule"],
                name="cloaca_run_open_of_schedule",
                condition=_OPEN & Q(schedule__isnull=False),
            ),
            # Serves a workflow's history.
            models.Index(fields=["workflow_name", "-id"], name="cloaca_run_of_workflow"),
            # Serves the lists of what went wrong, newest first.
            models.Index(
                fields=["status", "-id"],
                name="cloaca_run_troubled",
                condition=Q(status__in=[*RUN_TROUBLED]),
            ),
            # Serves the figures of the last hours.
            models.Index(
                fields=["finished_at"],
                name="cloaca_run_finished",
                condition=Q(finished_at__isnull=False),
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
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
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
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

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
        verbose_name = _("task log")
        verbose_name_plural = _("task logs")

    def __str__(self) -> str:
        return f"log of attempt {self.attempt}"
