"""The only reader of the clocks of this process. In production the database's clock decides."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic() -> float:
    """Return seconds on a clock that never goes back; for durations within this process."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Let this thread rest; only for waits that nothing can wake."""
    time.sleep(seconds)


def utc_now() -> datetime:
    """Return this process's wall clock, aware UTC. For display and run ids only."""
    return datetime.now(UTC)


def milliseconds() -> int:
    """Return this process's wall clock in milliseconds since 1970. For run ids only."""
    return time.time_ns() // 1_000_000
