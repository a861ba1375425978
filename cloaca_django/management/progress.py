"""How a run's progress is shown: a live table on a terminal, lines elsewhere, nothing for scripts.

A view is told of every look at the run, and draws what it wants of it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from django.core.management.base import OutputWrapper

from cloaca_django import clock
from cloaca_django.core.states import TASK_FINAL, TaskStatus
from cloaca_django.core.wording import span
from cloaca_django.models import TaskExecution

# What is shown first when the terminal has no room for all.
_URGENCY = (TaskStatus.RUNNING, TaskStatus.FAILED, TaskStatus.SCHEDULED, TaskStatus.READY)


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task at one look. ``seconds`` is how long its last claim has lasted; None: no claim."""

    name: str
    status: str
    attempt: int
    seconds: float | None
    why: str

    @property
    def notes(self) -> str:
        """What is worth saying besides the status."""
        words = [f"attempt {self.attempt}"] if self.attempt > 1 else []
        return ", ".join([*words, self.why] if self.why else words)


class Stopwatch:
    """Turns rows into views, with times that run on between two looks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, object], float] = {}

    def views(self, tasks: Sequence[TaskExecution]) -> list[TaskView]:
        """Return what can be shown of the tasks of a run."""
        return [
            TaskView(
                task.name,
                task.status,
                task.attempt,
                self._seconds(task),
                _first_line(task.error_message or task.reason),
            )
            for task in tasks
        ]

    def _seconds(self, task: TaskExecution) -> float | None:
        if task.claimed_at is None:
            return None
        if task.finished_at is not None:
            return (task.finished_at - task.claimed_at).total_seconds()
        if task.status != TaskStatus.RUNNING:
            return None
        now = clock.monotonic()
        return now - self._seen.setdefault((task.pk, task.claimed_at), now)


class View(Protocol):
    """Shows a run while it is waited for."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, tasks: Sequence[TaskView]) -> None:
        """Take in one look."""

    def say(self, text: str) -> None:
        """Say something in between."""


class SilentView:
    """For scripts: their output is one document at the end, so what is said goes elsewhere."""

    def __init__(self, stderr: OutputWrapper) -> None:
        self._stderr = stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, tasks: Sequence[TaskView]) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Say it where it does no harm."""
        self._stderr.write(text)


class PlainView:
    """A line for every change of a task's status."""

    def __init__(self, stdout: OutputWrapper) -> None:
        self._stdout = stdout
        self._shown: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, tasks: Sequence[TaskView]) -> None:
        """Print what changed since the last look."""
        for task in tasks:
            now = (task.status, task.attempt)
            before = self._shown.get(task.name, (TaskStatus.PENDING, 1))
            if now != before:
                self._shown[task.name] = now
                self.say(_line(task))

    def say(self, text: str) -> None:
        """Print a line, now and not when a buffer is full."""
        self._stdout.write(text)
        self._stdout.flush()


def _line(task: TaskView) -> str:
    parts = [task.status]
    if task.status in TASK_FINAL and task.seconds is not None:
        parts.append(f"after {span(task.seconds)}")
    return f"  {task.name}: {' '.join(parts)}" + (f" ({task.notes})" if task.notes else "")


def chosen(tasks: Sequence[TaskView], *, room: int) -> list[TaskView]:
    """Return the tasks there is room for, the ones that matter now first, in graph order."""
    if len(tasks) <= room:
        return list(tasks)

    def urgency(at: int) -> tuple[int, int]:
        status = TaskStatus(tasks[at].status)
        if status in _URGENCY:
            return _URGENCY.index(status), at
        # Then what ended last, then what has not begun.
        return (len(_URGENCY), -at) if status in TASK_FINAL else (len(_URGENCY) + 1, at)

    return [tasks[at] for at in sorted(sorted(range(len(tasks)), key=urgency)[:room])]


def live_view(stdout: OutputWrapper, *, title: str, no_color: bool) -> View | None:
    """Return a view that draws a table; None unless ``rich`` is installed."""
    if importlib.util.find_spec("rich") is None:
        return None
    # Not at the top: rich is an extra.
    live = importlib.import_module("cloaca_django.management.live")
    view: View = live.LiveView(stdout, title=title, no_color=no_color)
    return view


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:200]
