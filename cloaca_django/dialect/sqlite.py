"""SQLite: one writer at a time replaces the row locks; the WAL file's size is the hint."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction

from cloaca_django import clock
from cloaca_django.dialect import rows, sql
from cloaca_django.dialect.past_django import is_by_hand, is_watched, make_ready
from cloaca_django.dialect.session import Lanes, Row, Session, in_order
from cloaca_django.dialect.sql_sqlite import (
    FRAGMENTS,
    SINGLE_ROW,
    choose_statement,
    claim_chosen,
    write_outcomes,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ERROR = sqlite3.Error

# FULL: what was committed survives a power cut. NORMAL: it may be lost, and nothing else.
FULL, NORMAL = "FULL", "NORMAL"

BEGIN = "BEGIN IMMEDIATE"
COMMIT = "COMMIT"
# How long SQLite itself tries for a file that somebody writes to.
TRY_SECONDS = 0.005
PAUSE_SECONDS = 0.0005
# What takes longer to begin has waited for somebody.
WAITED_SECONDS = 0.0005

_PLAIN = frozenset({str, int, float, bool, type(None)})


def _plain(value: Any) -> Any:
    """Return a value of a batch as a parameter. Raises DataError for infinity and NaN.

    SQLite would calculate NULL with them.
    """
    if isinstance(value, float) and not isfinite(value):
        raise sqlite3.DataError(f"{value} is no number that the database can calculate with")
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        # What it holds: a class may have words of its own for it, as an Enum has.
        return str.__str__(value)
    return value if isinstance(value, int | float) else SqliteSession.to_json(value)


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

    def bound(self, batch: Iterable[Sequence[Any]]) -> tuple[Any, dict[str, Any]]:
        values = list(batch)
        if len(values) != 1:
            return super().bound(values)
        return SINGLE_ROW, {f"rows{at}": _plain(value) for at, value in enumerate(values[0])}

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

    def had_company(self) -> bool | None:
        own = self.transport
        if not isinstance(own, SqliteTransport):
            return None
        waited, own.waited = own.waited, None
        return waited

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


_NO_PARAMS: Mapping[str, Any] = {}


@cache
def _native(text: str) -> str:
    return re.sub(r"%\((\w+)\)s", r":\1", text).replace("%%", "%")


class SqliteTransport:
    """A connection of the engine's own: WAL, IMMEDIATE and a patience of its own.

    It tries for the file every two milliseconds. SQLite's own wait gets longer with each try, up to
    100 ms, and so loses to a writer that never pauses.
    """

    is_closed = False
    # Whether the last transaction had to wait; None: there was none since somebody asked.
    waited: bool | None = None

    def __init__(self, params: Mapping[str, Any], *, patience: float) -> None:
        wanted = {k: v for k, v in params.items() if k in {"database", "uri"}}
        self.connection = sqlite3.connect(
            **wanted, isolation_level=None, timeout=TRY_SECONDS, check_same_thread=False,
            cached_statements=256,
        )  # fmt: skip
        self._patience = patience
        self._insists = False
        self._use_wal()
        self._path = self.connection.execute("PRAGMA database_list").fetchone()[2]
        self._level = ""
        self._use_level(FULL)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def _use_wal(self) -> None:
        """Switch a file to WAL. While somebody writes to it that fails at once, without a wait."""
        try:
            self._patiently("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            self.connection.close()
            raise

    def _patiently(self, text: str, params: Mapping[str, Any] = _NO_PARAMS) -> sqlite3.Cursor:
        """Run a statement; one that finds the file busy did nothing, and is tried again.

        Inside a transaction only COMMIT is: its snapshot would stay stale.
        """
        end = 0.0
        while True:
            try:
                found: sqlite3.Cursor = self.connection.execute(text, params)
            except sqlite3.OperationalError as error:
                end = end or clock.monotonic() + self._patience
                is_inside = self.connection.in_transaction and text != COMMIT
                if is_inside or _code_of(error) not in _BUSY or clock.monotonic() > end:
                    raise
            else:
                return found
            # SQLite has waited already, but not for everything that it calls busy.
            clock.sleep(PAUSE_SECONDS)

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        return self._patiently(_native(text), params).fetchall()

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        self._use_level(FULL if durable else NORMAL)
        self._insists = False
        begin = clock.monotonic()
        try:
            with _transaction(self.connection, self._patiently):
                self.waited = clock.monotonic() - begin > WAITED_SECONDS
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
def _transaction(
    connection: sqlite3.Connection, execute: Callable[[str], object]
) -> Iterator[None]:
    """Run the block in a transaction that takes the file at once."""
    try:
        # Inside: what interrupts the wait for the file may come when it is over.
        execute(BEGIN)
        yield
        execute(COMMIT)
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
    make_ready(wrapper)
    own = wrapper.connection
    if not wrapper.in_atomic_block and (is_by_hand(wrapper) or own.in_transaction):
        # The latter: with a BEGIN of their own, which Django does not know of either.
        with savepoint_by_hand(wrapper):
            yield
        return
    if is_watched(wrapper) or wrapper.in_atomic_block:
        with transaction.atomic(using=wrapper.alias):
            yield
        return
    try:
        with wrapper.wrap_database_errors, _transaction(own, own.execute):
            yield
    finally:
        if own.in_transaction:
            # It could be ended neither way, and Django knows nothing of it.
            wrapper.close()


@contextmanager
def savepoint_by_hand(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Make a part of a caller's own transaction all or nothing; the caller commits.

    Where none is open yet, the end of an ``atomic()`` would commit for them.
    """
    own = wrapper.connection
    with wrapper.wrap_database_errors:
        if not own.in_transaction:
            own.execute(BEGIN)
        own.execute("SAVEPOINT cloaca")
        try:
            yield
        except BaseException:
            own.execute("ROLLBACK TO cloaca")
            raise
        finally:
            own.execute("RELEASE cloaca")


# Somebody else has the file; the statement did nothing.
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})

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
    return isinstance(error, sqlite3.OperationalError) and _code_of(error) in _PASSING


def _code_of(error: sqlite3.OperationalError) -> int | None:
    """Return the primary result code; None: it is Python's own error."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_disconnected(error: BaseException) -> bool:
    """A file does not disconnect; a COMMIT that failed was rolled back."""
    return isinstance(error, sqlite3.ProgrammingError)
