"""The worker of a database without tenants: one turn, woken by what is posted or due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

from cloaca_django import clock, ids
from cloaca_django.core import registry
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import Session, open_session, place_of
from cloaca_django.dialect.wakeups import Watcher, open_watcher
from cloaca_django.engine import operations, recovery, salvage, work
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.firing import Firing
from cloaca_django.engine.shift import SAY_SECONDS, Holding, Shift, WorkerOptions
from cloaca_django.engine.turn import Turn
from cloaca_django.engine.upkeep import Contact, Upkeep

logger = logging.getLogger("cloaca_django.worker")


class Worker(Shift):
    """One turn, its heartbeats and its wake-ups. ``report`` as for every shift."""

    def __init__(
        self, options: WorkerOptions, *, report: Callable[[Shift], None] | None = None
    ) -> None:
        super().__init__(options, report=report)
        self._place: object = None
        self.claimer = Claimer(
            worker=ids.new_token(), queues=options.queues, only=options.workflows
        )
        self.turn = self._made_turn(
            Turn, self.claimer, self._connect,
            poll_seconds=options.poll_seconds,
            schedules=Firing(options.firing) if options.firing else None,
        )  # fmt: skip

    def turns(self) -> tuple[Turn]:
        return (self.turn,)

    def turn_in(self, schema: str) -> Turn:
        return self.turn

    def wake(self) -> None:
        self.turn.wake()

    def set_budget(self, limit: int | None) -> None:
        super().set_budget(limit)
        self.turn.budget = limit

    def holdings(self) -> list[Holding]:
        return [Holding("", self.claimer.worker, self.turn.live(), self.turn.tally())]

    def has_work(self) -> bool:
        return work.is_left(self.alias, self.claimer, fires=self.options.firing is not None)

    # -- life

    def _open(self) -> None:
        with closing(open_session(self.alias)) as session:
            self._place = place_of(self.alias)
            recovery.register(session, self._row(self.claimer, self.claimer.worker))
            known = set(registry.snapshot().values())
            operations.save_definitions(session, known)
            self.turn.saved |= known

    def _watch(self) -> Watcher | None:
        return open_watcher(self.alias, wake=self.wake, hint=self.turn.hint)

    def _say(self, state: WorkerState) -> None:
        try:
            with closing(open_session(self.alias, patience=SAY_SECONDS)) as session:
                recovery.say_state(session, self.claimer.worker, state, self.turn.tally())
        except Exception:
            # The lease says it too, a little later.
            logger.warning("could not write the worker's state", exc_info=True)

    def _connect(self) -> Session:
        # A loop that finds the file busy tries again by itself, and must hear of a stop meanwhile.
        return open_session(self.alias, patience=SAY_SECONDS)

    # -- the turn's thread

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn.wait(60.0)
                self.turn.turn()
                self._rounds += 1
                if self.options.claims_once and not self.turn.failures:
                    self.turn.is_draining = True
            except Exception:
                # A defect in the loop must not end it: schedules and runs depend on it.
                logger.exception("the turn's loop failed")
                clock.sleep(0.5)

    # -- the heartbeat's thread

    def _beat(self) -> None:
        session: Session | None = None
        upkeep, contact = Upkeep(), Contact()
        while not self._stopping.wait(self._rest_of_heart(upkeep.seconds_to_next())):
            self._say_alive()
            try:
                self._look_for_the_file()
                session = session or self._connect()
                if self._report is None:
                    self._reconcile(session, self.turn, self.turn.live())
                if contact.was_lost:
                    upkeep.postpone()
                if self.options.recovers and upkeep.tend(session):
                    self.wake()
                contact.keep()
            except Exception:
                # The database is away; the lease lapses by itself, and the next beat tries again.
                logger.warning("heartbeat failed", exc_info=True)
                salvage.close(session)
                session = None
        salvage.close(session)

    def _look_for_the_file(self) -> None:
        """SQLite goes on with a file that was removed or replaced; nobody sees what it writes."""
        if not self.is_adrift and place_of(self.alias) != self._place:
            self.is_adrift = True
            logger.error(
                "the database file was removed or replaced while it was in use: what this process"
                " writes goes to the old one. Stop every process that uses a database before you"
                " restore it"
            )
