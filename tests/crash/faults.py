"""Database connections that fail at a chosen point of what an operation really sends.

A plan numbers every statement and every COMMIT that passes; at one of them it crashes, once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

COMMIT = "COMMIT"
# The end of the summary of a writing statement that no transaction is around.
ALONE = ", alone"


class Killed(BaseException):
    """The process died here. No ``except Exception`` may see it."""


class Crash(enum.Enum):
    """What happens at a point. Killed processes say nothing more; dropped ones go on."""

    KILLED_BEFORE = "killed before it"
    DROPPED_AFTER = "connection dropped after it"
    REPLY_LOST = "its reply lost"
    KILLED_AFTER = "killed after it"


AT_STATEMENT = (Crash.KILLED_BEFORE, Crash.DROPPED_AFTER)
# A statement without a transaction around it commits itself: its reply is the commit's.
AT_LONE_STATEMENT = (*AT_STATEMENT, Crash.KILLED_AFTER)
AT_COMMIT = (Crash.KILLED_BEFORE, Crash.REPLY_LOST, Crash.KILLED_AFTER)


@dataclass
class Plan:
    """The points that were passed while armed, and where to crash. ``at`` None only records."""

    at: int | None = None
    crash: Crash | None = None
    is_armed: bool = False
    has_fired: bool = False
    is_dead: bool = False

    def __post_init__(self) -> None:
        self.points: list[str] = []

    def arm(self, at: int, crash: Crash) -> None:
        """Crash at point ``at`` from now."""
        self.at, self.crash = at, crash
        self.is_armed, self.has_fired = True, False
        self.points.clear()

    def reach(self, point: str) -> Crash | None:
        """Count a point; returns the crash that happens there."""
        self.check_alive()
        if self.has_fired or not self.is_armed:
            return None
        self.points.append(point)
        if self.at is None or len(self.points) - 1 != self.at:
            return None
        self.has_fired = True
        return self.crash

    def check_alive(self) -> None:
        """Raise Killed in a process that is dead already."""
        if self.is_dead:
            raise Killed

    def kill(self) -> Killed:
        """Let the process be dead from now on."""
        self.is_dead = True
        return Killed()


class FaultyTransport:
    """A transport of the engine's own that follows a plan.

    ``cut`` ends a connection for good; ``release`` takes one back that is closed while sound.
    """

    def __init__(
        self, inner: Any, plan: Plan, cut: Callable[[Any], None], release: Callable[[Any], None]
    ) -> None:
        self.inner = inner
        self.plan = plan
        self._cut = cut
        self._release = release
        self._is_cut = self._is_closed = False
        self._is_in_transaction = False

    def execute(self, text: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        is_alone = not self._is_in_transaction and ("UPDATE" in text or "INSERT" in text)
        crash = self.plan.reach(summary(text) + ALONE * is_alone)
        if crash is Crash.KILLED_BEFORE:
            raise self.plan.kill()
        rows: list[tuple[Any, ...]] = self.inner.execute(text, params)
        if crash is Crash.KILLED_AFTER:
            raise self.plan.kill()
        if crash is Crash.DROPPED_AFTER:
            self._drop()
            if not self._is_in_transaction:
                self._meet_dead_connection()
        return rows

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        with self.inner.transaction(durable=durable):
            self._is_in_transaction = True
            try:
                yield
            finally:
                self._is_in_transaction = False
            crash = self.plan.reach(COMMIT)
            if crash is Crash.KILLED_BEFORE:
                raise self.plan.kill()
        if crash is Crash.KILLED_AFTER:
            raise self.plan.kill()
        if crash is Crash.REPLY_LOST:
            self._drop()
            self._meet_dead_connection()

    def insist(self) -> None:
        self.inner.insist()

    def close(self) -> None:
        if self._is_cut:
            self.inner.close()
        elif not self._is_closed:
            self._release(self.inner)
        self._is_closed = True

    def _drop(self) -> None:
        self._is_cut = True
        self._cut(self.inner.connection)

    def _meet_dead_connection(self) -> None:
        """Raise what the driver itself raises on a connection that is gone."""
        self.inner.execute("SELECT 1", {})
        raise AssertionError("the connection was to be dead")


class FaultyDjango:
    """A Django connection that follows a plan in the block. ``cut`` ends its connection."""

    def __init__(self, wrapper: Any, plan: Plan, cut: Callable[[Any], None]) -> None:
        self.wrapper = wrapper
        self.plan = plan
        self._cut = cut
        self._original = wrapper._commit
        self._hook = wrapper.execute_wrapper(self._execute)

    def __enter__(self) -> None:
        self.wrapper._commit = self._commit
        self._hook.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._hook.__exit__(*error)
        self.wrapper._commit = self._original

    def _execute(self, run: Any, text: str, params: Any, many: bool, context: Any) -> Any:
        crash = self.plan.reach(summary(text))
        if crash is Crash.KILLED_BEFORE:
            self._die()
        result = run(text, params, many, context)
        if crash is Crash.DROPPED_AFTER:
            self._cut(self.wrapper.connection)
        return result

    def _commit(self) -> None:
        crash = self.plan.reach(COMMIT)
        if crash is Crash.KILLED_BEFORE:
            self._die()
        self._original()
        if crash is Crash.KILLED_AFTER:
            self._die()
        if crash is Crash.REPLY_LOST:
            self._cut(self.wrapper.connection)
            with self.wrapper.wrap_database_errors:
                self.wrapper.connection.cursor().execute("SELECT 1")

    def _die(self) -> None:
        # Otherwise Django would go on tidying up, as no dead process does.
        self._cut(self.wrapper.connection)
        raise self.plan.kill()


def crashes_at(point: str) -> tuple[Crash, ...]:
    """Return what may happen at a point that a plan recorded."""
    if point == COMMIT:
        return AT_COMMIT
    return AT_LONE_STATEMENT if point.endswith(ALONE) else AT_STATEMENT


def summary(text: str) -> str:
    """Return what a statement does, in one line."""
    flat = re.sub(r"\s+", " ", text).strip()
    found = re.findall(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+(\"?cloaca_\w+\"?|\w+)", flat)
    return f"{flat.split(' ', 1)[0]} {' '.join(dict.fromkeys(table for _, table in found))[:60]}"
