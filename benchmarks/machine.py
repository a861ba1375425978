"""The machine: what it is, and how fast it is at this moment."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

PROBE_SECONDS = 0.3


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


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
