"""Time limits of the jobs that this worker runs. Durations only, on the monotonic clock."""

from __future__ import annotations

import heapq
import itertools

from cloaca_django import clock
from cloaca_django.engine.execution import Job

# Jobs that are over are let go when as many were added again, and never for fewer than these.
FEW = 256


class Limits:
    """Jobs by the moment their limit ends, on this process's monotonic clock."""

    def __init__(self, default_seconds: float | None) -> None:
        self._default = default_seconds
        # The number decides between equal moments: jobs do not compare.
        self._heap: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._tidy_at = FEW

    def __len__(self) -> int:
        return len(self._heap)

    def of(self, job: Job) -> float | None:
        """Return a job's limit in seconds; None means it has none."""
        return job.policy.timeout_seconds or self._default

    def add(self, job: Job) -> None:
        """Watch a job."""
        limit = self.of(job)
        if limit is None:
            return
        self._push(clock.monotonic() + limit, job)
        if len(self._heap) >= self._tidy_at:
            self._tidy()

    def _tidy(self) -> None:
        """Let go of jobs that are over: their limits are minutes away, and they hold contexts."""
        self._heap = [entry for entry in self._heap if not entry[2].is_over]
        heapq.heapify(self._heap)
        self._tidy_at = max(FEW, 2 * len(self._heap))

    def _push(self, moment: float, job: Job) -> None:
        heapq.heappush(self._heap, (moment, next(self._numbers), job))

    @property
    def next_at(self) -> float:
        """Return when the next limit may end."""
        return self._heap[0][0] if self._heap else float("inf")

    def overdue(self) -> list[tuple[Job, float]]:
        """Return the jobs whose time is up, with their limits, and stop watching them."""
        now = clock.monotonic()
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, _, job = heapq.heappop(self._heap)
            limit = self.of(job)
            if job.is_over or limit is None:
                continue  # its outcome is known already
            if job.started is None:
                # It still waits for a slot: its time has not begun.
                self._push(now + limit, job)
            elif now - job.started < limit:
                self._push(job.started + limit, job)
            else:
                found.append((job, limit))
        return found
