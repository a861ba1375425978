"""The tasks' executor: runs the jobs a worker claimed, and answers what their handles ask.

A worker of many tenants has one crew and a host for each of them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from uuid import UUID

from cloaca_django import tenancy
from cloaca_django.core.context import Context
from cloaca_django.dialect import DRIVER_ERRORS, Session, is_transient
from cloaca_django.engine import aborting, completing, connections, execution, operations, spans
from cloaca_django.engine.execution import Job
from cloaca_django.engine.handle import AsyncTaskHandle, TaskHandle
from cloaca_django.engine.holders import Holders
from cloaca_django.engine.messages import Deferral, Done, Moved
from cloaca_django.engine.settlement import Outcome
from cloaca_django.engine.slots import Slots
from cloaca_django.errors import CloacaError, NotInTenant

logger = logging.getLogger("cloaca_django.worker")

_UNCANCELLED: tuple[type[Exception], ...] = (CloacaError, *DRIVER_ERRORS)


class Crew:
    """The slots, threads and event loop of one worker. Tasks of all its tenants share them."""

    def __init__(self, concurrency: int) -> None:
        self.holders = Holders(Slots(concurrency, _run), post=_post)
        self.abandoned: set[Job] = set()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_lock = threading.Lock()

    @property
    def slots(self) -> Slots[Job]:
        """The slots."""
        return self.holders.slots

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop on which async bodies run; its thread starts on first use."""
        with self._loop_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self.spawn(self._serve_loop, "cloaca-async")
            return self._loop

    def spawn(self, target: Callable[[], None], name: str) -> None:
        """Start a thread that ``close`` waits for."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Let the threads end; those of bodies that go on end after them."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(10.0)
        self.slots.close()

    def _serve_loop(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.run_forever()
        finally:
            # Coroutines of abandoned tasks end here; nobody waits for them any more.
            for task in (left := asyncio.all_tasks(loop)):
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def _run(job: Job) -> None:
    job.host.run(job)


def _post(deferral: Deferral) -> None:
    deferral.job.host.post(deferral)


class JobHost:
    """Runs the jobs of one schema with a crew, and answers what their handles ask.

    ``post`` tells the schema's turn, ``worker`` returns the id that the worker has there now.
    """

    def __init__(
        self,
        *,
        alias: str,
        crew: Crew,
        post: Callable[[object], None],
        worker: Callable[[], UUID],
        connect: Callable[[], Session],
        schema: str = "",
    ) -> None:
        self.alias = alias
        self.schema = schema
        self.post = post
        self._worker = worker
        self._connect = connect
        self._crew = crew
        self.holders = crew.holders

    def start(self, job: Job) -> None:
        """Run a job as soon as a slot is free."""
        job.host = self
        self.holders.slots.submit(job)

    def run(self, job: Job) -> None:
        """Run a job, which was given a slot, on this thread or on the event loop."""
        self.holders.add(job)
        if job.is_over:
            self.holders.give_back(job)
        elif job.task.is_async:
            coroutine = self._run_async(job)
            job.future = asyncio.run_coroutine_threadsafe(coroutine, self._crew.event_loop())
        else:
            self._run_sync(job)

    def abandon(self, job: Job) -> None:
        """Let a job's thread go: its database connection is cut, its slot is given on."""
        if job.started is not None:
            self._crew.abandoned.add(job)
        self.holders.give_back(job)
        # Before the body hears of it: a coroutine that is cancelled waits for nothing any more.
        children = list(job.waits_for)
        if job.future is not None:
            job.future.cancel()
        aborting.abort(job)
        if children:
            self._crew.spawn(lambda: self._cancel_all(children), "cloaca-cancel")

    # -- what a task's handle asks for

    def park(self, job: Job) -> bool:
        """Give a job's slot back while it waits."""
        return self.holders.park(job)

    def unpark(self, job: Job) -> None:
        """Take a slot again."""
        self.holders.unpark(job)

    def pause(self, job: Job, seconds: float) -> None:
        """Let time pass."""
        job.cancelled.wait(seconds)

    async def apause(self, job: Job, seconds: float) -> None:
        """Let time pass on the event loop."""
        await asyncio.sleep(seconds)

    @contextmanager
    def completing(self, job: Job, context: Context) -> Iterator[None]:
        """Open the transaction whose commit completes a job."""
        with completing.completing(
            job, alias=self.alias, worker=self._worker(), durable=True
        ) as finish:
            yield
            finish(execution.outcome_of(job, context, None))

    # -- one job

    def _run_sync(self, job: Job) -> None:
        try:
            self._carry_out(job)
        except BaseException as error:
            self._rescue(job, error)

    async def _run_async(self, job: Job) -> None:
        try:
            await self._carry_out_async(job)
        except BaseException as error:
            self._rescue(job, error)

    def _rescue(self, job: Job, error: BaseException) -> None:
        """The last resort: whatever broke beside a body, its job has an outcome and no slot."""
        if not job.cancelled.is_set():
            logger.error("task %s broke beside its body", job.task.name, exc_info=error)
        execution.end(job)
        # The database may be away for a moment, or a tenant not entered: nothing of the body has
        # run, nothing is charged. That a tenant is gone is found out by its turn.
        may_pass = isinstance(error, NotInTenant) or (
            isinstance(error, Exception) and is_transient(error)
        )
        begun = job.started is not None or not may_pass
        outcome = execution.escaped(job, error) if begun else execution.not_begun(job)
        spans.came_to(job, outcome)
        self._finish(job, outcome, None)

    def _carry_out(self, job: Job) -> None:
        handle = TaskHandle(job, self) if job.task.wants_handle else None
        connections.tidy()
        with self._in_schema(job), spans.around(job, schema=self.schema):
            if job.policy.atomic:
                outcome = completing.perform_atomic(
                    job, handle, alias=self.alias, worker=self._worker()
                )
            else:
                outcome = execution.perform(job, handle)
            execution.end(job)
            spans.came_to(job, outcome)
        connections.tidy()
        self._finish(job, outcome, handle)

    def _in_schema(self, job: Job) -> AbstractContextManager[None]:
        """Be in the tenant of this host on this thread's connection, once there is one."""
        if not self.schema:
            return nullcontext()
        enter = tenancy.entered if job.policy.atomic else tenancy.expected
        return enter(self.alias, self.schema)

    async def _carry_out_async(self, job: Job) -> None:
        handle = AsyncTaskHandle(job, self) if job.task.wants_handle else None
        async with self._in_schema_async():
            before = await connections.tidy_before_async()
            with spans.around(job, schema=self.schema):
                outcome = await execution.perform_async(job, handle, before)
                spans.came_to(job, outcome)
            await connections.tidy_after_async(before)
        self._finish(job, outcome, handle)

    def _in_schema_async(self) -> AbstractAsyncContextManager[None]:
        return tenancy.EnteredAsync(self.alias, self.schema) if self.schema else nullcontext()

    def _finish(self, job: Job, outcome: Outcome, handle: TaskHandle | None) -> None:
        if handle is not None:
            handle.consume()
        if job.cancelled.is_set():
            self._crew.abandoned.discard(job)
        self.post(Done(job, completing.result(job, outcome)))
        self.holders.give_back(job)

    def _cancel_all(self, children: Sequence[UUID]) -> None:
        """Runs that nobody waits for any more end with the task that started them."""
        with suppress(*DRIVER_ERRORS), closing(self._connect()) as session:
            for child in children:
                try:
                    ended = operations.cancel(session, child, reason="its parent task ended")
                    self.post(Moved(tuple(run.id for run in ended)))
                except _UNCANCELLED as error:
                    # The next attempt of the task finds it, and waits for it.
                    logger.info("child run not cancelled: %s", error)
