"""The turn: one transaction that settles, submits, promotes and claims whatever is due now.

While one commit is on its way to disk the next batch collects by itself, so throughput rises with
load and latency stays at one commit a step. One thread owns a ``Turn``; every other thread talks to
it through ``post``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, TaskStatus
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import Session, sql
from cloaca_django.engine import claiming, operations, salvage, settlement, submission
from cloaca_django.engine.agenda import Agenda, Pace
from cloaca_django.engine.claiming import Assignment, Claimer
from cloaca_django.engine.execution import Job, handed_back, job_for, timed_out, untouched
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import (
    Ask,
    Batch,
    Deferral,
    Done,
    Effects,
    Hint,
    Moved,
    Watch,
)
from cloaca_django.engine.settlement import Outcome, Settled
from cloaca_django.engine.slots import Slots
from cloaca_django.engine.submission import Submitted
from cloaca_django.engine.waiting import Waiters

logger = logging.getLogger("cloaca_django.worker")

MAX_BATCH = 500
LOCKED_PATIENCE_SECONDS = 5.0


class Turn:
    """The state of one worker between its transactions."""

    # Stands in for the database's clock in tests.
    now: datetime | None = None
    is_draining = False
    settled_tasks = 0
    failures = 0
    _was_lost = False
    _session: Session | None = None

    def __init__(
        self,
        *,
        connect: Callable[[], Session],
        claimer: Claimer,
        slots: Slots[Job],
        memory: Memory,
        limits: Limits,
        start_job: Callable[[Job], None],
        abandon_job: Callable[[Job], None],
        publish: Callable[[Effects], None],
        poll_seconds: float = 1.0,
        claims_only_own: bool = False,
        schema: str = "",
    ) -> None:
        self.connect = connect
        self.claimer = claimer
        self.slots = slots
        self.memory = memory
        self.limits = limits
        self.start_job = start_job
        self.abandon_job = abandon_job
        self.publish = publish
        self.claims_only_own = claims_only_own
        self.schema = schema
        self.running: dict[int, Job] = {}
        self.own: set[UUID] = set()
        self.saved: set[Workflow] = set()
        self.waiters = Waiters()
        self.batch = Batch()
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self.agenda = Agenda(poll_seconds)
        self._pace = Pace(slots.limit)
        self._locked_since: dict[int, float] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            Done: self._take_done, Ask: self._take_ask, Watch: self._take_watch,
            Deferral: self._take_deferral, Moved: self.take_moved,
            Hint: self._take_hint,
        }  # fmt: skip

    def post(self, message: object) -> None:
        """Hand a message to the turn, which wakes. For every other thread."""
        self._inbox.put(message)

    def wait(self, limit: float) -> None:
        """Wait until something is posted or due, at most ``limit`` seconds; keep what came."""
        if self.batch and not self.failures and not self._locked_since:
            return
        pause = min(limit, self.seconds_to_next())
        try:
            message = self._inbox.get(timeout=pause) if pause > 0 else self._inbox.get_nowait()
        except Empty:
            return
        self._take(message)

    def seconds_to_next(self) -> float:
        """Return how long this turn may rest if nothing is posted."""
        if self.failures:
            return float(min(5.0, 0.05 * 2 ** min(self.failures, 10)))
        if self._locked_since:
            return 0.01
        if self._wants_claim():
            return 0.0
        moment = self.limits.next_at
        if not self.is_dormant():
            moment = min(moment, self.agenda.next_moment)
        return max(0.0, moment - clock.monotonic())

    def is_dormant(self) -> bool:
        """Return whether this turn drives its own runs only and has none: it asks for nothing."""
        return self.claims_only_own and not self.own and not self.waiters

    def is_idle(self) -> bool:
        """Return whether nothing is claimed, carried or known to be claimable."""
        return not self.running and not self.batch and not self.agenda.may_be_ready

    def turn(self) -> bool:
        """Do everything that is due now in one transaction; False when there was nothing."""
        self._collect()
        for job, limit in self.limits.overdue():
            if self.running.get(job.task_id) is job:
                self._abandon(job)
                self.batch.outcomes.append(timed_out(job, limit))
        try:
            session = self._connected()
            if self.agenda.is_hinted:
                self.agenda.is_hinted = False
                if session.has_changed():
                    self.agenda.look_soon()
            if not self.batch and not self._is_due(session):
                return False
            self._save_definitions(session)
            effects = self._transact(session, self.batch)
        except Exception as error:
            self._recover(error)
            return False
        self.failures = 0
        self.batch = Batch(outcomes=effects.settled.waiting)
        self._apply(session, effects)
        return True

    def _save_definitions(self, session: Session) -> None:
        asked = {ask.submission.workflow for ask in self.batch.asks}
        if asked - self.saved:
            operations.save_definitions(session, asked - self.saved)
            self.saved |= asked

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # -- the transaction

    def _transact(self, session: Session, batch: Batch) -> Effects:
        session.now = self.now
        self.claimer.renew(0 if self.is_draining else self.room())
        with session.transaction(durable=bool(batch.outcomes or batch.asks)):
            effects = Effects(self._settle(session, batch.outcomes))
            if batch.asks:
                asked = [ask.submission for ask in batch.asks]
                effects.submitted = submission.submit(session, asked, self.claimer)
            if batch.deferrals:
                rows = [(d.job.task_id, d.job.token, d.is_deferred) for d in batch.deferrals]
                session.run(sql.mark_deferred, rows)
            self._promote(session, effects)
            self._claim(session, effects)
            if effects.leaves_ready and self.claimer.room <= len(effects.claims):
                session.announce(self.schema)
        return effects

    def _settle(self, session: Session, outcomes: list[Outcome]) -> Settled:
        now = clock.monotonic()
        patience = min((self._locked_since.get(o.task_id, now) for o in outcomes), default=now)
        return settlement.settle(
            session, outcomes, self.memory, worker=self.claimer.worker, claimer=self.claimer,
            # Outcomes that met a locked run for long are settled alone, and wait for the lock.
            wait=now - patience > LOCKED_PATIENCE_SECONDS,
        )  # fmt: skip

    def _promote(self, session: Session, effects: Effects) -> None:
        if self.agenda.is_something_due():
            session.run(sql.promote_due)
            effects.ended = operations.expire(session)
            self.agenda.wake()
        limited = self.agenda.may_be_waiting or self._touches_limit(effects)
        if limited and not self.is_draining and operations.admit(session):
            self.agenda.may_be_ready = True

    def _touches_limit(self, effects: Effects) -> bool:
        """Say whether a run under ``max_running`` came or went."""
        known = registry.snapshot()
        came = effects.submitted.states if effects.submitted else []
        return any(
            state.workflow_name in known and known[state.workflow_name].max_running is not None
            for state in (*came, *(state for state, _ in effects.settled.finished))
        )

    def _claim(self, session: Session, effects: Effects) -> None:
        if not self._may_claim() or self.claimer.room <= 0:
            return
        if self.agenda.may_be_ready or effects.leaves_ready:
            effects.asked_room = self.claimer.room
            own = self.own if self.claims_only_own else None
            effects.claims = claiming.claim(session, self.claimer, own=own)

    # -- what is due

    def room(self) -> int:
        """Return how many tasks may be claimed: free slots, and a few more when tasks are short."""
        return max(0, self.slots.limit + self._pace.prefetch() - self.slots.load)

    def _may_claim(self) -> bool:
        return not self.is_draining and (not self.claims_only_own or bool(self.own))

    def _wants_claim(self) -> bool:
        return self.agenda.may_be_ready and self._may_claim() and self.room() > 0

    def _is_due(self, session: Session) -> bool:
        if self._wants_claim():
            return True
        if self.is_dormant():
            return False
        if self.agenda.is_look_due():
            self._look(session)
            if self.batch or self._wants_claim() or self.agenda.may_be_waiting:
                return True
        return self.agenda.is_something_due()

    def _look(self, session: Session) -> None:
        """Ask the database what nobody announced."""
        session.now = self.now
        self.agenda.take_look(session.look())
        pending = {ask.submission.id for ask in self.batch.asks}
        self.own.difference_update(self.waiters.resolve(session, pending=pending))
        if self._pace.has_stalled():
            # Long tasks hold every slot: what was claimed ahead goes to whoever is free.
            self.batch.outcomes += [handed_back(job) for job in self.slots.withdraw()]

    def _abandon(self, job: Job) -> None:
        """Stop waiting for a job: its thread may go on, its slot and its outcome do not count."""
        job.is_over = True
        job.cancelled.set()
        self.abandon_job(job)

    # -- messages

    def _collect(self) -> None:
        while len(self.batch.outcomes) < MAX_BATCH and len(self.batch.asks) < MAX_BATCH:
            try:
                self._take(self._inbox.get_nowait())
            except Empty:
                return

    def _take(self, message: Any) -> None:
        taker = self._takers.get(type(message))
        if taker is None:
            self.agenda.wake()
        else:
            taker(message)

    def _take_ask(self, ask: Ask) -> None:
        self.batch.asks.append(ask)
        self.own.add(ask.submission.id)
        self.waiters.add(ask.submission.id, ask.done)

    def _take_watch(self, watch: Watch) -> None:
        self.waiters.add(watch.run_id, watch.done)
        self.agenda.look_soon()

    def _take_deferral(self, deferral: Deferral) -> None:
        self.batch.deferrals.append(deferral)

    def _take_hint(self, hint: Hint) -> None:
        self.agenda.is_hinted = True

    def _take_done(self, message: Done) -> None:
        job = message.job
        if job.is_over:
            return
        self._pace.note(message.outcome.seconds)
        if job.settled is None:
            self.batch.outcomes.append(message.outcome)
            return
        # The task settled itself, in the transaction of its own writes.
        self.memory.forget([job.run_id])
        self.agenda.may_be_ready = self.agenda.may_be_ready or job.settled.leaves_ready
        self._publish(Effects(job.settled))

    def take_moved(self, moved: Moved) -> None:
        """Let go of runs and tasks that another transaction moved."""
        self.memory.forget(moved.run_ids)
        for job in list(self.running.values()):
            if job.run_id in moved.run_ids or job.task_id in moved.task_ids:
                if not job.is_over:
                    self._abandon(job)
                self.running.pop(job.task_id, None)
        self.agenda.look_soon()

    # -- after the commit

    def _apply(self, session: Session, effects: Effects) -> None:
        for outcome in effects.settled.waiting:
            self._locked_since.setdefault(outcome.task_id, clock.monotonic())
        for state in effects.settled.states:
            if state.status in RUN_FINAL:
                self.memory.forget([state.id])
            else:
                self.memory.keep(state)
        self._publish(effects)
        assignments = list(effects.settled.assignments)
        if effects.submitted:
            assignments += effects.submitted.assignments
            self._apply_submitted(effects.submitted)
        self._note_leftovers(effects)
        if effects.claims:
            token = self.claimer.token
            assignments += claiming.assign(session, effects.claims, self.memory, token=token)
        for assignment in assignments:
            self._start(assignment)
        if effects.ended:
            self.take_moved(Moved(tuple(effects.ended)))

    def _note_leftovers(self, effects: Effects) -> None:
        if effects.asked_room is None:
            self.agenda.may_be_ready = self.agenda.may_be_ready or effects.leaves_ready
        else:
            self.agenda.may_be_ready = len(effects.claims) >= effects.asked_room
        for outcome in effects.settled.accepted:
            if outcome.status is TaskStatus.SCHEDULED:
                self.agenda.expect_due(outcome.delay_seconds)

    def _apply_submitted(self, submitted: Submitted) -> None:
        for state in submitted.states:
            if state.status in RUN_FINAL:
                self.agenda.look_soon()
            else:
                self.memory.keep(state)
        for asked, holder in submitted.existing.items():
            self.own.discard(asked)
            self.own.add(holder)
            self.waiters.rename(asked, holder)
            self.agenda.look_soon()

    def _start(self, assignment: Assignment) -> None:
        state = assignment.state
        name = state.tasks[assignment.position].name
        workflow = registry.snapshot().get(state.workflow_name)
        task = workflow.task_or_none(name) if workflow else None
        if task is None:
            # Another worker has the code; this one leaves it alone from now on.
            self.claimer.refused.append(f"{state.workflow_name}/{name}")
            self.batch.outcomes.append(untouched(assignment))
            return
        job = job_for(assignment, task)
        self.running[job.task_id] = job
        self.limits.add(job)
        self.start_job(job)

    def _publish(self, effects: Effects) -> None:
        """Forget settled jobs, wake who waits for finished runs, and tell the listeners."""
        settled = effects.settled
        for outcome in (*settled.accepted, *settled.fenced):
            self.running.pop(outcome.task_id, None)
            self._locked_since.pop(outcome.task_id, None)
        self.settled_tasks += len(settled.accepted)
        for outcome in settled.fenced:
            logger.warning(
                "outcome of task %d was refused: its claim no longer holds", outcome.task_id,
                extra={"run_id": str(outcome.run_id), "task_id": outcome.task_id},
            )  # fmt: skip
        for state, times in settled.finished:
            self.own.discard(state.id)
            self.waiters.finish(state, times)
        self.publish(effects)

    # -- when the database fails

    def _connected(self) -> Session:
        if self._session is None:
            session = self.connect()
            if self._was_lost:
                self._settle_unknown(session)
            self._session = session
        return self._session

    def _settle_unknown(self, session: Session) -> None:
        """After a lost connection: learn what was committed, and take back lost claims."""
        known = salvage.resolve(session, self.batch.outcomes)
        self.batch.outcomes = known.waiting
        self._publish(Effects(known))
        live = {id: job.token for id, job in self.running.items()}
        salvage.reconcile(session, self.claimer.worker, live)
        self._was_lost = False
        self.agenda.wake()

    def _recover(self, error: Exception) -> None:
        self.failures += 1
        self.memory.forget(self.batch.run_ids())
        verdict = salvage.verdict(error)
        logger.warning("a turn failed and will be tried again: %s", error, exc_info=True)
        if verdict is salvage.Verdict.LOST:
            self.memory.clear()
            self._was_lost = True
            session, self._session = self._session, None
            salvage.close(session)
        elif verdict is salvage.Verdict.BROKEN:
            batch, self.batch = self.batch, Batch()
            rest = salvage.one_by_one(batch, self._single)
            self.batch.add(rest)
            for outcome in rest.dropped:
                self.running.pop(outcome.task_id, None)

    def _single(self, batch: Batch) -> None:
        """Run one part of a broken batch alone. Raises what breaks it."""
        session = self._connected()
        effects = self._transact(session, batch)
        self.batch.outcomes += effects.settled.waiting
        self._apply(session, effects)
