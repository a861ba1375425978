"""A worker: the turn, heartbeats and wake-ups on threads of their own, and the tasks' executor.

A ``cloaca_worker`` process and a ``DefaultRunner`` embedded in a program are the same thing here.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from cloaca_django import VERSION, clock, ids
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.context import Context
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import Session, open_session
from cloaca_django.dialect.rows import WorkerRow
from cloaca_django.dialect.wakeups import Watcher, open_watcher
from cloaca_django.engine import (
    aborting,
    capture,
    completing,
    execution,
    firing,
    notices,
    operations,
    recovery,
    salvage,
)
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.execution import Job
from cloaca_django.engine.firing import Firing, FiringOptions
from cloaca_django.engine.handle import AsyncTaskHandle, TaskHandle
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import HINT, WAKE, Deferral, Done, HandBack, Moved
from cloaca_django.engine.settlement import Outcome
from cloaca_django.engine.slots import Slots
from cloaca_django.engine.turn import Turn
from cloaca_django.engine.upkeep import Upkeep
from cloaca_django.errors import CloacaError

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
    schema: str = ""
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
        self.slots: Slots[Job] = Slots(options.concurrency, self._run)
        self.claimer = Claimer(
            worker=ids.new_token(), queues=options.queues, only=options.workflows
        )
        self.turn = Turn(
            connect=self._connect,
            claimer=self.claimer,
            slots=self.slots,
            memory=Memory(settings.MEMORY_BYTES),
            limits=Limits(options.task_timeout_seconds),
            start_job=self.slots.submit,
            abandon_job=self._abandon,
            publish=notices.publish,
            poll_seconds=options.poll_seconds,
            claims_only_own=options.claims_only_own,
            schema=options.schema,
            schedules=Firing(options.firing) if options.firing else None,
        )
        self._pid = os.getpid()
        self.parked = 0
        self.abandoned: set[Job] = set()
        # Jobs that hold a slot, by identity: a retry may run while the body it replaces still does.
        self._holders: set[Job] = set()
        self._holders_lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turn_thread: threading.Thread | None = None
        self._watcher: Watcher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_lock = threading.Lock()

    # -- life

    def start(self) -> None:
        """Register and start the threads."""
        session = open_session(self.options.alias)
        try:
            recovery.register(session, self._row())
            known = set(registry.snapshot().values())
            operations.save_definitions(session, known)
            self.turn.saved |= known
            if self.options.firing:
                firing.unpark(session)
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

    def wake(self) -> None:
        """Say that there may be something to claim."""
        self.turn.post(WAKE)

    def hint(self) -> None:
        """Say that somebody wrote to the database, perhaps this worker itself."""
        self.turn.post(HINT)

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
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10.0)
        self.slots.close()
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
        self.turn.close()

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

    # -- the tasks' threads

    def _run(self, job: Job) -> None:
        self._holders.add(job)
        job.host = self
        if job.is_over:
            self._give_back(job)
        elif job.task.is_async:
            coroutine = self._run_async(job)
            job.future = asyncio.run_coroutine_threadsafe(coroutine, self._event_loop())
        else:
            handle = TaskHandle(job, self) if job.task.wants_handle else None
            execution.tidy_connections()
            if job.policy.atomic:
                outcome = completing.perform_atomic(
                    job, handle, alias=self.options.alias, worker=self.claimer.worker
                )
            else:
                outcome = execution.perform(job, handle)
            execution.end(job)
            execution.tidy_connections()
            self._finish(job, outcome, handle)

    async def _run_async(self, job: Job) -> None:
        handle = AsyncTaskHandle(job, self) if job.task.wants_handle else None
        await execution.tidy_async_connections()
        outcome = await execution.perform_async(job, handle)
        await execution.tidy_async_connections()
        self._finish(job, outcome, handle)

    def _finish(self, job: Job, outcome: Outcome, handle: TaskHandle | None) -> None:
        if handle is not None:
            handle.consume()
        if job.cancelled.is_set():
            self.abandoned.discard(job)
        self.turn.post(Done(job, completing.result(job, outcome)))
        self._give_back(job)

    def _give_back(self, job: Job) -> None:
        # Whoever takes the job out of the set gives its slot back: once, whoever comes first.
        with self._holders_lock:
            is_holder = job in self._holders
            self._holders.discard(job)
        if is_holder:
            self.slots.release()

    def _abandon(self, job: Job) -> None:
        """Let a job's thread go: its database connection is cut, its slot is given on."""
        if job.started is not None:
            self.abandoned.add(job)
        self._give_back(job)
        if job.future is not None:
            job.future.cancel()
        aborting.abort(job)
        if job.waits_for is not None:
            self._spawn(lambda: self._cancel_child(job), "cloaca-cancel")

    def _cancel_child(self, job: Job) -> None:
        """A run that nobody waits for any more ends with the task that started it."""
        if job.waits_for is None:
            return
        session = self._connect()
        try:
            ended = operations.cancel(session, job.waits_for, reason="its parent task ended")
            self.turn.post(Moved(tuple(run.id for run in ended)))
        except CloacaError as error:
            logger.info("child run not cancelled: %s", error)
        finally:
            session.close()

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        with self._loop_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._spawn(self._serve_loop, "cloaca-async")
            return self._loop

    def _serve_loop(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.run_forever()
        finally:
            # Coroutines of abandoned tasks end here; nobody waits for them any more.
            for task in (left := asyncio.all_tasks(loop)):
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    # -- what a task's handle asks for

    def park(self, job: Job) -> bool:
        """Give a job's slot back while it waits."""
        if self.parked >= settings.MAX_PARKED_THREADS and not job.task.is_async:
            return False
        self.parked += 1
        job.is_parked = True
        self.turn.post(Deferral(job, is_deferred=True))
        self._give_back(job)
        return True

    def unpark(self, job: Job) -> None:
        """Take a slot again."""
        self.slots.reacquire()
        self._holders.add(job)
        self.parked -= 1
        job.is_parked = False
        self.turn.post(Deferral(job, is_deferred=False))

    def pause(self, job: Job, seconds: float) -> None:
        """Let time pass."""
        job.cancelled.wait(seconds)

    @contextmanager
    def completing(self, job: Job, context: Context) -> Iterator[None]:
        """Open the transaction whose commit completes a job."""
        with completing.completing(
            job, alias=self.options.alias, worker=self.claimer.worker, durable=True
        ) as finish:
            yield
            finish(execution.outcome_of(job, context, None))
