"""Which jobs hold a slot and how many wait without one: the one count of both."""

from __future__ import annotations

import threading

from cloaca_django.engine.execution import Job
from cloaca_django.engine.slots import Slots


class Holders:
    """The jobs of one host that hold a slot, by identity, and the number of parked ones.

    By identity because a retry may run while the body it replaces still does. Thread-safe.
    """

    def __init__(self, slots: Slots[Job]) -> None:
        self.slots = slots
        self.parked = 0
        self._jobs: set[Job] = set()
        # Guards both: tasks' threads, the event loop and the turn change them.
        self._lock = threading.Lock()

    def take(self, job: Job) -> None:
        """Note that a job was given a slot."""
        with self._lock:
            self._jobs.add(job)

    def give_back(self, job: Job) -> None:
        """Give a job's slot on: once, whoever comes first."""
        with self._lock:
            is_holder = job in self._jobs
            self._jobs.discard(job)
        if is_holder:
            self.slots.release()

    def park(self, job: Job, *, limit: int | None) -> bool:
        """Give a job's slot on while it waits; False when ``limit`` jobs are parked already."""
        with self._lock:
            if limit is not None and self.parked >= limit:
                return False
            self.parked += 1
        self.give_back(job)
        return True

    def unpark(self, job: Job) -> None:
        """Wait until a parked job holds a slot again."""
        self.slots.reacquire()
        with self._lock:
            self._jobs.add(job)
            self.parked -= 1
