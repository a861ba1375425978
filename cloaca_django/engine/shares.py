"""How the tenants of one worker share its slots. Knows nothing of databases.

Alone, a tenant may have all of them. While others wait it has its part, and a slot that becomes
free goes to who has waited for one longest, whoever gave it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cloaca_django.engine.agenda import Pace
from cloaca_django.engine.rotation import Rotation
from cloaca_django.engine.slots import Slots

# A waiting tenant takes its part of the slots from the others'; beyond so many it gets no smaller.
MAX_PARTS = 8


class Claimant(Protocol):
    """Who holds slots, or wants some."""

    @property
    def schema(self) -> str:
        """Its name in the rotation."""

    @property
    def held(self) -> int:
        """How many slots it has taken, or will as soon as they are free."""

    def wants(self) -> bool:
        """Say whether something is known that it could claim."""

    def room(self) -> int:
        """Return how many tasks it may claim now: what ``Shares.room`` says, or less."""


class Shares:
    """The room of each tenant. The turns' thread owns it.

    ``limit`` is how many slots a tenant may have at most, ``left`` returns how many more tasks the
    worker may claim at all; None: as many as there is room for.
    """

    def __init__(
        self,
        slots: Slots[Any],
        rotation: Rotation,
        claimants: Mapping[str, Claimant],
        *,
        limit: int | None = None,
        left: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.pace = Pace(slots.limit)
        self._slots = slots
        self._rotation = rotation
        self._claimants = claimants
        self._limit = limit
        self._left = left
        self._guest = ""

    def room(self, claimant: Claimant) -> int:
        """Return how many tasks a tenant may claim now."""
        free = self._free()
        if claimant.schema != self._guest:
            # Each of them waits for one of these.
            free -= self._rotation.hungry_besides(claimant.schema)
        rooms = [free, self._part(claimant) - claimant.held]
        if self._limit is not None:
            rooms.append(self._limit - claimant.held)
        left = self._left()
        if left is not None:
            rooms.append(left)
        return max(0, min(rooms))

    def is_full(self, claimant: Claimant) -> bool:
        """Say whether a tenant has all it may ever have: no slot of others would help it."""
        left = self._left()
        is_over = left is not None and left <= 0
        return is_over or (self._limit is not None and claimant.held >= self._limit)

    def next_guest(self) -> str | None:
        """Return who has waited for a slot longest and can have one now."""
        self._guest = ""
        if self._free() <= 0:
            return None
        for schema in list(self._rotation.hungry()):
            claimant = self._claimants.get(schema)
            if claimant is None or not claimant.wants() or self.is_full(claimant):
                self._rotation.sate(schema)
                continue
            self._guest = schema
            if claimant.room() > 0:
                return schema
        self._guest = ""
        return None

    def see_off(self) -> None:
        """End the visit of a guest."""
        self._guest = ""

    def _free(self) -> int:
        return self._slots.limit + self.pace.prefetch() - self._slots.load

    def _part(self, claimant: Claimant) -> int:
        waiting = 1
        for schema in self._rotation.others(claimant.schema):
            other = self._claimants.get(schema)
            waiting += other is not None and other.wants() and not self.is_full(other)
            if waiting == MAX_PARTS:
                break
        return -(-(self._slots.limit + self.pace.prefetch()) // waiting)
