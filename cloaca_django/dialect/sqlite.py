"""SQLite: one writer at a time replaces the row locks; the WAL file's size is the hint."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction

from cloaca_django import clock
from cloaca_django.dialect import rows, sql, sql_workers
from cloaca_django.dialect.past_django import is_watched, make_ready
from cloaca_django.dialect.session import Lanes, Row, Session, in_order
from cloaca_django.dialect.sql import READY, RUN_ENDED, RUNNING, workflow_is_paused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ERROR = sqlite3.Error

# FULL: what was committed survives a power cut. NORMAL: it may be lost, and nothing else.
FULL, NORMAL = "FULL", "NORMAL"

_FORMAT = "'%%Y-%%m-%%d %%H:%%M:%%f'"


class SqliteFragments:
    """How SQLite spells what ``sql`` leaves open. Moments are UTC text, as Django writes them."""

    clock = f"strftime({_FORMAT}, coalesce(%(now)s, 'now'))"
    uuid = ""
    float = ""
    lock = lock_or_skip = share_or_skip = task_lock_or_skip = lock_schedule_or_skip = (
        keep_schedule
    ) = ""

    def later(self, seconds: str) -> str:
        return f"strftime({_FORMAT}, coalesce(%(now)s, 'now'), ({seconds}) || ' seconds')"

    def later_than(self, moment: str, seconds: str) -> str:
        start = self.latest(moment, self.clock)
        return f"strftime({_FORMAT}, {start}, ({seconds}) || ' seconds')"

    def latest(self, moment: str, other: str) -> str:
        return f"max(coalesce({moment}, ''), {other})"

    def seconds_until(self, moment: str) -> str:
        return f"(julianday({moment}) - julianday({self.clock})) * 86400.0"

    def seconds_between(self, start: str, end: str) -> str:
        return f"(julianday({end}) - julianday({start})) * 86400.0"

    def source(self, columns: str, rows: str = "rows") -> str:
        picked = ", ".join(
            f"json_extract(e.value, '$[{at}]') AS o_{pair.split()[0]}"
            for at, pair in enumerate(columns.split(", "))
        )
        return f"(SELECT {picked}, e.key AS o_order FROM json_each(%({rows})s) AS e) AS o"

    def by(self, index: str) -> str:
        return f"INDEXED BY {index}"

    def is_at(self, key: str, value: str) -> str:
        return f"{key} = {value}"

    def among(self, key: str, values: str) -> str:
        return f"{key} IN ({values})"

    def is_true(self, column: str) -> str:
        # Django 5.2 writes the condition of an index in the first way, 6.1 in the second, and
        # SQLite takes an index only for the way it has.
        return f"{column} AND {column} = 1"

    def returning(self, columns: str) -> str:
        # RETURNING does not know the alias of the table (SQLite 3.40), only its name, and forgets
        # the types of columns: without the cast no index serves a comparison.
        if "SELECT" in columns:
            cast = "CAST(cloaca_task.run_id AS TEXT))"
            return columns.replace("t.run_id)", cast).replace("t.", "")
        return re.sub(r"\b[rt]\.", "", columns)

    def tasks_as_json(self, columns: tuple[str, ...]) -> str:
        values = ", ".join(f"t.{column}" for column in columns)
        return (
            f"SELECT json_group_array(json_array({values})) FROM (SELECT * FROM cloaca_task"
            " WHERE run_id = r.id ORDER BY position) AS t"
        )


FRAGMENTS = SqliteFragments()


def write_outcomes(d: SqliteFragments) -> str:
    """Write the outcomes whose claim still holds."""
    paused = (
        "EXISTS (SELECT 1 FROM cloaca_run r WHERE r.id = o_run"
        f" AND (r.paused_at IS NOT NULL OR {workflow_is_paused(d, 'r.workflow_name')}))"
    )
    return f"""
        UPDATE cloaca_task AS t SET {sql.outcome_assignments(d, paused=paused)}
        FROM {d.source(sql.OUTCOME_COLUMNS)}
        WHERE t.id = o_id AND {sql.hidden("t.status")} = {RUNNING} AND t.claim_token = o_token
          AND NOT EXISTS (SELECT 1 FROM cloaca_run r
                          WHERE r.id = o_run AND r.status IN {RUN_ENDED})
        RETURNING id"""


@cache
def choose_statement(lanes: int) -> str:
    """Choose the best tasks of ``lanes`` lanes, with their priorities: one index entry a task."""
    parts = " UNION ALL ".join(
        f"""SELECT * FROM (SELECT t.id, t.priority FROM cloaca_task t INDEXED BY cloaca_task_ready
            WHERE t.status = {READY} AND t.queue = %(queue{at})s
              AND t.workflow_name = %(workflow{at})s
              AND t.workflow_name || '/' || t.name NOT IN
                  (SELECT value FROM json_each(%(refused)s))
              AND NOT {workflow_is_paused(FRAGMENTS, f"%(workflow{at})s")}
            ORDER BY t.priority DESC, t.id LIMIT %(room)s)"""
        for at in range(lanes)
    )
    return f"SELECT id, priority FROM ({parts}) ORDER BY priority DESC, id LIMIT %(room)s"


def claim_chosen(d: SqliteFragments) -> str:
    """Claim the chosen tasks; the write transaction keeps every other claimer out."""
    return f"""
        UPDATE cloaca_task SET {sql_workers.claim_assignments(d)}
        WHERE id IN (SELECT o_id FROM {d.source("id bigint")}) AND {sql.hidden("status")} = {READY}
        RETURNING {d.returning(sql_workers.CLAIMED)}"""


MAX_LANES = 200  # a compound SELECT has at most 500 parts


class SqliteSession(Session):
    """The engine's statements on SQLite."""

    fragments = FRAGMENTS
    _seen_version: int | None = None

    def key(self, value: UUID) -> str:
        return value.hex

    @staticmethod
    def moment(value: datetime | None) -> str | None:
        if value is None:
            return None
        # As Django writes it: no fraction where there is none.
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")

    def run(self, builder: Any, batch: Any = None, /, **params: Any) -> list[Row]:
        for name, value in params.items():
            if isinstance(value, UUID):
                params[name] = value.hex
        return super().run(builder, batch, **params)

    def settle(
        self, outcomes: Sequence[rows.TaskOutcome], *, wait: bool = False
    ) -> tuple[dict[UUID, rows.LockedRun], set[int]]:
        locked = self.lock_runs({outcome.run_id for outcome in outcomes}, wait=wait)
        batch = (
            (o.task_id, o.run_id, o.token, o.status, o.changes, o.error_message,
             round(o.delay_seconds, 3), int(o.next_attempt))
            for o in outcomes
        )  # fmt: skip
        return locked, {row[0] for row in self.run(write_outcomes, batch)}

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
        # ``low`` has nothing to save: a file keeps no dead index entries.
        served = list(itertools.product(lanes.queues, lanes.workflows))
        refused = json.dumps(list(lanes.refused))
        best: list[Row] = []
        for start in range(0, len(served), MAX_LANES):
            best += self._choose(served[start : start + MAX_LANES], room=room, refused=refused)
        if not best:
            return []
        best.sort(key=lambda row: (-row[1], row[0]))
        chosen = ((row[0],) for row in best[:room])
        with self.transaction(durable=False) if relaxed else nullcontext():
            claimed = self.run(claim_chosen, chosen, token=token, worker=worker)
        return in_order(self._claim(row) for row in claimed)

    def _choose(self, lanes: Sequence[tuple[str, str]], **params: Any) -> list[Row]:
        for at, (queue, workflow) in enumerate(lanes):
            params[f"queue{at}"], params[f"workflow{at}"] = queue, workflow
        return self.transport.execute(choose_statement(len(lanes)), params)

    def times(self, row: Row) -> rows.RunTimes:
        return rows.RunTimes(*map(self.aware, row))

    def has_changed(self) -> bool:
        version = self.transport.execute("PRAGMA data_version", {})[0][0]
        changed = version != self._seen_version
        self._seen_version = version
        return bool(changed)

    def clock(self) -> datetime:
        now: datetime = self.aware(self.run(sql.read_clock)[0][0])
        return now

    def aware(self, value: Any) -> Any:
        # Django's connections parse declared moments; ours read the text.
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found and found.replace(tzinfo=UTC)


