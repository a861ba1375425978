"""A database, a clock and workers that take one step at a time: everything on the test's thread.

The workers are real ones. Only their slots are the test's: a started body waits until it is run.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Self
from unittest import mock
from uuid import UUID

from django.db import connection, connections

from cloaca_django import clock, ids
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.context import Context
from cloaca_django.core.states import RUN_FINAL
from cloaca_django.dialect import Session, open_session, postgresql, site_session
from cloaca_django.engine import firing, operations, recovery, submission, timetable
from cloaca_django.engine.capture import current_job
from cloaca_django.engine.execution import Job
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.messages import Ask, Effects
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.slots import Slots
from cloaca_django.engine.submission import Options, Submission
from cloaca_django.engine.worker import Worker
from cloaca_django.models import PipelineExecution
from tests.crash import checker, fires, journal
from tests.crash.faults import FaultyTransport, Killed, Plan
from tests.crash.graphs import Node, define, leave_mark

ALIAS = "default"
# One step of a drain: less than a lease, so that workers who beat in each step stay alive.
STEP_SECONDS = 20.0


class HandSlots(Slots[Job]):
    """Slots without threads: what is started waits in ``jobs``."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, run=lambda job: None)
        self.jobs: list[Job] = []

    def _start(self, item: Job) -> None:
        self.jobs.append(item)


class LogicalWorker:
    """A worker that beats, sweeps, turns and runs bodies when it is told to."""

    def __init__(
        self,
        world: World,
        *,
        plan: Plan | None = None,
        concurrency: int = 8,
        claims_only_own: bool = False,
    ) -> None:
        self.world = world
        self.plan = plan or Plan()
        self.slots = HandSlots(concurrency)
        self.published: list[Effects] = []
        self.is_alive = True
        options = WorkerOptions(
            alias=ALIAS,
            concurrency=concurrency,
            poll_seconds=0.0,
            claims_only_own=claims_only_own,
            firing=world.firing,
        )
        self.worker = Worker(options)
        self.worker.crew.holders.slots = self.turn.slots = self.slots
        self.turn.connect = lambda: world.session(self.plan)
        self.turn.publish = self.published.append
        self.session: Session | None = None
        recovery.register(self._beating(), self.worker._row(self.worker.claimer, self.id))
        known = set(registry.snapshot().values())
        operations.save_definitions(self._beating(), known)
        self.turn.saved |= known
        if world.firing:
            firing.unpark(self._beating())

    @property
    def turn(self) -> Any:
        return self.worker.turn

    @property
    def id(self) -> UUID:
        return self.worker.claimer.worker

    @property
    def jobs(self) -> list[Job]:
        """The claimed tasks whose body has not run."""
        return self.slots.jobs

    def step(self) -> bool:
        """Take one turn, as the loop of the turn's thread does."""
        self.world.tick()
        self.turn.now = self.world.now
        if self.turn._session is not None:
            self.turn._session.now = self.world.now
        try:
            return bool(self.turn.turn())
        except Exception as error:
            # The loop logs it and goes on.
            self.world.loop_errors.append(error)
            return False

    def attempt(self) -> None:
        """Take one turn that may be the worker's last."""
        with contextlib.suppress(Killed):
            self.step()

    def settle_down(self, limit: int = 20) -> None:
        """Take turns until there is nothing more to do."""
        for _ in range(limit):
            if not self.step() and not self.turn.batch and not self.turn.failures:
                return

    def run(self, job: Job) -> None:
        """Run a claimed task's body to its end."""
        self.slots.jobs.remove(job)
        job.host.run(job)

    def run_all(self) -> int:
        """Run the bodies that wait; returns how many."""
        jobs = list(self.jobs)
        for job in jobs:
            self.run(job)
        return len(jobs)

    def work(self) -> None:
        """Run whatever can be claimed, and what it makes ready, to the end."""
        self.settle_down()
        while self.run_all():
            self.settle_down()

    def beat(self) -> None:
        """Renew the lease and reconcile, as the heartbeat's thread does."""
        self._at_heart(lambda session: self.worker._reconcile(session, self.turn, self.turn.live()))

    def sweep(self, *, max_crashes: int | None = None) -> None:
        """Take back what dead workers held, as the heartbeat's thread does."""
        limit = settings.MAX_CRASHES if max_crashes is None else max_crashes
        self._at_heart(lambda session: recovery.sweep(session, max_crashes=limit))
        self.worker.wake()

    def _at_heart(self, act: Callable[[Session], object]) -> None:
        try:
            act(self._beating())
        except Exception as error:
            # The next beat has a new connection.
            self.world.heart_errors.append(error)
            self._forget_session()

    def _beating(self) -> Session:
        if self.session is None:
            self.session = self.world.session(self.plan)
        self.session.now = self.world.now
        return self.session

    def _forget_session(self) -> None:
        if self.session is not None:
            with contextlib.suppress(Exception):
                self.session.close()
            self.session = None

    def die(self) -> None:
        """Be killed: nothing is said to anybody, connections end."""
        self.is_alive = False
        with contextlib.suppress(Exception, Killed):
            self.turn.close()
        self._forget_session()


