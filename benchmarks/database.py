"""The database of one measurement: made empty, looked at, dropped. One subclass per kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Sql:
    """What a peer sent between two moments."""

    statements: int  # every statement, BEGIN and COMMIT among them
    transactions: int
    control: int  # how many of the statements were BEGIN, COMMIT and the like
    wal_bytes: int


class Database:
    """One database, with a connection of the harness's own to look at it."""

    kind: ClassVar[str]
    counts_sql: ClassVar[bool] = False  # True: `counting` is there
    url: str

    def create(self) -> None:
        raise NotImplementedError

    def drop(self) -> None:
        raise NotImplementedError

    def execute(self, query: str, *values: Any) -> None:
        raise NotImplementedError

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row; None without a row."""
        raise NotImplementedError

    def commits_per_second(self, seconds: float) -> float:
        """Single-row inserts that one client commits, one after the other: the bound of an engine
        that commits once per step."""
        raise NotImplementedError

    def server_cpu_seconds(self) -> float:
        """What the database spent outside the processes of client and worker."""
        return 0.0

    def counting(self) -> AbstractContextManager[Callable[[], Sql]]:
        raise NotImplementedError

    def analyze(self) -> None:
        """Fresh statistics, as a site has that did not grow in one second."""
        self.execute("analyze")

    def wait(
        self, query: str, *values: Any, timeout_seconds: float = 120.0, every: float = 0.001
    ) -> None:
        """Ask until the query answers with a true value."""
        wait_until(
            lambda: bool(self.value(query, *values)), timeout_seconds=timeout_seconds, every=every
        )


def wait_until(
    is_true: Callable[[], bool], *, timeout_seconds: float = 120.0, every: float = 0.02
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:.0f} s in vain")
        time.sleep(every)


def commit_rate(commit: Callable[[], Any], seconds: float) -> float:
    """How often per second, one after the other."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        commit()
        done += 1
    return done / (time.perf_counter() - start)
