"""Off the path: due schedules become submissions.

One transaction locks due schedules, plans each from its stored ``next_run_at``, inserts a fire per
time, submits the runs and advances ``next_run_at``. A crash leaves all of it or nothing, so there
is no second phase to recover; the unique (schedule, time) lets one worker of many fire.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from cloaca_django import clock, ids
from cloaca_django.conf import settings
from cloaca_django.core import catchup, cron, registry, schedule_facts
from cloaca_django.core.catchup import Missed, Plan
from cloaca_django.core.context import decode
from cloaca_django.core.states import Origin, OverlapPolicy
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import Session, sql_schedules
from cloaca_django.dialect.rows import DueSchedule
from cloaca_django.engine import salvage, spans, submission
from cloaca_django.engine.capture import storable
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.submission import Options, Submission, Submitted
from cloaca_django.errors import CloacaError, WorkflowNotFound
from cloaca_django.models import CronSchedule

NEVER = float("inf")
# Schedules in one transaction: their runs are submitted by a few statements.
ROOM = 250
# Until a locked schedule, or one another worker is firing, is looked at again.
AGAIN_SECONDS = 0.25
# How long an overdue schedule waits for a worker that knows its workflow before it is parked.
STRANGER_SECONDS = 60.0
STILL_OPEN = "the run of an earlier time is still open"


Timed: TypeAlias = DueSchedule | CronSchedule


@dataclass(frozen=True, slots=True)
class FiringOptions:
    """How a worker fires. ``run_timeout_seconds`` None: its runs have no time limit."""

    poll_seconds: float = 30.0
    max_catchup: int = 100
    run_timeout_seconds: float | None = 3600.0

    @staticmethod
    def of_site() -> FiringOptions:
        """Return what the site's settings say."""
        return FiringOptions(
            poll_seconds=settings.CRON_POLL_INTERVAL_SECONDS,
            max_catchup=settings.CRON_MAX_CATCHUP_EXECUTIONS,
            run_timeout_seconds=settings.PIPELINE_TIMEOUT_SECONDS,
        )


