"""The turn: one transaction that settles, submits, promotes and claims whatever is due now.

While one commit is on its way to disk the next batch collects by itself, so throughput rises with
load and latency stays at one commit a step. One thread owns a ``Turn``; every other thread talks to
it through ``post``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.options import FULL
from cloaca_django.core.states import RUN_FINAL, TaskStatus
from cloaca_django.dialect import Session
from cloaca_django.engine import (
    claiming,
    notices,
    operations,
    salvage,
    spans,
)
from cloaca_django.engine.agenda import Crowd
from cloaca_django.engine.carrier import Carrier
from cloaca_django.engine.claiming import Assignment
from cloaca_django.engine.execution import Job, timed_out, unreadable
from cloaca_django.engine.firing import Firing
from cloaca_django.engine.messages import (
    WAKE,
    Ask,
    Batch,
    Effects,
    Moved,
)
from cloaca_django.engine.settlement import Settled
from cloaca_django.engine.submission import Submitted
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

MAX_BATCH = 500
LOCKED_PATIENCE_SECONDS = 5.0
SALVAGE_AFTER = 6


class Turn(Carrier):
    """One worker's transactions over what its ledger holds."""

    failures = 0
    _was_lost = False
    _session: Session | None = None

    def __init__(
        self,
        *,
        connect: Callable[[], Session],
        schedules: Firing | None = None,
        durability: str = FULL,
        **holdings: Any,
    ) -> None:
        super().__init__(**holdings)
        self.connect = connect
        self.schedules = schedules
        self.durability = durability
        self._crowd = Crowd()

    def wait(self, limit: float) -> None:
        """Wait until something is posted or due, at most ``limit`` seconds; keep what came."""
        if self.batch and not self.failures and not self._locked_since:
            return
        if self._inbox.empty():
            self._await_message(min(limit, self.seconds_to_next()))
        if not self.waiters and (rest := self._crowd.rest()):
            clock.sleep(rest)

    def _await_message(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            message = self._inbox.get(timeout=seconds)
        except Empty:
            return
        if message is WAKE:
            self._crowd.note(found_waiting=False)
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
        if self.schedules is not None and not self.is_draining:
            moment = min(moment, self.schedules.next_moment)
        return max(0.0, moment - clock.monotonic())

    def turn(self) -> bool:
        """Do everything that is due now in one transaction; False when there was nothing."""
        self._collect()
        for job, limit in self.limits.overdue():
            self._give_up(job, limit)
        try:
            session = self._connected()
            self._take_news(session)
            fired = self._fire(session)
            if not self._is_due(session):
                self.failures = 0
                return fired
            self._save_definitions(session)
            effects = self._transact(session, self.batch)
            self._note_company(session)
            if effects.settled.left:
                # Taken in first: what is written must not be lost with what fails after it.
                self._take_in(session, effects)
                effects = self._transact(session, self.batch)
        except Exception as error:
            self._recover(error)
            return False
        self.failures = 0
        try:
            self._take_in(session, effects)
            if effects.is_alone:
                self._claim_next(session, effects)
            self._settle_stuck()
        except Exception as error:
            self._recover(error)
        return True

    def _give_up(self, job: Job, limit: float) -> None:
        """Let a job go that outlived its limit; its attempt is over, whatever its body does."""
        outcome = timed_out(job, limit)
        spans.came_to(job, outcome)
        self._abandon(job)
        self.batch.outcomes.append(outcome)

    def _take_news(self, session: Session) -> None:
        """Look at once if somebody else wrote to the database."""
        if not self.agenda.is_hinted:
            return
        self.agenda.is_hinted = False
        if session.has_changed():
            self.agenda.look_soon()
            if self.schedules is not None:
                self.schedules.look_soon()

    def _fire(self, session: Session) -> bool:
        """Submit what schedules have due, in a transaction of its own; say whether there was any.

        Apart from the batch: a schedule that breaks its transaction must not touch an outcome.
        """
        if self.schedules is None or self.is_draining or not self.schedules.is_due():
            return False
        session.now = self.now
        self.claimer.renew(self.room())
        fired = self.schedules.fire(session, self.claimer)
        if fired is None:
            return False
        notices.publish_fired(fired)
        if fired.submitted:
            self._apply_fired(session, fired.submitted)
        return fired.submitted is not None

    def _apply_fired(self, session: Session, submitted: Submitted) -> None:
        self._publish(Effects(Settled(), submitted=submitted))
        self._apply_submitted(submitted, [])
        self._start_all(submitted.assignments)
        if submitted.leaves_ready:
            self.agenda.wake()
            session.announce()

    def _save_definitions(self, session: Session) -> None:
        """Keep the graphs and limits of workflows that were registered since the last turn."""
        known = registry.snapshot()
        if known is self.seen_registry:
            return
        new = set(known.values()) - self.saved
        operations.save_definitions(session, new)
        self.saved |= new
        self.seen_registry = known

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _claim_next(self, session: Session, effects: Effects) -> None:
        """Claim after a batch that was written alone: that commit need not reach the disk."""
        self.claimer.renew(0 if self.is_draining else self.room())
        claimed = self._claim_alone(session) if self._wants_claim() else Effects(Settled())
        self._apply(session, claimed)
        if effects.leaves_ready and self.claimer.room <= len(claimed.claims):
            session.announce(relaxed=True)

    def _settle_stuck(self) -> None:
        """Settle alone, and wait for its lock, what met a locked run for too long."""
        now = clock.monotonic()
        stuck = [
            outcome
            for outcome in self.batch.outcomes
            if now - self._locked_since.get(outcome.task_id, now) > LOCKED_PATIENCE_SECONDS
        ]
        if not stuck:
            return
        self.batch.outcomes = [o for o in self.batch.outcomes if o not in stuck]
        self._waits_for_locks = True
        try:
            for outcome in stuck:
                self._locked_since.pop(outcome.task_id, None)
                rest = salvage.one_by_one(Batch(outcomes=[outcome]), self._single)
                self.batch.add(rest)
        finally:
            self._waits_for_locks = False

    def _note_company(self, session: Session) -> None:
        company = session.had_company()
        if company is not None:
            self._crowd.note(found_waiting=company)

    # -- what is due

    def _is_due(self, session: Session) -> bool:
        """Look when it is time to, however busy this worker is; say whether there is work."""
        looked = self.agenda.is_look_due() and not self.is_dormant()
        if looked:
            self._look(session)
        if self.batch or self._wants_claim() or self.agenda.is_something_due():
            return True
        return looked and self.agenda.may_be_waiting

    def _look(self, session: Session) -> None:
        """Ask the database what nobody announced."""
        session.now = self.now
        self.agenda.take_look(session.look())
        pending = {ask.submission.id for ask in self.batch.asks}
        self.own.difference_update(self.waiters.resolve(session, pending=pending))
        if self._pace.has_stalled():
            # Long tasks hold every slot: what was claimed ahead goes to whoever is free.
            ahead = self._withdrawn()
            if ahead:
                self._pace.slow_down()
            self._hand_back(ahead)

    # -- messages

    def _collect(self) -> None:
        while len(self.batch.outcomes) < MAX_BATCH and len(self.batch.asks) < MAX_BATCH:
            try:
                message = self._inbox.get_nowait()
            except Empty:
                return
            if message is WAKE:
                self._crowd.note(found_waiting=True)
            self._take(message)

    # -- after the commit

    def _take_in(self, session: Session, effects: Effects) -> None:
        """Carry on what is not settled, and act on what is."""
        self.batch = Batch(outcomes=effects.settled.left + effects.settled.waiting)
        self._apply(session, effects)

    def _apply(self, session: Session, effects: Effects) -> None:
        self._keep(effects.settled)
        self._publish(effects)
        self._start_all(effects.settled.assignments)
        if effects.submitted:
            self._apply_submitted(effects.submitted, effects.asks)
            self._start_all(effects.submitted.assignments)
        self._note_leftovers(effects)
        if effects.claims:
            token = self.claimer.token
            claimed, broken = claiming.assign(session, effects.claims, self.memory, token=token)
            self.batch.outcomes += map(unreadable, broken)
            self._start_all(claimed)
        if effects.ended:
            self.take_moved(Moved(tuple(run.id for run in effects.ended)))

    def _keep(self, settled: Settled) -> None:
        for outcome in settled.waiting:
            self._locked_since.setdefault(outcome.task_id, clock.monotonic())
        for state in settled.states:
            if state.status in RUN_FINAL:
                self.memory.forget([state.id])
            else:
                self.memory.keep(state)

    def _start_all(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            self._start(assignment)

    def _note_leftovers(self, effects: Effects) -> None:
        if effects.asked_room is None:
            self.agenda.may_be_ready = self.agenda.may_be_ready or effects.leaves_ready
        else:
            self.agenda.may_be_ready = len(effects.claims) >= effects.asked_room
        for outcome in effects.settled.accepted:
            if outcome.status is TaskStatus.SCHEDULED:
                self.agenda.expect_due(outcome.delay_seconds)

    def _apply_submitted(self, submitted: Submitted, asks: list[Ask]) -> None:
        for ask in asks:
            ask.was_found = ask.submission.id in submitted.existing
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

    # -- when the database fails

    def _connected(self) -> Session:
        if self._session is None:
            session = self.connect()
            try:
                if self._was_lost:
                    self._settle_unknown(session)
            except BaseException:
                # The next try opens another; nobody else would close this one.
                salvage.close(session)
                raise
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
        elif verdict is salvage.Verdict.BROKEN or self.failures % SALVAGE_AFTER == 0:
            # What fails again and again for a passing reason may have one bad part, too.
            batch, self.batch = self.batch, Batch()
            rest = salvage.one_by_one(batch, self._single)
            self.batch.add(rest)
            for outcome in rest.dropped:
                self.running.pop(outcome.task_id, None)
        if isinstance(error, NotInTenant):
            # The tenant's schema is gone: no run of it will ever end.
            self.waiters.close(error)

    def _single(self, batch: Batch) -> None:
        """Write one part of a broken batch and nothing beside it. Raises what breaks it."""
        session = self._connected()
        session.now = self.now
        self.claimer.renew(0 if self.is_draining else self.room())
        try:
            with session.transaction():
                effects = self._carry(session, batch)
        except Exception:
            # What was not committed must not be remembered: the next part may be of the same run.
            self.memory.forget(batch.run_ids())
            raise
        self.batch.outcomes += effects.settled.waiting
        self._apply(session, effects)