@cache
def _native(text: str) -> str:
    return re.sub(r"%\((\w+)\)s", r":\1", text).replace("%%", "%")


class SqliteTransport:
    """A connection of the engine's own: WAL, IMMEDIATE and a busy timeout, whatever the site's."""

    is_closed = False

    def __init__(self, params: Mapping[str, Any], *, patience: float) -> None:
        wanted = {k: v for k, v in params.items() if k in {"database", "uri"}}
        self.connection = sqlite3.connect(
            **wanted, isolation_level=None, timeout=patience, check_same_thread=False,
            cached_statements=256,
        )  # fmt: skip
        self._insists = False
        self._use_wal(patience)
        self._path = self.connection.execute("PRAGMA database_list").fetchone()[2]
        self._level = ""
        self._use_level(FULL)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def _use_wal(self, patience: float) -> None:
        """Switch a file to WAL. While somebody writes to it that fails at once, without a wait."""
        end = clock.monotonic() + patience
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not is_transient(error) or clock.monotonic() > end:
                    self.connection.close()
                    raise
                clock.sleep(0.02)
            else:
                return

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        found: list[Row] = self.connection.execute(_native(text), params).fetchall()
        return found

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        self._use_level(FULL if durable else NORMAL)
        self._insists = False
        try:
            with _transaction(self.connection):
                yield
        finally:
            # Not inside of a transaction that could not be ended: there it cannot be changed.
            if not self.connection.in_transaction:
                self._use_level(FULL)
        if self._insists:
            self._sync_wal()

    def insist(self) -> None:
        self._insists = True

    def _use_level(self, level: str) -> None:
        if level != self._level:
            self.connection.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    def _sync_wal(self) -> None:
        """Do what FULL does after a commit; a WAL that was reset meanwhile is in the database."""
        with open(f"{self._path}-wal", "r+b") as wal:
            os.fsync(wal.fileno())

    def close(self) -> None:
        self.is_closed = True
        self.connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # The error may have ended the transaction already (disk full, I/O error).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_transport(wrapper: BaseDatabaseWrapper, patience: float) -> SqliteTransport:
    """Connect to the file of the alias of ``wrapper``, which must be there.

    Django makes the file before the engine comes to it. Made here, it would be an empty one in the
    place of one that somebody has moved.
    """
    params = wrapper.get_connection_params()
    if place_of(wrapper) == GONE:
        raise CannotOpen(f"unable to open database file: there is no {params['database']}")
    return SqliteTransport(params, patience=patience)


