"""What a worker holds in memory between its transactions: claims, waiters, what came in.

No database here. One thread owns it; every other thread talks to it through ``post``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from cloaca_django.core import registry
from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect.rows import Tally
from cloaca_django.engine import notices
from cloaca_django.engine.agenda import Agenda, Pace
from cloaca_django.engine.claiming import Assignment, Claimer
from cloaca_django.engine.execution import Job, handed_back, job_for, untouched
from cloaca_django.engine.limits import Limits
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import (
    HINT,
    WAKE,
    Ask,
    Batch,
    Deferral,
    Done,
    Effects,
    HandBack,
    Hint,
    Moved,
)
from cloaca_django.engine.settlement import Outcome
from cloaca_django.engine.slots import Slots
from cloaca_django.engine.waiting import Waiters, refuse
from cloaca_django.errors import RunnerClosed

logger = logging.getLogger("cloaca_django.worker")


class Ledger:
    """The claims of one worker, and what its next transaction shall carry."""

    is_draining = False
    _is_closed = False
    settled_tasks = 0
    _ended = Tally()
    _ended_before = Tally()
    # How many outcomes this worker may come to; None: any number.
    budget: int | None = None

    def __init__(
        self,
        *,
        claimer: Claimer,
        slots: Slots[Job],
        memory: Memory,
        limits: Limits,
        start_job: Callable[[Job], None],
        abandon_job: Callable[[Job], None],
        publish: Callable[[Effects], None],
        poll_seconds: float = 1.0,
        claims_only_own: bool = False,
        ring: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self.claimer = claimer
        self.slots = slots
        self.memory = memory
        self.limits = limits
        self.start_job = start_job
        self.abandon_job = abandon_job
        self.publish = publish
        self.claims_only_own = claims_only_own
        self._ring = ring
        self.running: dict[int, Job] = {}
        self.own: set[UUID] = set()
        self.saved: set[Workflow] = set()
        self.seen_registry: Mapping[str, Workflow] | None = None
        self.waiters = Waiters()
        self.batch = Batch()
        self.agenda = Agenda(poll_seconds)
        self._pace = pace or Pace(slots.limit)
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._locked_since: dict[int, float] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            Done: self._take_done, Ask: self._take_ask,
            Deferral: self._take_deferral, Moved: self.take_moved, Hint: self._take_hint,
            HandBack: self._take_hand_back,
        }  # fmt: skip

    def post(self, message: object) -> None:
        """Hand a message to the turn, which wakes. For every other thread."""
        self._inbox.put(message)
        self._ring()
        if self._is_closed:
            self._refuse_asks()

    def wake(self) -> None:
        """Say that there may be something to claim."""
        self.post(WAKE)

    def hint(self) -> None:
        """Say that somebody wrote to the database, perhaps this worker itself."""
        self.post(HINT)

    def live(self) -> dict[int, UUID]:
        """Return what is claimed and not settled: task ids with their tokens. For any thread."""
        return {id: job.token for id, job in dict(self.running).items()}

    def tally(self) -> Tally:
        """Return what was done since the worker registered. For any thread."""
        now, before = self._ended, self._ended_before
        return Tally(now.completed - before.completed, now.failed - before.failed)

    def begin_tally(self) -> None:
        """Count anew, for a worker that registered anew. For any thread."""
        self._ended_before = self._ended

    def let_go(self, lost: Mapping[int, UUID]) -> None:
        """Drop jobs, by id and token, that the database no longer calls ours. For any thread."""
        gone = frozenset(id for id, token in lost.items() if self._is_taken_away(id, token))
        if gone:
            self.post(Moved(task_ids=gone))

    def _is_taken_away(self, task_id: int, token: UUID) -> bool:
        """Say whether a job that the database no longer calls ours still runs here.

        One that was claimed under an earlier id of this worker may still be settled.
        """
        job = self.running.get(task_id)
        return job is not None and job.token == token and job.worker == self.claimer.worker

    def dismiss(self) -> None:
        """Answer nobody any more: who waits for a run, now or later, hears RunnerClosed.

        On the turn's thread, after its last turn.
        """
        # First the flag: an ask that comes after the last look here is refused by who posts it.
        self._is_closed = True
        self._refuse_asks()
        self.waiters.close()

    def _refuse_asks(self) -> None:
        with suppress(Empty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, Ask):
                    refuse(message.done, RunnerClosed())

    def room(self) -> int:
        """Return how many tasks may be claimed: free slots, and a few more when tasks are short."""
        room = self.slots.limit + self._pace.prefetch() - self.slots.load
        if self.budget is not None:
            room = min(room, self.budget - self.settled_tasks - len(self.running))
        return max(0, room)

    def _may_claim(self) -> bool:
        return not self.is_draining and (not self.claims_only_own or bool(self.own))

    def _wants_claim(self) -> bool:
        return self.agenda.may_be_ready and self._may_claim() and self.room() > 0

    def is_dormant(self) -> bool:
        """Return whether this turn drives its own runs only and has none: it asks for nothing."""
        return self.claims_only_own and not self.own and not self.waiters

    def is_idle(self) -> bool:
        """Return whether nothing is claimed, carried or known to be claimable."""
        return not self.running and not self.batch and not self.agenda.may_be_ready

    def _withdrawn(self) -> list[Job]:
        """Take back the jobs that have not started; the slots may have those of other tenants."""
        return self.slots.withdraw(lambda job: self.running.get(job.task_id) is job)

    def _hand_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.is_over:
                self._abandon(job)
                self.batch.outcomes.append(handed_back(job))

    def abandon_all(self) -> None:
        """Let every job go: nothing of it can be written any more."""
        for job in list(self.running.values()):
            if not job.is_over:
                self._abandon(job)
        self.running.clear()

    def _abandon(self, job: Job) -> None:
        """Stop waiting for a job: its thread may go on, its slot and its outcome do not count."""
        job.is_over = True
        job.cancelled.set()
        self.abandon_job(job)

    # -- messages

    def _take(self, message: Any) -> None:
        taker = self._takers.get(type(message))
        if taker is None:
            self.agenda.wake()
        else:
            taker(message)

    def _take_ask(self, ask: Ask) -> None:
        self.batch.asks.append(ask)
        self.own.add(ask.submission.id)
        self.waiters.add(ask.submission.id, ask.done)

    def _take_deferral(self, deferral: Deferral) -> None:
        self.batch.deferrals.append(deferral)

    def _take_hand_back(self, message: HandBack) -> None:
        """Give claims back unused: those that have not started, or all of them."""
        self._hand_back(self._withdrawn())
        if message.running_too:
            self._hand_back(list(self.running.values()))

    def _take_hint(self, hint: Hint) -> None:
        self.agenda.is_hinted = True

    def _take_done(self, message: Done) -> None:
        job = message.job
        if job.is_over:
            return
        job.is_over = True
        self._pace.note(message.outcome.seconds, started=job.started)
        if job.settled is None:
            self.batch.outcomes.append(message.outcome)
            return
        # The task settled itself, in the transaction of its own writes.
        self.memory.forget([job.run_id])
        self.agenda.may_be_ready = self.agenda.may_be_ready or job.settled.leaves_ready
        self._publish(Effects(job.settled))

    def take_moved(self, moved: Moved) -> None:
        """Let go of runs and tasks that another transaction moved."""
        self.memory.forget(moved.run_ids)
        for job in list(self.running.values()):
            if job.run_id in moved.run_ids or job.task_id in moved.task_ids:
                if not job.is_over:
                    self._abandon(job)
                self.running.pop(job.task_id, None)
        self.agenda.look_soon()

    # -- claims

    def _start(self, assignment: Assignment) -> None:
        state = assignment.state
        name = state.tasks[assignment.position].name
        workflow = registry.snapshot().get(state.workflow_name)
        task = workflow.task_or_none(name) if workflow else None
        if task is None:
            # Another worker has the code; this one leaves it alone from now on.
            self.claimer.refused.append(f"{state.workflow_name}/{name}")
            self.batch.outcomes.append(untouched(assignment))
            return
        job = job_for(assignment, task, worker=self.claimer.worker)
        self.running[job.task_id] = job
        self.limits.add(job)
        notices.publish_start(job)
        self.start_job(job)

    def _publish(self, effects: Effects) -> None:
        """Forget settled jobs, wake who waits for finished runs, and tell the listeners."""
        settled = effects.settled
        for outcome in settled.accepted:
            job, failure = self._forget(outcome), outcome.failure
            if job is not None and failure and failure.outcome is AttemptOutcome.TIMED_OUT:
                notices.tell_timeout(job, failure)
        for outcome in settled.fenced:
            self._forget(outcome)
        self.settled_tasks += len(settled.accepted)
        self._count(settled.accepted)
        for outcome in settled.fenced:
            logger.warning(
                "outcome of task %d was refused: its claim no longer holds", outcome.task_id,
                extra={"run_id": str(outcome.run_id), "task_id": outcome.task_id},
            )  # fmt: skip
        for state, times in settled.finished:
            self.own.discard(state.id)
            self.waiters.finish(state, times)
        self.publish(effects)

    def _count(self, accepted: Sequence[Outcome]) -> None:
        completed, failed = self._ended
        for outcome in accepted:
            completed += outcome.status is TaskStatus.COMPLETED
            failed += outcome.status is TaskStatus.FAILED
        self._ended = Tally(completed, failed)

    def _forget(self, outcome: Outcome) -> Job | None:
        self._locked_since.pop(outcome.task_id, None)
        return self.running.pop(outcome.task_id, None)
