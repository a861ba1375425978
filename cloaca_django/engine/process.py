"""One worker process in the foreground: runs until told to stop, or until nothing is left."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.engine.worker import Worker, WorkerOptions

logger = logging.getLogger("cloaca_django.worker")

# The exit code that asks a supervisor for a fresh process (sysexits' EX_TEMPFAIL).
RECYCLE = 75


@dataclass(frozen=True, slots=True)
class Stint:
    """How long a process works. ``burst`` ends it when nothing is left, ``max_tasks`` after so
    many tasks; ``grace`` is what running tasks get at its end, in seconds.
    """

    burst: bool = False
    max_tasks: int | None = None
    grace: float = 30.0


class Process:
    """A worker and the reasons to end it. ``interrupt`` may be called from a signal handler."""

    def __init__(self, options: WorkerOptions, stint: Stint) -> None:
        self.worker = Worker(options)
        self.stint = stint
        self._interrupts = 0
        self._changed = threading.Event()

    def interrupt(self) -> None:
        """First call: claim nothing more and finish. Second: hand the rest back now."""
        self._interrupts += 1
        self._changed.set()

    def run(self) -> int:
        """Work until the end; returns the exit code, 0 or ``RECYCLE``."""
        self.worker.start()
        code = 0
        try:
            code = self._watch()
        finally:
            self._end()
        return code

    def _watch(self) -> int:
        idle_since: float | None = None
        while not self._changed.wait(0.02 if self.stint.burst else 0.2):
            if not self.worker.is_alive():
                logger.error("the turn's thread ended; this process must be replaced")
                return RECYCLE
            if len(self.worker.abandoned) >= settings.MAX_ABANDONED_THREADS:
                logger.warning(
                    "%d timed-out tasks still hold threads; this process replaces itself",
                    len(self.worker.abandoned),
                )
                return RECYCLE
            limit = self.stint.max_tasks
            if limit is not None and self.worker.turn.settled_tasks >= limit:
                return 0
            if self.stint.burst:
                idle_since = self._idle_since(idle_since)
                if idle_since is not None and clock.monotonic() - idle_since > 0.1:
                    return 0
        return 0

    def _idle_since(self, before: float | None) -> float | None:
        if not self.worker.turn.is_idle():
            return None
        return clock.monotonic() if before is None else before

    def _end(self) -> None:
        if self._interrupts < 2:
            self._changed.clear()
            self.worker.drain()
            end = clock.monotonic() + self.stint.grace
            while self.worker.turn.running and self._interrupts < 2:
                rest = end - clock.monotonic()
                if rest <= 0:
                    break
                self._changed.wait(min(0.05, rest))
        self.worker.stop(grace=0.0)
