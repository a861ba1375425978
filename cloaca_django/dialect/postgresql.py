"""PostgreSQL: what its sessions and connections do, NOTIFY as a hint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from cloaca_django.conf import settings
from cloaca_django.core.progress import RunRow
from cloaca_django.dialect import rows, schemas, sql
from cloaca_django.dialect.past_django import is_watched, make_ready
from cloaca_django.dialect.session import (
    RUN_VALUES,
    TASK_VALUES,
    WORK,
    Lanes,
    Row,
    Session,
    in_order,
)
from cloaca_django.dialect.sql_postgresql import (
    CHANNEL,
    FRAGMENTS,
    claim_statement,
    insert_alike_statement,
    insert_statement,
    settle_known_statement,
    settle_statement,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ERROR = psycopg.Error


LOCK_SCHEMA = "SELECT {}(hashtext('cloaca_django.migrate'), hashtext(%(schema)s))"


def _outcome_values(o: rows.TaskOutcome) -> tuple[object, ...]:
    return (
        o.task_id, o.run_id, o.token, o.status, o.changes, o.error_message, o.delay_seconds,
        int(o.next_attempt),
    )  # fmt: skip


class PostgresSession(Session):
    """The engine's statements on PostgreSQL."""

    fragments = FRAGMENTS
    submits_at_once = True
    settles_at_once = True
    repeats_runs = True

    def order_parking(self) -> None:
        lock = "pg_advisory_xact_lock(hashtext('cloaca_django.park'), hashtext(current_schema()))"
        self.transport.execute(f"SELECT {lock}", {})

    def insert(
        self,
        runs: Sequence[rows.NewRun],
        tasks: Sequence[rows.NewTask],
        *,
        worker: UUID | None = None,
        news: str | None = None,
    ) -> tuple[set[UUID], list[rows.InsertedTask]]:
        found = self.run(
            insert_statement, map(RUN_VALUES, runs), tasks=self.batch(map(TASK_VALUES, tasks)),
            worker=None if worker is None else self.key(worker),
            announce=None if news is None else self.schema + news,
        )  # fmt: skip
        new = {row[0] for row in found if row[1] is None and row[0] is not None}
        inserted = [
            rows.InsertedTask(id, run, at, status)
            for run, id, at, status in found
            if id is not None
        ]
        return new, inserted

    def insert_alike(
        self,
        run: rows.NewRun,
        tasks: Sequence[rows.NewTask],
        ids: Sequence[UUID],
        contexts: Sequence[str],
        *,
        news: str | None = None,
    ) -> None:
        self.run(
            insert_alike_statement, [RUN_VALUES(run)], tasks=self.batch(map(TASK_VALUES, tasks)),
            worker=None, ids="{" + ",".join(map(str, ids)) + "}",
            contexts="[" + ",".join(contexts) + "]",
            announce=None if news is None else self.schema + news,
        )  # fmt: skip

    def settle(
        self, outcomes: Sequence[rows.TaskOutcome], *, wait: bool = False
    ) -> tuple[dict[UUID, rows.LockedRun], set[int]]:
        locked, written = {}, set()
        for task, *run in self.run(settle_statement, map(_outcome_values, outcomes), wait=wait):
            if task is None:
                locked[run[0]] = self._locked(tuple(run))
            else:
                written.add(task)
        return locked, written

    def settle_known(
        self, outcomes: Sequence[rows.KnownOutcome], worker: UUID | None, *, relaxed: bool = False
    ) -> dict[UUID, rows.RunTimes]:
        batch = (
            (*_outcome_values(o.outcome), o.known, o.status, o.revision, o.error_message,
             [(m.task_id, m.status, m.token, m.reason) for m in o.moves])
            for o in outcomes
        )  # fmt: skip
        found = self.run(settle_known_statement, batch, worker=worker, relaxed=relaxed)
        return {row[0]: rows.RunTimes(*row[1:]) for row in found}

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
        found = self.run(
            claim_statement, token=token, worker=worker, room=room, low=low, relaxed=relaxed,
            queues=list(lanes.queues), workflows=list(lanes.workflows),
            refused=list(lanes.refused),
        )  # fmt: skip
        return in_order(self._claimed(row) for row in found)

    def _claimed(self, row: Row) -> rows.Claim:
        """Return a claim with its run, if the task is a root: then nobody can know the run yet."""
        id, run_id, at, attempt, urgency, revision = row[:6]
        name, status, priority, queue, error, trace, context, tasks = row[6:]
        if tasks is None:
            return rows.Claim(id, run_id, at, attempt, urgency, revision)
        run = RunRow(
            run_id, name, status, revision, context, priority, queue, error, trace,
            json.loads(tasks),
        )  # fmt: skip
        return rows.Claim(id, run_id, at, attempt, urgency, revision, run)

    def announce(self, news: str = WORK, *, relaxed: bool = False) -> None:
        payload = {"channel": CHANNEL, "payload": self.schema + news}
        first = "set_config('synchronous_commit', 'off', true), " if relaxed else ""
        self.transport.execute(f"SELECT {first}pg_notify(%(channel)s, %(payload)s)", payload)

    def clock(self) -> datetime:
        value: datetime = self.run(sql.read_clock)[0][0]
        return value


