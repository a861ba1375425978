"""Who waits for which run in this process. Only the turn's thread touches the map."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from uuid import UUID

from cloaca_django.core.progress import RunState
from cloaca_django.core.result import PipelineResult
from cloaca_django.dialect import Session
from cloaca_django.dialect.rows import RunTimes
from cloaca_django.engine import results
from cloaca_django.errors import RunnerClosed

Waiter = Future[PipelineResult]


class Waiters:
    """A map from runs to the futures that want their results."""

    def __init__(self) -> None:
        self._futures: dict[UUID, list[Waiter]] = {}

    def __bool__(self) -> bool:
        return bool(self._futures)

    def add(self, run_id: UUID, future: Waiter) -> None:
        """Let ``future`` have the result of a run."""
        self._futures.setdefault(run_id, []).append(future)

    def rename(self, asked: UUID, holder: UUID) -> None:
        """Let those who asked for one run have the result of another."""
        if asked != holder:
            self._futures.setdefault(holder, []).extend(self._futures.pop(asked, ()))

    def finish(self, state: RunState, times: RunTimes) -> None:
        """Answer those who wait for a run that this worker saw end."""
        waiting = self._futures.pop(state.id, None)
        if waiting:
            _deliver(waiting, results.result_of(state, times))

    def fail(self, run_id: UUID, error: BaseException) -> None:
        """Tell those who wait for a run that there will be none."""
        for future in self._futures.pop(run_id, ()):
            refuse(future, error)

    def close(self, error: BaseException | None = None) -> None:
        """Tell everybody that nobody will answer any more; without an error: it was shut down."""
        for run_id in list(self._futures):
            self.fail(run_id, error or RunnerClosed())

    def resolve(self, session: Session, *, pending: Collection[UUID]) -> list[UUID]:
        """Answer those whose run ended elsewhere; ``pending`` runs are not submitted yet."""
        wanted = [run_id for run_id in self._futures if run_id not in pending]
        ended = results.finished_among(session, wanted) if wanted else []
        for run_id in ended:
            try:
                result = results.read_result(session, run_id)
            except Exception as error:
                self.fail(run_id, error)
                continue
            if result is not None:
                _deliver(self._futures.pop(run_id, []), result)
        return ended


def refuse(future: Waiter, error: BaseException) -> None:
    """Tell one waiter that there will be no result."""
    # One that gave up has cancelled its future; a submission that could not be stored was told so.
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)


def _deliver(futures: Collection[Waiter], result: PipelineResult) -> None:
    for future in futures:
        # A waiter that gave up has cancelled its future.
        if future.set_running_or_notify_cancel():
            future.set_result(result)
