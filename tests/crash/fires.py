"""The invariants of schedules, read from the rows and the journal. Returns what is wrong, in words.

I10: at most one run for each time of a schedule, and a run and its fire exist together. I11: what
was fired is what an oracle says for the schedule's policy and window. I12: the next time of a
schedule never decreases, but by an edit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cloaca_django.core.context import decode
from cloaca_django.core.states import Origin
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.crash import oracle

Entry = tuple[int, str, str, str, str]
# How many missed times a worker makes up for, if nothing else is said.
CAP = FiringOptions().max_catchup
# Longer than any window of these tests.
DISTANT = timedelta(days=30)


@dataclass
class Deed:
    """One step of firing: the plan moved from ``start`` to ``end``; None: it fires no more."""

    seq: int
    schedule: str
    start: datetime | None
    end: datetime | None
    facts: str


@dataclass
class Timetable:
    """What schedules did: fires by schedule and time, and the steps of their plans, in order."""

    runs: dict[str, Any]
    rows: list[Any]
    fires: dict[tuple[str, datetime], list[tuple[int, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    deeds: list[Deed] = field(default_factory=list)


def read(runs: dict[str, PipelineExecution], entries: Iterable[Entry]) -> Timetable:
    """Read the fires, and what the journal says of schedules."""
    table = Timetable(runs, list(CronExecution.objects.all()))
    facts: dict[str, str] = {}
    for seq, kind, schedule, old, new in entries:
        if kind == "edit":
            facts[schedule] = old
        elif kind == "fire":
            table.fires[schedule, _moment(new)].append((seq, old))
        elif kind == "plan":
            start, end = (_moment(text) if text else None for text in (old, new))
            table.deeds.append(Deed(seq, schedule, start, end, facts[schedule]))
    return table


def always(table: Timetable, *, cap: int) -> list[str]:
    """Return the violations of what holds at every moment."""
    return [*_once(table), *_together(table), *_as_planned(table, cap), *_forward(table)]


def drained(names: Iterable[str], now: datetime) -> list[str]:
    """Return the schedules of known workflows that should have fired by ``now``."""
    overdue = CronSchedule.objects.enabled().filter(
        parked_at=None, next_run_at__lte=now, workflow_name__in=list(names)
    )
    return [f"I11 schedule {row.pk.hex} is left due at {row.next_run_at}" for row in overdue]


def _once(table: Timetable) -> Iterator[str]:
    for (schedule, time), notes in table.fires.items():
        started = [run for _, run in notes if run]
        if len(started) > 1:
            yield f"I10 schedule {schedule} fired {len(started)} times for {time}"
    told = Counter(
        (context["schedule_id"], context["scheduled_time"]) for _, context in _started(table)
    )
    for (schedule, text), times in told.items():
        if times > 1:
            yield f"I10 schedule {schedule} has {times} runs for {text}"


def _together(table: Timetable) -> Iterator[str]:
    """A fire that says no reason has its run, and a run of a schedule has its fire."""
    for row in table.rows:
        if not row.reason and (row.run_id is None or row.run_id.hex not in table.runs):
            yield f"I10 fire of {row.schedule_id.hex} at {row.scheduled_time} has no run"
        if row.reason and row.run_id is not None:
            yield f"I10 fire of {row.schedule_id.hex} at {row.scheduled_time} has a run"
    fired = {run: time for (_, time), notes in table.fires.items() for _, run in notes}
    for run, context in _started(table):
        if run not in fired:
            yield f"I10 run {run} of a schedule has no fire"
        elif fired[run] != datetime.fromisoformat(context["scheduled_time"]):
            yield f"I10 run {run} is told {context['scheduled_time']}, its fire {fired[run]}"


def _as_planned(table: Timetable, cap: int) -> Iterator[str]:
    """Each step fires what its policy wants of its window, and nothing else is fired."""
    due: dict[tuple[str, datetime], int] = {}
    for deed in table.deeds:
        least, most = _wanted(deed, cap)
        due |= {(deed.schedule, time): deed.seq for time in most}
        for time in sorted(least):
            notes = table.fires.get((deed.schedule, time), [])
            # What somebody backfilled later had been lost.
            if not any(seq < deed.seq or _is_of_firing(table, run) for seq, run in notes):
                yield f"I11 schedule {deed.schedule} lost {time}"
    for (schedule, time), notes in table.fires.items():
        firings = [run for _, run in notes if _is_of_firing(table, run)]
        if firings and (schedule, time) not in due:
            yield f"I11 schedule {schedule} fired {time}, which was not due"


def _wanted(deed: Deed, cap: int) -> tuple[set[datetime], set[datetime]]:
    """Return what a step must and what it may fire; the moment it was taken is not known."""
    expression, policy, seconds = deed.facts.split("|")
    if deed.start is None:
        return set(), set()
    end = deed.end or deed.start + DISTANT
    times = oracle.times_in(expression, deed.start, end)
    if deed.end is None:
        # The end date cuts the window, and the row may be gone: what it fired says where.
        return set(), set(times)
    patience = timedelta(seconds=int(seconds)) if int(seconds) else None
    early, late = max(times, default=deed.start), end
    must, may = (
        oracle.wanted(times, policy, cap=cap, patience=patience, now=now) for now in (late, early)
    )
    return must, may


def _forward(table: Timetable) -> Iterator[str]:
    for deed in table.deeds:
        is_back = deed.end is not None and (deed.start is None or deed.end < deed.start)
        if is_back:
            yield f"I12 schedule {deed.schedule} went back from {deed.start} to {deed.end}"


def _started(table: Timetable) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the runs that were started for a time of a schedule, and their contexts."""
    for id, run in table.runs.items():
        if run.origin == Origin.SCHEDULE and run.reason != TRIGGERED:
            yield id, decode(run.context)


def _is_of_firing(table: Timetable, run: str) -> bool:
    return not run or run not in table.runs or not table.runs[run].reason


# Why the tests of this folder start a run of a schedule by hand; it counts for none of its times.
TRIGGERED = "triggered"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times_of(schedule: Any, *, only_run: bool = False) -> Sequence[datetime]:
    """Return the times that have a fire row, oldest first."""
    rows = CronExecution.objects.filter(schedule_id=schedule).order_by("scheduled_time")
    if only_run:
        rows = rows.filter(reason="")
    return list(rows.values_list("scheduled_time", flat=True))
