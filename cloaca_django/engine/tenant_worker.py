"""The worker of a tenant site: one for all schemas, with a turn for each that it knows.

An idle tenant costs nothing: what happens in its schema is announced, what will happen there is
remembered. A slow walk through all schemas finds what nobody announced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from queue import Empty, SimpleQueue
from uuid import UUID

from django.db import DatabaseError, connections

from cloaca_django import clock, ids, tenancy
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import (
    DRIVER_ERRORS,
    LOOK,
    Session,
    Trunk,
    is_disconnected,
    open_trunk,
)
from cloaca_django.dialect.presence import Presence
from cloaca_django.dialect.wakeups import Watcher, open_tenant_watcher
from cloaca_django.engine import recovery, work
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.firing import Firing
from cloaca_django.engine.registers import Register
from cloaca_django.engine.rotation import NEVER, Rotation
from cloaca_django.engine.shares import Shares
from cloaca_django.engine.shift import Holding, Shift, WorkerOptions
from cloaca_django.engine.tenant_turn import TenantTurn
from cloaca_django.engine.tenant_upkeep import TenantUpkeep
from cloaca_django.engine.upkeep import Contact
from cloaca_django.engine.visits import Walk
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

# How soon a freed slot is noticed by a tenant that waits for one, if nothing else happens.
SLOT_SECONDS = 0.05
# Until a turn comes again in which something broke that nobody expected.
AGAIN_SECONDS = 1.0
MAX_REST_SECONDS = 60.0
# How many rings are heard before somebody is served.
BELL_ROOM = 10_000


class TenantWorker(Shift):
    """Turns in rotation. ``report`` as for every shift."""

    def __init__(
        self, options: WorkerOptions, *, report: Callable[[Shift], None] | None = None
    ) -> None:
        super().__init__(options, report=report)
        if options.tenants is None:
            raise ValueError("a TenantWorker needs options.tenants")
        self._served = options.tenants
        self._turns_by_schema: dict[str, TenantTurn] = {}
        self._is_draining = False
        # Rung by every thread that has something for a turn; empty: for the loop itself.
        self._bell: SimpleQueue[str] = SimpleQueue()
        # Of the turns' thread alone.
        self._trunk = open_trunk(options.alias)
        self._rotation = Rotation()
        self._register = Register(options.alias, self._served)
        self._shares = Shares(
            self.crew.slots, self._rotation, self._turns_by_schema,
            limit=options.tenants.limit, left=self._left,
        )  # fmt: skip
        self._upkeep = TenantUpkeep(options.alias)
        self._walk = Walk(
            options.alias, self._register, self._trunk, fires=options.firing is not None
        )
        # By turns that are no more.
        self._settled_before = 0

    # -- what a shift asks

    def turns(self) -> Collection[TenantTurn]:
        return list(self._turns_by_schema.values())

    def turn_in(self, schema: str) -> TenantTurn:
        """Return the turn of a schema, which is made on first use. For any thread."""
        found = self._turns_by_schema.get(schema)
        if found is None:
            # Of two that are made at once the first counts.
            found = self._turns_by_schema.setdefault(schema, self._made(schema))
            # Read again: it may have been told while this one was not yet there to be told.
            found.is_draining |= self._is_draining
        return found

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    @property
    def settled_tasks(self) -> int:
        return self._settled_before + super().settled_tasks

    def wake(self) -> None:
        self._bell.put("")

    def is_idle(self) -> bool:
        is_through = self._register.is_read and not self._register.has_unvisited()
        return is_through and super().is_idle()

    def holdings(self) -> list[Holding]:
        return [
            Holding(turn.schema, turn.claimer.worker, turn.live(), turn.tally())
            for turn in self.turns()
            if turn.is_enlisted
        ]

    def has_work(self) -> bool:
        try:
            skipped = self._register.skipped()
            schemas = filter(self._served.serves, tenancy.tenant_schemas(self.alias))
            return any(self._has_work_in(schema) for schema in schemas if schema not in skipped)
        except DatabaseError:
            # Nobody knows; the turns wait for the database too.
            connections[self.alias].close()
            return True

    def _has_work_in(self, schema: str) -> bool:
        claimer = self.turn_in(schema).claimer
        try:
            with tenancy.entered(self.alias, schema):
                return work.is_left(self.alias, claimer, fires=self.options.firing is not None)
        except NotInTenant:
            return False

    # -- life

    def _open(self) -> None:
        """Nothing comes before the threads: a row is written where there is something to claim."""

    def _watch(self) -> Watcher | None:
        served, is_there = self._served, not self.options.claims_only_own
        return open_tenant_watcher(
            self.alias, missed=self._missed, heard=self._heard,
            presence=Presence(served.only, served.excluded) if is_there else None,
        )  # fmt: skip

    def _stop_claiming(self) -> None:
        self._is_draining = True
        super()._stop_claiming()

    def _say(self, state: WorkerState) -> None:
        with closing(open_trunk(self.alias)) as trunk:
            for turn in self.turns():
                if turn.is_enlisted:
                    self._say_in(trunk, turn, state)

    def _say_in(self, trunk: Trunk, turn: TenantTurn, state: WorkerState) -> None:
        try:
            worker, done = turn.claimer.worker, turn.tally()
            recovery.say_state(trunk.session(turn.schema), worker, state, done)
        except NotInTenant:
            # It was dropped, with the row.
            return
        except Exception:
            # The lease says it too, a little later.
            logger.warning("could not write the worker's state", exc_info=True)

    def _missed(self) -> None:
        """Visit everybody: something may have been announced while nobody listened."""
        self._register.visit_all()
        self.wake()

    def _heard(self, schema: str, news: str) -> None:
        """Take an announcement. On the listener's thread."""
        turn = self._turns_by_schema.get(schema)
        if turn is None:
            # A tenant that was made a moment ago, or is none of ours.
            if not self.options.claims_only_own:
                self._register.expect(schema)
                self.wake()
            return
        self._upkeep.watch(schema)
        if news == LOOK:
            turn.hint()
        else:
            turn.wake()

    def _made(self, schema: str) -> TenantTurn:
        claimer = Claimer(
            worker=ids.new_token(), queues=self.options.queues, only=self.options.workflows
        )
        made = self._made_turn(
            TenantTurn,
            claimer,
            lambda: self._trunk.session(schema),
            home=schema,
            alias=self.alias,
            schema=schema,
            shares=self._shares,
            enlist=self._enlist,
            ring=lambda: self._bell.put(schema),
            schedules=self._schedules(),
        )
        made.is_draining = self._is_draining
        return made

    def _schedules(self) -> Firing | None:
        options = self.options.firing
        # Looked at when somebody announces a change, and when the tenant is visited.
        return None if options is None else Firing(replace(options, poll_seconds=NEVER))

    def _left(self) -> int | None:
        return None if self._budget is None else self._budget - self.settled_tasks - self.running

    def _enlist(self, session: Session, turn: TenantTurn) -> None:
        with turn.registration:
            # A new id each time: one that stopped never comes back, and whether an earlier try
            # was committed is not known if its reply was lost.
            row = self._row(turn.claimer, ids.new_token())
            with session.transaction(durable=False):
                recovery.register(session, row)
                # Other workers sweep a schema while somebody is registered there.
                session.announce(LOOK)
            turn.claimer.worker, turn.is_enlisted = row.id, True
            turn.begin_tally()
        # The supervisor renews it, and takes its tasks back if this process dies.
        self._say_alive()

    def replace(self, schema: str, lapsed: UUID) -> bool:
        turn = self.turn_in(schema)
        with turn.registration:
            return turn.is_enlisted and super().replace(schema, lapsed)

    # -- the turns' thread

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._rest()
                    self._round()
                    self._rounds += 1
                except Exception:
                    # A defect in the loop must not end it: the work of all tenants depends on it.
                    logger.exception("the turns' loop failed")
                    clock.sleep(0.5)
        finally:
            self._trunk.close()

    def _rest(self) -> None:
        """Wait until somebody rings or something is due; whoever rang stands in line."""
        moment = min(self._rotation.next_moment(), self._next_walk())
        pause = min(MAX_REST_SECONDS, moment - clock.monotonic())
        if any(True for _ in self._rotation.hungry()):
            pause = 0.0 if self._shares.next_guest() is not None else min(pause, SLOT_SECONDS)
            self._shares.see_off()
        try:
            schema = self._bell.get(timeout=pause) if pause > 0 else self._bell.get_nowait()
            for _ in range(BELL_ROOM):
                if schema:
                    self._rotation.call(schema)
                schema = self._bell.get_nowait()
        except Empty:
            return

    def _next_walk(self) -> float:
        if self._is_draining or self.options.claims_only_own:
            return NEVER
        return self._walk.next_moment

    def _round(self) -> None:
        now = clock.monotonic()
        if now >= self._next_walk():
            self._walk_on()
        self._serve_guest()
        schema = self._rotation.take(now)
        if schema is not None:
            self._serve(schema)
        elif self.options.claims_once and not self._register.has_unvisited():
            self._stop_claiming()

    def _serve_guest(self) -> None:
        """Serve who has waited for a slot longest, if there is one now."""
        schema = self._shares.next_guest()
        if schema is None:
            return
        self._rotation.forget(schema)
        try:
            self._carry_out(self._turns_by_schema[schema])
        finally:
            self._shares.see_off()

    def _serve(self, schema: str) -> None:
        """Carry out the turn of one tenant, and decide when its next one is."""
        turn = self._turns_by_schema.get(schema)
        if turn is not None:
            self._carry_out(turn)

    def _carry_out(self, turn: TenantTurn) -> None:
        # Whatever breaks in it, there is another one.
        self._rotation.expect(turn.schema, clock.monotonic() + AGAIN_SECONDS)
        turn.turn()
        turn.leave()
        if turn.gone:
            self._dismiss(turn)
            self._register.lose(turn.schema)
            return
        if self.options.claims_once and not turn.failures:
            turn.is_draining = True
        self._plan(turn)

    def _plan(self, turn: TenantTurn) -> None:
        moment = turn.next_moment()
        if moment <= clock.monotonic():
            self._rotation.call(turn.schema)
            return
        self._rotation.expect(turn.schema, moment)
        if turn.is_hungry():
            self._rotation.starve(turn.schema)

    def _dismiss(self, turn: TenantTurn) -> None:
        """Let go of a tenant whose schema is gone; its running tasks end for nobody."""
        self._turns_by_schema.pop(turn.schema, None)
        self._rotation.forget(turn.schema)
        self._upkeep.forget(turn.schema)
        self._settled_before += turn.settled_tasks
        turn.abandon_all()
        turn.dismiss()
        turn.close()

    def _walk_on(self) -> None:
        walked = self._walk.step()
        for schema in walked.gone:
            if schema in self._turns_by_schema:
                self._dismiss(self._turns_by_schema[schema])
        if walked.found is None:
            return
        turn = self.turn_in(walked.schema)
        turn.take_visit(walked.found)
        if walked.found.needs_sweep:
            self._upkeep.watch(walked.schema)
        self._plan(turn)

    # -- the heartbeats' thread

    def _beat(self) -> None:
        trunk, contact = open_trunk(self.alias), Contact()
        with closing(trunk):
            while not self._stopping.wait(self._rest_of_heart(self._upkeep.seconds_to_next())):
                self._say_alive()
                try:
                    if self._report is None:
                        self._renew(trunk)
                    if contact.was_lost:
                        self._upkeep.postpone()
                    if self.options.recovers:
                        self._tend(trunk)
                    contact.keep()
                except Exception:
                    # The database is away; the leases lapse, and the next beat tries again.
                    logger.warning("heartbeat failed", exc_info=True)
                    trunk.close()

    def _renew(self, trunk: Trunk) -> None:
        for turn in self.turns():
            with turn.registration:
                if turn.is_enlisted:
                    self._renew_in(trunk, turn)

    def _renew_in(self, trunk: Trunk, turn: TenantTurn) -> None:
        live = turn.live()
        try:
            self._reconcile(trunk.session(turn.schema), turn, live)
        except NotInTenant:
            turn.wake()  # whose next transaction finds out, too
        except DRIVER_ERRORS as error:
            # What is amiss with one tenant must not cost the others' leases.
            if is_disconnected(error):
                raise
            logger.warning("lease in %r is not renewed: %s", turn.schema, error)

    def _tend(self, trunk: Trunk) -> None:
        for schema in self._upkeep.tend(trunk, self._register.admitted()):
            self.turn_in(schema).wake()

    def skipped(self) -> dict[str, str]:
        """Return why schemas are not served, by their names."""
        return self._register.skipped()
