"""PostgreSQL: row locks that skip, one statement to lock and settle, NOTIFY as a hint."""

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
from cloaca_django.core.progress import TASK_COLUMNS, RunRow
from cloaca_django.dialect import rows, schemas, sql, sql_workers
from cloaca_django.dialect.session import (
    RUN_VALUES,
    TASK_VALUES,
    WORK,
    Lanes,
    Row,
    Session,
    in_order,
)
from cloaca_django.dialect.sql import READY, RUN_ENDED, RUNNING, workflow_is_paused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ERROR = psycopg.Error

# One for the database, whatever the schema: an announcement begins with the schema it concerns.
CHANNEL = "cloaca"


LOCK_SCHEMA = "SELECT {}(hashtext('cloaca_django.migrate'), hashtext(%(schema)s))"


class PostgresFragments:
    """How PostgreSQL spells what ``sql`` leaves open."""

    clock = "coalesce(%(now)s::timestamptz, clock_timestamp())"
    uuid = "::uuid"
    float = "::float8"
    # NO KEY UPDATE: a plain FOR UPDATE also blocks the foreign-key checks of attempts and logs.
    lock = "FOR NO KEY UPDATE"
    lock_or_skip = "FOR NO KEY UPDATE SKIP LOCKED"
    lock_run = "FOR NO KEY UPDATE OF r"
    lock_run_or_skip = "FOR NO KEY UPDATE OF r SKIP LOCKED"
    lock_schedule_or_skip = "FOR NO KEY UPDATE OF s SKIP LOCKED"
    keep_schedule = "FOR SHARE OF s"
    share_or_skip = "FOR SHARE SKIP LOCKED"
    task_lock_or_skip = "FOR NO KEY UPDATE SKIP LOCKED"

    def later(self, seconds: str) -> str:
        return f"({self.clock} + make_interval(secs => {seconds}))"

    def later_than(self, moment: str, seconds: str) -> str:
        return f"({self.latest(moment, self.clock)} + make_interval(secs => {seconds}))"

    def latest(self, moment: str, other: str) -> str:
        return f"greatest({moment}, {other})"

    def seconds_until(self, moment: str) -> str:
        return f"extract(epoch FROM {moment} - {self.clock})"

    def seconds_between(self, start: str, end: str) -> str:
        return f"extract(epoch FROM {end} - {start})"

    def source(self, columns: str, rows: str = "rows") -> str:
        picked = ", ".join(
            f"(e.x->>{at})::{kind} AS o_{name}"
            for at, (name, kind) in enumerate(pair.split() for pair in columns.split(", "))
        )
        return (
            f"(SELECT {picked}, e.n AS o_order"
            f" FROM jsonb_array_elements(%({rows})s::jsonb) WITH ORDINALITY AS e(x, n)) AS o"
        )

    def by(self, index: str) -> str:
        return ""  # the planner finds it: see PostgresTransport.SETTINGS

    def is_true(self, column: str) -> str:
        return column

    def returning(self, columns: str) -> str:
        return columns

    def tasks_as_json(self, columns: tuple[str, ...]) -> str:
        values = ", ".join(f"t.{column}" for column in columns)
        return (
            f"SELECT json_agg(json_build_array({values}) ORDER BY t.position)::text"
            " FROM cloaca_task t WHERE t.run_id = r.id"
        )


FRAGMENTS = PostgresFragments()


def settle_statement(d: PostgresFragments, *, wait: bool) -> str:
    """Lock runs and write outcomes in one round trip; the first column tells the rows apart."""
    paused = workflow_is_paused("r.workflow_name")
    # Each outcome carries its run along: joining two CTEs would be a loop over both. The status is
    # hidden from the planner (|| ''), or it walks the index of running tasks once per outcome.
    return f"""
        WITH locked AS MATERIALIZED (
            SELECT o.*, r.id AS run_id, r.status AS run_status, r.revision,
                r.paused_at IS NOT NULL OR {paused} AS is_paused
            FROM {d.source(sql.OUTCOME_COLUMNS)} JOIN cloaca_run r ON r.id = o_run
            ORDER BY r.id {d.lock_run if wait else d.lock_run_or_skip}),
        written AS (
            UPDATE cloaca_task AS t SET {sql.outcome_assignments(d, paused="is_paused")}
            FROM locked
            WHERE t.id = o_id AND {sql.hidden("t.status")} = {RUNNING} AND t.claim_token = o_token
              AND run_status NOT IN {RUN_ENDED}
            RETURNING t.id)
        SELECT NULL::bigint, run_id, run_status, revision, is_paused FROM locked
        UNION ALL SELECT id, NULL, NULL, NULL, NULL FROM written"""


def insert_statement(d: PostgresFragments) -> str:
    """Submit in one statement: runs, the tasks of those that are new, and the announcement."""
    among = "WHERE o_run IN (SELECT id FROM run)"
    return f"""
        WITH run AS ({sql.insert_runs(d)}),
        task AS ({sql.insert_tasks(d, rows="tasks", among=among)})
        SELECT id, NULL::bigint, NULL::int, NULL::text FROM run
        UNION ALL SELECT run_id, id, position, status FROM task
        UNION ALL SELECT NULL, NULL, NULL, pg_notify('{CHANNEL}', %(announce)s::text)::text
        WHERE %(announce)s::text IS NOT NULL"""


