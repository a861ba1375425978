"""A database of the private PostgreSQL, and what the server knows about it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from benchmarks.database import Database, Sql, commit_rate
from benchmarks.processes import server_cpu_seconds

OBSERVER = "benchmark-observer"  # the application name of our own looks; they are not counted
REPORTING_SECONDS = 1.1
_ENDS = ("commit", "rollback", "end", "abort")


@dataclass(frozen=True)
class ServerFacts:
    """What a measurement is told of the server."""

    url: str
    pid: int
    log: str
    programs: str  # the folder of pgbench


class PostgresDatabase(Database):
    """One database of the private server."""

    kind = "postgresql"
    counts_sql = True

    def __init__(self, server: ServerFacts, name: str) -> None:
        self.name = name
        self._server = server
        self._server_url = server.url
        self._log = Path(server.log)
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
        assert self._observer is not None
        row = self._observer.execute(query, values or None).fetchone()
        return row[0] if row else None

    def commits_per_second(self, seconds: float) -> float:
        with self.connect(self.url) as connection:
            connection.execute("create table if not exists bench_probe (v int)")
            rate = commit_rate(
                lambda: connection.execute("insert into bench_probe values (1)"), seconds
            )
            connection.execute("drop table bench_probe")
        return rate

    def server_cpu_seconds(self) -> float:
        return server_cpu_seconds(self._server.pid)

    def wal_bytes(self) -> int:
        """Written so far, by all databases of the server."""
        return int(self.value("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def buffers_touched(self) -> int:
        """Pages of this database that were read or found in the cache so far, as reported.

        Our own looks are left out where the server knows them: from PostgreSQL 18.
        """
        self.execute("select pg_stat_force_next_flush()")
        query = "select blks_hit + blks_read from pg_stat_database where datname = %s"
        touched = int(self._statistic(query, self.name))
        if self._is_18_or_later():
            touched -= int(
                self.value(
                    "select sum(hits + reads) from pg_stat_get_backend_io(pg_backend_pid())"
                    " where object = 'relation'"
                )
            )
        return touched

    def multiply(self, table: str, times: int, fresh: Mapping[str, str]) -> None:
        """Copy the rows of a table so often; ``fresh`` has SQL for columns that must differ.

        In it ``number`` is that of the copy. Columns with a sequence take its next values.
        """
        schema, _, name = table.rpartition(".")
        plain = (
            "select string_agg(quote_ident(column_name), ',') from information_schema.columns"
            " where table_schema = %s and table_name = %s and is_identity = 'NO'"
            " and is_generated = 'NEVER' and coalesce(column_default, '') not like 'nextval%%'"
            " and column_name <> all (%s)"
        )
        names = self.value(plain, schema or "public", name, list(fresh))
        self.execute("set session_replication_role = replica")  # no triggers, no foreign keys
        self.execute(
            f"insert into {table} ({','.join([names, *fresh])})"
            f" select {','.join([names, *fresh.values()])}"
            f" from {table}, generate_series(1, {times}) number"
        )
        self.execute("set session_replication_role = origin")
        self.execute(f"vacuum analyze {table}")

    def pgbench(self, script: str, seconds: int) -> float:
        """Transactions of the script per second, by one client."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            program = str(Path(self._server.programs) / "pgbench")
            options = ["-n", "-M", "prepared", "-T", str(seconds), "-f", file.name]
            done = subprocess.run(
                [program, *options, self.url], capture_output=True, text=True, check=False
            )
        found = re.search(r"tps = ([\d.]+)", done.stdout)
        if found is None:
            raise RuntimeError(f"pgbench: {done.stderr[-300:]}")
        return float(found[1])

    def flushes_per(
        self, action: Callable[[], None], times: int, *, quick: Callable[[], None]
    ) -> float:
        """How often the write-ahead log went to disk for one of so many actions.

        That is the number of synchronous commits, as long as no two sessions commit at once. A
        ``quick`` action of the same sessions makes them report; what it costs is left out. The
        server has flushes of its own, which come at any time, so the lesser of two counts is taken.
        """
        none, all_of_them = (
            min(self._flushed(action, repeat, quick=quick) for _ in range(2))
            for repeat in (0, times)
        )
        return (all_of_them - none) / times

    def _flushed(
        self, action: Callable[[], None], repeat: int, *, quick: Callable[[], None]
    ) -> int:
        self.reported(quick)
        before = self._flushes()
        for _ in range(repeat):
            action()
        self.reported(quick)
        return self._flushes() - before

    def reported(self, action: Callable[[], None]) -> None:
        """Act so that every session that takes part reports what it did before.

        A session reports when it falls idle, once a second at most.
        """
        time.sleep(REPORTING_SECONDS)
        action()

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Sql]]:
        """Log every statement meanwhile; the function given counts those of this database so far.

        Logging costs time, so nothing is timed while it is on.
        """
        self._log_statements("all")
        start, wal = self._log.stat().st_size, self.wal_bytes()
        try:
            yield lambda: self._count(start, wal)
        finally:
            self._log_statements("none")

    def _log_statements(self, level: str) -> None:
        with self.connect(self._server_url) as connection:
            connection.execute(f"alter system set log_statement = '{level}'")
            connection.execute("select pg_reload_conf()")
        time.sleep(0.3)  # every session reads the change before its next command

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
            self.wal_bytes() - wal,
        )

    def _flushes(self) -> int:
        if self._is_18_or_later():
            query = "select sum(fsyncs) from pg_stat_io where object = 'wal'"
            return int(self._statistic(f"{query} and backend_type = 'client backend'"))
        return int(self._statistic("select wal_sync from pg_stat_wal"))

    def _is_18_or_later(self) -> bool:
        return bool(self.value("select current_setting('server_version_num')::int >= 180000"))

    def _statistic(self, query: str, *values: Any) -> Any:
        time.sleep(0.1)  # the reports of sessions that have just fallen idle
        return self.value(query, *values)

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
