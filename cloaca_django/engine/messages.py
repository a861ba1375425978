"""What other threads tell the turn, and what one turn carries and did."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from uuid import UUID

from cloaca_django.core.result import PipelineResult
from cloaca_django.dialect.rows import Claim, EndedRun
from cloaca_django.engine.execution import Job
from cloaca_django.engine.settlement import Outcome, Settled
from cloaca_django.engine.submission import Submission, Submitted


@dataclass(slots=True, eq=False)
class Ask:
    """A run to submit and drive; ``done`` receives its result.

    ``was_found`` says that the run was in the database already.
    """

    submission: Submission
    done: Future[PipelineResult]
    was_found: bool = False


@dataclass(slots=True, eq=False)
class Done:
    """A job's body came to its end."""

    job: Job
    outcome: Outcome


@dataclass(slots=True, eq=False)
class Deferral:
    """A job began or ended its wait in ``defer_until``."""

    job: Job
    is_deferred: bool


@dataclass(slots=True, eq=False)
class Moved:
    """Another transaction moved these runs, or took these tasks away; their jobs do not count."""

    run_ids: tuple[UUID, ...] = ()
    task_ids: frozenset[int] = frozenset()


@dataclass(slots=True, eq=False)
class HandBack:
    """Claims to give back unused: those not started, or with ``running_too`` all."""

    running_too: bool


@dataclass(slots=True, eq=False)
class Wake:
    """There is something to claim."""


@dataclass(slots=True, eq=False)
class Hint:
    """Somebody wrote to the database; it may have been this worker."""


WAKE = Wake()
HINT = Hint()


@dataclass(slots=True)
class Batch:
    """What one turn carries into its transaction."""

    outcomes: list[Outcome] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    deferrals: list[Deferral] = field(default_factory=list)
    # Outcomes that could not be stored in any form; reconcile takes their tasks back.
    dropped: list[Outcome] = field(default_factory=list)

    def add(self, other: Batch) -> None:
        """Carry what another batch carries."""
        self.outcomes += other.outcomes
        self.asks += other.asks
        self.deferrals += other.deferrals

    def __bool__(self) -> bool:
        return bool(self.outcomes or self.asks or self.deferrals)

    def run_ids(self) -> list[UUID]:
        """Return the runs this batch touches."""
        return [o.run_id for o in self.outcomes] + [a.submission.id for a in self.asks]


@dataclass(slots=True)
class Effects:
    """What a turn's transaction did; true once it is committed."""

    settled: Settled
    asks: list[Ask] = field(default_factory=list)
    submitted: Submitted | None = None
    claims: list[Claim] = field(default_factory=list)
    asked_room: int | None = None
    ended: list[EndedRun] = field(default_factory=list)
    # Written by one statement without a transaction around it, so nothing was claimed.
    is_alone: bool = False

    @property
    def leaves_ready(self) -> bool:
        """Return whether tasks were made ready that this transaction did not claim by name."""
        submitted = self.submitted
        return self.settled.leaves_ready or (submitted is not None and submitted.leaves_ready)
