"""Stage 1, submit: a run and all its task rows are written in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from cloaca_django import ids
from cloaca_django.conf import settings
from cloaca_django.core import progress
from cloaca_django.core.context import Context, decode, decode_writes, encode
from cloaca_django.core.params import validate
from cloaca_django.core.progress import RunState, Shape, TaskState
from cloaca_django.core.states import Origin, RunStatus, TaskStatus
from cloaca_django.core.values import same
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import LOOK, WORK, Session
from cloaca_django.dialect.rows import NewRun, NewTask
from cloaca_django.engine.claiming import Assignment, Claimer
from cloaca_django.errors import IdempotencyConflict


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may say about a run besides its context.

    ``timeout_seconds`` counts from the submission, or from ``start_at``; None means no limit.
    """

    origin: str = Origin.API
    start_at: datetime | None = None
    priority: int = 0
    queue: str = "default"
    idempotency_key: str | None = None
    timeout_seconds: float | None = None
    created_by: str = ""
    reason: str = ""
    parent_id: UUID | None = None
    parent_task_id: int | None = None
    schedule_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that was checked and encoded, ready to be written."""

    id: UUID
    workflow: Workflow
    initial: dict[str, object]
    context: str
    options: Options
    # The span that submits it; None: nobody traces.
    traceparent: str | None = None
    # A repeated run takes over what its model completed: writes by position.
    taken_over: Mapping[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was written. ``existing`` maps a submission to the run that holds its key."""

    inserted: frozenset[UUID]
    existing: dict[UUID, UUID]
    states: list[RunState]
    assignments: list[Assignment]
    leaves_ready: bool


def prepare(
    workflow: Workflow,
    context: Context,
    options: Options = Options(),
    *,
    run_id: UUID | None = None,
    traceparent: str | None = None,
) -> Submission:
    """Check the inputs of a run and encode them; nothing is written yet."""
    initial, text = encoded(workflow, context)
    return Submission(run_id or ids.new_run_id(), workflow, initial, text, options, traceparent)


def encoded(workflow: Workflow, context: Context) -> tuple[dict[str, object], str]:
    """Check the inputs of a run; return them, with what is not given filled in, and their text."""
    data = context.snapshot()
    checked = validate(workflow, data)
    initial = data if checked is data else Context(checked).snapshot()
    return initial, encode(initial, limit=settings.MAX_CONTEXT_BYTES)


@dataclass(frozen=True, slots=True)
class _TaskTemplate:
    name: str
    dependencies: str
    rules: str
    policy: str
    max_attempts: int


@lru_cache(maxsize=1024)
def _templates(workflow: Workflow) -> tuple[Shape, tuple[_TaskTemplate, ...]]:
    positions = {task.name: at for at, task in enumerate(workflow.tasks)}
    edges = tuple(tuple(positions[name] for name in task.dependencies) for task in workflow.tasks)
    templates = tuple(
        _TaskTemplate(
            task.name,
            json.dumps(task.dependencies, ensure_ascii=False),
            task.rule.to_text() if task.rule else "",
            task.policy.to_text(),
            max(1, task.policy.retry.max_attempts),
        )
        for task in workflow.tasks
    )
    return progress.shape_of(edges), templates


def new_state(submission: Submission) -> RunState:
    """Return the state of a run as it will be written: roots Ready or Skipped."""
    workflow = submission.workflow
    shape, _ = _templates(workflow)
    state = RunState(
        id=submission.id,
        workflow_name=workflow.name,
        revision=ids.new_token(),
        status=RunStatus.PENDING,
        initial=submission.initial,
        shape=shape,
        tasks=[
            TaskState(0, task.name, TaskStatus.PENDING, task.policy, task.rule)
            for task in workflow.tasks
        ],
        priority=submission.options.priority,
        queue=submission.options.queue,
        traceparent=submission.traceparent,
        size=len(submission.context) + 300 * len(workflow.tasks),
    )
    for position, changes in (submission.taken_over or {}).items():
        state.tasks[position].status = TaskStatus.COMPLETED
        state.tasks[position].writes = decode_writes(changes) if changes else ()
    progress.start(state)
    state.status = progress.outcome(state) or RunStatus.PENDING
    return state


