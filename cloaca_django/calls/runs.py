"""The calls of ``DefaultRunner`` that ask about one run."""

from __future__ import annotations

from contextlib import nullcontext
from uuid import UUID

from cloaca_django.calls.ground import Ground
from cloaca_django.conf import settings
from cloaca_django.core.result import PipelineResult
from cloaca_django.engine import eager, inputs, nesting, results


class RunCalls(Ground):
    """What a runner tells of a run. Ids are the UUID or its text."""

    def wait_for(self, run_id: UUID | str, *, timeout: float | None = None) -> PipelineResult:
        """Wait until a run has ended. Raises WaitTimeout, RunNotFound, WouldDeadlock."""
        self._check_open()
        id, timeout = inputs.run_id(run_id), inputs.seconds("wait()", "timeout", timeout)
        parent = nesting.current(self.alias, self.schema)
        if settings.EAGER:
            with self._here():
                eager.drain(self.alias, [id])
        else:
            if parent is not None:
                parent.check_may_block("wait()")
            self._check_may_wait()
        poll = self._poll_seconds()
        with parent.waiting() if parent else nullcontext(), self._reading() as session:
            return results.wait_for(session, id, timeout=timeout, poll_seconds=poll)

    def status_of(self, run_id: UUID | str) -> str:
        """Return a run's status as stored now. Raises RunNotFound."""
        self._check_open()
        with self._reading():
            return results.read_status(self.alias, inputs.run_id(run_id))

    def result_of(self, run_id: UUID | str) -> PipelineResult | None:
        """Return a run's result; None while it is open. Raises RunNotFound."""
        self._check_open()
        with self._reading() as session:
            return results.read_result(session, inputs.run_id(run_id))
