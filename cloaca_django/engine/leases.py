"""The leases of supervised processes, renewed on a thread and a connection of the supervisor's.

Nothing of a site runs in the supervisor, so a task that holds its interpreter for minutes does not
make its worker look dead. A process that is dead is given up at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import Session, open_session
from cloaca_django.engine import recovery, salvage
from cloaca_django.engine.tether import Line
from cloaca_django.engine.worker import GRACE_SECONDS

logger = logging.getLogger("cloaca_django.worker")

LAST_WORDS_SECONDS = 10.0


@dataclass(slots=True)
class Ward:
    """What a process reported last: its worker's id and its claims, as task ids with tokens."""

    line: Line
    worker: UUID
    live: Mapping[int, UUID]
    heard_at: float
    is_reconciled: bool = False


class Leases:
    """A thread that keeps the leases of all processes. ``close`` ends it."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._session: Session | None = None
        self._wards: dict[Line, Ward] = {}
        # Worker ids whose process is gone, and whether its end is charged to their tasks.
        self._dead: dict[UUID, bool] = {}
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

    def take_report(self, line: Line, worker: UUID, live: Mapping[int, UUID]) -> None:
        """Take in what a process reports; its lease is renewed from now on."""
        with self._lock:
            self._wards[line] = Ward(line, worker, live, clock.monotonic())

    def give_up(self, line: Line, workers: set[UUID], *, charge: bool) -> None:
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
            try:
                self._bury()
                if clock.monotonic() >= next_beat:
                    next_beat = clock.monotonic() + settings.HEARTBEAT_SECONDS
                    self._renew()
            except Exception:
                # The database is away. Leases lapse by themselves; the next beat tries again.
                logger.warning("renewing leases failed", exc_info=True)
                salvage.close(self._session)
                self._session = None
                if self._is_closing:
                    break
                next_beat = min(next_beat, clock.monotonic() + 1.0)
        salvage.close(self._session)

    def _connected(self) -> Session:
        if self._session is None:
            self._session = open_session(self._alias)
        return self._session

    def _bury(self) -> None:
        with self._lock:
            dead = dict(self._dead)
        for worker, charge in dead.items():
            recovery.give_up(
                self._connected(), worker, charge=charge, max_crashes=settings.MAX_CRASHES
            )
            with self._lock:
                self._dead.pop(worker, None)

    def _renew(self) -> None:
        with self._lock:
            wards = list(self._wards.values())
        for ward in wards:
            state = recovery.renew(self._connected(), ward.worker)
            if state == WorkerState.DRAINING:
                ward.line.send(drain=ward.worker)
            if not state:
                ward.line.send(lapsed=ward.worker)
            elif not ward.is_reconciled:
                # A report is good once: what was claimed after it is not in it.
                ward.is_reconciled = True
                self._reconcile(ward)
            elif self._is_hung(ward):
                self.hung.add(ward.line)

    def _is_hung(self, ward: Ward) -> bool:
        """Say whether a silent process holds a task that it should have ended long ago.

        Code that never lets go of the interpreter keeps its process from seeing any time limit.
        """
        lease = settings.LEASE_SECONDS
        if clock.monotonic() - ward.heard_at < lease:
            return False
        limit = settings.TASK_TIMEOUT_SECONDS
        return recovery.has_overdue(self._connected(), ward.worker, limit=limit, beyond=lease)

    def _reconcile(self, ward: Ward) -> None:
        age = clock.monotonic() - ward.heard_at
        done = recovery.reconcile(
            self._connected(), ward.worker, ward.live, grace=GRACE_SECONDS + age
        )
        if done.lost:
            ward.line.send(lost=[(id, ward.live[id]) for id in sorted(done.lost)])
        if done.requeued:
            ward.line.send(wake=True)
