"""What is known of workflows and of the workers that run them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from cloaca_django import querysets
from cloaca_django.core.states import WorkerState


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
        verbose_name = _("workflow definition")
        verbose_name_plural = _("workflow definitions")
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
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        permissions = [
            ("run_workflow", _("Can start runs")),
            ("pause_workflow", _("Can pause and resume runs and workflows")),
        ]

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
    completed_count = models.BigIntegerField(
        default=0, help_text="Tasks that it completed, as of its last heartbeat."
    )
    failed_count = models.BigIntegerField(
        default=0, help_text="Tasks that failed for good with it, as of its last heartbeat."
    )

    objects = querysets.WorkerQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_worker"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        permissions = [("drain_worker", _("Can let a worker take no more tasks"))]
        indexes = [
            # Serves the sweep.
            models.Index(fields=["state", "lease_until"], name="cloaca_worker_lease")
        ]

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