GONE = (0, 0)


def place_of(wrapper: BaseDatabaseWrapper) -> tuple[int, int] | None:
    """Return which file is where the database should be; zeros: none is. None: it is in no file.

    Raises CannotOpen if one may not look, or the disk does not answer.
    """
    path = str(wrapper.settings_dict["NAME"])
    if path.startswith("file:"):
        return None
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return GONE
    except OSError as error:
        raise CannotOpen(f"unable to open database file: {error}") from error
    return found.st_dev, found.st_ino


class CannotOpen(sqlite3.OperationalError):
    """What SQLite says of a file that it may not make, or not reach: it may come back."""

    sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


@contextmanager
def advisory_lock(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """SQLite has none; a migration is one IMMEDIATE transaction, and the loser looks again."""
    yield


def abort(wrapper: BaseDatabaseWrapper) -> None:
    """Interrupt the statement of another thread's Django connection."""
    if wrapper.connection is not None:
        wrapper.connection.interrupt()


def execute_for_site(
    wrapper: BaseDatabaseWrapper, text: str, params: Mapping[str, Any]
) -> list[Row] | None:
    """Run a statement of ours on a Django connection, past its cursor; None: let that do it.

    It would translate our placeholders at every call. Whoever watches Django's queries still sees
    them.
    """
    if is_watched(wrapper):
        return None
    make_ready(wrapper)
    with wrapper.wrap_database_errors:
        found: list[Row] = wrapper.connection.execute(_native(text), params).fetchall()
    return found


@contextmanager
def site_transaction(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Open a transaction on a Django connection in which statements of ours run and nothing else.

    Django need not know of it, unless the caller is in one of its own. It takes the file at once:
    what begins by reading cannot always go on to write.
    """
    if not (wrapper.in_atomic_block or wrapper.get_autocommit()):
        # The caller commits by hand, and the end of an atomic() would commit for them.
        yield
        return
    if is_watched(wrapper) or wrapper.in_atomic_block:
        with transaction.atomic(using=wrapper.alias):
            yield
        return
    make_ready(wrapper)
    with wrapper.wrap_database_errors, _transaction(wrapper.connection):
        yield


# The primary result codes after which the same statement may succeed: the file is busy or locked,
# memory, disk or an interrupt. Every other OperationalError is a defect that stays.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def is_transient(error: BaseException) -> bool:
    """Say whether trying again may succeed."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _PASSING


def is_disconnected(error: BaseException) -> bool:
    """A file does not disconnect; a COMMIT that failed was rolled back."""
    return isinstance(error, sqlite3.ProgrammingError)
