"""What the calls of a runner stand on. ``DefaultRunner`` provides what is not here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from cloaca_django.core.context import Context
from cloaca_django.dialect import Session, is_by_hand, is_in_transaction
from cloaca_django.engine.submission import Options
from cloaca_django.engine.turn import Turn
from cloaca_django.errors import WouldDeadlock
from cloaca_django.handles import RunHandle
from cloaca_django.tracing import Quiet

_USE_ENQUEUE = "use enqueue(), which writes the run in your transaction and returns a handle"


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
        if is_in_transaction(connections[self.alias]):
            raise WouldDeadlock(
                "execute() inside an open transaction on the same database waits for a run that"
                " no worker can see before the transaction commits",
                _USE_ENQUEUE,
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise WouldDeadlock(
            "execute() would block the event loop", "await aexecute(), or use enqueue()"
        )

    def _poll_seconds(self) -> float:
        """Return how often a wait looks."""
        raise NotImplementedError

    def _checked_options(self, owner: str, **facts: Any) -> Options:
        """Return the options of runs. Raises InvalidOption, UnknownOption."""
        raise NotImplementedError

    def _enqueued(
        self, workflow_name: str, contexts: Iterable[Context | None], options: Options
    ) -> list[RunHandle]:
        """Write one run per context in the caller's transaction."""
        raise NotImplementedError

    def _sending(self, workflow_name: str, options: Options) -> Quiet:
        """Return the block in which runs are submitted, for whoever traces."""
        raise NotImplementedError

    def _after_commit(self, call: Callable[[], None]) -> None:
        """Call when the caller's transaction commits; at once if there is none.

        For who commits by hand Django calls when autocommit is on again.
        """
        if is_by_hand(connections[self.alias]):
            # Only inside of a block does it take the call.
            with transaction.atomic(using=self.alias):
                transaction.on_commit(call, using=self.alias)
        elif connections[self.alias].in_atomic_block:
            transaction.on_commit(call, using=self.alias)
        else:
            call()

    def _own_turn(self) -> Turn | None:
        """Return the turn of the own worker, if it was started."""
        raise NotImplementedError

    def _release_connection(self) -> None:
        """Return a pooled connection that this thread holds only for the runner."""
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
