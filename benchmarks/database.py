"""The database of one measurement, and what the server knows about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

OBSERVER = "benchmark-observer"  # the application name of our own looks; they are not counted
_ENDS = ("commit", "rollback", "end", "abort")


@dataclass(frozen=True)
class Sql:
    """What a peer sent between two moments."""

    statements: int  # every statement, BEGIN and COMMIT among them
    transactions: int
    control: int  # how many of the statements were BEGIN, COMMIT and the like
    wal_bytes: int


class Database:
    """One database of the private server, made empty, with a connection to look at it."""

    def __init__(self, server_url: str, name: str, server_log: Path) -> None:
        self.name = name
        self._server_url = server_url
        self._log = server_log
        self._observer: psycopg.Connection[Any] | None = None

    @property
    def url(self) -> str:
        parts = urlsplit(self._server_url)
        return urlunsplit(parts._replace(path=f"/{self.name}"))

    def create(self) -> None:
        with self.connect(self._server_url) as connection:
            connection.execute(f'drop database if exists "{self.name}" with (force)')
            connection.execute(f'create database "{self.name}"')
        self._observer = self.connect(self.url)

    def drop(self) -> None:
        if self._observer is not None:
            self._observer.close()
        with self.connect(self._server_url) as connection:
            connection.execute(f'drop database if exists "{self.name}" with (force)')

    def connect(self, url: str) -> psycopg.Connection[Any]:
        return psycopg.connect(url, autocommit=True, application_name=OBSERVER)

    def execute(self, query: str, *values: Any) -> None:
        assert self._observer is not None
        self._observer.execute(query, values or None)

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row; None without a row."""
        assert self._observer is not None
        row = self._observer.execute(query, values or None).fetchone()
        return row[0] if row else None

    def wait(
        self, query: str, *values: Any, timeout_seconds: float = 120.0, every: float = 0.001
    ) -> None:
        """Ask until the query answers with a true value."""
        wait_until(
            lambda: bool(self.value(query, *values)), timeout_seconds=timeout_seconds, every=every
        )

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Sql]]:
        """Log every statement meanwhile; the function given counts those of this database so far.

        Logging costs time, so nothing is timed while it is on.
        """
        self._log_statements("all")
        start, wal = self._log.stat().st_size, self._wal()
        try:
            yield lambda: self._count(start, wal)
        finally:
            self._log_statements("none")

    def _log_statements(self, level: str) -> None:
        with self.connect(self._server_url) as connection:
            connection.execute(f"alter system set log_statement = '{level}'")
            connection.execute("select pg_reload_conf()")
        time.sleep(0.3)  # every session reads the change before its next command

    def _wal(self) -> int:
        return int(self.value("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def _count(self, start: int, wal: int) -> Sql:
        time.sleep(0.1)
        counted: Counter[str] = Counter()
        inside: set[str] = set()
        with self._log.open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            for line in log:
                self._count_line(line, counted, inside)
        return Sql(
            counted["statements"],
            counted["transactions"],
            counted["control"],
            self._wal() - wal,
        )

    def _count_line(self, line: str, counted: Counter[str], inside: set[str]) -> None:
        """``@database|application|pid@ LOG:  statement: ...``; a statement outside BEGIN and
        COMMIT is a transaction of its own."""
        prefix, _, rest = line.removeprefix("@").partition("@ LOG:  ")
        database, _, sender = prefix.partition("|")
        if database != self.name or sender.startswith(OBSERVER):
            return
        if not rest.startswith(("statement: ", "execute ")):
            return
        verb = rest.partition(": ")[2].strip().rstrip(";").lower()
        counted["statements"] += 1
        if verb.startswith(("begin", "start transaction")):
            counted["control"] += 1
            inside.add(sender)
        elif verb.startswith(_ENDS) and not verb.startswith("rollback to"):
            counted["control"] += 1
            counted["transactions"] += sender in inside
            inside.discard(sender)
        elif verb.startswith(("savepoint", "release", "rollback to")):
            counted["control"] += 1
        elif sender not in inside:
            counted["transactions"] += 1


def wait_until(
    is_true: Callable[[], bool], *, timeout_seconds: float = 120.0, every: float = 0.02
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:.0f} s in vain")
        time.sleep(every)
