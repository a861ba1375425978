"""The turn of one tenant beside those of others: its share of the slots, its row, its notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloaca_django import clock, ids
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import LOOK, Session
from cloaca_django.dialect.rows import Visit
from cloaca_django.engine import notices, recovery
from cloaca_django.engine.messages import Batch, Effects
from cloaca_django.engine.rotation import NEVER
from cloaca_django.engine.turn import Turn
from cloaca_django.errors import NotInTenant

# How often a turn with tasks of its own looks; an idle one is told, or visited.
LOOK_SECONDS = 1.0
# How long a worker keeps its row in the schema of a tenant that has nothing to do.
ENLISTED_SECONDS = 60.0


class TenantTurn(Turn):
    """A turn that asks the database for nothing unless it is told to.

    ``share`` returns how many tasks its tenant may hold now, ``enlist`` registers the worker in
    its schema.
    """

    def __init__(
        self,
        *,
        alias: str,
        schema: str,
        share: Callable[[TenantTurn], int],
        enlist: Callable[[Session, TenantTurn], None],
        **holdings: Any,
    ) -> None:
        super().__init__(poll_seconds=NEVER, **holdings)
        self.alias = alias
        self.schema = schema
        self._share = share
        self._enlist = enlist
        self.is_enlisted = False
        # Why the schema can be served no more; empty: it can.
        self.gone = ""
        self._busy_at = clock.monotonic()
        # A visit or an announcement says so: the worker has no row where nothing is to be claimed.
        self.agenda.may_be_ready = False

    def room(self) -> int:
        return max(0, min(super().room(), self._share(self) - len(self.running)))

    @property
    def capacity(self) -> int:
        """How many tasks the slots take, with those claimed ahead."""
        return self.slots.limit + self._pace.prefetch()

    def is_hungry(self) -> bool:
        """Say whether something is known to be claimable and there is no room for it."""
        return self.agenda.may_be_ready and self._may_claim() and self.room() <= 0

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
        if self.running or self.batch or self.waiters or self.agenda.may_be_ready:
            self._busy_at = now
            self.agenda.next_look = min(self.agenda.next_look, now + LOOK_SECONDS)
        return done

    def next_moment(self) -> float:
        """Return when this turn has something to do, on the monotonic clock."""
        now = clock.monotonic()
        moment = now + self.seconds_to_next()
        return min(moment, self._busy_at + ENLISTED_SECONDS) if self.is_enlisted else moment

    def leave(self) -> None:
        """Give up the worker's row in the schema when there was nothing to do for a while."""
        is_quiet = clock.monotonic() >= self._busy_at + ENLISTED_SECONDS
        if not self.is_enlisted or not is_quiet or not self.is_idle():
            return
        recovery.say_state(self._connected(), self.claimer.worker, WorkerState.STOPPED)
        self.is_enlisted = False
        # An id that has stopped never comes back.
        self.claimer.worker = ids.new_token()

    # -- the steps of a turn, with a row before the first claim

    def _transact(self, session: Session, batch: Batch) -> Effects:
        self._join(session)
        return super()._transact(session, batch)

    def _fire(self, session: Session) -> bool:
        if self.schedules is not None and self.schedules.is_due():
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
        self.is_enlisted = True
        self._busy_at = clock.monotonic()
        # Other workers sweep a schema while somebody is registered there.
        session.announce(LOOK)

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
