"""Stage 2, claim: ready tasks become this worker's, numbered by attempt and fenced by a token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core import registry
from cloaca_django.core.progress import RunState, restore
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import Claim
from cloaca_django.engine.memory import Memory

LOW_MARGIN = 10_000


@dataclass(slots=True)
class Claimer:
    """Who claims, how much, and what it leaves alone.

    One turn uses one token: with the task's id it names one claim, and it is never used again.
    """

    worker: UUID
    room: int = 0
    token: UUID = field(default_factory=ids.new_token)
    queues: Sequence[str] = ("default",)
    only: frozenset[str] | None = None
    refused: list[str] = field(default_factory=list)
    low: int = 0

    @property
    def workflows(self) -> list[str]:
        """Return the workflows this process has code for and is asked to serve."""
        names = registry.names()
        return list(names) if self.only is None else [n for n in names if n in self.only]

    def takes(self, workflow_name: str, queue: str) -> bool:
        """Say whether tasks of a workflow in a queue may be claimed here."""
        return queue in self.queues and (self.only is None or workflow_name in self.only)

    def has_code(self, workflow_name: str, task_name: str) -> bool:
        """Say whether this process can run a task."""
        if f"{workflow_name}/{task_name}" in self.refused:
            return False
        workflow = registry.snapshot().get(workflow_name)
        return workflow is not None and workflow.has_task(task_name)

    def renew(self, room: int) -> None:
        """Start another turn: new room, new token."""
        self.room = room
        self.token = ids.new_token()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A claimed task with the state of its run.

    The attempt comes with the claim: memory of a run does not hold what a retry changes.
    """

    state: RunState
    position: int
    task_id: int
    token: UUID
    attempt: int = 1


def claim(
    session: Session, claimer: Claimer, *, own: Collection[UUID] | None = None
) -> list[Claim]:
    """Claim what there is room for. With ``own``, only tasks of those runs.

    The caller commits, and only then reads the runs with ``assign``.
    """
    if claimer.room <= 0:
        return []
    if own is not None:
        return session.claim_own(own, token=claimer.token, worker=claimer.worker, room=claimer.room)
    claims = session.claim(
        token=claimer.token,
        worker=claimer.worker,
        room=claimer.room,
        low=claimer.low,
        lanes=claimer,
    )
    if claims:
        lowest = min(claim.task_id for claim in claims)
        claimer.low = max(claimer.low, lowest - LOW_MARGIN)
    return claims


def assign(
    session: Session, claims: Collection[Claim], memory: Memory, *, token: UUID
) -> list[Assignment]:
    """Return claims with their runs' states, reading only those that memory does not hold."""
    states: dict[UUID, RunState] = {}
    missing = set()
    for claim in claims:
        state = memory.current(claim.run_id, claim.revision)
        if state is None:
            missing.add(claim.run_id)
        else:
            states[claim.run_id] = state
    if missing:
        for row in session.load_runs(missing):
            states[row.id] = restore(row)
            memory.keep(states[row.id])
    # A run deleted in between (retention never does, a person may) has no state and no task.
    return [
        Assignment(states[claim.run_id], claim.position, claim.task_id, token, claim.attempt)
        for claim in claims
        if claim.run_id in states
    ]
