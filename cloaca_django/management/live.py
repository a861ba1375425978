"""A run's progress as a live table. The only module that imports ``rich``, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from django.core.management.base import OutputWrapper
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloaca_django.core.states import TASK_FINAL, TaskStatus
from cloaca_django.core.wording import span
from cloaca_django.management.progress import TaskView, chosen

_STYLES = {
    TaskStatus.RUNNING: "bold blue",
    TaskStatus.COMPLETED: "green",
    TaskStatus.FAILED: "bold red",
    TaskStatus.SCHEDULED: "yellow",
    TaskStatus.HELD: "yellow",
    TaskStatus.SKIPPED: "dim",
    TaskStatus.CANCELLED: "dim",
    TaskStatus.PENDING: "dim",
}


class LiveView:
    """A table that is drawn again and again, by ``rich``."""

    def __init__(self, stdout: OutputWrapper, *, title: str, no_color: bool) -> None:
        # The stream itself: Django's wrapper would end every piece with a line break.
        stream: Any = getattr(stdout, "_out", stdout)
        self._console = Console(file=stream, no_color=no_color or None)
        self._title = title
        self._live = Live(console=self._console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, tasks: Sequence[TaskView]) -> None:
        """Draw the table."""
        self._live.update(self._drawn(tasks))

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(text, highlight=False, markup=False)

    def _drawn(self, tasks: Sequence[TaskView]) -> Group:
        ended = sum(task.status in TASK_FINAL for task in tasks)
        title = Text(f"{self._title}: {ended} of {len(tasks)} tasks have ended", no_wrap=True)
        return Group(title, self._table(tasks))

    def _table(self, tasks: Sequence[TaskView]) -> Table:
        table = Table(box=box.SIMPLE)
        for heading in ("Task", "Status", "Time", ""):
            table.add_column(heading, justify="right" if heading == "Time" else "left")
        for task in chosen(tasks, room=max(4, self._console.height - 7)):
            style = _STYLES.get(TaskStatus(task.status), "")
            time = "" if task.seconds is None else span(task.seconds)
            # Text, not markup: names and errors come from elsewhere.
            table.add_row(Text(task.name), Text(task.status, style=style), time, Text(task.notes))
        return table
