"""The first page: what runs, what needs somebody, what comes next, who works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F
from django.db.models.functions import TruncHour
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.admin import access, run_acts, run_reads, spans, vocabulary
from cloaca_django.admin.run_reads import WorkerFacts
from cloaca_django.admin.run_rows import Facts, RunRows
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import overview
from cloaca_django.models import CronSchedule, PipelineExecution, TaskExecution, WorkflowControl

HOURS = 24
MAX_COUNTED = 100_000
MAX_SHOWN = 8
TROUBLE_DAYS = 7
MAX_SCHEDULES = 200
# A schedule is late when a worker should have fired it this long ago.
LATE_SECONDS = 60
LIVE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. ``query`` filters the list of runs that it links to; empty: no link."""

    label: str
    figure: str
    note: str
    tone: str
    query: str = ""


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


@dataclass(frozen=True, slots=True)
class Hour:
    """One bar of the throughput: runs that ended in an hour. Heights are of 48."""

    x: int
    good: int
    bad: int
    title: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The whole page. ``is_new`` says that nothing was ever run here."""

    at: datetime
    tiles: Sequence[Tile]
    troubles: Sequence[Trouble]
    active: Sequence[tuple[Any, Facts]]
    more_active: int
    next_fires: Sequence[Any]
    workers: Sequence[WorkerFacts]
    hours: Sequence[Hour]
    hours_label: str
    is_new: bool
    example: str
    poll: int

    @property
    def is_workerless(self) -> bool:
        """Whether no worker is alive."""
        return not any(worker.is_claiming for worker in self.workers)


def read(request: HttpRequest) -> Dashboard:
    """Read the page, in a number of queries that the history does not change."""
    alias = settings.DATABASE
    at = overview.read_clock(alias)
    ended = _ended(alias, at)
    timetable = _timetable(alias, at)
    active = _active(alias)
    rows = RunRows(alias, active, at=at)
    hours = _hours(ended, at)
    is_new = not (ended or active) and not PipelineExecution.objects.using(alias).exists()
    return Dashboard(
        at=at,
        tiles=list(_tiles(alias, ended, timetable.late, at)),
        troubles=list(_troubles(request, alias, timetable, at)),
        active=[(row, rows.facts(row)) for row in active[:MAX_SHOWN]],
        more_active=max(0, len(active) - MAX_SHOWN),
        next_fires=timetable.coming,
        workers=run_reads.read_workers(alias, at),
        hours=hours,
        hours_label=_hours_label(ended),
        is_new=is_new,
        example=next(iter(registry.names()), ""),
        poll=round(1000 * max(settings.ADMIN_POLL_SECONDS, LIVE_SECONDS))
        if settings.ADMIN_POLL_SECONDS else 0,
    )  # fmt: skip


Ended = Sequence[Mapping[str, Any]]


def _ended(alias: str, at: datetime) -> Ended:
    """Count the runs that ended in the last hours, by the hour and how they ended."""
    runs = PipelineExecution.objects.using(alias).order_by()
    recent = runs.filter(finished_at__gte=at - timedelta(hours=HOURS))
    grouped = recent.annotate(hour=TruncHour("finished_at")).values("hour", "status")
    return list(grouped.annotate(count=Count("pk")))


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
    due = at - timedelta(seconds=LATE_SECONDS)
    return _Timetable(
        parked=[row for row in rows if row.parked_at is not None],
        late=[row for row in planned if row.next_run_at <= due],
        coming=[row for row in planned if row.next_run_at > due][:MAX_SHOWN],
    )


def _active(alias: str) -> Sequence[Any]:
    """Return open runs that have begun or are paused, newest first."""
    runs: Any = PipelineExecution.objects.using(alias).found_open().with_shown_status()
    shown = runs.filter(shown_status__in=[RunStatus.RUNNING, RunStatus.PAUSED])
    return list(shown.defer("context").newest_first()[:100])


def _tiles(alias: str, ended: Ended, late: Sequence[Any], at: datetime) -> Iterator[Tile]:
    found = PipelineExecution.objects.using(alias).unfinished().counts_by_status()
    running, paused = found.get(RunStatus.RUNNING, 0), found.get(RunStatus.PAUSED, 0)
    waiting = TaskExecution.objects.using(alias).ready().order_by()[:MAX_COUNTED].count()
    good, bad = (_sum(ended, status) for status in (RunStatus.COMPLETED, RunStatus.FAILED))
    yield Tile(
        vocabulary.word(RunStatus.RUNNING).label, _capped(running),
        ngettext("%d paused", "%d paused", paused) % paused if paused else "",
        "run" if running else "", f"?status={RunStatus.RUNNING}",
    )  # fmt: skip
    yield Tile(_("Waiting tasks"), _capped(waiting), _("ready for a worker"), "")
    share = f"{bad / (good + bad):.1%}" if bad else ""
    yield Tile(
        _("Failed in 24 h"), str(bad), share, "bad" if bad else "",
        f"?status={RunStatus.FAILED}&finished=day",
    )  # fmt: skip
    yield Tile(
        _("Completed in 24 h"), str(good), "", "good" if good else "",
        f"?status={RunStatus.COMPLETED}&finished=day",
    )  # fmt: skip
    note = f"{late[0]} · {spans.distance(late[0].next_run_at, at)}" if late else ""
    yield Tile(_("Late schedules"), str(len(late)), note, "bad" if late else "")


def _sum(ended: Ended, status: str) -> int:
    return sum(row["count"] for row in ended if row["status"] == status)


def _capped(count: int) -> str:
    return str(count) if count < MAX_COUNTED else f"{MAX_COUNTED // 1000}k+"


def _troubles(
    request: HttpRequest, alias: str, timetable: _Timetable, at: datetime
) -> Iterator[Trouble]:
    """Return what needs somebody: failed runs that nobody repeated, late and parked schedules."""
    may_retry = access.may(request, access.RETRY)
    runs = PipelineExecution.objects.using(alias).filter(
        status=RunStatus.FAILED, finished_at__gte=at - timedelta(days=TROUBLE_DAYS)
    )
    failed = runs.filter(children__isnull=True).defer("context")
    # By the time of their end, which has an index of its own on every database.
    for run in failed.order_by("-finished_at")[:MAX_SHOWN]:
        may = may_retry and not run_acts.RETRY.refusal(run)
        yield Trouble(
            run.workflow_name, _first_line(run.error_message), run.finished_at, run.status, run, may
        )
    for schedule in timetable.late[:MAX_SHOWN]:
        says = _("late: its time has come and no worker has fired it")
        yield Trouble(
            str(schedule), says, schedule.next_run_at, TaskStatus.SCHEDULED, schedule=schedule
        )
    for schedule in timetable.parked[:MAX_SHOWN]:
        says = _first_line(schedule.error_message)
        yield Trouble(str(schedule), says, schedule.parked_at, TaskStatus.HELD, schedule=schedule)
    for control in WorkflowControl.objects.using(alias).paused()[:MAX_SHOWN]:
        says = _("paused by %s") % (control.paused_by or "?")
        says += f": {control.pause_reason}" if control.pause_reason else ""
        yield Trouble(control.name, says, control.paused_at, RunStatus.PAUSED)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]


def _hours(ended: Ended, at: datetime) -> Sequence[Hour]:
    """Return a bar for each of the last hours, oldest first."""
    this = at.replace(minute=0, second=0, microsecond=0)
    counts: dict[tuple[datetime, bool], int] = {}
    for row in ended:
        key = (row["hour"], row["status"] == RunStatus.COMPLETED)
        counts[key] = counts.get(key, 0) + row["count"]
    starts = [this - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    pairs = [(counts.get((hour, True), 0), counts.get((hour, False), 0)) for hour in starts]
    most = max(1, *(good + bad for good, bad in pairs))
    return [
        Hour(
            x=at * 20, good=_height(good, most), bad=_height(bad, most),
            title=_("%(hour)s: %(good)d completed, %(bad)d not") % {
                "hour": spans.exact(hour)[11:16], "good": good, "bad": bad,
            },
        )
        for at, (hour, (good, bad)) in enumerate(zip(starts, pairs, strict=True))
    ]  # fmt: skip


def _height(count: int, most: int) -> int:
    return max(2, round(48 * count / most)) if count else 0


def _hours_label(ended: Ended) -> str:
    total = sum(int(row["count"]) for row in ended)
    return ngettext(
        "%d run ended in the last 24 hours",
        "%d runs ended in the last 24 hours",
        total,
    ) % total  # fmt: skip
