"""The life of a worker: its threads, its end, and what it says of itself in the database.

A ``cloaca_worker`` process and a ``DefaultRunner`` embedded in a program are the same thing here.
Which turns it has, one or one a tenant, is the affair of its kind.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import platform
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import django

from cloaca_django import VERSION, clock, ids, tracing
from cloaca_django.conf import settings
from cloaca_django.core.options import FULL
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import Session, open_session
from cloaca_django.dialect.rows import Tally, WorkerRow
from cloaca_django.dialect.wakeups import Watcher
from cloaca_django.engine import capture, notices, recovery
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.hosting import Crew, JobHost
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import HandBack
from cloaca_django.engine.turn import Turn

logger = logging.getLogger("cloaca_django.worker")

GRACE_SECONDS = 10.0
# How long the last words of a worker may wait for somebody's lock.
SAY_SECONDS = 2.0

AnyTurn = TypeVar("AnyTurn", bound=Turn)


@dataclass(frozen=True, slots=True)
class TenantOptions:
    """Which tenants of a site a worker serves. ``only`` None: all of them, new ones too.

    ``limit`` is how many tasks of one tenant may run at once; None: as many as there is room for.
    """

    only: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    limit: int | None = None

    def serves(self, schema: str) -> bool:
        """Say whether a tenant is served."""
        return (self.only is None or schema in self.only) and schema not in self.excluded


def software() -> str:
    """Return what this process runs: this package, Python and Django, each with its version."""
    return f"{VERSION}, Python {platform.python_version()}, Django {django.get_version()}"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works. ``poll_seconds`` is how often it looks for what nobody announced."""

    alias: str = "default"
    kind: str = WorkerKind.WORKER
    concurrency: int = 4
    queues: Sequence[str] = ("default",)
    workflows: frozenset[str] | None = None
    poll_seconds: float = 1.0
    task_timeout_seconds: float | None = 300.0
    recovers: bool = True
    claims_only_own: bool = False
    claims_once: bool = False
    durability: str = FULL
    # None: it fires no schedules.
    firing: FiringOptions | None = None
    # None: the database is no site of tenants.
    tenants: TenantOptions | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What a worker holds in one schema: its id there, and its claims as task ids with tokens.

    ``tally`` is what it did there.
    """

    schema: str
    worker: UUID
    live: Mapping[int, UUID]
    tally: Tally


class Shift:
    """Threads around turns. Start once; ``stop`` ends it for good.

    With ``report`` somebody else renews the leases and reconciles: it is called at every heartbeat.
    """

    # What it writes goes to a file that is not the site's any more.
    is_adrift = False

    def __init__(
        self, options: WorkerOptions, *, report: Callable[[Shift], None] | None = None
    ) -> None:
        self.options = options
        self._budget: int | None = None
        self._report = report
        self._rounds = 0
        self.crew = Crew(options.concurrency)
        self.memory = Memory(settings.MEMORY_BYTES)
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turn_thread: threading.Thread | None = None
        self._watcher: Watcher | None = None

    # -- what its kind decides

    def turns(self) -> Collection[Turn]:
        """Return the turns there are now."""
        raise NotImplementedError

    def turn_in(self, schema: str) -> Turn:
        """Return the turn of a schema; empty: of a site without tenants."""
        raise NotImplementedError

    def wake(self) -> None:
        """Say that there may be something to claim."""
        raise NotImplementedError

    def _open(self) -> None:
        """Do what comes before the threads."""
        raise NotImplementedError

    def _watch(self) -> Watcher | None:
        """Start to listen for what others announce."""
        raise NotImplementedError

    def _work(self) -> None:
        """Carry out turns until ``_stopping``, on the turns' thread."""
        raise NotImplementedError

    def _beat(self) -> None:
        """Send heartbeats until ``_stopping``, on a thread of their own."""
        raise NotImplementedError

    def _say(self, state: WorkerState) -> None:
        """Write the worker's state where it is registered. Raises nothing."""
        raise NotImplementedError

    def holdings(self) -> list[Holding]:
        """Return what is claimed and not settled, where this worker is registered."""
        raise NotImplementedError

    def has_work(self) -> bool:
        """Ask the database whether a task of this worker runs, or one it can run is ready or due.

        What the turns know is a moment old, and must not end a process too early.
        """
        raise NotImplementedError

    # -- life

    def start(self) -> None:
        """Register and start the threads."""
        self._open()
        capture.install()
        atexit.register(self._at_exit)
        self._watcher = self._watch()
        self._spawn(self._beat, "cloaca-heartbeat")
        self._turn_thread = self._spawn(self._turns, "cloaca-turn")

    def is_alive(self) -> bool:
        """Say whether the turns' thread runs."""
        return self._turn_thread is not None and self._turn_thread.is_alive()

    def drain(self) -> None:
        """Claim nothing more; what runs goes on."""
        self._stop_claiming()
        self._say(WorkerState.DRAINING)
        self.wake()

    def stop(self, *, grace: float) -> bool:
        """Finish within ``grace`` seconds, then hand the rest back; True when all had finished."""
        atexit.unregister(self._at_exit)
        self._stop_claiming()
        self._post_all(HandBack(running_too=False))
        self._await_round()
        finished = self._await_idle(grace)
        if not finished:
            self._post_all(HandBack(running_too=True))
            self._await_idle(5.0)
        self._end_threads()
        return finished

    # -- what it does now

    @property
    def alias(self) -> str:
        """The database this worker serves."""
        return self.options.alias

    @property
    def running(self) -> int:
        """How many tasks are claimed and not settled."""
        return sum(len(turn.running) for turn in self.turns())

    @property
    def settled_tasks(self) -> int:
        """How many outcomes were settled."""
        return sum(turn.settled_tasks for turn in self.turns())

    @property
    def is_draining(self) -> bool:
        """Whether nothing is claimed any more."""
        return all(turn.is_draining for turn in self.turns())

    @property
    def carries(self) -> bool:
        """Whether something waits to be written."""
        return any(turn.batch for turn in self.turns())

    def is_idle(self) -> bool:
        """Say whether nothing is claimed, carried or known to be claimable."""
        return all(turn.is_idle() for turn in self.turns())

    def is_over_budget(self) -> bool:
        """Say whether it came to as many outcomes as it may."""
        return self._budget is not None and self.settled_tasks >= self._budget

    def set_budget(self, limit: int | None) -> None:
        """Set how many outcomes this worker may come to; None: any number."""
        self._budget = limit

    # -- the steps of the above

    def _stop_claiming(self) -> None:
        for turn in self.turns():
            turn.is_draining = True

    def _post_all(self, message: object) -> None:
        for turn in self.turns():
            turn.post(message)

    def _at_exit(self) -> None:
        """Hand back what runs when the program ends without ``stop``."""
        if self._pid == os.getpid():
            self.stop(grace=0.0)

    def _await_round(self) -> None:
        """Wait until a turn that began after this call has ended; one before may still claim."""
        wanted, end = self._rounds + 2, clock.monotonic() + 5.0
        while self._rounds < wanted and self.is_alive() and clock.monotonic() < end:
            self.wake()
            clock.sleep(0.002)

    def _await_idle(self, seconds: float) -> bool:
        end = clock.monotonic() + seconds
        while self.running or self.carries:
            if clock.monotonic() > end or not self.is_alive():
                return not self.running
            clock.sleep(0.005)
        return True

    def _end_threads(self) -> None:
        self._stopping.set()
        self.wake()
        if self._watcher is not None:
            self._watcher.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10.0)
        self.crew.close()
        self._say(WorkerState.STOPPED)
        capture.remove()

    def _turns(self) -> None:
        try:
            self._work()
        finally:
            # Whatever ended the loop: nobody may wait for its answer for ever.
            for turn in self.turns():
                turn.dismiss()
                turn.close()

    def _rest_of_heart(self, to_sweep: float) -> float:
        """Return how long until the next heartbeat: it must not be late for a sweep.

        A sweep that failed is tried again at the next beat, not at once.
        """
        beat = settings.HEARTBEAT_SECONDS
        return min(beat, to_sweep) if self.options.recovers and to_sweep > 0 else beat

    def _say_alive(self) -> None:
        if self._report is not None:
            self._report(self)

    def _row(self, claimer: Claimer, id: UUID) -> WorkerRow:
        return WorkerRow(
            id=id,
            kind=self.options.kind,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            concurrency=self.options.concurrency,
            queues=",".join(self.options.queues),
            workflows=json.dumps(sorted(claimer.workflows)),
            version=software(),
            lease_seconds=settings.LEASE_SECONDS,
        )

    def _spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        def serve() -> None:
            tracing.silence()
            target()

        thread = threading.Thread(target=serve, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _made_turn(
        self,
        kind: type[AnyTurn],
        claimer: Claimer,
        connect: Callable[[], Session],
        *,
        home: str = "",
        **facts: Any,
    ) -> AnyTurn:
        """Return a turn of this worker and of its crew; its jobs run in the schema ``home``."""
        turn: AnyTurn
        host = JobHost(
            alias=self.options.alias,
            crew=self.crew,
            post=lambda message: turn.post(message),  # noqa: PLW0108 - it is made below
            worker=lambda: claimer.worker,
            # Not the turn's own: other threads ask for it, too.
            connect=lambda: open_session(self.alias, patience=SAY_SECONDS, schema=home),
            schema=home,
        )
        turn = kind(
            connect=connect,
            claimer=claimer,
            slots=self.crew.slots,
            memory=self.memory.of_tenant(home) if home else self.memory,
            limits=Limits(self.options.task_timeout_seconds),
            start_job=host.start,
            abandon_job=host.abandon,
            publish=notices.publish,
            claims_only_own=self.options.claims_only_own,
            durability=self.options.durability,
            **facts,
        )
        return turn

    def _reconcile(self, session: Session, turn: Turn, live: Mapping[int, UUID]) -> None:
        """Renew the lease of a turn's worker and compare what it owns with what it runs."""
        worker = turn.claimer.worker
        state = recovery.renew(session, worker, turn.tally())
        if not state:
            self.register_anew(session, turn)
            return
        turn.is_draining |= state == WorkerState.DRAINING
        done = recovery.reconcile(session, worker, live, grace=GRACE_SECONDS)
        turn.let_go({id: live[id] for id in done.lost})
        if done.requeued:
            turn.wake()

    def replace(self, schema: str, lapsed: UUID) -> bool:
        """Register anew in a schema, if the worker that lapsed there is still the one of now."""
        turn = self.turn_in(schema)
        if turn.claimer.worker != lapsed:
            return False
        with closing(open_session(self.alias, schema=schema)) as session:
            self.register_anew(session, turn)
        return True

    def register_anew(self, session: Session, turn: Turn) -> None:
        """The lease lapsed: whatever ran is not ours any more, and the old id never comes back."""
        logger.error("the lease of this worker lapsed; it registers anew")
        fresh = self._row(turn.claimer, ids.new_token())
        recovery.register(session, fresh)
        if turn.is_draining:
            recovery.say_state(session, fresh.id, WorkerState.DRAINING)
        # Only now: a claim by a worker without a row would look like a dead worker's.
        turn.claimer.worker = fresh.id
        turn.begin_tally()
