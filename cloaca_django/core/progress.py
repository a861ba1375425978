"""How a run moves: which tasks an outcome makes ready or skipped, what they see, and how it ends.

Plain values, no database: the engine keeps a ``RunState`` in memory, or rebuilds it from rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from cloaca_django.core.context import decode, decode_writes
from cloaca_django.core.merge import Contribution, Write, apply, fold
from cloaca_django.core.rules import Rule
from cloaca_django.core.states import TASK_FINAL, RunStatus, TaskStatus
from cloaca_django.core.task import Policy
from cloaca_django.errors import UnreadableContext

MAX_VIEWS = 256

_BLOCKING = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Shape:
    """The edges of a graph by position: positions are a topological order."""

    dependencies: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    ancestors: tuple[frozenset[int], ...]


@lru_cache(maxsize=512)
def shape_of(dependencies: tuple[tuple[int, ...], ...]) -> Shape:
    """Return the shape of a graph given each task's dependencies, by position."""
    dependents: list[list[int]] = [[] for _ in dependencies]
    ancestors: list[frozenset[int]] = []
    for position, parents in enumerate(dependencies):
        seen: set[int] = set(parents)
        for parent in parents:
            dependents[parent].append(position)
            seen |= ancestors[parent]
        ancestors.append(frozenset(seen))
    return Shape(dependencies, tuple(map(tuple, dependents)), tuple(ancestors))


