"""Which jobs hold a slot: each has one or none, however many of its coroutines or threads wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cloaca_django.conf import settings
from cloaca_django.engine.execution import Job
from cloaca_django.engine.messages import Deferral
from cloaca_django.engine.slots import Slots


class Holders:
    """The jobs of a worker that hold a slot, and those that gave theirs back while they wait."""

    def __init__(self, slots: Slots[Job], *, post: Callable[[Deferral], None]) -> None:
        self.slots = slots
        self._post = post
        # By identity: a retry may run while the body it replaces still does.
        self._holders: set[Job] = set()
        self._parked = 0
        # Two coroutines of one job may park and return at the same moment.
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Note that a job was started with a slot."""
        with self._lock:
            self._holders.add(job)

    def give_back(self, job: Job) -> None:
        """Give a job's slot back: once, whoever comes first."""
        with self._lock:
            is_holder = job in self._holders
            self._holders.discard(job)
        if is_holder:
            self.slots.release()

    def park(self, job: Job) -> bool:
        """Give the slot back while something of the job waits; False: too many do already."""
        with self._lock:
            if not job.waits:
                if self._parked >= settings.MAX_PARKED_THREADS and not job.task.is_async:
                    return False
                self._parked += 1
            job.waits += 1
            is_first = job.waits == 1
        if is_first:
            self._post(Deferral(job, is_deferred=True))
            self.give_back(job)
        return True

    def unpark(self, job: Job) -> None:
        """Wait for a slot again, if nothing else of the job waits."""
        with self._lock:
            job.waits -= 1
            if job.waits:
                return
            self._parked -= 1
        self.slots.reacquire()
        if self._takes(job):
            self._post(Deferral(job, is_deferred=False))
        else:
            self.slots.release()

    def _takes(self, job: Job) -> bool:
        """Make a job a holder again; False if something else of it waits, or came back before."""
        with self._lock:
            takes = not job.waits and job not in self._holders
            if takes:
                self._holders.add(job)
        return takes
