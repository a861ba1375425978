"""The points at which a worker process may be told to kill itself with SIGKILL."""

from __future__ import annotations

import os
import signal

CLAIMED = "claimed, nothing started"
IN_BODY = "in user code"
DEFERRED = "waiting in defer_until"
BEFORE_COMMIT = "before the COMMIT of settle"
AFTER_COMMIT = "after the COMMIT of settle"
IN_ATOMIC_BODY = "in an atomic body, its effect written"
BEFORE_ATOMIC_COMMIT = "before the COMMIT of an atomic task"
AFTER_ATOMIC_COMMIT = "after the COMMIT of an atomic task"


def pass_through(point: str) -> None:
    """Die here if this is the point."""
    if os.environ.get("DEADLY_POINT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
