"""One worker process in the foreground: runs until told to stop, or until nothing is left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from uuid import UUID

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.core.wording import counted
from cloaca_django.engine import hiring, meter, tether
from cloaca_django.engine.shift import Shift, WorkerOptions
from cloaca_django.engine.tether import Line, Message

logger = logging.getLogger("cloaca_django.worker")

# The exit code that asks for a fresh process (sysexits' EX_TEMPFAIL).
RECYCLE = 75

# How often the reasons to end are looked at. No statement is sent for it.
LOOK_SECONDS = 0.2
BRISK_SECONDS = 0.02
# How often a supervised process hands in what it counted.
COUNTS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stint:
    """How long a process works. ``grace`` is what running tasks get at its end, in seconds.

    ``burst`` ends it when nothing is left that could start now, ``max_tasks`` after so many tasks.
    """

    burst: bool = False
    max_tasks: int | None = None
    grace: float = 30.0


class Process:
    """A worker and the reasons to end it. With a ``line`` it has a supervisor."""

    def __init__(
        self,
        options: WorkerOptions,
        stint: Stint,
        *,
        say: Callable[[str], object] = lambda text: None,
        line: Line | None = None,
        worker: UUID | None = None,
    ) -> None:
        self.worker = hiring.hire(options, report=self._report if line else None, id=worker)
        self.worker.set_budget(stint.max_tasks)
        self.stint = stint
        self.left_running = 0
        self._say = say
        self._line = line
        self._level = 0
        self._is_renewing = False
        self._is_ending = False
        # A queue and not an Event: a signal handler may put into it at any moment.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._counts_due = 0.0

    def interrupt(self) -> None:
        """First call: claim nothing more and finish. Second: hand the rest back now.

        Safe in a signal handler. A supervised process takes its second order from its supervisor:
        whoever signals a whole group signals both, and the supervisor's order may come first.
        """
        self._order(1 if self._line else self._level + 1)

    def renew(self) -> None:
        """Finish as at the first call of ``interrupt``, so that a fresh process can go on.

        It is no signal: the first one that comes meanwhile is still the first.
        """
        self._is_renewing = True
        self._news.put(None)

    @property
    def is_to_renew(self) -> bool:
        """Say whether a fresh process is to go on; not if this one was told to stop."""
        return self._is_renewing and not self._level

    def _order(self, level: int) -> None:
        self._level = max(self._level, min(2, level))
        self._news.put(None)

    def run(self) -> int:
        """Work until the end; returns the exit code, 0 or ``RECYCLE``."""
        self.worker.start()
        if self._line is not None:
            self._report(self.worker)
            threading.Thread(
                target=self._obey, args=(self._line,), name="cloaca-tether", daemon=True
            ).start()
        code = RECYCLE
        try:
            code = self._watch()
        finally:
            self._end()
            if self._line is not None:
                self._hand_in_counts(self._line)
                self._line.close()
        return code

    # -- reasons to end

    def _watch(self) -> int:
        brisk = self.stint.burst or self.stint.max_tasks or self.worker.options.claims_once
        while not (self._level or self._is_renewing):
            self._rest(BRISK_SECONDS if brisk else LOOK_SECONDS)
            if self._line is not None and clock.monotonic() >= self._counts_due:
                self._hand_in_counts(self._line)
            if self._must_recycle():
                return RECYCLE
            if self.worker.is_over_budget():
                return RECYCLE if self._line is not None else 0
            if self._is_through():
                return 0
        return 0

    def _rest(self, seconds: float) -> None:
        try:
            self._news.get(timeout=seconds)
        except Empty:
            return

    def _must_recycle(self) -> bool:
        if not self.worker.is_alive():
            logger.error("the turn's thread ended; this process must be replaced")
            return True
        if self.worker.is_adrift:
            return True
        abandoned = len(self.worker.crew.abandoned)
        if abandoned < settings.MAX_ABANDONED_THREADS:
            return False
        logger.warning(
            "%d timed-out tasks still hold threads; this process must be replaced", abandoned
        )
        return True

    def _is_through(self) -> bool:
        worker = self.worker
        if worker.options.claims_once:
            return worker.is_draining and not worker.running and not worker.carries
        # Idle before and after: what the database is asked one after the other, a turn may move on
        # meanwhile, and a task that was ready at the first question is owned at the second.
        return self.stint.burst and worker.is_idle() and not worker.has_work() and worker.is_idle()

    # -- the end

    def _end(self) -> None:
        self._is_ending = True
        if self._level < 2:
            self._finish()
        self.left_running = self.worker.running
        self.worker.stop(grace=0.0)
        done = self.worker.settled_tasks - self.left_running
        rest = f", {self.left_running} handed back" if self.left_running else ""
        self._say(f"Stopped after {counted(done, 'task')}{rest}")

    def _finish(self) -> None:
        """Claim nothing more, and give what runs its time."""
        worker, grace = self.worker, self.stint.grace
        worker.drain()
        if worker.running:
            self._say(
                f"Finishing {counted(worker.running, 'task')}, for {grace:g} s at most;"
                " a second signal hands them back now"
            )
        end = clock.monotonic() + grace
        while worker.running and self._level < 2 and clock.monotonic() < end:
            self._rest(BRISK_SECONDS)

    # -- the supervisor

    def _report(self, worker: Shift) -> None:
        """Tell the supervisor what is claimed."""
        if self._line is not None:
            holdings = worker.holdings()
            self._line.send(
                holdings=[
                    (one.schema, one.worker, list(one.live.items()), one.tally) for one in holdings
                ]
            )

    def _hand_in_counts(self, line: Line) -> None:
        """Tell the supervisor what was counted since the last time."""
        self._counts_due = clock.monotonic() + COUNTS_SECONDS
        for portion in meter.taken():
            line.send(counted=portion)

    def _obey(self, line: Line) -> None:
        for message in line.messages():
            self._take(message)
        if not self._level:
            logger.error("the supervisor is gone; handing everything back")
        self._order(2)

    def _take(self, message: Message) -> None:
        if "stop" in message:
            self._order(message["stop"])
            return
        turn = self.worker.turn_in(message["schema"])
        if "lost" in message:
            turn.let_go({int(id): UUID(token) for id, token in message["lost"]})
        elif "drain" in message:
            turn.is_draining = True
        elif "wake" in message:
            turn.wake()
        elif "lapsed" in message and not self._is_ending:
            self._register_anew(message["schema"], UUID(message["lapsed"]))

    def _register_anew(self, schema: str, lapsed: UUID) -> None:
        try:
            if self.worker.replace(schema, lapsed):
                self._report(self.worker)
        except Exception:
            # The supervisor says it again at its next beat, and this thread must hear it.
            logger.warning("could not register anew", exc_info=True)


def supervised(options: WorkerOptions, stint: Stint) -> Process | None:
    """Return the process that this process's supervisor asked for; None when it has none."""
    found = tether.inherited()
    if found is None:
        return None
    line, worker = found
    return Process(options, stint, line=line, worker=worker)
