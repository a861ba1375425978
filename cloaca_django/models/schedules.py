"""Cron schedules and what they fired."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from cloaca_django import querysets
from cloaca_django.core.states import CatchupPolicy, OverlapPolicy
from cloaca_django.models.runs import PipelineExecution


class CronSchedule(models.Model):
    """A cron expression in a time zone, and the workflow it starts.

    ``next_run_at`` is the plan: the next time to fire, the oldest one when several were missed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255, null=True, blank=True, unique=True)
    workflow_name = models.CharField(max_length=255)
    cron_expression = models.CharField(
        max_length=128, help_text="Five fields: minute hour day month weekday."
    )
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name.")
    enabled = models.BooleanField(default=True)
    disabled_by = models.CharField(max_length=255, default="", blank=True)
    disabled_reason = models.TextField(default="", blank=True)
    catchup_policy = models.CharField(
        max_length=16,
        choices=CatchupPolicy.choices,
        default=CatchupPolicy.ALL,
        help_text="What becomes of times that were missed.",
    )
    overlap_policy = models.CharField(
        max_length=16,
        choices=OverlapPolicy.choices,
        default=OverlapPolicy.START,
        help_text="What to do while its last run is open.",
    )
    deadline_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="Not later than so many seconds; empty: however late."
    )
    context = models.TextField(default="{}", help_text="Context of its runs, a JSON object.")
    queue = models.CharField(max_length=64, default="default")
    priority = models.SmallIntegerField(default=0, help_text="Higher runs first.")
    start_date = models.DateTimeField(null=True, blank=True, help_text="Not before. UTC.")
    end_date = models.DateTimeField(null=True, blank=True, help_text="Not after. UTC.")
    next_run_at = models.DateTimeField(
        null=True, blank=True, help_text="UTC; empty when it will not fire again."
    )
    last_run_at = models.DateTimeField(
        null=True, blank=True, help_text="When it last fired, by the database's clock. UTC."
    )
    skipped_count = models.BigIntegerField(
        default=0, help_text="How many of its times were passed over without a run."
    )
    parked_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when it cannot be planned; see error_message."
    )
    error_message = models.TextField(default="", blank=True, help_text="Why it is parked.")
    declared = models.TextField(
        default="", blank=True, help_text="What code last declared, as JSON; empty: no code did."
    )
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    # Set by ScheduleQuerySet.with_last_result(); both None before the first run.
    last_run_id: uuid.UUID | None
    last_result: str | None

    objects = querysets.ScheduleQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_schedule"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        constraints = [
            models.CheckConstraint(
                condition=Q(catchup_policy__in=CatchupPolicy.values)
                & Q(overlap_policy__in=OverlapPolicy.values),
                name="cloaca_schedule_policies_known",
            ),
            models.CheckConstraint(
                condition=Q(start_date__isnull=True)
                | Q(end_date__isnull=True)
                | Q(start_date__lte=F("end_date")),
                name="cloaca_schedule_ends_after_start",
            ),
        ]
        indexes = [
            # Serves the query for due schedules.
            models.Index(
                fields=["next_run_at"],
                name="cloaca_schedule_due",
                condition=Q(enabled=True, next_run_at__isnull=False, parked_at__isnull=True),
            ),
            # Serves a worker that learnt of a workflow: its parked schedules are planned again.
            models.Index(
                fields=["workflow_name"],
                name="cloaca_schedule_parked",
                condition=Q(parked_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.workflow_name} at {self.cron_expression} {self.timezone}"


class CronExecution(models.Model):
    """One time of a schedule, and the run it started: at most one per scheduled time."""

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
    claimed_at = models.DateTimeField(help_text="When it was fired, by the database's clock.")
    reason = models.TextField(default="", blank=True, help_text="Why it started no run.")

    # Set by FireQuerySet.with_result(); None without a run.
    result: str | None

    objects = querysets.FireQuerySet.as_manager()

    class Meta:
        db_table = "cloaca_fire"
        verbose_name = _("fire")
        verbose_name_plural = _("fires")
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "scheduled_time"], name="cloaca_fire_once_per_time"
            )
        ]
        indexes = [
            models.Index(fields=["run"], name="cloaca_fire_of_run"),
            # Serves the statistics since a moment, and retention.
            models.Index(fields=["claimed_at"], name="cloaca_fire_claimed"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.scheduled_time}"
