"""The machine: what it is, and how fast it is at this moment."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

from benchmarks.database import Database

PROBE_SECONDS = 0.3


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commits_per_second(database: Database) -> float:
    """Single-row inserts that one client commits, one after the other: the bound of an engine
    that commits once per step."""
    with database.connect(database.url) as connection:
        connection.execute("create table if not exists bench_probe (v int)")
        done, end = 0, time.perf_counter() + PROBE_SECONDS
        while time.perf_counter() < end:
            connection.execute("insert into bench_probe values (1)")
            done += 1
        connection.execute("drop table bench_probe")
    return done / PROBE_SECONDS


def python_loops_per_second() -> float:
    done, end = 0, time.perf_counter() + PROBE_SECONDS
    while time.perf_counter() < end:
        for _ in range(1000):
            pass
        done += 1000
    return done / PROBE_SECONDS


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
