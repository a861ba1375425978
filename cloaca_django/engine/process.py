"""One worker process in the foreground: runs until told to stop, or until nothing is left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from uuid import UUID

from django.db import DatabaseError, connections

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.core.wording import counted
from cloaca_django.dialect import open_session, site_session
from cloaca_django.engine import firing, tether
from cloaca_django.engine.tether import Line, Message
from cloaca_django.engine.worker import Worker, WorkerOptions
from cloaca_django.models import TaskExecution

logger = logging.getLogger("cloaca_django.worker")

# The exit code that asks for a fresh process (sysexits' EX_TEMPFAIL).
RECYCLE = 75

# How often the reasons to end are looked at. No statement is sent for it.
LOOK_SECONDS = 0.2
BRISK_SECONDS = 0.02


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
        self.worker = Worker(options, report=self._report if line else None)
        if worker is not None:
            self.worker.claimer.worker = worker
        self.worker.turn.budget = stint.max_tasks
        self.stint = stint
        self.left_running = 0
        self._say = say
        self._line = line
        self._level = 0
        self._is_renewing = False
        self._is_ending = False
        # A queue and not an Event: a signal handler may put into it at any moment.
        self._news: SimpleQueue[None] = SimpleQueue()

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
                self._line.close()
        return code

    # -- reasons to end

    def _watch(self) -> int:
        brisk = self.stint.burst or self.stint.max_tasks or self.worker.options.claims_once
        while not (self._level or self._is_renewing):
            self._rest(BRISK_SECONDS if brisk else LOOK_SECONDS)
            if self._must_recycle():
                return RECYCLE
            if self._has_had_enough():
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
        abandoned = len(self.worker.host.abandoned)
        if abandoned < settings.MAX_ABANDONED_THREADS:
            return False
        logger.warning(
            "%d timed-out tasks still hold threads; this process must be replaced", abandoned
        )
        return True

    def _has_had_enough(self) -> bool:
        limit = self.stint.max_tasks
        return limit is not None and self.worker.turn.settled_tasks >= limit

    def _is_through(self) -> bool:
        turn = self.worker.turn
        if self.worker.options.claims_once:
            return turn.is_draining and not turn.running and not turn.batch
        return self.stint.burst and turn.is_idle() and not self._has_work()

    def _has_work(self) -> bool:
        """Ask the database whether this worker owns a task, or one that it can run is ready or due.

        What the turn knows is a moment old, and must not end a process too early.
        """
        alias, claimer = self.worker.alias, self.worker.claimer
        try:
            found = site_session(alias).look()
            tasks = TaskExecution.objects.using(alias)
            if tasks.owned_by(claimer.worker).exists():
                return True
            if found.seconds_to_due is not None and found.seconds_to_due <= 0:
                return True
            if self.worker.options.firing and firing.is_any_due(site_session(alias)):
                return True
            return found.has_ready and any(
                claimer.takes(workflow, queue) and claimer.has_code(workflow, name)
                for queue, workflow, name in tasks.claimable_kinds()
            )
        except DatabaseError:
            # Nobody knows; the turn waits for the database too.
            connections[alias].close()
            return True

    # -- the end

    def _end(self) -> None:
        self._is_ending = True
        if self._level < 2:
            self._finish()
        self.left_running = len(self.worker.turn.running)
        self.worker.stop(grace=0.0)
        done = self.worker.turn.settled_tasks - self.left_running
        rest = f", {self.left_running} handed back" if self.left_running else ""
        self._say(f"Stopped after {counted(done, 'task')}{rest}")

    def _finish(self) -> None:
        """Claim nothing more, and give what runs its time."""
        turn, grace = self.worker.turn, self.stint.grace
        self.worker.drain()
        if turn.running:
            self._say(
                f"Finishing {counted(len(turn.running), 'task')}, for {grace:g} s at most;"
                " a second signal hands them back now"
            )
        end = clock.monotonic() + grace
        while turn.running and self._level < 2 and clock.monotonic() < end:
            self._rest(BRISK_SECONDS)

    # -- the supervisor

    def _report(self, worker: Worker) -> None:
        """Tell the supervisor what is claimed."""
        if self._line is not None:
            self._line.send(worker=worker.claimer.worker, live=list(worker.live().items()))

    def _obey(self, line: Line) -> None:
        for message in line.messages():
            self._take(message)
        if not self._level:
            logger.error("the supervisor is gone; handing everything back")
        self._order(2)

    def _take(self, message: Message) -> None:
        if "stop" in message:
            self._order(message["stop"])
        elif "lost" in message:
            self.worker.let_go({int(id): UUID(token) for id, token in message["lost"]})
        elif "drain" in message:
            self.worker.turn.is_draining = True
        elif "wake" in message:
            self.worker.wake()
        elif message.get("lapsed") == str(self.worker.claimer.worker) and not self._is_ending:
            with closing(open_session(self.worker.alias)) as session:
                self.worker.register_anew(session)
            self._report(self.worker)


def supervised(options: WorkerOptions, stint: Stint) -> Process | None:
    """Return the process that this process's supervisor asked for; None when it has none."""
    found = tether.inherited()
    if found is None:
        return None
    line, worker = found
    return Process(options, stint, line=line, worker=worker)
