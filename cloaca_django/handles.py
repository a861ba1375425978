"""``RunHandle``: what a caller holds of a run it submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from cloaca_django.core.result import PipelineResult
from cloaca_django.errors import RunNotFinished

if TYPE_CHECKING:
    from cloaca_django.runner import DefaultRunner


class RunHandle:
    """A run by its id. It holds no state: every question is asked of the database."""

    __slots__ = ("_runner", "id")

    def __init__(self, run_id: UUID, runner: DefaultRunner) -> None:
        self.id = run_id
        self._runner = runner

    def __repr__(self) -> str:
        return f"RunHandle({str(self.id)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def status(self) -> str:
        """The run's status as stored now. Raises RunNotFound."""
        return self._runner.status_of(self.id)

    def wait(self, timeout: float | None = None) -> PipelineResult:
        """Wait until the run has ended, at most ``timeout`` seconds; None: without limit.

        Raises WaitTimeout; the run goes on. Inside the transaction that submitted the run it
        would wait for ever, so it raises WouldDeadlock there.
        """
        return self._runner.wait_for(self.id, timeout=timeout)

    def result(self) -> PipelineResult:
        """Return the result of the run. Raises RunNotFinished while it is open."""
        found = self._runner.result_of(self.id)
        if found is None:
            raise RunNotFinished(self.id)
        return found

    def cancel(self, *, reason: str = "") -> None:
        """End the run as Cancelled. Raises InvalidTransition when it has ended."""
        self._runner.cancel(self.id, reason=reason)
