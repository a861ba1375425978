"""The only reader of the clocks of this process. In production the database's clock decides."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID


def monotonic() -> float:
    """Return seconds on a clock that never goes back; for durations within this process."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Let this thread rest; only for waits that nothing can wake."""
    time.sleep(seconds)


def utc_now() -> datetime:
    """Return this process's wall clock, aware UTC. For display and run ids only."""
    return datetime.now(UTC)


def new_run_id() -> UUID:
    """Return a version 7 UUID: 48 bits of milliseconds, then 74 random bits (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