def connect(params: Mapping[str, Any]) -> psycopg.Connection:
    """Connect for the engine itself, with Django's parameters less what is the site's affair."""
    skipped = {"cursor_factory", "prepare_threshold", "pool", "context"}
    wanted = {k: v for k, v in params.items() if k not in skipped}
    wanted.setdefault("connect_timeout", 10)
    threshold = 2 if settings.NOTIFY else None
    return psycopg.connect(**wanted, autocommit=True, prepare_threshold=threshold)


def abort(wrapper: BaseDatabaseWrapper) -> None:
    """End the backend behind another thread's Django connection, on that connection's server."""
    if wrapper.connection is not None:
        pid = wrapper.connection.info.backend_pid
        with connect(wrapper.get_connection_params()) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])


def execute_for_site(
    wrapper: BaseDatabaseWrapper, text: str, params: Mapping[str, Any]
) -> list[Row] | None:
    """Run a statement of ours prepared, on a Django connection; None: let Django's cursor do it.

    Django's own cursor binds on the client, so the server would parse and plan our long statements
    every time. Whoever watches Django's queries still sees them, and behind a transaction pooler
    (``CLOACA["NOTIFY"]`` False) nothing is prepared.
    """
    if is_watched(wrapper) or not settings.NOTIFY:
        return None
    make_ready(wrapper)
    connection = wrapper.connection
    before = connection.prepare_threshold
    connection.prepare_threshold = 1
    try:
        with wrapper.wrap_database_errors:
            cursor = psycopg.Cursor(connection).execute(text, params, prepare=True)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.prepare_threshold = before


@contextmanager
def advisory_lock(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Hold a session lock on a connection of its own; it ends with the connection.

    One a schema. Names that differ only by case share one: of two that come at once one is refused.
    """
    schema = schemas.schema_of(wrapper).lower()
    with wrapper.wrap_database_errors, connect(wrapper.get_connection_params()) as connection:
        connection.execute(LOCK_SCHEMA.format("pg_advisory_lock"), {"schema": schema})
        yield


class PostgresTransport:
    """A connection of the engine's own.

    Every engine statement is served by an index, and a prepared plan outlives the small tables it
    was made for: so the planner is told not to scan, hash or merge whole tables.
    """

    SETTINGS = (
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
        " SET TIME ZONE 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '5s';"
        " SET idle_in_transaction_session_timeout = '60s'; SET jit = off;"
        " SET plan_cache_mode = force_generic_plan"
    )

    def __init__(self, params: Mapping[str, Any], *, schema: str = "") -> None:
        self.connection = connect(params)
        self.schema = schema
        try:
            self._prepare()
        except BaseException:
            # Nobody would close it: a transport that failed to be made is not returned.
            self.connection.close()
            raise
        self._cursor = self.connection.cursor()

    def _prepare(self) -> None:
        if self.schema:
            schemas.check_engine_connection(self.schema, self.connection)
        if settings.NOTIFY:
            # Behind a transaction pooler they would stay with whoever gets the connection next.
            self.connection.execute(self.SETTINGS, prepare=False)

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        try:
            cursor = self._cursor.execute(text, params)
        except psycopg.errors.UndefinedTable as error:
            # Somebody dropped the tenant's schema: said as that, not as a missing relation.
            raise schemas.explain(self.schema, error) or error from error
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        is_outermost = self.connection.info.transaction_status == TransactionStatus.IDLE
        try:
            with self.connection.transaction():
                if not durable:
                    self._cursor.execute("SET LOCAL synchronous_commit = off")
                yield
        except BaseException:
            if is_outermost:
                self._clear()
            raise

    def _clear(self) -> None:
        """Leave no broken transaction to the next, as a cancelled COMMIT does (psycopg 3.3)."""
        if self.connection.info.transaction_status == TransactionStatus.INERROR:
            self.connection.execute("ROLLBACK", prepare=False)

    def insist(self) -> None:
        self._cursor.execute("SET LOCAL synchronous_commit TO DEFAULT")

    def close(self) -> None:
        self.connection.close()

    @property
    def is_closed(self) -> bool:
        return bool(self.connection.closed)


def open_transport(wrapper: BaseDatabaseWrapper, patience: float) -> PostgresTransport:
    """Connect as the alias of ``wrapper`` does; ``patience`` is a matter of files."""
    return PostgresTransport(wrapper.get_connection_params(), schema=schemas.schema_of(wrapper))


def message_of(error: BaseException) -> str:
    """Return the server's own message in an error; empty: it is none of the server's."""
    return (error.diag.message_primary or "") if isinstance(error, psycopg.Error) else ""


# A server that takes no writes is a standby, or was made one: another connection leads elsewhere.
_STANDBY = psycopg.errors.ReadOnlySqlTransaction


def is_transient(error: BaseException) -> bool:
    """Say whether trying again may succeed: the server went away, or two writers collided."""
    if isinstance(error, psycopg.InterfaceError | _STANDBY):
        return True
    # Class 54 is a limit of the server (a statement too complex, a row too long): it stays.
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "")[:2] != "54"


def is_disconnected(error: BaseException) -> bool:
    """Say whether the connection is gone, so that the outcome of a COMMIT is unknown."""
    if isinstance(error, psycopg.InterfaceError | _STANDBY):
        return True
    # Without a server's error code the connection broke; class 57P and 08 are shutdowns.
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate[:3] in {"57P", "080"}
    )
