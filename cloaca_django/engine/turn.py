"""The turn: one transaction that settles, submits, promotes and claims whatever is due now.

While one commit is on its way to disk the next batch collects by itself, so throughput rises with
load and latency stays at one commit a step. One thread owns a ``Turn``; every other thread talks to
it through ``post``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from queue import Empty
from typing import Any

from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, TaskStatus
from cloaca_django.dialect import Session, sql
from cloaca_django.engine import (
    claiming,
    notices,
    operations,
    salvage,
    settlement,
    submission,
)
from cloaca_django.engine.claiming import Assignment
from cloaca_django.engine.execution import timed_out, unreadable
from cloaca_django.engine.firing import Firing
from cloaca_django.engine.ledger import Ledger
from cloaca_django.engine.messages import (
    Ask,
    Batch,
    Effects,
    Moved,
)
from cloaca_django.engine.settlement import Outcome, Settled
from cloaca_django.engine.submission import Submitted
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

MAX_BATCH = 500
LOCKED_PATIENCE_SECONDS = 5.0
SALVAGE_AFTER = 6


class Turn(Ledger):
    """One worker's transactions over what its ledger holds."""

    # Stands in for the database's clock in tests.
    now: datetime | None = None
    failures = 0
    _was_lost = False
    _waits_for_locks = False
    _session: Session | None = None

    def __init__(
        self,
        *,
        connect: Callable[[], Session],
        schedules: Firing | None = None,
        **holdings: Any,
    ) -> None:
        super().__init__(**holdings)
        self.connect = connect
        self.schedules = schedules

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
        if self.schedules is not None and not self.is_draining:
            moment = min(moment, self.schedules.next_moment)
        return max(0.0, moment - clock.monotonic())

    def turn(self) -> bool:
        """Do everything that is due now in one transaction; False when there was nothing."""
        self._collect()
        for job, limit in self.limits.overdue():
            self._abandon(job)
            self.batch.outcomes.append(timed_out(job, limit))
        try:
            session = self._connected()
            self._take_news(session)
            fired = self._fire(session)
            if not self._is_due(session):
                self.failures = 0
                return fired
            self._save_definitions(session)
            effects = self._transact(session, self.batch)
        except Exception as error:
            self._recover(error)
            return False
        self.failures = 0
        self.batch = Batch(outcomes=effects.settled.waiting)
        try:
            self._apply(session, effects)
            self._settle_stuck()
        except Exception as error:
            self._recover(error)
        return True

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

    # -- the transaction

    def _transact(self, session: Session, batch: Batch) -> Effects:
        session.now = self.now
        self.claimer.renew(0 if self.is_draining else self.room())
        if not batch and not self.agenda.has_work_besides_claims():
            return self._claim_alone(session)
        # What is answered or signalled after the commit must outlive a crash of the server.
        expires = self.agenda.is_deadline_due()
        with session.transaction(durable=expires or bool(batch.outcomes or batch.asks)):
            effects = self._carry(session, batch)
            if expires:
                effects.ended = operations.expire(session)
            self._promote(session, effects)
            self._claim(session, effects)
            if effects.leaves_ready and self.claimer.room <= len(effects.claims):
                session.announce()
        return effects

    def _carry(self, session: Session, batch: Batch) -> Effects:
        """Write what the batch brings."""
        effects = Effects(self._settle(session, batch.outcomes))
        if batch.asks:
            effects.asks = batch.asks
            asked = [ask.submission for ask in batch.asks]
            effects.submitted = submission.submit(session, asked, self.claimer)
        if batch.deferrals:
            rows = [(d.job.task_id, d.job.token, d.is_deferred) for d in batch.deferrals]
            session.run(sql.mark_deferred, rows)
        return effects

    def _claim_alone(self, session: Session) -> Effects:
        """Claim and nothing else: one statement, whose commit need not reach the disk."""
        effects = Effects(Settled())
        if self.claims_only_own:
            with session.transaction(durable=False):
                self._claim(session, effects)
        else:
            self._claim(session, effects, relaxed=True)
        return effects

    def _settle(self, session: Session, outcomes: list[Outcome]) -> Settled:
        return settlement.settle(
            session, outcomes, self.memory, worker=self.claimer.worker, claimer=self.claimer,
            wait=self._waits_for_locks,
        )  # fmt: skip

    def _promote(self, session: Session, effects: Effects) -> None:
        if self.agenda.is_something_due():
            session.run(sql.promote_due)
            self.agenda.take_promotion()
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

    def _claim(self, session: Session, effects: Effects, *, relaxed: bool = False) -> None:
        if not self._may_claim() or self.claimer.room <= 0:
            return
        if self.agenda.may_be_ready or effects.leaves_ready:
            effects.asked_room = self.claimer.room
            own = self.own if self.claims_only_own else None
            effects.claims = claiming.claim(session, self.claimer, own=own, relaxed=relaxed)

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
                self._take(self._inbox.get_nowait())
            except Empty:
                return

    # -- after the commit

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
