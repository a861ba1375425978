"""A connection as the engine uses it: named set-based statements, and transactions.

A session speaks through the caller's Django connection (``enqueue``, atomic tasks, EAGER) or
through a connection of the engine's own (the turn, heartbeats, operations). The statements are
the same. ``now`` stands in for the database's clock in tests; production leaves it None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Protocol
from uuid import UUID

from cloaca_django.core.progress import RunRow
from cloaca_django.dialect import rows, sql, sql_schedules, sql_tenants, sql_workers

# What an announcement says: there is something to claim, or something that cannot be claimed yet.
# It follows the schema's name, in which neither a plain site nor django-tenants allows this sign.
WORK = ""
LOOK = ";"

Row = tuple[Any, ...]
Builder = Callable[..., str]


def _values_of(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function from a dataclass to its values; ``astuple`` copies them deeply."""
    return attrgetter(*(field.name for field in fields(kind)))


RUN_VALUES = _values_of(rows.NewRun)
TASK_VALUES = _values_of(rows.NewTask)
_RUN_MOVE = _values_of(rows.RunMove)
_ATTEMPT = _values_of(rows.Attempt)
_DUE = tuple(field.name for field in fields(rows.DueSchedule))


def in_order(claims: Iterable[rows.Claim]) -> list[rows.Claim]:
    """Return claims as they are to start, most urgent first; RETURNING has no order."""
    return sorted(claims, key=lambda claim: (-claim.priority, claim.task_id))


class Transport(Protocol):
    """One database connection."""

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]: ...

    def transaction(self, *, durable: bool) -> AbstractContextManager[None]: ...

    def insist(self) -> None: ...

    def close(self) -> None: ...

    @property
    def is_closed(self) -> bool: ...


# The fragments are one instance a database, so they are as good a key as any.
@cache
def _text(builder: Builder, fragments: Any, options: tuple[tuple[str, Any], ...]) -> str:
    # Without our indentation: psycopg parses a text of over 4,096 characters at every call.
    return " ".join(builder(fragments, **dict(options)).split())