class World:
    """One database and whoever works on it. Its clock moves only when it is told to."""

    # How its workers fire schedules; None: they fire none.
    firing: FiringOptions | None = None

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            # Nobody leaves what nobody could enter.
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        self._stack.enter_context(registry.isolated())
        self._seconds = clock.monotonic()
        self._stack.enter_context(mock.patch.object(clock, "monotonic", self._monotonic))
        self._stack.enter_context(mock.patch.object(ids, "new_run_id", self._new_run_id))
        self._stack.enter_context(mock.patch.object(timetable, "site_session", self._site_session))
        journal.install(connection)
        self._stack.callback(journal.remove, connection)
        self.killer = _Killer()
        self._stack.callback(self.killer.close)
        self.sessions: list[Session] = []
        self.workers: list[LogicalWorker] = []
        # Connections that were closed by their users and are sound: the next ones take them.
        self._free: list[Any] = []
        self._stack.callback(self._close_free)
        self.operator = open_session(ALIAS)
        self._stack.callback(self.operator.close)
        self._stack.callback(self._end)
        self.reset()

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def reset(self) -> None:
        """Empty the database and forget everybody."""
        self._end()
        journal.clear(connection)
        self.workers, self.sessions = [], []
        self._numbers = itertools.count(1)
        self.started: list[tuple[int, str]] = []
        self.acknowledged: set[str] = set()
        self.failing: dict[str, int] = {}
        self.completing: set[str] = set()
        self.fails_next = False
        self.loop_errors: list[Exception] = []
        self.heart_errors: list[Exception] = []
        self.before_end: Callable[[Job], None] = lambda job: None
        self.operator.now = None
        self.now = self.operator.clock()
        if self.firing:
            # Nothing becomes due by the little time that passes in a test.
            self.now = self.now.replace(minute=2, second=30, microsecond=0)
        self.operator.now = self.now

    def _end(self) -> None:
        for worker in self.workers:
            worker.die()
        for session in self.sessions:
            with contextlib.suppress(Exception):
                session.close()

    def _close_free(self) -> None:
        for transport in self._free:
            transport.close()

    # -- time

    def _monotonic(self) -> float:
        return self._seconds

    def tick(self) -> None:
        """Let the least time pass, on all clocks: the database keeps milliseconds."""
        self.advance(0.05)

    def advance(self, seconds: float) -> None:
        """Move the database's clock, also back; the processes' own only go forward."""
        self.now += timedelta(seconds=seconds)
        self._seconds += max(0.0, seconds)
        self.operator.now = self.now

    def _site_session(self, alias: str) -> Session:
        """Return the session of somebody who edits a schedule, on this world's clock."""
        session = site_session(alias)
        session.now = self.now
        return session

    def _new_run_id(self) -> UUID:
        """Return an id that sorts by age, and is the same when the same is done again."""
        return UUID(int=0x0199_0000_0000_7000_8000 << 48 | next(self._numbers))

    # -- who takes part

    def session(self, plan: Plan | None = None) -> Session:
        """Open a connection of the engine's own, which follows ``plan``."""
        if plan is not None:
            plan.check_alive()
        inner = self._free.pop() if self._free else open_session(ALIAS).transport
        transport = FaultyTransport(inner, plan or Plan(), self.killer.drop, self._free.append)
        session = type(self.operator)(transport)
        session.now = self.now
        self.sessions.append(session)
        return session

    def worker(self, **facts: Any) -> LogicalWorker:
        """Start a worker."""
        worker = LogicalWorker(self, **facts)
        self.workers.append(worker)
        return worker

    def in_process(self, function: Callable[[Any], None]) -> None:
        """Call ``function`` with a Django connection of its own, on a thread that then ends."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                function(connections[ALIAS])
            except BaseException as error:  # handed to the test's own thread
                failed.append(error)
            finally:
                with contextlib.suppress(Exception):
                    connections.close_all()

        thread = threading.Thread(target=run, name="crash-process")
        thread.start()
        thread.join(30.0)
        assert not thread.is_alive(), "the operation hangs"
        if failed:
            raise failed[0]

    # -- runs

    def define(self, name: str, graph: dict[str, Node], **options: Any) -> None:
        """Register a workflow whose bodies are this world's."""
        define(name, graph, self._body, **options)

    def _body(self, task: str, context: Any, handle: Any) -> None:
        job = current_job.get()
        assert job is not None
        self.started.append((job.task_id, job.token.hex))
        if task in self.completing:
            leave_mark(task, context)
            with handle.completing():
                self.effect(job)
            return
        if job.policy.atomic:
            self.effect(job)
        if self.fails_next or job.attempt <= self.failing.get(task, 0):
            raise ValueError(f"{task} is told to fail")
        leave_mark(task, context)
        self.before_end(job)

    def effect(self, job: Job) -> None:
        """Write the row that shall be there exactly if the task completes."""
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(
                "INSERT INTO crash_effect (task_id, token) VALUES (%s, %s)",
                [job.task_id, job.token.hex],
            )

    def prepared(self, name: str, **options: Any) -> Submission:
        """Return a run that could be submitted."""
        context = Context({"given": name})
        return submission.prepare(registry.find(name), context, Options(**options))

    def submit(self, name: str, **options: Any) -> UUID:
        """Submit a run as ``enqueue`` does; returns its id."""
        asked = self.prepared(name, **options)
        with self.operator.transaction():
            written = submission.submit(self.operator, [asked])
        found = written.existing.get(asked.id, asked.id)
        self.acknowledged.add(found.hex)
        return found

    def ask(self, worker: LogicalWorker, name: str, **options: Any) -> Ask:
        """Ask a worker to submit and drive a run, as ``execute`` does."""
        ask = Ask(self.prepared(name, **options), Future())
        worker.turn.post(ask)
        return ask

    # -- the end

    def drain(self, rounds: int = 60) -> None:
        """Let time pass and everybody work until every run has ended."""
        for at in itertools.count():
            alive = [worker for worker in self.workers if worker.is_alive]
            alive[-1].sweep()
            for worker in alive:
                worker.beat()
                worker.work()
            if not self.open_runs() or at > rounds:
                return
            self.advance(STEP_SECONDS)

    def open_runs(self) -> int:
        """Count the runs that have not ended."""
        return PipelineExecution.objects.exclude(status__in=sorted(RUN_FINAL)).count()

    def violations(self, *, at_end: bool = True) -> list[str]:
        """Return what is wrong with the store now."""
        store = checker.read(connection)
        cap = self.firing.max_catchup if self.firing else fires.CAP
        found = checker.always(store, self.started, cap=cap)
        if at_end:
            found += checker.drained(store, self.operator, self.acknowledged)
        if at_end and self.firing:
            found += fires.drained(registry.names(), self.now)
        return found


class _Killer:
    """Cuts connections for good, and returns only when their server side has ended too."""

    def __init__(self) -> None:
        self._control = None
        if connection.vendor == "postgresql":
            self._control = postgresql.connect(connection.get_connection_params())

    def drop(self, raw: Any) -> None:
        if self._control is None:
            # Cursors that live on in tracebacks would keep a closed file locked.
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raw.close()
            return
        query = "SELECT pg_terminate_backend(%s, 5000)"
        assert self._control.execute(query, [raw.info.backend_pid]).fetchone() == (True,)

    def close(self) -> None:
        if self._control is not None:
            self._control.close()


@contextlib.contextmanager
def opened() -> Iterator[World]:
    """Open a world for one test."""
    with World() as world:
        yield world
