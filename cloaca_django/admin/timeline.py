"""When each task waited and ran: lanes of bars between a run's start and its end or now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from cloaca_django.admin import spans, vocabulary, waiting
from cloaca_django.admin.run_reads import RunFacts
from cloaca_django.core.states import TaskStatus
from cloaca_django.models import TaskAttempt, TaskExecution

WIDTH = 1000
NARROWEST = 4
WAITING = frozenset({TaskStatus.READY, TaskStatus.HELD, TaskStatus.SCHEDULED})


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a lane. ``kind`` is waited, tried or took."""

    x: int
    width: int
    kind: str
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One task's row. ``took`` is its attempts' sum in seconds; ``note`` stands where no bar is."""

    task: TaskExecution
    bars: Sequence[Bar]
    words: str
    took: float
    note: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All lanes. ``parallel`` is the sum of the tasks' time over the wall clock's."""

    lanes: Sequence[Lane]
    ticks: Sequence[str]
    wall: float
    work: float

    @property
    def parallel(self) -> float:
        """How many tasks ran at once on average."""
        return self.work / self.wall if self.wall else 0.0


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    seconds: float

    def at(self, moment: datetime) -> int:
        share = (moment - self.start).total_seconds() / self.seconds
        return round(WIDTH * min(1.0, max(0.0, share)))


def draw(facts: RunFacts, tasks: Sequence[TaskExecution]) -> Timeline:
    """Draw the lanes of some of a run's tasks."""
    start = facts.run.start_at or facts.run.created_at
    start = min(start, facts.ended_or_now)
    wall = (facts.ended_or_now - start).total_seconds()
    scale = _Scale(start, max(wall, 0.001))
    lanes = [_lane(task, facts, scale) for task in tasks]
    work = sum(sum(_lengths(task, facts)) for task in facts.tasks)
    ticks = [spans.span(wall * part / 4) if part else "0" for part in range(5)]
    return Timeline(lanes, ticks, wall, work)


def _lane(task: TaskExecution, facts: RunFacts, scale: _Scale) -> Lane:
    attempts = facts.attempts.get(task.pk, ())
    bars = [_tried(attempt, scale) for attempt in attempts]
    if _is_claimed(task, attempts):
        bars.append(_current(task, facts, scale))
    waited = _waited(task, facts, scale, first=bars[0].x if bars else None)
    took = sum(_lengths(task, facts))
    words = spans.span(took) if bars else ""
    if len(attempts) > 1 or (attempts and task.attempt > 1):
        words += " · " + _("attempt %d") % task.attempt
    note = "" if waited or bars else waiting.sentence(task, facts)
    return Lane(task, [*waited, *bars], words, took, note)


def _is_claimed(task: TaskExecution, attempts: Sequence[TaskAttempt]) -> bool:
    """Say whether the last claim runs or succeeded: the others are attempts with rows of their own.

    A task that was cancelled while it ran has none of that claim.
    """
    if task.claimed_at is None or task.status in WAITING:
        return False
    if task.status in {TaskStatus.RUNNING, TaskStatus.COMPLETED} or not attempts:
        return True
    return attempts[-1].attempt < task.attempt


def _tried(attempt: TaskAttempt, scale: _Scale) -> Bar:
    start = attempt.started_at or attempt.finished_at
    seconds = spans.between(start, attempt.finished_at) or 0.0
    shown = vocabulary.word(attempt.outcome)
    title = _("attempt %(number)d: %(outcome)s after %(span)s") % {
        "number": attempt.attempt, "outcome": shown.word, "span": spans.span(seconds),
    }  # fmt: skip
    return _bar(scale, start, attempt.finished_at, kind="tried", tone=shown.tone, title=title)


def _current(task: TaskExecution, facts: RunFacts, scale: _Scale) -> Bar:
    start = task.claimed_at or facts.at
    end = task.finished_at or facts.at
    shown = vocabulary.word(task.status)
    title = f"{shown.label}, {spans.span(spans.between(start, end) or 0.0)}"
    return _bar(scale, start, end, kind="took", tone=shown.tone, title=title)


def _waited(
    task: TaskExecution, facts: RunFacts, scale: _Scale, *, first: int | None
) -> Sequence[Bar]:
    """Return the piece between the end of the last dependency and the first attempt."""
    ends = [
        facts.by_name[name].finished_at for name in facts.dependencies(task)
        if name in facts.by_name
    ]  # fmt: skip
    if any(end is None for end in ends):
        return []
    since = max((end for end in ends if end is not None), default=scale.start)
    if first is None and task.status not in WAITING:
        return []
    x = scale.at(since)
    end = scale.at(facts.ended_or_now) if first is None else first
    return [Bar(x, max(0, end - x), "waited", "off", _("waited for a worker"))] if end > x else []


def _bar(scale: _Scale, start: datetime, end: datetime, *, kind: str, tone: str, title: str) -> Bar:
    x = min(scale.at(start), WIDTH - NARROWEST)
    return Bar(x, max(NARROWEST, scale.at(end) - x), kind, tone, title)


def _lengths(task: TaskExecution, facts: RunFacts) -> Sequence[float]:
    attempts = facts.attempts.get(task.pk, ())
    found = [spans.between(one.started_at, one.finished_at) or 0.0 for one in attempts]
    if _is_claimed(task, attempts):
        found.append(spans.between(task.claimed_at, task.finished_at or facts.at) or 0.0)
    return found