class Session:
    """The statements of submit, claim, settle and result, on one connection."""

    # Whether one statement submits, so that it needs no transaction around it.
    submits_at_once = False
    # Whether there is ``insert_alike``.
    repeats_runs = False
    # Whether ``settle_known`` settles in one statement, likewise.
    settles_at_once = False
    # A ``sql.Fragments``; the two databases add what only their own statements use.
    fragments: Any
    _encoder: ClassVar[json.JSONEncoder]

    def __init_subclass__(cls) -> None:
        # A call of json.dumps would make another one each time.
        cls._encoder = json.JSONEncoder(
            ensure_ascii=False, separators=(",", ":"), default=cls.to_json
        )

    def __init__(self, transport: Transport, *, schema: str = "") -> None:
        self.transport = transport
        # The schema the connection is bound to; empty: whichever the database has by itself.
        self.schema = schema
        self.now: datetime | None = None

    # -- plumbing that the two databases share

    def run(
        self, builder: Builder, batch: Iterable[Sequence[Any]] | None = None, /, **params: Any
    ) -> list[Row]:
        """Run the statement ``builder`` makes; ``batch`` becomes its ``rows``."""
        options = tuple((k, params.pop(k)) for k in ("wait", "only") if k in params)
        fragments = self.fragments
        if batch is not None:
            fragments, bound = self.bound(batch)
            params |= bound
        text = _text(builder, fragments, options)
        params["now"] = self.moment(self.now)
        return self.transport.execute(text, params)

    def bound(self, batch: Iterable[Sequence[Any]]) -> tuple[Any, dict[str, Any]]:
        """Return the parameters that carry a batch, and the fragments that read it from them."""
        return self.fragments, {"rows": self.batch(batch)}

    def batch(self, values: Iterable[Sequence[Any]]) -> str:
        """Return a batch as it travels: an array of arrays."""
        return self._encoder.encode(list(values))

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Run the block in one transaction; not ``durable`` lets the commit reach disk later."""
        with self.transport.transaction(durable=durable):
            yield

    def insist(self) -> None:
        """Let the commit of the open transaction, which was not to be durable, be durable."""
        self.transport.insist()

    def close(self) -> None:
        """Close the connection if it is the engine's own."""
        self.transport.close()

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to be closed."""
        return self.transport.is_closed

    @classmethod
    def to_json(cls, value: object) -> str:
        """Return how a UUID or a moment travels inside a batch."""
        if isinstance(value, UUID):
            # Both databases read it, and it is made in half the time of the form with hyphens.
            return value.hex
        if isinstance(value, datetime):
            return str(cls.moment(value))
        raise TypeError(f"{type(value).__name__} does not travel in a batch")

    def key(self, value: UUID) -> str:
        """Return a UUID as this database stores it."""
        return str(value)

    def uuid(self, value: Any) -> UUID:
        """Return a stored UUID."""
        return value if isinstance(value, UUID) else UUID(value)

    @staticmethod
    def moment(value: datetime | None) -> str | None:
        """Return a moment as this database reads it."""
        return None if value is None else value.isoformat()

    def had_company(self) -> bool | None:
        """Say whether a transaction since the last call had to wait for another writer.

        None: there was none, or nobody knows.
        """
        return None

    # -- submit

    def insert(
        self,
        runs: Sequence[rows.NewRun],
        tasks: Sequence[rows.NewTask],
        *,
        worker: UUID | None = None,
        news: str | None = None,
    ) -> tuple[set[UUID], list[rows.InsertedTask]]:
        """Insert runs and the tasks of those that are new; tasks with a token start as Running.

        Returns the ids that were new and what became of their tasks. ``news`` is announced.
        """
        new = {self.uuid(row[0]) for row in self.run(sql.insert_runs, map(RUN_VALUES, runs))}
        wanted = [task for task in tasks if task.run_id in new]
        if not wanted:
            return new, []
        owner = None if worker is None else self.key(worker)
        found = self.run(sql.insert_tasks, map(TASK_VALUES, wanted), worker=owner)
        if news is not None:
            self.announce(news)
        return new, [
            rows.InsertedTask(id, self.uuid(run), at, status) for id, run, at, status in found
        ]

    def insert_alike(
        self,
        run: rows.NewRun,
        tasks: Sequence[rows.NewTask],
        ids: Sequence[UUID],
        contexts: Sequence[str],
        *,
        news: str | None = None,
    ) -> None:
        """Insert a run and its tasks once for each of ``ids``, with a context of its own.

        Precondition: ``repeats_runs``; nobody claims them in this transaction.
        """
        raise NotImplementedError

    def run_for_key(self, key: str) -> Row | None:
        """Read ``(id, workflow_name, context, schedule_id)`` of the run that holds a key."""
        found = self.transport.execute(
            "SELECT id, workflow_name, context, schedule_id FROM cloaca_run"
            " WHERE idempotency_key = %(key)s",
            {"key": key},
        )
        return (self.uuid(found[0][0]), *found[0][1:]) if found else None

    # -- settle

    def settle(
        self, outcomes: Sequence[rows.TaskOutcome], *, wait: bool = False
    ) -> tuple[dict[UUID, rows.LockedRun], set[int]]:
        """Lock the outcomes' runs, then write the outcomes whose claim still holds.

        Returns the runs that could be locked and the tasks that were written. Without ``wait`` a
        run that somebody else holds is left out, and so are its outcomes.
        """
        raise NotImplementedError

    def settle_known(
        self, outcomes: Sequence[rows.KnownOutcome], worker: UUID | None, *, relaxed: bool = False
    ) -> dict[UUID, rows.RunTimes]:
        """Settle outcomes, one a run, with all that follows, in runs that are as the worker knows.

        Returns the runs that moved, with their times; of the others nothing is written.
        Precondition: ``settles_at_once``.
        """
        raise NotImplementedError

    def lock_runs(self, ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, rows.LockedRun]:
        """Lock runs by id order."""
        found = self.run(sql.lock_runs, ((id,) for id in ids), wait=wait)
        return {run.id: run for run in map(self._locked, found)}

    def _locked(self, row: Row) -> rows.LockedRun:
        return rows.LockedRun(self.uuid(row[0]), row[1], self.uuid(row[2]), bool(row[3]))

    def move_tasks(self, moves: Iterable[rows.TaskMove], worker: UUID | None) -> None:
        """Write moves of unclaimed tasks."""
        owner = None if worker is None else self.key(worker)
        batch = ((m.task_id, m.status, m.token, m.reason) for m in moves)
        self.run(sql.move_tasks, batch, worker=owner)

    def move_runs(self, moves: Iterable[rows.RunMove]) -> dict[UUID, rows.RunTimes]:
        """Write runs' statuses; returns their times."""
        found = self.run(sql.move_runs, map(_RUN_MOVE, moves))
        return {self.uuid(row[0]): self.times(row[1:]) for row in found}

    def times(self, row: Row) -> rows.RunTimes:
        """Return stored moments as aware ones."""
        return rows.RunTimes(*row)

    def end_runs(
        self, ids: Collection[UUID], *, status: str, message: str, revision: UUID
    ) -> list[rows.EndedRun]:
        """End open runs from outside their graph, and cancel what is open of them."""
        self.run(sql.cancel_tasks, ((id,) for id in ids), reason=message)
        found = self.run(
            sql_workers.end_runs, ((id,) for id in ids), status=status, message=message,
            revision=revision,
        )  # fmt: skip
        return [rows.EndedRun(self.uuid(id), name, status, message) for id, name in found]

    def load_runs(self, ids: Collection[UUID]) -> list[RunRow]:
        """Read runs with their tasks."""
        found = self.run(sql.load_runs, ((id,) for id in ids))
        return [
            RunRow(
                id=self.uuid(row[0]), workflow_name=row[1], status=row[2],
                revision=self.uuid(row[3]), context=row[4], priority=row[5], queue=row[6],
                error_message=row[7], traceparent=row[8], tasks=json.loads(row[9] or "[]"),
            )
            for row in found
        ]  # fmt: skip

    def insert_attempts(self, attempts: Iterable[rows.Attempt], worker: UUID | None) -> None:
        """Keep attempts that did not succeed."""
        owner = None if worker is None else self.key(worker)
        self.run(sql.insert_attempts, map(_ATTEMPT, attempts), worker=owner)

    def insert_logs(self, logs: Iterable[tuple[int, int, str]]) -> None:
        """Keep ``(task id, attempt, text)`` triples."""
        self.run(sql.insert_logs, logs)

    # -- claim

    def claim(
        self,
        *,
        token: UUID,
        worker: UUID,
        room: int,
        low: int,
        lanes: Lanes,
        relaxed: bool = False,
    ) -> list[rows.Claim]:
        """Claim up to ``room`` ready tasks with ids from ``low`` up, most urgent first.

        ``relaxed`` lets the transaction's commit reach disk later: a lost claim is a ready task.
        """
        raise NotImplementedError

    def claim_own(
        self, ids: Collection[UUID], *, token: UUID, worker: UUID, room: int
    ) -> list[rows.Claim]:
        """Claim ready tasks of the given runs only."""
        batch = ((id,) for id in ids)
        found = self.run(sql_workers.claim_own, batch, token=token, worker=worker, room=room)
        return in_order(self._claim(row) for row in found)

    def _claim(self, row: Row) -> rows.Claim:
        id, run, position, attempt, priority, revision = row
        return rows.Claim(id, self.uuid(run), position, attempt, priority, self.uuid(revision))

    def look(self) -> rows.Look:
        """Ask what waits."""
        return self._look(self.run(sql.look)[0])

    def _look(self, row: Row) -> rows.Look:
        ready, waiting, due, deadline = row
        return rows.Look(
            bool(ready),
            bool(waiting),
            None if due is None else float(due),
            None if deadline is None else float(deadline),
        )

    def visit(self, names: Iterable[tuple[str]], *, patience: float) -> rows.Visit:
        """Ask a tenant's schema whether it has work for who knows the named workflows.

        A schedule is a stranger's after ``patience`` seconds that nobody here could fire it.
        """
        found = self.run(sql_tenants.visit, names, patience=patience)[0]
        looked, (fire, *amiss) = found[:4], found[4:]
        return rows.Visit(
            self._look(looked), None if fire is None else float(fire), *map(bool, amiss)
        )

    def has_changed(self) -> bool:
        """Return whether another connection committed since the last call, if that can be told."""
        return True

    def places(self, task_ids: Iterable[int]) -> dict[int, rows.Place]:
        """Read where tasks stand."""
        found = self.run(sql.places, ((id,) for id in task_ids))
        return {row[0]: rows.Place(*row[1:]) for row in found}

    def announce(self, news: str = WORK, *, relaxed: bool = False) -> None:
        """Tell the schema's idle workers elsewhere, at commit, what there is: WORK or LOOK.

        ``relaxed``: a commit that carries nothing else need not wait for the disk.
        """

    # -- schedules

    def due_schedules(self, names: Iterable[tuple[str]], *, room: int) -> list[rows.DueSchedule]:
        """Lock up to ``room`` due schedules of the named workflows, most overdue first."""
        found = self.run(sql_schedules.due_schedules, names, room=room)
        return [self._due(row) for row in found]

    def _due(self, row: Row) -> rows.DueSchedule:
        facts: dict[str, Any] = dict(zip(_DUE, row, strict=True))
        moments = ("end_date", "next_run_at", "now")
        facts |= {name: self.aware(facts[name]) for name in moments}
        return rows.DueSchedule(**facts | {"id": self.uuid(facts["id"])})

    def order_parking(self) -> None:
        """Let nobody else park or unpark schedules until the transaction ends."""

    def insert_fires(self, fires: Iterable[tuple[Any, ...]]) -> set[UUID]:
        """Insert fires whose time is free; returns the ids of those inserted."""
        return set(self.ids(sql_schedules.insert_fires, fires))

    # -- what else a session may ask

    def aware(self, value: Any) -> Any:
        """Return a stored moment as an aware one; None stays None."""
        return value

    def ids(self, builder: Builder, batch: Any = None, /, **params: Any) -> list[UUID]:
        """Run a statement that returns one column of UUIDs."""
        return [self.uuid(row[0]) for row in self.run(builder, batch, **params)]

    def clock(self) -> datetime:
        """Return the database's time, aware UTC."""
        raise NotImplementedError


class Lanes(Protocol):
    """What a worker takes: queues, workflows, and tasks of those it has no code for."""

    @property
    def queues(self) -> Sequence[str]: ...

    @property
    def workflows(self) -> Sequence[str]: ...

    @property
    def refused(self) -> Sequence[str]: ...
