"""A worker: the turn, heartbeats and wake-ups on threads of their own, beside the tasks' host.

A ``cloaca_worker`` process and a ``DefaultRunner`` embedded in a program are the same thing here.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from uuid import UUID

from cloaca_django import VERSION, clock, ids
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.options import FULL
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import Session, open_session
from cloaca_django.dialect.rows import WorkerRow
from cloaca_django.dialect.wakeups import Watcher, open_watcher
from cloaca_django.engine import (
    capture,
    notices,
    operations,
    recovery,
    salvage,
)
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.firing import Firing, FiringOptions
from cloaca_django.engine.hosting import JobHost
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import HINT, WAKE, HandBack, Moved
from cloaca_django.engine.turn import Turn
from cloaca_django.engine.upkeep import Upkeep

logger = logging.getLogger("cloaca_django.worker")

GRACE_SECONDS = 10.0
# How long the last words of a worker may wait for somebody's lock.
SAY_SECONDS = 2.0


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


class Worker:
    """Threads around one ``Turn``. Start once; ``stop`` ends it for good.

    With ``report`` somebody else renews the lease and reconciles: it is called at every heartbeat.
    """

    def __init__(
        self, options: WorkerOptions, *, report: Callable[[Worker], None] | None = None
    ) -> None:
        self.options = options
        self._report = report
        self._rounds = 0
        self.claimer = Claimer(
            worker=ids.new_token(), queues=options.queues, only=options.workflows
        )
        self.host = JobHost(
            alias=options.alias,
            concurrency=options.concurrency,
            post=self.post,
            worker=lambda: self.claimer.worker,
            connect=self._connect,
        )
        slots = self.host.holders.slots
        self.turn = Turn(
            connect=self._connect,
            claimer=self.claimer,
            slots=slots,
            memory=Memory(settings.MEMORY_BYTES),
            limits=Limits(options.task_timeout_seconds),
            start_job=slots.submit,
            abandon_job=self.host.abandon,
            publish=notices.publish,
            poll_seconds=options.poll_seconds,
            claims_only_own=options.claims_only_own,
            durability=options.durability,
            schedules=Firing(options.firing) if options.firing else None,
        )
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turn_thread: threading.Thread | None = None
        self._watcher: Watcher | None = None

    # -- life

    def start(self) -> None:
        """Register and start the threads."""
        session = open_session(self.options.alias)
        try:
            recovery.register(session, self._row())
            known = set(registry.snapshot().values())
            operations.save_definitions(session, known)
            self.turn.saved |= known
        finally:
            session.close()
        capture.install()
        atexit.register(self._at_exit)
        self._watcher = open_watcher(self.options.alias, wake=self.wake, hint=self.hint)
        self._spawn(self._beat, "cloaca-heartbeat")
        self._turn_thread = self._spawn(self._turns, "cloaca-turn")

    def is_alive(self) -> bool:
        """Say whether the turn's thread runs."""
        return self._turn_thread is not None and self._turn_thread.is_alive()

    def post(self, message: object) -> None:
        """Hand a message to the turn, which wakes."""
        self.turn.post(message)

    def wake(self) -> None:
        """Say that there may be something to claim."""
        self.post(WAKE)

    def hint(self) -> None:
        """Say that somebody wrote to the database, perhaps this worker itself."""
        self.post(HINT)

    def drain(self) -> None:
        """Claim nothing more; what runs goes on."""
        self.turn.is_draining = True
        self._say(WorkerState.DRAINING)
        self.wake()

    def live(self) -> dict[int, UUID]:
        """Return what is claimed and not settled: task ids with their tokens."""
        return {id: job.token for id, job in dict(self.turn.running).items()}

    def stop(self, *, grace: float) -> bool:
        """Finish within ``grace`` seconds, then hand the rest back; True when all had finished."""
        atexit.unregister(self._at_exit)
        self.turn.is_draining = True
        self.turn.post(HandBack(running_too=False))
        self._await_round()
        finished = self._await_idle(grace)
        if not finished:
            self.turn.post(HandBack(running_too=True))
            self._await_idle(5.0)
        self._end_threads()
        return finished

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
        while self.turn.running or self.turn.batch:
            if clock.monotonic() > end or not self.is_alive():
                return not self.turn.running
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
        self.host.close()
        self._say(WorkerState.STOPPED)
        capture.remove()

    def _say(self, state: WorkerState) -> None:
        try:
            with closing(open_session(self.options.alias, patience=SAY_SECONDS)) as session:
                recovery.say_state(session, self.claimer.worker, state)
        except Exception:
            # The lease says it too, a little later.
            logger.warning("could not write the worker's state", exc_info=True)

    def _row(self) -> WorkerRow:
        return WorkerRow(
            id=self.claimer.worker,
            kind=self.options.kind,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            concurrency=self.options.concurrency,
            queues=",".join(self.options.queues),
            workflows=json.dumps(sorted(self.claimer.workflows)),
            version=VERSION,
            lease_seconds=settings.LEASE_SECONDS,
        )

    def _spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _connect(self) -> Session:
        # A loop that finds the file busy tries again by itself, and must hear of a stop meanwhile.
        return open_session(self.options.alias, patience=SAY_SECONDS)

    # -- the turn's thread

    def _turns(self) -> None:
        try:
            self._turn_until_stopped()
        finally:
            # Whatever ended the loop: nobody may wait for its answer for ever.
            self.turn.dismiss()
            self.turn.close()

    def _turn_until_stopped(self) -> None:
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
        upkeep = Upkeep()
        while not self._stopping.wait(settings.HEARTBEAT_SECONDS):
            self._say_alive()
            try:
                session = session or self._connect()
                self._heartbeat(session)
                if self.options.recovers and upkeep.tend(session):
                    self.wake()
            except Exception:
                # The database is away; the lease lapses by itself, and the next beat tries again.
                logger.warning("heartbeat failed", exc_info=True)
                salvage.close(session)
                session = None
        salvage.close(session)

    def _say_alive(self) -> None:
        if self._report is not None:
            self._report(self)

    def _heartbeat(self, session: Session) -> None:
        if self._report is not None:
            return
        live = self.live()
        worker = self.claimer.worker
        state = recovery.renew(session, worker)
        if not state:
            self.register_anew(session)
            return
        self.turn.is_draining |= state == WorkerState.DRAINING
        done = recovery.reconcile(session, worker, live, grace=GRACE_SECONDS)
        self.let_go({id: live[id] for id in done.lost})
        if done.requeued:
            self.wake()

    def let_go(self, lost: Mapping[int, UUID]) -> None:
        """Drop jobs, by id and token, that the database no longer calls ours."""
        gone = frozenset(id for id, token in lost.items() if self._is_taken_away(id, token))
        if gone:
            self.turn.post(Moved(task_ids=gone))

    def _is_taken_away(self, task_id: int, token: UUID) -> bool:
        """Say whether a job that the database no longer calls ours still runs here.

        One that was claimed under an earlier id of this worker may still be settled.
        """
        job = self.turn.running.get(task_id)
        return job is not None and job.token == token and job.worker == self.claimer.worker

    def register_anew(self, session: Session) -> None:
        """The lease lapsed: whatever ran is not ours any more, and the old id never comes back."""
        logger.error("the lease of this worker lapsed; it registers anew")
        fresh = replace(self._row(), id=ids.new_token())
        recovery.register(session, fresh)
        if self.turn.is_draining:
            recovery.say_state(session, fresh.id, WorkerState.DRAINING)
        # Only now: a claim by a worker without a row would look like a dead worker's.
        self.claimer.worker = fresh.id

    @property
    def alias(self) -> str:
        """The database this worker serves."""
        return self.options.alias
