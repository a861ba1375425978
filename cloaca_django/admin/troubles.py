"""What waits for a person: runs, schedules that are late or parked, paused workflows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from cloaca_django.admin import access, attention, plain, run_acts
from cloaca_django.admin.run_rows import RunRows
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import WorkflowControl

MAX_SHOWN = 8
MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that waits for a person."""

    what: str
    says: str
    since: datetime | None
    status: str
    run: Any = None
    may_retry: bool = False
    schedule: Any = None


def of_runs(request: HttpRequest, rows: RunRows, runs: Sequence[Any]) -> Iterator[Trouble]:
    """Yield runs that need somebody, with their error or what is wrong with them."""
    may_retry = access.may(request, access.RETRY)
    for run in runs:
        facts = rows.facts(run)
        if run.status == RunStatus.FAILED:
            may = may_retry and not run_acts.RETRY.refusal(run)
            says = plain.first_line(run.error_message, MAX_WORDS)
            yield Trouble(run.workflow_name, says, run.finished_at, run.status, run, may)
        else:
            wrong = [tag for tag in facts.tags if tag in {attention.STALLED, attention.LATE}]
            says = ", ".join(str(tag.meaning) for tag in wrong) or facts.sentence
            yield Trouble(run.workflow_name, says, run.created_at, run.shown_status, run)


def of_schedules(late: Sequence[Any], parked: Sequence[Any]) -> Iterator[Trouble]:
    """Yield schedules that nobody fired, and those that cannot be planned."""
    for schedule in late[:MAX_SHOWN]:
        says = _("late: its time has come and no worker has fired it")
        yield Trouble(
            str(schedule), says, schedule.next_run_at, TaskStatus.SCHEDULED, schedule=schedule
        )
    for schedule in parked[:MAX_SHOWN]:
        says = plain.first_line(schedule.error_message, MAX_WORDS)
        yield Trouble(str(schedule), says, schedule.parked_at, TaskStatus.HELD, schedule=schedule)


def of_workflows(alias: str) -> Iterator[Trouble]:
    """Yield workflows that somebody paused."""
    for control in WorkflowControl.objects.using(alias).paused()[:MAX_SHOWN]:
        says = _("paused by %s") % (control.paused_by or "?")
        says += f": {control.pause_reason}" if control.pause_reason else ""
        yield Trouble(control.name, says, control.paused_at, RunStatus.PAUSED)
