"""``execute`` from inside a task: the parent's slot is given back while its child runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from cloaca_django import ids
from cloaca_django.engine.capture import current_job
from cloaca_django.engine.execution import Job
from cloaca_django.engine.worker import Worker
from cloaca_django.errors import WouldDeadlock

_NAMESPACE = uuid.UUID("6f1c8a52-3a4e-5b7d-9c10-2f6d1e8b4a93")


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that this thread is running."""

    job: Job
    host: Worker

    @property
    def run_id(self) -> UUID:
        """The parent run."""
        return self.job.run_id

    @property
    def task_id(self) -> int:
        """The parent task."""
        return self.job.task_id

    def child_id(self) -> UUID:
        """Return the id of the next child.

        It is the same in every attempt, so a repeated body finds the child of its first attempt.
        """
        self.job.children += 1
        digest = uuid.uuid5(_NAMESPACE, f"{self.task_id}:{self.job.children}")
        # Of the parent's moment: lists and retention rely on ids that are ordered by time.
        return ids.run_id_at(self.run_id.int >> 80, digest.int)

    @contextmanager
    def waiting(self, child: UUID) -> Iterator[None]:
        """Give the slot back while the block waits."""
        self.job.waits_for = child
        is_parked = self.host.park(self.job)
        try:
            yield
        finally:
            if is_parked:
                self.host.unpark(self.job)
            self.job.waits_for = None


def current(alias: str) -> Parent | None:
    """Return the task this thread runs, if it may start runs and wait for them.

    Raises WouldDeadlock in an atomic task: its transaction would stay open for the child's time.
    """
    job = current_job.get()
    if job is None or job.host is None or job.host.alias != alias:
        return None
    if job.policy.atomic or job.task.is_async:
        raise WouldDeadlock(
            f"execute() inside the {'async' if job.task.is_async else 'atomic'} task"
            f" {job.task.name!r} would hold it up",
            "use enqueue(), or aexecute() in an async task",
        )
    return Parent(job, job.host)
