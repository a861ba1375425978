"""Whose turn is next, among tenants that share one worker. Knows nothing of databases.

Who has something to do stands in one line, and who was served goes to its end: so nobody waits
longer than one round, whatever another has queued.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

NEVER = float("inf")


class Rotation:
    """The line of tenants. One thread owns it; moments are on the monotonic clock."""

    def __init__(self) -> None:
        # Dicts, because they keep the order in which somebody came and hold everybody once.
        self._line: dict[str, None] = {}
        self._hungry: dict[str, None] = {}
        self._moments: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def call(self, schema: str) -> None:
        """Let a tenant stand in line, unless it does."""
        self._hungry.pop(schema, None)
        self._moments.pop(schema, None)
        self._line.setdefault(schema)

    def expect(self, schema: str, moment: float) -> None:
        """Let a tenant stand in line from a moment on."""
        if moment == NEVER:
            self._moments.pop(schema, None)
        elif self._moments.get(schema) != moment:
            self._moments[schema] = moment
            heapq.heappush(self._heap, (moment, schema))

    def starve(self, schema: str) -> None:
        """Note that a tenant has work and found no slot free."""
        self._hungry.setdefault(schema)

    def sate(self, schema: str) -> None:
        """Note that a tenant waits for no slot any more."""
        self._hungry.pop(schema, None)

    def hungry(self) -> Iterator[str]:
        """Yield who waits for a slot, who has waited longest first."""
        yield from self._hungry

    def hungry_besides(self, schema: str) -> int:
        """Return how many others wait for a slot."""
        return len(self._hungry) - (schema in self._hungry)

    def others(self, schema: str) -> Iterator[str]:
        """Yield who else waits, for a turn or for a slot."""
        for waiting in (self._hungry, self._line):
            yield from (one for one in waiting if one != schema)

    def take(self, now: float) -> str | None:
        """Return who is first in line and take it out; None when nobody stands there."""
        while self._heap and self._heap[0][0] <= now:
            moment, schema = heapq.heappop(self._heap)
            if self._moments.get(schema) == moment:
                self.call(schema)
        first = next(iter(self._line), None)
        if first is not None:
            del self._line[first]
        return first

    def next_moment(self) -> float:
        """Return when somebody will stand in line; 0 when somebody does."""
        if self._line:
            return 0.0
        while self._heap and self._moments.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def forget(self, schema: str) -> None:
        """Take a tenant out of everything."""
        for where in (self._line, self._hungry, self._moments):
            where.pop(schema, None)
