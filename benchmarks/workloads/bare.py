"""W2 and W4: how much of a chain's time is the database's.

A clock around each call of the driver, inside the client that executes: the rest is the engine. On
SQLite the driver does the work itself, on PostgreSQL it waits for the server.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from benchmarks.bench import Bench, sampled
from benchmarks.figures import Figure, Record, number, percentile

ONLY = ("cloaca_django", "cloaca_django:sqlite")
LENGTHS = (3, 100)
TITLE = "W2, W4: time of a chain by that of its statements and commits alone"
FIGURES = tuple(
    figure
    for length in LENGTHS
    for figure in (
        Figure(f"chain of {length}, median ms", percentile(f"chain{length}_ms", 50), "neither"),
        Figure(f"chain of {length}, x of its statements", number(f"chain{length}_x"), "neither"),
    )
)


@dataclass
class Clock:
    seconds: float = 0.0


def measure(bench: Bench) -> Record:
    """The client's engine connects while the clock is in place."""
    record: Record = {}
    with _clocked() as clock:
        for length in LENGTHS:
            run = partial(bench.peer.chain, length)
            run()
            clock.seconds = 0.0
            walls = sampled(
                run, count=bench.plan.latency_samples, seconds=bench.plan.latency_seconds
            )
            record[f"chain{length}_ms"] = walls
            record[f"chain{length}_x"] = sum(walls) / 1000 / clock.seconds
    return record


@contextmanager
def _clocked() -> Iterator[Clock]:
    """Time what both drivers do."""
    clock = Clock()

    def timed(call: Any) -> Any:
        def measured(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                clock.seconds += time.perf_counter() - start

        return measured

    class Connection(sqlite3.Connection):
        execute = timed(sqlite3.Connection.execute)

    connect, wait = sqlite3.connect, psycopg.Connection.wait
    sqlite3.connect = partial(connect, factory=Connection)  # type: ignore[assignment]
    psycopg.Connection.wait = timed(wait)  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        sqlite3.connect, psycopg.Connection.wait = connect, wait  # type: ignore[method-assign]
