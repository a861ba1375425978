"""The first page: what runs, what needs somebody, what comes next, who works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q, Window
from django.http import HttpRequest

from cloaca_django.admin import access, attention, run_reads, standing, throughput, troubles
from cloaca_django.admin.run_reads import WorkerFacts
from cloaca_django.admin.run_rows import Facts, RunRows
from cloaca_django.admin.standing import Sign, Tile
from cloaca_django.admin.throughput import Throughput
from cloaca_django.admin.troubles import Trouble
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect import history
from cloaca_django.models import CronSchedule, PipelineExecution, WorkflowControl

MAX_SHOWN = 8
MAX_SCHEDULES = 200
LIVE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The whole page. ``is_new`` says that nothing was ever run here."""

    at: datetime
    tiles: Sequence[Tile]
    signs: Sequence[Sign]
    notice: str
    troubles: Sequence[Trouble]
    has_more_troubles: bool
    failed: str
    active: Sequence[tuple[Any, Facts]]
    more_active: int
    next_fires: Sequence[Any]
    workers: Sequence[WorkerFacts]
    # Whether no worker is alive.
    is_workerless: bool
    throughput: Throughput
    is_new: bool
    example: str
    sees_workflows: bool
    poll: int


def read(request: HttpRequest) -> Dashboard:
    """Read the page, in a number of queries that the history does not change."""
    alias = settings.DATABASE
    glance = history.glance(alias, most=standing.MAX_COUNTED)
    at = glance.at
    ended = throughput.read(alias, glance)
    timetable = _timetable(alias, at)
    workers = run_reads.read_workers(alias, at)
    unfinished = _unfinished(alias)
    needy = _needy(alias, at)
    heard_of = {worker.id for worker in workers if worker.is_heard_of}
    rows = RunRows(alias, [*unfinished.begun, *needy[:MAX_SHOWN]], at=at, heard_of=heard_of)
    seconds = settings.ADMIN_POLL_SECONDS
    return Dashboard(
        at=at,
        tiles=list(standing.tiles(
            glance, ended, unfinished.counts, timetable.late,
            sees_schedules=access.may_view(request, CronSchedule),
        )),
        signs=list(standing.signs(glance, workers, alias)),
        notice=standing.notice(alias),
        troubles=[
            *troubles.of_runs(request, rows, needy[:MAX_SHOWN]),
            *troubles.of_schedules(timetable.late, timetable.parked),
            *troubles.of_workflows(glance.paused),
        ],
        has_more_troubles=len(needy) > MAX_SHOWN,
        failed=str(RunStatus.FAILED),
        active=[(row, rows.facts(row)) for row in unfinished.begun],
        more_active=max(0, sum(unfinished.counts.values()) - MAX_SHOWN),
        next_fires=timetable.coming,
        workers=workers,
        is_workerless=run_reads.is_workerless(alias, workers),
        throughput=ended,
        is_new=not glance.has_runs,
        example=next(iter(registry.names()), ""),
        sees_workflows=access.may_view(request, WorkflowControl),
        poll=round(1000 * max(seconds, LIVE_SECONDS)) if seconds else 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Timetable:
    """Enabled schedules: those that cannot be planned, those that are late, those to come."""

    parked: Sequence[Any]
    late: Sequence[Any]
    coming: Sequence[Any]


def _timetable(alias: str, at: datetime) -> _Timetable:
    enabled = CronSchedule.objects.using(alias).enabled()
    ordered = enabled.order_by(F("parked_at").asc(nulls_last=True), "next_run_at", "id")
    rows: list[Any] = list(ordered[:MAX_SCHEDULES])
    planned = [row for row in rows if row.parked_at is None and row.next_run_at is not None]
    due = at - timedelta(seconds=attention.LATE_SECONDS)
    return _Timetable(
        parked=[row for row in rows if row.parked_at is not None],
        late=[row for row in planned if row.next_run_at <= due],
        coming=[row for row in planned if row.next_run_at > due][:MAX_SHOWN],
    )


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """Open runs that have begun or are paused: the newest, and how many there are."""

    begun: Sequence[Any]
    counts: dict[str, int]


def _unfinished(alias: str) -> _Unfinished:
    runs: Any = PipelineExecution.objects.using(alias).found_open().with_shown_status()
    shown = [RunStatus.RUNNING, RunStatus.PAUSED]
    # Every row knows how many there are of each status.
    totals = {
        f"all_{status.name}": Window(Count("pk", filter=Q(shown_status=status)))
        for status in shown
    }  # fmt: skip
    begun = runs.filter(shown_status__in=shown).annotate(**totals).defer("context")
    rows = list(begun.newest_first()[:MAX_SHOWN])
    counts = {str(s): getattr(rows[0], f"all_{s.name}") if rows else 0 for s in shown}
    return _Unfinished(rows, counts)


def _needy(alias: str, at: datetime) -> Sequence[Any]:
    """Return the newest runs that need somebody, one more than are shown."""
    found: Any = attention.runs(alias, at)
    return list(found.with_shown_status().defer("context").newest_first()[: MAX_SHOWN + 1])
