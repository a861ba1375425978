"""Which of a schedule's missed times are made up for. Plain arithmetic; nothing is stored here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cloaca_django.core import cron
from cloaca_django.core.cron import Schedule
from cloaca_django.core.states import CatchupPolicy

# Windows of times are open at their start.
TICK = timedelta(microseconds=1)
# How late a time may be fired and still not count as missed, where a schedule says nothing.
PUNCTUAL = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Missed:
    """How a schedule wants its missed times treated.

    ``cap`` bounds ``all``; 0 makes it ``skip``. ``deadline``: nothing is fired later than that.
    """

    policy: str = CatchupPolicy.ALL
    cap: int = 100
    deadline: timedelta | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The times to fire now, oldest first; how many are passed over; when to come again.

    ``next_at`` None: the schedule will not fire again.
    """

    times: tuple[datetime, ...]
    passed_over: int
    next_at: datetime | None


def plan(schedule: Schedule, *, since: datetime, now: datetime, missed: Missed) -> Plan:
    """Decide what a schedule fires whose first open time is ``since``, included. Aware UTC."""
    until = now if missed.end is None else min(now, missed.end)
    wanted, patience = _limits(missed)
    times, older = cron.newest_fires(schedule, since - TICK, until, count=wanted)
    kept = tuple(time for time in times if patience is None or now - time <= patience)
    passed_over = older + len(times) - len(kept)
    # A clock that is set back between two looks at it must not take the plan back with it.
    after = max(now, since - TICK)
    return Plan(kept, passed_over, next_fire(schedule, after=after, end=missed.end))


def next_fire(
    schedule: Schedule,
    *,
    after: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
) -> datetime | None:
    """Return the first time after a moment, from ``start`` to ``end``; None: there is none."""
    if start is not None:
        after = max(after, start - TICK)
    found = cron.next_fires(schedule, after, count=1)
    return found[0] if found and (end is None or found[0] <= end) else None


def _limits(missed: Missed) -> tuple[int, timedelta | None]:
    """Return how many of the newest times count, and how late they may be."""
    if missed.policy == CatchupPolicy.ALL and missed.cap:
        return missed.cap, missed.deadline
    if missed.policy == CatchupPolicy.LATEST:
        return 1, missed.deadline
    return 1, PUNCTUAL if missed.deadline is None else missed.deadline
