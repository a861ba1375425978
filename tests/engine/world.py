"""A worker without threads or a clock of its own: a test says when each thing happens.

The turn, its statements and the database are the real ones. What a thread would do between turns,
the test does: run jobs, let time pass, kill the worker.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cloaca_django import Context, clock
from cloaca_django.core import registry
from cloaca_django.core.result import PipelineResult
from cloaca_django.dialect import Session, open_session
from cloaca_django.dialect.rows import WorkerRow
from cloaca_django.engine import execution, recovery, submission
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.execution import Job
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import Ask, Done, Effects
from cloaca_django.engine.settlement import Outcome
from cloaca_django.engine.turn import Turn
from cloaca_django.models import PipelineExecution, TaskExecution

START = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Time:
    """The two clocks, moved by hand: the database's and this process's."""

    def __init__(self) -> None:
        self.now = START
        self.ticks = 1_000.0

    def monotonic(self) -> float:
        return self.ticks

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps in a test with a manual clock")

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds


class HandSlots:
    """Slots whose jobs the test runs itself."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.jobs: list[Job] = []

    @property
    def load(self) -> int:
        return len(self.jobs)

    def withdraw(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        surplus = [job for job in self.jobs[self.limit :] if is_wanted(job)]
        self.jobs[:] = [job for job in self.jobs if job not in surplus]
        return surplus


class World:
    """One worker on the test's database."""

    def __init__(
        self,
        time: Time,
        *,
        alias: str = "default",
        slots: int = 4,
        memory: int = 1 << 20,
        task_timeout: float | None = 300.0,
        claimer: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> None:
        self.time = time
        self.alias = alias
        self.id = uuid.uuid4()
        self.slots = HandSlots(slots)
        self.abandoned: list[Job] = []
        self.published: list[Effects] = []
        self.sessions: list[Session] = []
        self.session = self.connect()
        self.turn = Turn(
            connect=self.connect,
            claimer=Claimer(worker=self.id, **(claimer or {})),
            slots=self.slots,  # type: ignore[arg-type]
            memory=Memory(memory),
            limits=Limits(task_timeout),
            start_job=self.slots.jobs.append,
            abandon_job=self.abandoned.append,
            publish=self.published.append,
            **facts,
        )
        self.turn.now = time.now

    def connect(self) -> Session:
        """Open a session on the manual clock."""
        session = open_session(self.alias)
        session.now = self.time.now
        self.sessions.append(session)
        return session

    def close(self) -> None:
        """Close every connection this world opened."""
        for session in self.sessions:
            session.close()

    # -- time

    def pass_by(self, seconds: float) -> None:
        """Let time pass on every clock."""
        self.time.pass_by(seconds)

    def at_now(self) -> Session:
        """Return the test's own session, set to the manual clock."""
        self.session.now = self.time.now
        return self.session

    # -- what a caller does

    def enqueue(self, name: str, data: Mapping[str, Any] | None = None, **options: Any) -> UUID:
        """Submit as ``enqueue`` does: in a transaction of the caller's, claiming nothing."""
        asked = self.prepared(name, data, **options)
        session = self.at_now()
        with session.transaction():
            written = submission.submit(session, [asked])
            session.announce()
        return written.existing.get(asked.id, asked.id)

    def prepared(
        self, name: str, data: Mapping[str, Any] | None = None, **options: Any
    ) -> submission.Submission:
        """Return a checked submission that nobody has written yet."""
        facts = submission.Options(**options)
        return submission.prepare(registry.find(name), Context(dict(data or {})), facts)

    def ask(
        self, name: str, data: Mapping[str, Any] | None = None, **options: Any
    ) -> Future[PipelineResult]:
        """Submit as ``execute`` does: through the turn, which answers the future."""
        done: Future[PipelineResult] = Future()
        self.turn.post(Ask(self.prepared(name, data, **options), done))
        return done

    # -- what the threads do

    def step(self) -> bool:
        """Run one turn, told that there may be work."""
        self.turn.agenda.wake()
        return self.tick()

    def tick(self) -> bool:
        """Run one turn as the loop would."""
        self.turn.now = self.time.now
        return self.turn.turn()

    def take(self) -> list[Job]:
        """Take the jobs that were started, as threads would."""
        jobs = list(self.slots.jobs)
        self.slots.jobs.clear()
        return jobs

    def perform(self, job: Job) -> Outcome:
        """Run a job's body and hand its outcome to the turn."""
        outcome = execution.perform(job, None)
        self.turn.post(Done(job, outcome))
        return outcome

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Hand over an outcome of the test's making."""
        self.turn.post(Done(job, outcome))

    def drain(self, *, turns: int = 100) -> None:
        """Turn and run jobs until nothing is started any more."""
        for _ in range(turns):
            self.step()
            jobs = self.take()
            if not jobs and not self.turn.batch:
                return
            for job in jobs:
                self.perform(job)
        raise AssertionError(f"still busy after {turns} turns")

    # -- life of the worker

    def register(self, *, lease: float = 30.0) -> None:
        """Write this worker's row."""
        row = WorkerRow(self.id, "worker", "host", 1, 4, "default", "[]", "0", lease)
        recovery.register(self.at_now(), row)

    # -- what is stored

    def run(self, run_id: UUID) -> PipelineExecution:
        """Read a run's row."""
        return PipelineExecution.objects.using(self.alias).get(pk=run_id)

    def tasks(self, run_id: UUID) -> dict[str, TaskExecution]:
        """Read a run's task rows by name."""
        rows = TaskExecution.objects.using(self.alias).filter(run_id=run_id)
        return {row.name: row for row in rows.order_by("position")}

    def statuses(self, run_id: UUID) -> dict[str, str]:
        """Read the statuses of a run's tasks."""
        return {name: row.status for name, row in self.tasks(run_id).items()}


def install(time: Time, monkeypatch: Any) -> None:
    """Put the manual clock in the place of this process's."""
    monkeypatch.setattr(clock, "monotonic", time.monotonic)
    monkeypatch.setattr(clock, "sleep", time.sleep)
