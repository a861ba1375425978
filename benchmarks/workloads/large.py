"""W10: a context of a megabyte, and twenty tasks that change one key each: what reaches the log."""

from __future__ import annotations

import base64
import os
import time

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number
from benchmarks.postgresql import PostgresDatabase

ROUNDS = 1
RUNS = 3
TASKS = 20
CONTEXT_BYTES = 1_000_000
TITLE = "W10: 1 MB of random input, twenty tasks that change one key each"
FIGURES = (
    Figure("WAL KiB per run", number("wal_kib")),
    Figure("WAL KiB of a design that stores the context with each task", number("whole_wal_kib")),
    Figure("ms per run", number("wall_ms")),
    Figure("CPU ms per run", number("cpu_ms")),
)


def measure(bench: Bench) -> Record:
    database = bench.database
    if not bench.peer.carries_context or not isinstance(database, PostgresDatabase):
        return {}
    with bench.executing() as workers:
        bench.peer.carry({"input": _random()}, TASKS)
        contexts = [{"input": _random()} for _ in range(RUNS)]
        wal, spent, start = database.wal_bytes(), bench.spent(*workers), time.perf_counter()
        for context in contexts:
            bench.peer.carry(context, TASKS)
        seconds = time.perf_counter() - start
        cpu = bench.spent(*workers).since(spent, runs=RUNS)
        wal = database.wal_bytes() - wal
    return {
        "wal_kib": wal / RUNS / 1024,
        "whole_wal_kib": _whole(database) / 1024,
        "wall_ms": 1000 * seconds / RUNS,
    } | cpu


def _whole(database: PostgresDatabase) -> float:
    """The simplest of them: a row for the run, one for each task, a commit each."""
    database.execute("create table bench_whole (task int, context text)")
    wal = database.wal_bytes()
    text = _random()
    for task in range(TASKS + 1):
        database.execute("insert into bench_whole values (%s, %s)", task, f'{{"input": "{text}"}}')
    return float(database.wal_bytes() - wal)


def _random() -> str:
    """Letters that do not compress to less than three quarters."""
    return base64.b64encode(os.urandom(CONTEXT_BYTES * 3 // 4)).decode()
