"""The turn of one tenant beside those of others: its share of the slots, its row, its notices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from cloaca_django import clock
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import Visit
from cloaca_django.engine import notices, recovery
from cloaca_django.engine.agenda import Pace
from cloaca_django.engine.messages import Batch, Effects
from cloaca_django.engine.rotation import NEVER
from cloaca_django.engine.shares import Shares
from cloaca_django.engine.slots import Slots
from cloaca_django.engine.turn import Turn
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

# How often a turn with tasks of its own looks; an idle one is told, or visited.
LOOK_SECONDS = 1.0
# How long a worker keeps its row in the schema of a tenant that has nothing to do.
ENLISTED_SECONDS = 60.0


class TenantTurn(Turn):
    """A turn that asks the database for nothing unless it is told to.

    ``shares`` tell how many tasks its tenant may claim, ``enlist`` registers the worker in its
    schema.
    """

    def __init__(
        self,
        *,
        alias: str,
        schema: str,
        shares: Shares,
        slots: Slots[Any],
        enlist: Callable[[Session, TenantTurn], None],
        **holdings: Any,
    ) -> None:
        pace = Pace(slots.limit, whole=shares.pace)
        super().__init__(poll_seconds=NEVER, slots=slots, pace=pace, **holdings)
        self.alias = alias
        self.schema = schema
        # A visit tells, or an announcement: an idle tenant is not asked, nor given a row.
        self.agenda.may_be_ready = False
        self._shares = shares
        self._enlist = enlist
        self.is_enlisted = False
        # Guards the worker's id in this schema: the heartbeats renew it while it may be given up.
        self.registration = threading.Lock()
        # Why the schema can be served no more; empty: it can.
        self.gone = ""
        self._busy_at = clock.monotonic()

    def room(self) -> int:
        return max(0, min(self._ahead(), self._shares.room(self)))

    def _ahead(self) -> int:
        """Return its room by its own pace: long tasks must not be hoarded beside short ones."""
        return self.slots.limit + self._pace.prefetch() - self.held

    @property
    def held(self) -> int:
        """How many slots its tasks have taken or wait for; who is parked gave its own back."""
        return sum(not job.waits for job in self.running.values())

    def wants(self) -> bool:
        """Say whether something is known that it could claim."""
        return self.agenda.may_be_ready and self._may_claim() and not self.failures

    def is_hungry(self) -> bool:
        """Say whether it must wait for somebody's slot to claim what there is."""
        may_be_helped = self.wants() and self._ahead() > 0 and not self._shares.is_full(self)
        return may_be_helped and self.room() <= 0

    def take_visit(self, found: Visit) -> None:
        """Take over what a visit to the schema found."""
        self.agenda.take_look(found.look)
        if self.schedules is not None:
            self.schedules.take_visit(
                found.seconds_to_fire,
                has_strangers=found.has_strangers,
                has_parked=found.has_parked,
            )

    def turn(self) -> bool:
        with notices.within(self.alias, self.schema):
            done = super().turn()
        now = clock.monotonic()
        if self.running or self.batch or self.waiters or self.wants():
            self._busy_at = now
            self.agenda.next_look = min(self.agenda.next_look, now + LOOK_SECONDS)
        return done

    def next_moment(self) -> float:
        """Return when this turn has something to do, on the monotonic clock."""
        now = clock.monotonic()
        moment = now + self.seconds_to_next()
        if self.failures or not self.is_enlisted:
            return moment
        return min(moment, self._busy_at + ENLISTED_SECONDS)

    def leave(self) -> None:
        """Give up the worker's row in the schema when there was nothing to do for a while."""
        now = clock.monotonic()
        if not self.is_enlisted or now < self._busy_at + ENLISTED_SECONDS:
            return
        # Not now: something is open that is not known as busy, or the heartbeat is here.
        is_wrong = bool(self.failures or self.running or self.batch)
        if is_wrong or not self.registration.acquire(blocking=False):
            self._busy_at = now - ENLISTED_SECONDS + LOOK_SECONDS
            return
        try:
            worker, done = self.claimer.worker, self.tally()
            recovery.say_state(self._connected(), worker, WorkerState.STOPPED, done)
            self.is_enlisted = False
        except Exception as error:
            self._recover(error)
        finally:
            self.registration.release()

    # -- the steps of a turn, with a row before the first claim

    def _transact(self, session: Session, batch: Batch) -> Effects:
        self._join(session)
        return super()._transact(session, batch)

    def _fire(self, session: Session) -> bool:
        schedules = self.schedules
        if schedules is not None and not self.is_draining and schedules.is_due():
            session.now = self.now
            if schedules.look(session):
                self._join(session)
        return super()._fire(session)

    def _single(self, batch: Batch) -> None:
        self._join(self._connected())
        super()._single(batch)

    def _join(self, session: Session) -> None:
        """Register before anything can be claimed: who has no row looks dead to others."""
        if self.is_enlisted or self.is_draining:
            return
        self._enlist(session, self)
        self._busy_at = clock.monotonic()

    def _connected(self) -> Session:
        if self._session is not None and self._session.is_closed:
            # Another tenant's turn lost the connection that they share.
            self._session = None
            self._was_lost = True
            self.memory.clear()
        return super()._connected()

    def _recover(self, error: Exception) -> None:
        if not isinstance(error, NotInTenant):
            super()._recover(error)
            return
        # Nothing of it can be written any more, and none of its runs will ever end.
        self.failures += 1
        self.gone = str(error)
        self.batch = Batch()
        self.waiters.close(error)

    def close(self) -> None:
        """Leave the connection to the others."""
        self._session = None
