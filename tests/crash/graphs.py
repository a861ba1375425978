"""Workflows whose contexts prove what their tasks saw, and the oracle that knows it beforehand.

Each task leaves a mark: a digest of its name and of every mark it saw. So the marks of a run are
right exactly if every task saw its completed ancestors' outputs, all of them and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloaca_django as cloaca

MARK = "mark_"


@dataclass(frozen=True)
class Node:
    """One task of a graph: what it waits for, and the options of ``@task``."""

    after: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def define(
    name: str,
    graph: Mapping[str, Node],
    body: Callable[[str, Any, Any], None],
    *,
    max_running: int | None = None,
    params: Any = None,
) -> None:
    """Register a workflow; each task calls ``body(task, context, handle)``."""
    with cloaca.WorkflowBuilder(name, max_running=max_running, params=params):
        for task, node in graph.items():
            _declare(task, node, body)


def _declare(task: str, node: Node, body: Callable[[str, Any, Any], None]) -> None:
    options = {
        "retry_attempts": 1, "retry_delay_ms": 1000, "retry_jitter": False, **node.options,
    }  # fmt: skip

    @cloaca.task(id=task, dependencies=list(node.after), **options)
    def run(context: Any, handle: Any) -> None:
        body(task, context, handle)


def leave_mark(task: str, context: Any) -> None:
    """Write a task's mark over what it sees."""
    marks = {key: context[key] for key in context.to_dict() if key.startswith(MARK)}
    context[MARK + task] = digest(task, marks)


def digest(task: str, marks: Mapping[str, object]) -> str:
    """Return the mark of a task that saw ``marks``."""
    text = f"{task}:{sorted(marks.items())}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def expected_marks(
    dependencies: Mapping[str, Sequence[str]], completed: Iterable[str]
) -> dict[str, str]:
    """Return the final marks of a run in which ``completed`` are the tasks that completed.

    ``dependencies`` is in topological order.
    """
    done = set(completed)
    ancestors: dict[str, set[str]] = {}
    marks: dict[str, str] = {}
    for task, parents in dependencies.items():
        ancestors[task] = set(parents).union(*(ancestors[parent] for parent in parents))
        if task in done:
            seen = {MARK + one: marks[MARK + one] for one in ancestors[task] & done}
            marks[MARK + task] = digest(task, seen)
    return marks


def chain(*tasks: str, **options: Any) -> dict[str, Node]:
    """Return a graph in which each task waits for the one before it."""
    return {task: Node(tasks[at - 1 : at] if at else (), options) for at, task in enumerate(tasks)}


def diamond(**options: Any) -> dict[str, Node]:
    """Return a root, two branches and their join."""
    return {
        "root": Node((), options), "left": Node(("root",), options),
        "right": Node(("root",), options), "join": Node(("left", "right"), options),
    }  # fmt: skip