@dataclass(slots=True)
class Fired:
    """What one transaction fired; true once it is committed."""

    submitted: Submitted | None = None
    parked: dict[UUID, str] = field(default_factory=dict)
    passed_over: dict[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fire:
    """One time of a schedule; without a submission it is passed over."""

    id: UUID
    schedule_id: UUID
    time: datetime
    submission: Submission | None = None

    def row(self) -> tuple[object, ...]:
        """Return it as ``insert_fires`` takes it."""
        run = self.submission and self.submission.id
        return self.id, self.schedule_id, run, self.time, "" if run else STILL_OPEN


@dataclass(frozen=True, slots=True)
class _Planned:
    schedule: DueSchedule
    plan: Plan
    fires: list[Fire]

    @property
    def passed_over(self) -> int:
        return self.plan.passed_over + sum(fire.submission is None for fire in self.fires)

    def row(self, inserted: Collection[UUID]) -> tuple[object, ...]:
        has_fired = any(fire.submission and fire.id in inserted for fire in self.fires)
        return self.schedule.id, self.plan.next_at, has_fired, self.passed_over


class Firing:
    """When a worker fires next. The turn's thread owns it; moments are on the monotonic clock."""

    def __init__(self, options: FiringOptions) -> None:
        self.options = options
        self._next_look = 0.0
        self._next_fire = NEVER
        self._next_muster = clock.monotonic() + options.poll_seconds
        self._room = ROOM
        self._locked: list[UUID] = []
        self._seen: Mapping[str, Workflow] = {}

    @property
    def next_moment(self) -> float:
        """Return when there is something to do: a schedule is due, or it is time to look."""
        return min(self._next_look, self._next_fire, self._next_muster)

    def is_due(self) -> bool:
        """Say whether that moment has come, or other workflows are known than at the last fire."""
        return clock.monotonic() >= self.next_moment or registry.snapshot() is not self._seen

    def look_soon(self) -> None:
        """Look at the next turn: somebody may have changed a schedule."""
        self._next_look = 0.0

    def look(self, session: Session) -> bool:
        """Ask when the next schedule is due, if it is time to; say whether there is more to do."""
        self._look(session)
        is_new = registry.snapshot() is not self._seen
        return is_new or clock.monotonic() >= min(self._next_fire, self._next_muster)

    def take_visit(self, seconds: float | None, *, has_strangers: bool, has_parked: bool) -> None:
        """Take over what a visit found: when the next schedule is due, and what is amiss."""
        now = clock.monotonic()
        self._next_look = now + self.options.poll_seconds
        self._next_fire = NEVER if seconds is None else now + max(0.0, seconds)
        if has_strangers:
            self._next_muster = now
        if not has_parked:
            self._seen = registry.snapshot()

    def fire(self, session: Session, claimer: Claimer) -> Fired | None:
        """Fire what is due in one transaction; None when nothing is. Raises what may pass."""
        self._take_registry(session)
        parked = self._park_strangers(session)
        self._look(session)
        if parked or clock.monotonic() < self._next_fire:
            return Fired(parked=parked) if parked else None
        self._locked = []
        try:
            with session.transaction():
                fired = self._fire(session, claimer)
        except Exception as error:
            if salvage.verdict(error) is not salvage.Verdict.BROKEN:
                raise
            return self._isolate(session, error)
        self._come_again()
        return fired

    def _take_registry(self, session: Session) -> None:
        """Plan parked schedules again when this process learnt of a workflow: it may be theirs."""
        known = registry.snapshot()
        if known is not self._seen:
            unpark(session)
            self._seen = known
            self.look_soon()

    def _park_strangers(self, session: Session) -> dict[UUID, str]:
        """Now and then, park overdue schedules whose workflow no living worker has code for."""
        now = clock.monotonic()
        if now < self._next_muster:
            return {}
        self._next_muster = now + self.options.poll_seconds
        if not _overdue_strangers(session):
            return {}
        with session.transaction():
            # Who brings the code registers, then unparks: it is seen here, or sees what is parked.
            session.order_parking()
            strangers = _strangers(session)
            park(session, strangers)
        return strangers

    def _look(self, session: Session) -> None:
        """Ask when the next schedule is due, if it is time to ask."""
        if clock.monotonic() < self._next_look:
            return
        found = session.run(sql_schedules.seconds_to_next_fire, known_names())
        # The clock is read after the reply: who comes too early finds nothing due.
        now = clock.monotonic()
        self._next_look = now + self.options.poll_seconds
        self._next_fire = now + max(0.0, float(found[0][0])) if found else NEVER

    def _come_again(self) -> None:
        """Decide when: at once while more is due, else when a look says so."""
        if len(self._locked) == self._room:
            return
        self._room = ROOM
        # What was due and is locked is being edited, or fired by another worker.
        self._next_look = 0.0 if self._locked else clock.monotonic() + AGAIN_SECONDS
        self._next_fire = NEVER

    def _fire(self, session: Session, claimer: Claimer) -> Fired:
        due = session.due_schedules(known_names(), room=self._room)
        self._locked = [schedule.id for schedule in due]
        if not due:
            return Fired()
        fired, planned = Fired(), []
        busy = _with_open_run(session, due)
        for schedule in due:
            try:
                planned.append(self._planned(schedule, is_open=schedule.id in busy))
            except CloacaError as error:
                fired.parked[schedule.id] = str(error)
        inserted = session.insert_fires(fire.row() for one in planned for fire in one.fires)
        fresh = [
            fire.submission
            for one in planned
            for fire in one.fires
            if fire.submission and fire.id in inserted
        ]
        if fresh:
            fired.submitted = submission.submit(session, fresh, claimer)
        session.run(sql_schedules.advance_schedules, [one.row(inserted) for one in planned])
        park(session, fired.parked)
        fired.passed_over = {one.schedule.id: one.passed_over for one in planned if one.passed_over}
        return fired

    def _planned(self, due: DueSchedule, *, is_open: bool) -> _Planned:
        """Plan one schedule. Raises a CloacaError when it cannot be planned."""
        workflow = registry.find(due.workflow_name)
        plan = catchup.plan(
            cron.parse(due.cron_expression, due.timezone), since=due.next_run_at, now=due.now,
            missed=_missed(due, self.options.max_catchup),
        )  # fmt: skip
        options = options_of(due, timeout_seconds=self.options.run_timeout_seconds)
        fires = _fires(due, plan.times, workflow, options, is_open=is_open)
        return _Planned(due, plan, list(fires))

    def _isolate(self, session: Session, error: Exception) -> Fired | None:
        """Fire one by one from now on, until the schedule that breaks the transaction is parked."""
        if len(self._locked) != 1:
            self._room = 1
            return None
        fired = Fired(parked={self._locked[0]: storable(f"{type(error).__name__}: {error}", 1_000)})
        with session.transaction():
            park(session, fired.parked)
        self._room = ROOM
        return fired


def options_of(
    schedule: Timed, *, timeout_seconds: float | None, by: str = "", reason: str = ""
) -> Options:
    """Return what the runs of a schedule have in common; ``by`` and ``reason``: of who asked."""
    return Options(
        origin=Origin.SCHEDULE, schedule_id=schedule.id, queue=schedule.queue,
        priority=schedule.priority, timeout_seconds=timeout_seconds, created_by=by, reason=reason,
    )  # fmt: skip


def submission_at(
    schedule: Timed, time: datetime, *, workflow: Workflow, options: Options
) -> Submission:
    """Return the run of a schedule for one of its times. Raises InvalidContext, InvalidParams."""
    facts = {"schedule_id": str(schedule.id), "scheduled_time": time.isoformat()}
    with spans.sending(workflow.name, queue=options.queue, **facts) as span:
        context = schedule_facts.run_context(schedule, time, decode(schedule.context))
        made = submission.prepare(workflow, context, options, traceparent=span.traceparent)
        spans.sent(span, [made.id])
    return made


def park(session: Session, parked: Mapping[UUID, str]) -> None:
    """Take schedules off the plan, each with the reason. Precondition: a transaction is open."""
    if parked:
        session.run(sql_schedules.park_schedules, parked.items())


def unpark(session: Session) -> list[UUID]:
    """Plan parked schedules again whose workflow this process has code for; returns their ids."""
    with session.transaction():
        session.order_parking()
        return session.ids(sql_schedules.unpark_schedules, known_names())


def is_any_due(session: Session) -> bool:
    """Say whether a schedule of a workflow known here should have fired by now."""
    found = session.run(sql_schedules.seconds_to_next_fire, known_names())
    return bool(found) and float(found[0][0]) <= 0


def _overdue_strangers(session: Session) -> list[tuple[UUID, str]]:
    rows = session.run(sql_schedules.overdue_strangers, known_names(), patience=STRANGER_SECONDS)
    return [(session.uuid(id), name) for id, name in rows]


def _strangers(session: Session) -> dict[UUID, str]:
    """Return why overdue schedules of unknown workflows cannot be planned, by their ids."""
    overdue = _overdue_strangers(session)
    known = {
        name
        for (text,) in session.run(sql_schedules.workflows_of_workers)
        for name in json.loads(text)
    }
    return {id: str(WorkflowNotFound(name, known)) for id, name in overdue if name not in known}


def _with_open_run(session: Session, due: Sequence[DueSchedule]) -> set[UUID]:
    """Return which schedules must not start a run beside one that is open."""
    careful = [(one.id,) for one in due if one.overlap_policy == OverlapPolicy.SKIP]
    return set(session.ids(sql_schedules.open_runs, careful)) if careful else set()


def _fires(
    due: DueSchedule,
    times: Sequence[datetime],
    workflow: Workflow,
    options: Options,
    *,
    is_open: bool,
) -> Iterator[Fire]:
    for time in times:
        made = None
        if not is_open or due.overlap_policy != OverlapPolicy.SKIP:
            made = submission_at(due, time, workflow=workflow, options=options)
        yield Fire(ids.new_token(), due.id, time, made)
        is_open = True


def _missed(due: DueSchedule, cap: int) -> Missed:
    limit = due.deadline_seconds
    deadline = None if limit is None else timedelta(seconds=limit)
    return Missed(due.catchup_policy, cap=cap, deadline=deadline, end=due.end_date)


def known_names() -> list[tuple[str]]:
    """Return the workflows that this process has code for, as a batch of rows."""
    return [(name,) for name in registry.names()]
