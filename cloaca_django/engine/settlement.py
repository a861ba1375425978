"""Stage 4, settle: outcomes are written, successors released, finished runs ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core import progress
from cloaca_django.core.merge import Write
from cloaca_django.core.progress import Move, RunState, restore
from cloaca_django.core.states import (
    RUN_FINAL,
    TASK_FINAL,
    AttemptOutcome,
    RunStatus,
    TaskStatus,
)
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import (
    Attempt,
    EndedRun,
    LockedRun,
    RunMove,
    RunTimes,
    TaskMove,
    TaskOutcome,
)
from cloaca_django.engine.claiming import Assignment, Claimer
from cloaca_django.engine.memory import Memory
from cloaca_django.errors import UnreadableContext


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception from user code, as data. Every text is storable."""

    error_type: str
    message: str
    traceback: str = ""
    outcome: AttemptOutcome = AttemptOutcome.FAILED


@dataclass(slots=True)
class Outcome:
    """What came of one claimed task; ``status`` is what its row shall become.

    Completed and Failed are final; Scheduled and Ready ask for another attempt, or hand the task
    back unstarted. ``changes`` is the encoded form of ``writes``.
    """

    task_id: int
    run_id: UUID
    position: int
    token: UUID
    attempt: int
    status: TaskStatus
    writes: tuple[Write, ...] = ()
    changes: str | None = None
    failure: Failure | None = None
    delay_seconds: float = 0.0
    charges_attempt: bool = False
    log: str = ""
    seconds: float | None = None
    workflow_name: str = ""
    task_name: str = ""


@dataclass(slots=True)
class Settled:
    """What a settle did. Nothing of it is true before its transaction commits."""

    accepted: list[Outcome] = field(default_factory=list)
    fenced: list[Outcome] = field(default_factory=list)
    waiting: list[Outcome] = field(default_factory=list)
    # For a transaction of this turn: what ``express`` could not settle.
    left: list[Outcome] = field(default_factory=list)
    states: list[RunState] = field(default_factory=list)
    finished: list[tuple[RunState, RunTimes]] = field(default_factory=list)
    # Ended from outside their graph, for nobody can read it.
    ended: list[EndedRun] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    leaves_ready: bool = False


def settle(
    session: Session,
    outcomes: Sequence[Outcome],
    memory: Memory,
    *,
    worker: UUID | None,
    claimer: Claimer | None = None,
    wait: bool = False,
) -> Settled:
    """Write outcomes whose claim still holds and move their runs on.

    Precondition: a transaction is open; the caller clears ``memory`` of these runs if it fails.
    Successors start at once while ``claimer`` has room. Without ``wait``, outcomes of a run that
    somebody else holds come back in ``waiting``.
    """
    if not outcomes:
        return Settled()
    locked, written = session.settle([row_of(outcome) for outcome in outcomes], wait=wait)
    settled = _sorted(outcomes, locked, written)
    _keep_history(session, settled.accepted, worker)
    final: dict[UUID, list[Outcome]] = {}
    for outcome in settled.accepted:
        if outcome.status in TASK_FINAL:
            final.setdefault(outcome.run_id, []).append(outcome)
    if final:
        states, errors = _current_states(session, memory, final, locked)
        settled.ended = _end_unreadable(session, errors)
        if states:
            _move_on(session, settled, states, final, locked, worker=worker, claimer=claimer)
    return settled


def _sorted(
    outcomes: Sequence[Outcome], locked: Mapping[UUID, LockedRun], written: set[int]
) -> Settled:
    """Tell the outcomes that were written from those refused and those whose run was locked."""
    settled = Settled()
    for outcome in outcomes:
        if outcome.run_id not in locked:
            settled.waiting.append(outcome)
        elif outcome.task_id in written:
            settled.accepted.append(outcome)
        else:
            settled.fenced.append(outcome)
    settled.leaves_ready = any(o.status is TaskStatus.READY for o in settled.accepted)
    return settled


def row_of(outcome: Outcome) -> TaskOutcome:
    """Return an outcome as it is written."""
    failed = outcome.failure
    return TaskOutcome(
        outcome.task_id,
        outcome.run_id,
        outcome.token,
        outcome.status,
        outcome.changes,
        failed.message if failed else "",
        outcome.delay_seconds,
        outcome.charges_attempt,
    )


