"""The calls of ``DefaultRunner`` that act on runs and workflows as a whole."""

from __future__ import annotations

from uuid import UUID

from cloaca_django.calls.ground import Ground
from cloaca_django.engine import inputs, operations
from cloaca_django.handles import RunHandle


class OperatorCalls(Ground):
    """What an operator may do. Each act commits by itself, whatever the caller's transaction.

    So it raises WouldDeadlock for a run that the caller's open transaction wrote, and inside any
    where the database takes one writer at a time; OperationFailed when the database refuses it.
    """

    def cancel(self, run_id: UUID | str, *, by: str = "", reason: str = "") -> None:
        """End a run as Cancelled. Raises RunNotFound, InvalidTransition."""
        with self._operating() as session:
            ended = operations.cancel(session, inputs.run_id(run_id), by=by, reason=reason)
        self._tell([run.id for run in ended])

    def pause(self, run_id: UUID | str, *, by: str = "", reason: str = "") -> None:
        """Start no further task of a run. Raises RunNotFound, InvalidTransition."""
        with self._operating() as session:
            operations.pause(session, inputs.run_id(run_id), by=by, reason=reason)

    def resume(self, run_id: UUID | str, *, by: str = "") -> None:
        """Let a paused run go on. Raises RunNotFound, InvalidTransition."""
        with self._operating() as session:
            operations.resume(session, inputs.run_id(run_id), by=by)
        self._wake()

    def replay(
        self, run_id: UUID | str, *, from_start: bool = False, idempotency_key: str | None = None,
        by: str = "", reason: str = "",
    ) -> RunHandle:  # fmt: skip
        """Repeat an ended run from where it failed, as a new run; returns its handle.

        An ``idempotency_key`` that a run holds returns that run's.
        """
        with self._operating() as session:
            again = operations.replay(
                session,
                inputs.run_id(run_id),
                from_start=from_start,
                timeout_seconds=self._run_limit(),
                idempotency_key=idempotency_key,
                by=by,
                reason=reason,
            )
        self._wake()
        return self.handle(again)

    def pause_workflow(self, workflow_name: str, *, by: str = "", reason: str = "") -> None:
        """Start no task of a workflow's runs until it is resumed; runs are accepted meanwhile."""
        with self._operating() as session:
            operations.pause_workflow(session, workflow_name, by=by, reason=reason)

    def resume_workflow(self, workflow_name: str, *, by: str = "") -> None:
        """Let a workflow's runs go on."""
        with self._operating() as session:
            operations.resume_workflow(session, workflow_name, by=by)
        self._wake()
