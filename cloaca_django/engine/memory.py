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
        self._limit = limit_bytes
        self._bytes = 0
        # With the size that was counted: a settle changes the state's own before it is kept again.
        self._states: OrderedDict[UUID, tuple[RunState, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def current(self, run_id: UUID, revision: UUID) -> RunState | None:
        """Return the state of a run if it is of ``revision``; forget it if it is not."""
        state, _ = self._states.get(run_id, (None, 0))
        if state is None:
            return None
        if state.revision != revision:
            self.forget([run_id])
            return None
        return state

    def known(self, run_id: UUID) -> RunState | None:
        """Return the state of a run as far as it is known, for a write that names its revision."""
        return self._states.get(run_id, (None, 0))[0]

    def keep(self, state: RunState) -> None:
        """Remember a state that an acknowledged commit made true."""
        self.forget([state.id])
        self._states[state.id] = state, state.size
        self._bytes += state.size
        while self._bytes > self._limit and self._states:
            self.forget([next(iter(self._states))])

    def forget(self, run_ids: Iterable[UUID]) -> None:
        """Drop what is known of some runs."""
        for run_id in run_ids:
            _, size = self._states.pop(run_id, (None, 0))
            self._bytes -= size

    def clear(self) -> None:
        """Drop everything; after a lost connection nothing is certain."""
        self._states.clear()
        self._bytes = 0
