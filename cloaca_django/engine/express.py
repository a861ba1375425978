"""Stage 4 in one statement: settles runs that this worker drives and nobody else has touched.

What follows from an outcome is worked out before the run is locked, from memory, and written only
if the run still has the revision that memory knows. Whatever else comes is for ``settlement``.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from cloaca_django.core import registry
from cloaca_django.core.progress import RunState
from cloaca_django.core.states import RUN_FINAL, RunStatus, TaskStatus
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import KnownOutcome, LockedRun
from cloaca_django.engine import settlement
from cloaca_django.engine.claiming import Claimer
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.settlement import Outcome, Settled


def known_states(
    session: Session, outcomes: Sequence[Outcome], memory: Memory
) -> list[RunState] | None:
    """Return the states of the runs, if all these outcomes are plain; else None.

    Plain is one that completed, the only one of its run, with nothing to keep beside it. The end of
    a run under ``max_running`` admits another, which is a statement more.
    """
    if not session.settles_at_once:
        return None
    states: dict[UUID, RunState] = {}
    for outcome in outcomes:
        state = memory.known(outcome.run_id)
        if (
            outcome.status is not TaskStatus.COMPLETED
            or outcome.log
            or state is None
            or _may_be_shared(state, outcome.position)
            or _is_limited(state)
        ):
            return None
        states[outcome.run_id] = state
    return list(states.values()) if len(states) == len(outcomes) else None


def _may_be_shared(state: RunState, position: int) -> bool:
    """Say whether another worker may have claimed a task of a run, and moved the run since."""
    return any(
        task.status is TaskStatus.READY and at != position for at, task in enumerate(state.tasks)
    )


def _is_limited(state: RunState) -> bool:
    workflow = registry.snapshot().get(state.workflow_name)
    return workflow is not None and workflow.max_running is not None


def settle(
    session: Session,
    outcomes: Sequence[Outcome],
    states: Sequence[RunState],
    *,
    claimer: Claimer,
    relaxed: bool = False,
) -> Settled:
    """Write plain outcomes, each with the state of its run, in a statement that commits itself.

    ``relaxed`` lets the commit reach disk later, unless a run ends with it. What was not written
    comes back in ``left``: the run is locked, paused, ended or not as memory had it, or the claim
    does not hold. The caller lets memory forget it, for its state has moved on.
    """
    settled = Settled()
    rows = [
        _row(settled, outcome, state, claimer)
        for outcome, state in zip(outcomes, states, strict=True)
    ]
    relaxed = relaxed and not any(state.status in RUN_FINAL for state in states)
    times = session.settle_known(rows, claimer.worker, relaxed=relaxed)
    settled.accepted = list(outcomes)
    if len(times) < len(outcomes):
        settled.accepted = [outcome for outcome in outcomes if outcome.run_id in times]
        settled.left = [outcome for outcome in outcomes if outcome.run_id not in times]
        settled.assignments = [a for a in settled.assignments if a.state.id in times]
        settled.states = [state for state in states if state.id in times]
    settled.finished = [(s, times[s.id]) for s in settled.states if s.status in RUN_FINAL]
    return settled


def _row(settled: Settled, outcome: Outcome, state: RunState, claimer: Claimer) -> KnownOutcome:
    known = state.revision
    run = LockedRun(state.id, RunStatus.RUNNING, known, is_paused=False)
    moves = settlement.moved_on(settled, state, [outcome], run, claimer)
    return KnownOutcome(
        settlement.row_of(outcome), known, state.status, state.revision, state.error_message, moves
    )