def submit(
    session: Session,
    submissions: Sequence[Submission],
    claimer: Claimer | None = None,
    *,
    announces: bool = False,
) -> Submitted:
    """Write runs and their tasks; roots start at once while ``claimer`` has room.

    With ``announces`` idle workers hear of them at the commit.

    Precondition: a transaction is open, unless ``session.submits_at_once``. Raises
    IdempotencyConflict when a key is held by a run of another workflow or with another context.
    """
    states = {s.id: new_state(s) for s in submissions}
    tasks = [
        row
        for s in submissions
        for row in _task_rows(s, states[s.id], _wanted(s, states[s.id], claimer), claimer)
    ]
    inserted, rows = session.insert(
        [_run_row(s, states[s.id]) for s in submissions],
        tasks,
        worker=claimer.worker if claimer else None,
        news=news_of(submissions) if announces else None,
    )
    fresh = [states[s.id] for s in submissions if s.id in inserted]
    existing = {s.id: _holder(session, s) for s in submissions if s.id not in inserted}
    assignments = []
    leaves_ready = False
    for row in rows:
        state = states[row.run_id]
        task = state.tasks[row.position]
        task.id, task.status = row.id, TaskStatus(row.status)
        if task.status is TaskStatus.RUNNING and claimer:
            assignments.append(Assignment(state, row.position, row.id, claimer.token))
        leaves_ready = leaves_ready or task.status is TaskStatus.READY
    return Submitted(frozenset(inserted), existing, fresh, assignments, leaves_ready)


def pattern(submission: Submission) -> tuple[NewRun, list[NewTask]]:
    """Return the rows of a run that nobody claims yet."""
    state = new_state(submission)
    return _run_row(submission, state), list(_task_rows(submission, state, set(), None))


def needs_look(submission: Submission) -> bool:
    """Say whether a run cannot be claimed at once: a delayed start, or max_running."""
    return submission.options.start_at is not None or submission.workflow.max_running is not None


def news_of(submissions: Iterable[Submission]) -> str:
    """Return what to tell idle workers: to claim, or to look at what cannot be claimed yet."""
    return LOOK if any(map(needs_look, submissions)) else WORK


def _holder(session: Session, submission: Submission) -> UUID:
    """Return the run that holds the key, or the run itself when a repeated commit wrote it."""
    key = submission.options.idempotency_key
    found = session.run_for_key(key) if key else None
    if found is None or key is None:
        return submission.id
    run_id, workflow_name, context, schedule_id = found
    schedule = submission.options.schedule_id
    # What a schedule starts by hand says when that was, so the same schedule is the same wish.
    is_same = (
        session.uuid(schedule_id) == schedule
        if schedule is not None and schedule_id is not None
        else same(decode(str(context)), decode(submission.context))
    )
    if workflow_name != submission.workflow.name or not is_same:
        raise IdempotencyConflict(key, workflow_name, submission.workflow.name)
    return UUID(str(run_id))


def _wanted(submission: Submission, state: RunState, claimer: Claimer | None) -> set[int]:
    """Choose the ready tasks that start at once."""
    options = submission.options
    if (
        claimer is None
        or options.start_at is not None
        or submission.workflow.max_running is not None
        or not claimer.takes(state.workflow_name, state.queue)
    ):
        return set()
    wanted = set()
    for position, task in enumerate(state.tasks):
        if claimer.room <= 0:
            break
        if task.status is TaskStatus.READY and claimer.has_code(state.workflow_name, task.name):
            wanted.add(position)
            claimer.room -= 1
    return wanted


def _run_row(submission: Submission, state: RunState) -> NewRun:
    options, workflow = submission.options, submission.workflow
    return NewRun(
        id=submission.id,
        workflow_name=workflow.name,
        workflow_version=workflow.version,
        status=state.status,
        revision=state.revision,
        context=submission.context,
        origin=options.origin,
        parent_id=options.parent_id,
        parent_task_id=options.parent_task_id,
        schedule_id=options.schedule_id,
        created_by=options.created_by,
        reason=options.reason,
        priority=options.priority,
        queue=options.queue,
        idempotency_key=options.idempotency_key,
        start_at=options.start_at,
        timeout_seconds=options.timeout_seconds,
        is_waiting=workflow.max_running is not None and state.status is RunStatus.PENDING,
        traceparent=submission.traceparent,
    )


def _task_rows(
    submission: Submission, state: RunState, wanted: set[int], claimer: Claimer | None
) -> Iterable[NewTask]:
    _, templates = _templates(submission.workflow)
    is_waiting = submission.workflow.max_running is not None
    for position, (task, template) in enumerate(zip(state.tasks, templates, strict=True)):
        status: TaskStatus = task.status
        if position in wanted:
            status = TaskStatus.RUNNING
        elif is_waiting and status is TaskStatus.READY:
            status = TaskStatus.HELD
        yield NewTask(
            run_id=submission.id,
            position=position,
            name=template.name,
            workflow_name=state.workflow_name,
            queue=state.queue,
            priority=state.priority,
            status=status,
            dependencies=template.dependencies,
            trigger_rules=template.rules,
            policy=template.policy,
            max_attempts=template.max_attempts,
            claim_token=claimer.token if claimer and position in wanted else None,
            start_at=submission.options.start_at,
            changes=(submission.taken_over or {}).get(position),
        )