_CLAIMED_FACTS = ("workflow_name", "status", "priority", "queue", "error_message")


def claim_statement(d: PostgresFragments) -> str:
    """Claim by lane, found by a loose walk over the ready index.

    So a backlog that this worker has no code for costs one entry, not all of them.
    """
    first = f"SELECT t.queue, t.workflow_name FROM cloaca_task t WHERE t.status = {READY}"
    return f"""
        WITH RECURSIVE lane(queue, workflow_name) AS (
            ({first} AND t.id >= %(low)s ORDER BY t.queue, t.workflow_name LIMIT 1)
            UNION ALL
            SELECT n.queue, n.workflow_name FROM lane l CROSS JOIN LATERAL (
                {first} AND t.id >= %(low)s
                  AND (t.queue, t.workflow_name) > (l.queue, l.workflow_name)
                ORDER BY t.queue, t.workflow_name LIMIT 1) n),
        candidate AS MATERIALIZED (
            SELECT c.id, c.run_id FROM lane l CROSS JOIN LATERAL (
                SELECT t.id, t.priority, t.run_id FROM cloaca_task t
                WHERE t.status = {READY} AND t.queue = l.queue
                  AND t.workflow_name = l.workflow_name AND t.id >= %(low)s
                  AND (t.workflow_name || '/' || t.name) <> ALL(%(refused)s::text[])
                ORDER BY t.priority DESC, t.id LIMIT %(room)s
                {d.task_lock_or_skip}) c
            WHERE l.queue = ANY(%(queues)s::text[])
              AND l.workflow_name = ANY(%(workflows)s::text[])
              AND NOT {workflow_is_paused("l.workflow_name")}
            ORDER BY c.priority DESC, c.id LIMIT %(room)s),
        relaxed AS MATERIALIZED (
            SELECT set_config('synchronous_commit', 'off', true) WHERE %(relaxed)s)
        UPDATE cloaca_task AS t SET {sql_workers.claim_assignments(d)}
        FROM candidate c JOIN cloaca_run r ON r.id = c.run_id
            LEFT JOIN relaxed ON true
        WHERE t.id = c.id
        RETURNING t.id, t.run_id, t.position, t.attempt, t.priority, r.revision,
            {", ".join(f"r.{name}" for name in _CLAIMED_FACTS)},
            CASE WHEN t.dependencies = '[]' THEN r.context END,
            CASE WHEN t.dependencies = '[]' THEN ({d.tasks_as_json(TASK_COLUMNS)}) END"""


class PostgresSession(Session):
    """The engine's statements on PostgreSQL."""

    fragments = FRAGMENTS
    submits_at_once = True

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

    def settle(
        self, outcomes: Sequence[rows.TaskOutcome], *, wait: bool = False
    ) -> tuple[dict[UUID, rows.LockedRun], set[int]]:
        batch = (
            (o.task_id, o.run_id, o.token, o.status, o.changes, o.error_message,
             o.delay_seconds, int(o.next_attempt))
            for o in outcomes
        )  # fmt: skip
        locked, written = {}, set()
        for task, *run in self.run(settle_statement, batch, wait=wait):
            if task is None:
                locked[run[0]] = self._locked(tuple(run))
            else:
                written.add(task)
        return locked, written

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
        id, run_id, at, attempt, urgency, revision, *facts, context, tasks = row
        if tasks is None:
            return rows.Claim(id, run_id, at, attempt, urgency, revision)
        run = RunRow(
            id=run_id, revision=revision, context=context, tasks=json.loads(tasks),
            **dict(zip(_CLAIMED_FACTS, facts, strict=True)),
        )  # fmt: skip
        return rows.Claim(id, run_id, at, attempt, urgency, revision, run)

    def announce(self, news: str = WORK) -> None:
        payload = {"channel": CHANNEL, "payload": self.schema + news}
        self.transport.execute("SELECT pg_notify(%(channel)s, %(payload)s)", payload)

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
    if wrapper.execute_wrappers or wrapper.queries_logged or not settings.NOTIFY:
        return None
    wrapper.ensure_connection()
    wrapper.validate_no_broken_transaction()
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
        " SET idle_in_transaction_session_timeout = '60s'; SET jit = off"
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


def is_transient(error: BaseException) -> bool:
    """Say whether trying again may succeed: the server went away, or two writers collided."""
    if isinstance(error, psycopg.InterfaceError):
        return True
    # Class 54 is a limit of the server (a statement too complex, a row too long): it stays.
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "")[:2] != "54"


def is_disconnected(error: BaseException) -> bool:
    """Say whether the connection is gone, so that the outcome of a COMMIT is unknown."""
    if isinstance(error, psycopg.InterfaceError):
        return True
    # Without a server's error code the connection broke; class 57P and 08 are shutdowns.
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate[:3] in {"57P", "080"}
    )
