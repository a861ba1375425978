"""A SQLite file of one measurement, in WAL mode; who commits waits for the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from benchmarks.database import Database, commit_rate


class SqliteDatabase(Database):
    """Made in WAL mode, which stays with the file: also for a peer that does not ask for it.

    SQLite's own level of `synchronous` is FULL, and so is that of every peer here.
    """

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "measured.sqlite3"
        self._observer: sqlite3.Connection | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def create(self) -> None:
        # Observed from whichever thread of the client waits for a run.
        self._observer = self.connect()
        self._observer.execute("pragma journal_mode = wal")

    def drop(self) -> None:
        if self._observer is not None:
            self._observer.close()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)

    def execute(self, query: str, *values: Any) -> None:
        assert self._observer is not None
        self._observer.execute(query.replace("%s", "?"), values)

    def value(self, query: str, *values: Any) -> Any:
        assert self._observer is not None
        row = self._observer.execute(query.replace("%s", "?"), values).fetchone()
        return row[0] if row else None

    def commits_per_second(self, seconds: float) -> float:
        connection = self.connect()
        try:
            connection.execute("pragma synchronous = full")
            connection.execute("create table if not exists bench_probe (v int)")
            rate = commit_rate(
                lambda: connection.execute("insert into bench_probe values (1)"), seconds
            )
            connection.execute("drop table bench_probe")
        finally:
            connection.close()
        return rate