@dataclass(slots=True)
class TaskState:
    """One task of a run under way. ``id`` is 0 until its row is inserted.

    ``attempt`` is that of its last outcome, 0 for a task that was never claimed; a retry changes
    the row alone.
    """

    id: int
    name: str
    status: TaskStatus
    policy: Policy
    rule: Rule | None = None
    attempt: int = 0
    writes: tuple[Write, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A task that an outcome of another task made Ready or Skipped."""

    position: int
    status: TaskStatus
    reason: str = ""


@dataclass(slots=True)
class RunState:
    """A run under way, as of ``revision``."""

    id: UUID
    workflow_name: str
    revision: UUID
    status: RunStatus
    initial: dict[str, object]
    shape: Shape
    tasks: list[TaskState]
    priority: int = 0
    queue: str = "default"
    error_message: str = ""
    traceparent: str | None = None
    size: int = 0
    _views: dict[int, dict[str, object]] = field(default_factory=dict)

    def seen_by(self, position: int) -> dict[str, object]:
        """Return the context the task at ``position`` receives; values are shared, not copied."""
        view = self._views.get(position)
        if view is None:
            if len(self._views) > MAX_VIEWS:
                self._views.clear()
            view = self._views[position] = self._view(position)
        return view

    def after(self, position: int) -> dict[str, object]:
        """Return what the task at ``position`` saw with its own changes applied."""
        seen = self.seen_by(position)
        writes = self.tasks[position].writes
        if not writes:
            return seen
        return apply(seen, writes)

    def final_context(self) -> dict[str, object]:
        """Return the initial context with the changes of all completed tasks."""
        if not self.tasks:
            return self.initial
        last = len(self.tasks) - 1
        if len(self.shape.ancestors[last]) == last and self.tasks[last].status in TASK_FINAL:
            return self.after(last)
        return self._fold(range(len(self.tasks)))

    def _view(self, position: int) -> dict[str, object]:
        parents = self.shape.dependencies[position]
        if not parents:
            return self.initial
        if len(parents) == 1:
            return self.after(parents[0])
        return self._fold(sorted(self.shape.ancestors[position]))

    def _fold(self, positions: Iterable[int]) -> dict[str, object]:
        ancestors = self.shape.ancestors
        parts = [
            Contribution(at, self.tasks[at].writes, ancestors[at])
            for at in positions
            if self.tasks[at].writes
        ]
        return fold(self.initial, parts) if parts else self.initial


def advance(run: RunState, changed: Iterable[int]) -> list[Move]:
    """Decide every task whose dependencies all ended now that those at ``changed`` did.

    Applies the moves to ``run`` and returns them; skips are followed to their own successors.
    """
    moves: list[Move] = []
    open_ends = list(changed)
    while open_ends:
        for position in run.shape.dependents[open_ends.pop()]:
            task = run.tasks[position]
            if task.status is not TaskStatus.PENDING or not _is_released(run, position):
                continue
            move = _decide(run, position)
            task.status = move.status
            moves.append(move)
            if move.status is TaskStatus.SKIPPED:
                open_ends.append(position)
    return moves


def start(run: RunState) -> list[Move]:
    """Decide every pending task whose dependencies all ended: roots, in a new run.

    Positions are a topological order, so one pass also follows the skips.
    """
    moves = []
    for position, task in enumerate(run.tasks):
        if task.status is TaskStatus.PENDING and _is_released(run, position):
            move = _decide(run, position)
            task.status = move.status
            moves.append(move)
    return moves


def outcome(run: RunState) -> RunStatus | None:
    """Return how ``run`` ended, or None while a task is open."""
    failed = False
    for task in run.tasks:
        if task.status not in TASK_FINAL:
            return None
        failed = failed or task.status in _BLOCKING
    return RunStatus.FAILED if failed else RunStatus.COMPLETED


def failure_message(task_name: str, error: str) -> str:
    """Return the text a run keeps of its first failed task."""
    return f"Task '{task_name}' failed: {error}"


def _is_released(run: RunState, position: int) -> bool:
    tasks = run.tasks
    return all(tasks[at].status in TASK_FINAL for at in run.shape.dependencies[position])


def _decide(run: RunState, position: int) -> Move:
    rule = run.tasks[position].rule
    if rule is None:
        return _decide_by_default(run, position)
    statuses = {task.name: task.status for task in run.tasks}
    context: Mapping[str, object] = run.seen_by(position) if rule.reads_context else {}
    if rule.allows(statuses, context):
        return Move(position, TaskStatus.READY)
    return Move(position, TaskStatus.SKIPPED, "Trigger rules not satisfied")


def _decide_by_default(run: RunState, position: int) -> Move:
    """Run when no dependency failed and at least one completed; a root always runs."""
    parents = run.shape.dependencies[position]
    completed = not parents
    for parent in parents:
        status = run.tasks[parent].status
        if status in _BLOCKING:
            name = run.tasks[parent].name
            return Move(position, TaskStatus.SKIPPED, f"Dependency '{name}' failed")
        completed = completed or status is TaskStatus.COMPLETED
    if completed:
        return Move(position, TaskStatus.READY)
    return Move(position, TaskStatus.SKIPPED, "No dependency completed")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored, with its tasks as rows of ``TASK_COLUMNS`` in order of position."""

    id: UUID
    workflow_name: str
    status: str
    revision: UUID
    context: str
    priority: int
    queue: str
    error_message: str
    traceparent: str | None
    tasks: list[list[object]]


TASK_COLUMNS = (
    "id", "name", "status", "dependencies", "trigger_rules", "policy",
    "attempt", "changes", "error_message", "claimed_at",
)  # fmt: skip


def restore(row: RunRow) -> RunState:
    """Rebuild a run's state from its stored rows.

    Raises UnreadableContext for rows that were not written by this package, or edited by hand.
    """
    try:
        return _restored(row)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableContext(f"run {row.id}", f"{type(error).__name__}: {error}") from error


def _restored(row: RunRow) -> RunState:
    tasks = [_restore_task(values) for values in row.tasks]
    by_name = {task.name: position for position, task in enumerate(tasks)}
    edges = tuple(
        tuple(by_name[name] for name in json.loads(str(values[3]))) for values in row.tasks
    )
    return RunState(
        id=row.id,
        workflow_name=row.workflow_name,
        revision=row.revision,
        status=RunStatus(row.status),
        initial=decode(row.context),
        shape=shape_of(edges),
        tasks=tasks,
        priority=row.priority,
        queue=row.queue,
        error_message=row.error_message,
        traceparent=row.traceparent,
        size=len(row.context) + sum(_lengths(row.tasks)),
    )


def _restore_task(values: list[object]) -> TaskState:
    id, name, status, _, rule, policy, attempt, changes, error, claimed_at = values
    return TaskState(
        id=int(str(id)),
        name=str(name),
        status=TaskStatus(str(status)),
        policy=Policy.from_text(str(policy)),
        rule=Rule.from_text(str(rule)) if rule else None,
        attempt=int(str(attempt)) if claimed_at else 0,
        writes=decode_writes(str(changes)) if changes else (),
        error=str(error or ""),
    )


def _lengths(rows: list[list[object]]) -> Iterator[int]:
    for values in rows:
        yield 300 + len(str(values[7] or ""))
