"""What the calls of a runner stand on. ``DefaultRunner`` provides it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from uuid import UUID

from cloaca_django.dialect import Session
from cloaca_django.handles import RunHandle


class Ground:
    """A runner's database, and how to tell its own worker what was done there."""

    @property
    def alias(self) -> str:
        """The Django database alias this runner works on."""
        raise NotImplementedError

    @property
    def schema(self) -> str:
        """The tenant's schema this runner is bound to in a site of tenants; else empty."""
        raise NotImplementedError

    def handle(self, run_id: UUID | str) -> RunHandle:
        """Return a handle of a run by its id."""
        raise NotImplementedError

    def _check_open(self) -> None:
        """Raise RunnerClosed after ``shutdown()``."""
        raise NotImplementedError

    def _has_cron(self) -> bool:
        """Say whether the configuration has cron scheduling."""
        raise NotImplementedError

    def _run_limit(self) -> float | None:
        """Return how many seconds a run may take; None: as long as it wants."""
        raise NotImplementedError

    def _check_may_wait(self) -> None:
        """Raise WouldDeadlock where a wait would hold up what it waits for."""
        raise NotImplementedError

    def _poll_seconds(self) -> float:
        """Return how often a wait looks."""
        raise NotImplementedError

    def _here(self) -> AbstractContextManager[None]:
        """Be in this runner's tenant, if it has one."""
        raise NotImplementedError

    def _reading(self) -> AbstractContextManager[Session]:
        """Open a session on the caller's own connection."""
        raise NotImplementedError

    def _operating(self) -> AbstractContextManager[Session]:
        """Open a session for an act of an operator; see ``acts``."""
        raise NotImplementedError

    def _wake(self) -> None:
        """Tell the own worker that there may be something to claim."""
        raise NotImplementedError

    def _look_at_schedules(self) -> None:
        """Tell the own worker, at the caller's commit, that a schedule changed."""
        raise NotImplementedError

    def _tell(self, run_ids: list[UUID]) -> None:
        """Tell the own worker which runs were moved elsewhere."""
        raise NotImplementedError