def _keep_history(session: Session, accepted: list[Outcome], worker: UUID | None) -> None:
    attempts = [
        Attempt(
            o.task_id, o.attempt, o.failure.outcome, o.failure.error_type, o.failure.message,
            o.failure.traceback, o.seconds,
        )
        for o in accepted
        if o.failure
    ]  # fmt: skip
    if attempts:
        session.insert_attempts(attempts, worker)
    logs = [(o.task_id, o.attempt, o.log) for o in accepted if o.log]
    if logs:
        session.insert_logs(logs)


def _current_states(
    session: Session,
    memory: Memory,
    final: dict[UUID, list[Outcome]],
    locked: dict[UUID, LockedRun],
) -> tuple[dict[UUID, RunState], dict[UUID, str]]:
    """Return the runs' states under their locks, from memory where the revision still holds.

    The second map says why a run's rows cannot be read.
    """
    states = {}
    missing = []
    errors = {}
    for run_id in final:
        state = memory.current(run_id, locked[run_id].revision)
        if state is None:
            missing.append(run_id)
        else:
            states[run_id] = state
    for row in session.load_runs(missing) if missing else ():
        try:
            states[row.id] = restore(row)
        except UnreadableContext as error:
            errors[row.id] = str(error)
    return states, errors


def _end_unreadable(session: Session, errors: dict[UUID, str]) -> list[EndedRun]:
    """Fail runs that nobody can read: their graphs cannot move any more."""
    return [
        ended
        for run_id, error in errors.items()
        for ended in session.end_runs(
            [run_id], status=RunStatus.FAILED, message=error, revision=ids.new_token()
        )
    ]


def _move_on(
    session: Session,
    settled: Settled,
    states: dict[UUID, RunState],
    final: dict[UUID, list[Outcome]],
    locked: dict[UUID, LockedRun],
    *,
    worker: UUID | None,
    claimer: Claimer | None,
) -> None:
    """Apply final outcomes to their runs, and write what follows."""
    task_moves: list[TaskMove] = []
    run_moves: list[RunMove] = []
    for run_id, state in states.items():
        task_moves += moved_on(settled, state, final[run_id], locked[run_id], claimer)
        run_moves.append(RunMove(run_id, state.status, state.revision, state.error_message))
    if task_moves:
        session.move_tasks(task_moves, worker)
    times = session.move_runs(run_moves)
    settled.finished = [(s, times[s.id]) for s in settled.states if s.status in RUN_FINAL]


def moved_on(
    settled: Settled,
    state: RunState,
    outcomes: Sequence[Outcome],
    run: LockedRun,
    claimer: Claimer | None,
) -> list[TaskMove]:
    """Apply final outcomes to a run's state; return the moves of the tasks they release."""
    for outcome in outcomes:
        _apply(state, outcome)
    moves = progress.advance(state, [outcome.position for outcome in outcomes])
    task_moves = [_task_move(settled, state, move, run, claimer) for move in moves]
    ended = progress.outcome(state)
    state.revision = ids.new_token()
    state.status = ended or (
        RunStatus.PAUSED if run.status == RunStatus.PAUSED else RunStatus.RUNNING
    )
    settled.states.append(state)
    return task_moves


def _apply(state: RunState, outcome: Outcome) -> None:
    task = state.tasks[outcome.position]
    task.status = outcome.status
    task.writes = outcome.writes
    task.attempt = outcome.attempt
    if outcome.failure:
        task.error = outcome.failure.message
        if not state.error_message:
            state.error_message = progress.failure_message(task.name, task.error)
    state.size += len(outcome.changes or "")


def _task_move(
    settled: Settled, state: RunState, move: Move, run: LockedRun, claimer: Claimer | None
) -> TaskMove:
    """Return the row move of a released task: started at once, held, ready or skipped."""
    task = state.tasks[move.position]
    token = None
    if move.status is TaskStatus.READY:
        if run.is_paused:
            task.status = TaskStatus.HELD
        elif claimer and _has_room(claimer, state, task.name):
            claimer.room -= 1
            token = claimer.token
            task.status = TaskStatus.RUNNING
            settled.assignments.append(Assignment(state, move.position, task.id, token))
        else:
            settled.leaves_ready = True
    return TaskMove(task.id, task.status, token, move.reason)


def _has_room(claimer: Claimer, state: RunState, task_name: str) -> bool:
    return (
        claimer.room > 0
        and claimer.takes(state.workflow_name, state.queue)
        and claimer.has_code(state.workflow_name, task_name)
    )
