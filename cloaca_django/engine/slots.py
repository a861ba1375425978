"""How many tasks run at once, and on which threads. Knows nothing of databases.

A slot is a right to run. Work that waits for something else gives its slot back and takes one
again later; work that never returns is abandoned with its thread, and its slot is given on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Slots(Generic[Item]):
    """A counted set of slots, a backlog, and the threads that serve them. Thread-safe."""

    def __init__(
        self, limit: int, run: Callable[[Item], None], *, name: str = "cloaca-task"
    ) -> None:
        self.limit = limit
        self._run = run
        self._name = name
        self._lock = threading.Lock()
        self._backlog: deque[Item] = deque()
        # Parked threads that want a slot again, and go first.
        self._returning: deque[threading.Event] = deque()
        self._used = 0
        self._idle = 0
        self._threads = 0
        self._started = 0
        self._handoff: SimpleQueue[Item | None] = SimpleQueue()
        self._is_closed = False

    @property
    def load(self) -> int:
        """Return how many items run or wait for a slot."""
        return self._used + len(self._backlog) + len(self._returning)

    def submit(self, item: Item) -> None:
        """Run ``item`` on a thread as soon as a slot is free; its end must ``release`` the slot."""
        with self._lock:
            if self._used >= self.limit:
                self._backlog.append(item)
                return
            self._used += 1
        self._start(item)

    def release(self) -> None:
        """Give a slot back; whoever waited longest takes it over, parked threads first."""
        with self._lock:
            if self._used > self.limit or not (self._returning or self._backlog):
                self._used -= 1
                return
            if self._returning:
                self._returning.popleft().set()
                return
            item = self._backlog.popleft()
        self._start(item)

    def reacquire(self) -> None:
        """Wait until this thread holds a slot again, ahead of work that never had one."""
        granted = threading.Event()
        with self._lock:
            if self._used < self.limit:
                self._used += 1
                return
            self._returning.append(granted)
        granted.wait()

    def withdraw(self, is_wanted: Callable[[Item], bool] = lambda item: True) -> list[Item]:
        """Take back the wanted items of those that have not started."""
        with self._lock:
            backlog, self._backlog = self._backlog, deque()
            taken: list[Item] = []
            for item in backlog:
                (taken if is_wanted(item) else self._backlog).append(item)
        return taken

    def close(self) -> None:
        """Let idle threads end; busy ones end after their work."""
        with self._lock:
            self._is_closed = True
            idle = self._threads
        for _ in range(idle):
            self._handoff.put(None)

    def _start(self, item: Item) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._handoff.put(item)
                return
            self._threads += 1
            self._started += 1
            name = f"{self._name}-{self._started}"
        threading.Thread(target=self._serve, args=(item,), name=name, daemon=True).start()

    def _serve(self, item: Item | None) -> None:
        try:
            while item is not None:
                self._run(item)
                with self._lock:
                    if self._is_closed:
                        return
                    self._idle += 1
                item = self._handoff.get()
        finally:
            with self._lock:
                self._threads -= 1
