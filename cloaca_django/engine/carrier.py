"""What one turn writes: its batch, what is due, and its claims, in as few commits as can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cloaca_django.core import registry
from cloaca_django.core.options import FULL, RELAXED
from cloaca_django.dialect import Session, sql
from cloaca_django.engine import claiming, express, operations, settlement, submission
from cloaca_django.engine.ledger import Ledger
from cloaca_django.engine.messages import Batch, Effects
from cloaca_django.engine.settlement import Outcome, Settled


class Carrier(Ledger):
    """The transactions over what a ledger holds. Nothing here acts on what they did."""

    # Stands in for the database's clock in tests.
    now: datetime | None = None
    durability = FULL
    _waits_for_locks = False

    def _transact(self, session: Session, batch: Batch) -> Effects:
        session.now = self.now
        self.claimer.renew(0 if self.is_draining else self.room())
        if not self.agenda.has_work_besides_claims():
            if not batch:
                return self._claim_alone(session)
            if alone := self._carry_alone(session, batch):
                return alone
        # What is answered or signalled after the commit must outlive a crash of the server.
        expires = self.agenda.is_deadline_due()
        durable = expires or bool(batch.asks) or not self._relaxes(batch.outcomes)
        with session.transaction(durable=durable):
            effects = self._carry(session, batch)
            if expires:
                effects.ended = operations.expire(session)
            self._promote(session, effects)
            self._claim(session, effects)
            if effects.leaves_ready and self.claimer.room <= len(effects.claims):
                session.announce()
            if not durable and (effects.settled.finished or effects.settled.ended):
                session.insist()
        return effects

    def _relaxes(self, outcomes: list[Outcome]) -> bool:
        """Say whether a transaction that ends none of these runs may reach the disk later."""
        known = registry.snapshot()
        return all(
            outcome.workflow_name in known
            and (known[outcome.workflow_name].durability or self.durability) == RELAXED
            for outcome in outcomes
        )

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

    def _carry_alone(self, session: Session, batch: Batch) -> Effects | None:
        """Write a batch that one statement can write; None if it takes a transaction.

        A statement is a transaction by itself, and saves the round trips of BEGIN and COMMIT.
        """
        if batch.deferrals or (batch.asks and batch.outcomes):
            return None
        if batch.asks:
            limited = any(ask.submission.workflow.max_running is not None for ask in batch.asks)
            if limited or not session.submits_at_once:
                return None
            return replace(self._carry(session, batch), is_alone=True)
        states = express.known_states(session, batch.outcomes, self.memory)
        if states is None:
            return None
        settled = express.settle(
            session, batch.outcomes, states, claimer=self.claimer,
            relaxed=self._relaxes(batch.outcomes),
        )  # fmt: skip
        self.memory.forget(outcome.run_id for outcome in settled.left)
        return Effects(settled, is_alone=True)

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
