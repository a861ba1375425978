"""``execute`` from inside a task: the parent's slot is given back while its child runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core.result import PipelineResult
from cloaca_django.core.states import RunStatus
from cloaca_django.engine.capture import current_job
from cloaca_django.engine.execution import Job
from cloaca_django.engine.hosting import JobHost
from cloaca_django.engine.messages import Ask
from cloaca_django.errors import WouldDeadlock

_NAMESPACE = uuid.UUID("6f1c8a52-3a4e-5b7d-9c10-2f6d1e8b4a93")


_REMEDY = "use enqueue(), or aexecute() in an async task"


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that this thread is running."""

    job: Job
    host: JobHost

    @property
    def run_id(self) -> UUID:
        """The parent run."""
        return self.job.run_id

    @property
    def task_id(self) -> int:
        """The parent task."""
        return self.job.task_id

    def next_call(self) -> int:
        """Return the number of the next run this attempt asks for."""
        return next(self.job.calls)

    def child_id(self, call: int, chance: int) -> UUID:
        """Return the id of a child: the same in every attempt of the task.

        So a repeated body finds the child of its first attempt. ``chance`` counts children that
        were found Cancelled, as those of an attempt that timed out are.
        """
        digest = uuid.uuid5(_NAMESPACE, f"{self.task_id}:{call}:{chance}")
        # Of the parent's moment: lists and retention rely on ids that are ordered by time.
        return ids.run_id_at(self.run_id.int >> 80, digest.int)

    def check_may_block(self, call: str) -> None:
        """Raise WouldDeadlock where the wait of ``call`` would hold more than this thread."""
        if self.job.policy.atomic:
            raise WouldDeadlock(
                f"{call} inside the atomic task {self.job.task.name!r} would keep its"
                " transaction open while it waits",
                _REMEDY,
            )
        if self.job.task.is_async:
            raise WouldDeadlock(
                f"{call} inside the async task {self.job.task.name!r} would block every other"
                " async task",
                _REMEDY,
            )

    @contextmanager
    def waiting(self, child: UUID | None = None) -> Iterator[None]:
        """Give the slot back while the block waits; a ``child`` ends with its parent."""
        with self._bound(child):
            is_parked = self.host.park(self.job)
            try:
                yield
            finally:
                if is_parked:
                    self.host.unpark(self.job)

    @asynccontextmanager
    async def awaiting(self, child: UUID) -> AsyncIterator[None]:
        """As ``waiting``, for an async task."""
        with self._bound(child):
            is_parked = self.host.park(self.job)
            try:
                yield
            finally:
                if is_parked:
                    await asyncio.to_thread(self.host.unpark, self.job)

    @contextmanager
    def _bound(self, child: UUID | None) -> Iterator[None]:
        """Let a child end with this task while the block waits for it."""
        if child is None:
            yield
            return
        self.job.waits_for.add(child)
        try:
            yield
        finally:
            self.job.waits_for.discard(child)


def current(alias: str, schema: str = "") -> Parent | None:
    """Return the task this code runs in, if a worker on that database and schema runs it."""
    job = current_job.get()
    if job is None or job.host is None:
        return None
    if (job.host.alias, job.host.schema) != (alias, schema):
        return None
    return Parent(job, job.host)


def is_stale_child(ask: Ask, result: PipelineResult) -> bool:
    """Say whether a task found the child of an attempt that was given up, which ended with it."""
    return ask.was_found and result.status == RunStatus.CANCELLED
