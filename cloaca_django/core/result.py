"""What a caller receives when a run has ended. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cloaca_django.core.context import Context


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task ended. ``attempts`` is the number of its last attempt, 0 if it never began."""

    name: str
    status: str
    attempts: int
    error: str | None = None

    @property
    def task_name(self) -> str:
        """The name, as upstream spells it."""
        return self.name


# Without slots: with them Python 3.11 answers an assignment to a property with a TypeError.
@dataclass(frozen=True, eq=False, repr=False, init=False)
class PipelineResult:
    """The outcome of one run; read-only.

    ``status`` is ``"Completed"``, ``"Failed"`` or ``"Cancelled"``; ``start_time`` and
    ``end_time`` are ISO 8601 in UTC with microseconds; ``duration`` is in seconds;
    ``error_message`` names the first failed task and its error, None if there is none.
    """

    status: str
    workflow_name: str
    execution_id: str
    start_time: str
    end_time: str | None
    duration: float | None
    error_message: str | None
    task_results: tuple[TaskResult, ...]
    _context: Context

    def __init__(
        self,
        *,
        execution_id: UUID | str,
        workflow_name: str,
        status: str,
        started_at: datetime,
        ended_at: datetime | None,
        final_context: Context,
        error_message: str | None = None,
        task_results: Iterable[TaskResult] = (),
    ) -> None:
        duration = None if ended_at is None else (ended_at - started_at).total_seconds()
        facts: dict[str, Any] = {
            # A plain str: the members of an enumeration print differently in an f-string.
            "status": str(status),
            "workflow_name": workflow_name,
            "execution_id": str(execution_id),
            "start_time": _iso(started_at),
            "end_time": None if ended_at is None else _iso(ended_at),
            "duration": duration,
            "error_message": error_message,
            "task_results": tuple(task_results),
            "_context": final_context.copy(),
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    @property
    def pipeline_execution_id(self) -> str:
        """The run's id, as in the history of a schedule."""
        return self.execution_id

    @property
    def workflow_execution_id(self) -> str:
        """The run's id, as newer upstream versions spell it."""
        return self.execution_id

    @property
    def final_context(self) -> Context:
        """A new context at each access, so that changing it changes nothing here."""
        return self._context.copy()

    def __repr__(self) -> str:
        return f"PipelineResult(status={self.status}, error={self.error_message})"


WorkflowResult = PipelineResult


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
