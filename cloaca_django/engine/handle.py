"""The second argument of a task: deferral, the completing block, identity, cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from uuid import UUID

from cloaca_django.core import options
from cloaca_django.core.context import Context
from cloaca_django.engine.execution import Job
from cloaca_django.errors import HandleConsumed, TaskCancelled, WouldDeadlock

logger = logging.getLogger("cloaca_django.task")


class Host(Protocol):
    """What a handle needs of whoever runs its task."""

    def park(self, job: Job) -> bool:
        """Give the job's slot back; False when too many are parked and the slot is kept."""

    def unpark(self, job: Job) -> None:
        """Take a slot again."""

    def pause(self, job: Job, seconds: float) -> None:
        """Let ``seconds`` pass, or less when the job is cancelled."""

    async def apause(self, job: Job, seconds: float) -> None:
        """As ``pause``, for an async job; its cancellation ends the wait."""

    def completing(self, job: Job, context: Context) -> AbstractContextManager[None]:
        """Open the transaction whose commit completes the task."""


class TaskHandle:
    """A running task's view of itself. Valid until its function returns."""

    def __init__(self, job: Job, host: Host) -> None:
        self._job = job
        self._host = host
        # The engine hands over the body's own context when the body starts.
        self.context = Context()
        self._is_consumed = False
        self._holds_slot = True
        self._is_completing = False

    @property
    def run_id(self) -> UUID:
        """The run this task belongs to."""
        return self._job.run_id

    @property
    def task_id(self) -> int:
        """The task's row."""
        return self._job.task_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._job.attempt

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for every attempt of this task and for no other task.

        Hand it to services that refuse to do the same thing twice.
        """
        return f"{self._job.run_id}:{self._job.task.name}"

    @property
    def cancelled(self) -> bool:
        """True once the outcome of this attempt no longer counts; long tasks should look."""
        return self._job.cancelled.is_set()

    def is_slot_held(self) -> bool:
        """Return whether the task counts against the concurrency limit now."""
        self._check_usable()
        return self._holds_slot

    def defer_until(self, condition: Callable[[], object], poll_interval_ms: int = 1000) -> None:
        """Wait without holding a slot until ``condition()`` returns True itself.

        The first look comes after one interval. A condition that raises counts as not yet. The
        wait counts against the task's timeout; when the worker dies meanwhile the task starts
        again from its top, and no attempt is charged. Raises TaskCancelled when the run is.
        """
        interval = self._check_deferrable(poll_interval_ms)
        self._holds_slot = not self._host.park(self._job)
        try:
            while True:
                self._host.pause(self._job, interval)
                if self.cancelled:
                    raise TaskCancelled(self._job.task.name)
                if self._is_met(condition):
                    return
        finally:
            if not self._holds_slot:
                self._host.unpark(self._job)
                self._holds_slot = True

    @contextmanager
    def completing(self) -> Iterator[None]:
        """Commit the block's database writes together with this task's completion.

        The context is taken as it stands at the end of the block. If the task was lost to another
        worker, or the block raises, its writes are rolled back. Once per attempt.
        """
        self._check_usable()
        if self._job.policy.atomic or self._is_completing or self._job.task.is_async:
            raise WouldDeadlock(
                "handle.completing() stands once in a task that is neither atomic nor async",
                "put all the writes into one block",
            )
        self._is_completing = True
        with self._host.completing(self._job, self.context):
            yield

    def consume(self) -> None:
        """Refuse every later use."""
        self._is_consumed = True

    def _is_met(self, condition: Callable[[], object]) -> bool:
        try:
            return condition() is True
        except Exception:
            # Not yet, by the contract of defer_until; a service that is down comes back.
            logger.warning(
                "condition of deferred task %s raised", self._job.task.name, exc_info=True,
                extra={"run_id": str(self._job.run_id), "task": self._job.task.name},
            )  # fmt: skip
            return False

    def _check_usable(self) -> None:
        if self._is_consumed:
            raise HandleConsumed()

    def _check_deferrable(self, poll_interval_ms: int) -> float:
        self._check_usable()
        if self._job.policy.atomic or self._is_completing:
            raise WouldDeadlock(
                "defer_until would keep a database transaction open while it waits",
                "use it in a task that is not atomic, before handle.completing()",
            )
        owner, option = "defer_until()", "poll_interval_ms"
        return options.integer(owner, option, poll_interval_ms, low=1, high=86_400_000) / 1000


class AsyncTaskHandle(TaskHandle):
    """The handle of an ``async def`` task: ``defer_until`` is awaited."""

    async def defer_until(  # type: ignore[override]
        self,
        condition: Callable[[], object | Awaitable[object]],
        poll_interval_ms: int = 1000,
    ) -> None:
        """As ``TaskHandle.defer_until``; the condition may be a coroutine function."""
        interval = self._check_deferrable(poll_interval_ms)
        self._holds_slot = not self._host.park(self._job)
        try:
            while True:
                await self._host.apause(self._job, interval)
                if self.cancelled:
                    raise TaskCancelled(self._job.task.name)
                if await self._is_met_async(condition):
                    return
        finally:
            if not self._holds_slot:
                await asyncio.to_thread(self._host.unpark, self._job)
                self._holds_slot = True

    async def _is_met_async(self, condition: Callable[[], object]) -> bool:
        met: list[object] = []

        def call() -> bool:
            met.append(condition())
            return met[0] is True

        if self._is_met(call):
            return True
        if met and isinstance(met[0], Awaitable):
            try:
                return await met[0] is True
            except Exception:
                logger.warning("condition of deferred task %s raised", self._job.task.name)
        return False
