"""Runs that this worker drives, kept in memory so that their rows need not be read again.

A state is only as good as its revision: whoever uses one compares it with the run's row first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from cloaca_django.core.progress import RunState


class Memory:
    """A bounded map of runs, least recently used first to go."""

    def __init__(self, limit_bytes: int) -> None:
        self._tenant = ""
        self._kept = _Kept(limit_bytes)

    def of_tenant(self, schema: str) -> Memory:
        """Return a memory of one tenant's runs in the same bounds.

        A copied schema has runs of the same ids, and what they hold is another's.
        """
        part = Memory(0)
        part._tenant, part._kept = schema, self._kept
        return part

    def __len__(self) -> int:
        return len(self._kept.states)

    def current(self, run_id: UUID, revision: UUID) -> RunState | None:
        """Return the state of a run if it is of ``revision``; forget it if it is not."""
        state, _ = self._kept.states.get((self._tenant, run_id), (None, 0))
        if state is None:
            return None
        if state.revision != revision:
            self.forget([run_id])
            return None
        return state

    def known(self, run_id: UUID) -> RunState | None:
        """Return the state of a run as far as it is known, for a write that names its revision."""
        return self._kept.states.get((self._tenant, run_id), (None, 0))[0]

    def keep(self, state: RunState) -> None:
        """Remember a state that an acknowledged commit made true."""
        self._kept.put((self._tenant, state.id), state)

    def forget(self, run_ids: Iterable[UUID]) -> None:
        """Drop what is known of some runs."""
        for run_id in run_ids:
            self._kept.drop((self._tenant, run_id))

    def clear(self) -> None:
        """Drop everything; after a lost connection nothing is certain."""
        for key in [key for key in self._kept.states if key[0] == self._tenant]:
            self._kept.drop(key)


class _Kept:
    """The states of all tenants' runs, and how large they are together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        # With the size that was counted: a settle changes the state's own before it is kept again.
        self.states: OrderedDict[tuple[str, UUID], tuple[RunState, int]] = OrderedDict()

    def put(self, key: tuple[str, UUID], state: RunState) -> None:
        self.drop(key)
        self.states[key] = state, state.size
        self._bytes += state.size
        while self._bytes > self._limit and self.states:
            self.drop(next(iter(self.states)))

    def drop(self, key: tuple[str, UUID]) -> None:
        _, size = self.states.pop(key, (None, 0))
        self._bytes -= size
