"""Stage 2, claim: ready tasks become this worker's, numbered by attempt and fenced by a token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cloaca_django import clock, ids
from cloaca_django.core import registry
from cloaca_django.core.progress import RunState, restore
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import Claim
from cloaca_django.engine.memory import Memory
from cloaca_django.errors import UnreadableContext

LOW_MARGIN = 10_000
# The priority of who says nothing, and how long a worker remembers that there are such tasks.
ORDINARY = 0
FLOOR_SECONDS = 600.0
FULL_SCAN_IDLE_SECONDS = 1.0
FULL_SCAN_BUSY_SECONDS = 10.0


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
    # The least priority that is known of, and until when: only claims of it raise ``low``.
    floor: int = ORDINARY
    floor_until: float = field(default_factory=lambda: clock.monotonic() + FLOOR_SECONDS)
    next_full_scan: float = 0.0

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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A claimed task of a run whose stored rows make no sense."""

    claim: Claim
    token: UUID
    error: str


def claim(
    session: Session,
    claimer: Claimer,
    *,
    own: Collection[UUID] | None = None,
    relaxed: bool = False,
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
        low=_low_water(claimer),
        lanes=claimer,
        relaxed=relaxed,
    )
    _raise_low_water(claimer, claims)
    if len(claims) < claimer.room:
        soon = clock.monotonic() + FULL_SCAN_IDLE_SECONDS
        claimer.next_full_scan = min(claimer.next_full_scan, soon)
    return claims


def _raise_low_water(claimer: Claimer, claims: Collection[Claim]) -> None:
    """Let the next claims start a little below these.

    What is urgent is claimed first, however new: its ids say nothing of what waits behind it. So
    where less urgent tasks come to light the next claim starts from the oldest.
    """
    if not claims:
        return
    now, least = clock.monotonic(), min(claim.priority for claim in claims)
    is_news = least < claimer.floor
    if least <= claimer.floor or now >= claimer.floor_until:
        claimer.floor, claimer.floor_until = least, now + FLOOR_SECONDS
    if is_news:
        claimer.low = 0
        return
    lowest = min((c.task_id for c in claims if c.priority == claimer.floor), default=0)
    claimer.low = max(claimer.low, lowest - LOW_MARGIN)


def _low_water(claimer: Claimer) -> int:
    """Return the id to claim from.

    Dead index entries pile up below the ids that are claimed now when somebody holds an old
    snapshot, so claims start a little below the lowest id seen. What comes back late (a retry, a
    resumed task, a slow commit) is found by a scan from the start every so often.
    """
    now = clock.monotonic()
    if now >= claimer.next_full_scan:
        claimer.next_full_scan = now + FULL_SCAN_BUSY_SECONDS
        return 0
    return claimer.low


def assign(
    session: Session, claims: Collection[Claim], memory: Memory, *, token: UUID
) -> tuple[list[Assignment], list[Unreadable]]:
    """Return claims with their runs' states, reading only those that memory does not hold.

    A run whose rows cannot be read comes back apart, and takes no other with it.
    """
    states: dict[UUID, RunState] = {}
    missing = set()
    for claim in claims:
        state = memory.current(claim.run_id, claim.revision)
        if state is None:
            missing.add(claim.run_id)
        else:
            states[claim.run_id] = state
    brought = {c.run_id: c.run for c in claims if c.run is not None and c.run_id in missing}
    rest = missing - brought.keys()
    errors: dict[UUID, str] = {}
    for row in (*brought.values(), *(session.load_runs(rest) if rest else ())):
        try:
            states[row.id] = restore(row)
        except UnreadableContext as error:
            errors[row.id] = str(error)
        else:
            memory.keep(states[row.id])
    # A run deleted in between (retention never does, a person may) has no state and no task.
    assignments = [
        Assignment(states[claim.run_id], claim.position, claim.task_id, token, claim.attempt)
        for claim in claims
        if claim.run_id in states
    ]
    unreadable = [
        Unreadable(claim, token, errors[claim.run_id]) for claim in claims if claim.run_id in errors
    ]
    return assignments, unreadable
