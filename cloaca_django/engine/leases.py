"""The leases of supervised processes, renewed on a thread and a connection of the supervisor's.

Nothing of a site runs in the supervisor, so a task that holds its interpreter for minutes does not
make its worker look dead. A process that is dead is given up at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import (
    DRIVER_ERRORS,
    Session,
    Trunk,
    is_disconnected,
    open_session,
    open_trunk,
    place_of,
)
from cloaca_django.engine import recovery, salvage
from cloaca_django.engine.shift import GRACE_SECONDS, Holding
from cloaca_django.engine.tether import Line
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

LAST_WORDS_SECONDS = 10.0

# A schema, empty in a database without tenants, and the id of a worker there.
Registered: TypeAlias = tuple[str, UUID]


@dataclass(slots=True)
class Ward:
    """What a process reported last of one schema, or of a database without tenants."""

    line: Line
    holding: Holding
    heard_at: float
    is_reconciled: bool = False

    def tell(self, **order: Any) -> None:
        """Send an order that concerns this schema."""
        self.line.send(schema=self.holding.schema, **order)


class Leases:
    """A thread that keeps the leases of all processes. ``close`` ends it.

    With ``tenants`` one connection serves all schemas that the processes hold tasks of.
    """

    def __init__(self, alias: str, *, tenants: bool = False) -> None:
        self._alias = alias
        self._session: Session | None = None
        self._place: object = None
        self._trunk: Trunk | None = open_trunk(alias) if tenants else None
        self._wards: dict[Line, list[Ward]] = {}
        # Workers, by schema and id, whose process is gone, and whether its end is charged.
        self._dead: dict[Registered, bool] = {}
        # Guards both maps: the supervisor's loop fills them.
        self._lock = threading.Lock()
        # Lines of processes that neither report nor end a task whose time is up.
        self.hung: set[Line] = set()
        self._wake = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="cloaca-leases", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take_report(self, line: Line, holdings: Sequence[Holding]) -> None:
        """Take in all that a process reports; its leases are renewed from now on."""
        now = clock.monotonic()
        with self._lock:
            self._wards[line] = [Ward(line, holding, now) for holding in holdings]

    def give_up(self, line: Line, workers: Collection[Registered], *, charge: bool) -> None:
        """Take back, soon, what the workers of an ended process left behind."""
        with self._lock:
            self._wards.pop(line, None)
            self.hung.discard(line)
            self._dead.update(dict.fromkeys(workers, charge))
        self._wake.set()

    def close(self) -> None:
        """Give up what is still to be given up, and end."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(LAST_WORDS_SECONDS)

    def _run(self) -> None:
        next_beat = clock.monotonic()
        while not self._is_closing or self._dead:
            self._wake.wait(max(0.0, next_beat - clock.monotonic()))
            self._wake.clear()
            is_last = self._is_closing
            try:
                self._bury()
                if is_last:
                    break
                if clock.monotonic() >= next_beat:
                    next_beat = clock.monotonic() + settings.HEARTBEAT_SECONDS
                    self._renew()
            except Exception:
                # The database is away. Leases lapse by themselves; the next beat tries again.
                logger.warning("renewing leases failed", exc_info=True)
                self._hang_up()
                if self._is_closing:
                    break
                next_beat = min(next_beat, clock.monotonic() + 1.0)
        self._hang_up()

    def _hang_up(self) -> None:
        salvage.close(self._session)
        self._session = None
        if self._trunk is not None:
            self._trunk.close()

    def _connected(self, schema: str) -> Session:
        if self._trunk is not None:
            return self._trunk.session(schema)
        place = place_of(self._alias)
        if place != self._place:
            # A file that was replaced; the processes find out, too, and end.
            self._hang_up()
            self._place = place
        if self._session is None:
            self._session = open_session(self._alias)
        return self._session

    def _bury(self) -> None:
        with self._lock:
            dead = dict(self._dead)
        for registered, charge in dead.items():
            schema, worker = registered
            with self._of_tenant(schema):
                recovery.give_up(
                    self._connected(schema), worker, charge=charge,
                    max_crashes=settings.MAX_CRASHES,
                )  # fmt: skip
                self._forget(registered)

    def _forget(self, registered: Registered) -> None:
        with self._lock:
            self._dead.pop(registered, None)

    def _renew(self) -> None:
        with self._lock:
            wards = [ward for several in self._wards.values() for ward in several]
        for ward in wards:
            with self._of_tenant(ward.holding.schema):
                self._renew_one(ward)

    def _renew_one(self, ward: Ward) -> None:
        worker = ward.holding.worker
        state = recovery.renew(self._connected(ward.holding.schema), worker, ward.holding.tally)
        if state == WorkerState.DRAINING:
            ward.tell(drain=worker)
        if not state:
            ward.tell(lapsed=worker)
        elif not ward.is_reconciled:
            # A report is good once: what was claimed after it is not in it.
            ward.is_reconciled = True
            self._reconcile(ward)
        elif self._is_hung(ward):
            self.hung.add(ward.line)

    @contextmanager
    def _of_tenant(self, schema: str) -> Iterator[None]:
        """What is amiss with one tenant must not keep the others' leases from being renewed."""
        try:
            yield
        except NotInTenant as error:
            logger.info("a lease is not kept: %s", error, extra={"schema": schema})
            with self._lock:
                self._dead = {one: at for one, at in self._dead.items() if one[0] != schema}
        except DRIVER_ERRORS as error:
            # Its tables may be locked, as they are while it is migrated.
            if not schema or is_disconnected(error):
                raise
            logger.warning(
                "a lease is not kept now: %s", error, exc_info=True, extra={"schema": schema}
            )

    def _is_hung(self, ward: Ward) -> bool:
        """Say whether a silent process holds a task that it should have ended long ago.

        Code that never lets go of the interpreter keeps its process from seeing any time limit.
        """
        lease = settings.LEASE_SECONDS
        if clock.monotonic() - ward.heard_at < lease:
            return False
        limit = settings.TASK_TIMEOUT_SECONDS
        session = self._connected(ward.holding.schema)
        return recovery.has_overdue(session, ward.holding.worker, limit=limit, beyond=lease)

    def _reconcile(self, ward: Ward) -> None:
        age = clock.monotonic() - ward.heard_at
        schema, worker, live = ward.holding.schema, ward.holding.worker, ward.holding.live
        session = self._connected(schema)
        done = recovery.reconcile(session, worker, live, grace=GRACE_SECONDS + age)
        if done.lost:
            ward.tell(lost=[(id, live[id]) for id in sorted(done.lost)])
        if done.requeued:
            ward.tell(wake=True)
