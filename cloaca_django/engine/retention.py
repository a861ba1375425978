"""Off the path: ended runs are deleted when they are old, with all their rows.

Open runs are never touched. A step is one short transaction, so that nobody waits for a pruner.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cloaca_django import clock, ids
from cloaca_django.conf import settings
from cloaca_django.core.states import RUN_FINAL
from cloaca_django.dialect import Session, sql_retention
from cloaca_django.engine import inputs
from cloaca_django.errors import InvalidTransition, RunNotFound

logger = logging.getLogger("cloaca_django.retention")

DAY = 86_400.0
BATCH = 200
EVERY_SECONDS = 3600.0
BEAT_SECONDS = 1.0

# Ids carry the clock of whoever submitted, which may be ahead of the database's.
_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a step deleted; ``fires`` are those that started no run."""

    runs: int = 0
    tasks: int = 0
    fires: int = 0


class Pruner:
    """A walk over the runs that ended more than ``days`` ago, oldest first.

    ``statuses`` are final ones; others are never pruned, whoever asks. A walk over all of them
    ends with the times that schedules passed over without a run.
    """

    def __init__(
        self, *, days: float, statuses: Collection[str] = RUN_FINAL, batch_size: int = BATCH
    ) -> None:
        self.age_seconds = days * DAY
        self.statuses = sorted(RUN_FINAL.intersection(statuses))
        self.batch_size = batch_size
        self._after = UUID(int=0)

    def count(self, session: Session) -> dict[str, int]:
        """Return how many runs a whole walk would delete now, by status."""
        found = session.run(sql_retention.count_old_runs, self._rows(), **self._bounds(session))
        return {str(status): int(count) for status, count in found}

    def count_fires(self, session: Session) -> int:
        """Return how many fires without a run a whole walk would delete now."""
        if not self._takes_fires():
            return 0
        return int(session.run(sql_retention.count_passed_over, age=self.age_seconds)[0][0])

    def step(self, session: Session) -> Pruned | None:
        """Delete the next batch in a transaction of its own; None at the end of the walk."""
        return self._step_runs(session) or self._step_fires(session)

    def _step_runs(self, session: Session) -> Pruned | None:
        bounds = self._bounds(session)
        with session.transaction():
            chosen = session.ids(
                sql_retention.old_runs, self._rows(), room=self.batch_size, **bounds
            )
            if not chosen:
                return None
            pruned = _delete(session, chosen)
        self._after = max(chosen)
        return pruned

    def _step_fires(self, session: Session) -> Pruned | None:
        if not self._takes_fires():
            return None
        deleted = session.run(
            sql_retention.delete_passed_over, age=self.age_seconds, room=self.batch_size
        )
        return Pruned(fires=len(deleted)) if deleted else None

    def _takes_fires(self) -> bool:
        return len(self.statuses) == len(RUN_FINAL)

    def _rows(self) -> list[tuple[str]]:
        return [(status,) for status in self.statuses]

    def _bounds(self, session: Session) -> dict[str, object]:
        newest = session.clock() - timedelta(seconds=self.age_seconds) + _SKEW
        milliseconds = max(0, int(newest.timestamp() * 1000))
        return {
            "age": self.age_seconds,
            "after": self._after,
            "before": ids.run_id_at(milliseconds, 0),
        }


def delete_run(session: Session, run_id: UUID, *, by: str = "") -> None:
    """Delete an ended run with all its rows; runs that it led to stay, without their parent.

    The time of a schedule that started it stays used up. Raises RunNotFound, InvalidTransition.
    """
    inputs.check_words("delete_run()", by=by)
    batch = [(run_id,)]
    with session.transaction():
        run = session.lock_runs([run_id]).get(run_id)
        if run is None:
            raise RunNotFound(run_id)
        if run.status not in RUN_FINAL:
            raise InvalidTransition("run", run.status, "deleted")
        if session.ids(sql_retention.awaited_runs, batch):
            raise InvalidTransition("run", "awaited by the run that started it", "deleted")
        session.run(sql_retention.free_fires, batch)
        _delete(session, [run_id])
    logger.info("run deleted", extra={"run_id": str(run_id), "by": by})


def _delete(session: Session, run_ids: list[UUID]) -> Pruned:
    batch = [(run_id,) for run_id in run_ids]
    session.run(sql_retention.delete_logs, batch)
    session.run(sql_retention.delete_attempts, batch)
    tasks = len(session.run(sql_retention.delete_tasks, batch))
    session.run(sql_retention.delete_fires, batch)
    session.run(sql_retention.forget_parents, batch)
    return Pruned(len(session.run(sql_retention.delete_runs, batch)), tasks)


class Keeper:
    """Applies ``CLOACA["RETENTION_DAYS"]`` beside a worker's heartbeats.

    A walk begins once an hour, and does little at each beat so that no heartbeat is late.
    """

    def __init__(self, *, batch_size: int = BATCH) -> None:
        self._batch_size = batch_size
        self._next_at = clock.monotonic()
        self._walk: Pruner | None = None

    def tend(self, session: Session) -> int:
        """Delete some of what is due; returns how many runs."""
        if self._walk is None:
            self._walk = self._begun()
        deleted = 0
        end = clock.monotonic() + BEAT_SECONDS
        while self._walk is not None and clock.monotonic() < end:
            pruned = self._walk.step(session)
            if pruned is None:
                self._walk = None
            else:
                deleted += pruned.runs
        if deleted:
            logger.info("deleted %d runs past CLOACA['RETENTION_DAYS']", deleted)
        return deleted

    def _begun(self) -> Pruner | None:
        days, now = settings.RETENTION_DAYS, clock.monotonic()
        if days is None or now < self._next_at:
            return None
        self._next_at = now + EVERY_SECONDS
        return Pruner(days=days, batch_size=self._batch_size)
