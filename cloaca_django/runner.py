"""``DefaultRunner``, the facade: one short method per public call."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from cloaca_django import databases
from cloaca_django.calls import acts, tuning
from cloaca_django.calls.operator import OperatorCalls
from cloaca_django.calls.schedules import ScheduleCalls
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.config import DefaultRunnerConfig, settled
from cloaca_django.core.context import Context
from cloaca_django.core.result import PipelineResult
from cloaca_django.core.states import Origin
from cloaca_django.core.workflow import Workflow
from cloaca_django.databases import Database
from cloaca_django.dialect import Session, explained, site_session
from cloaca_django.engine import (
    bulk,
    eager,
    inputs,
    nesting,
    notices,
    results,
    sharing,
    submission,
)
from cloaca_django.engine.messages import Ask, Moved
from cloaca_django.engine.submission import Options, Submission, Submitted
from cloaca_django.engine.worker import Worker
from cloaca_django.errors import RunnerClosed, WouldDeadlock
from cloaca_django.handles import RunHandle

_USE_ENQUEUE = "use enqueue(), which writes the run in your transaction and returns a handle"


class DefaultRunner(OperatorCalls, ScheduleCalls):
    """A runner of workflows on one database. Safe to share between threads.

    With a URL it is a whole engine: it creates its tables, runs tasks and takes back those of
    lost workers, until ``shutdown()``. Without one it is the site's runner on the alias ``using``:
    it drives what it executes itself, and ``manage.py cloaca_worker`` does the rest.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        using: str | None = None,
        config: DefaultRunnerConfig | None = None,
    ) -> None:
        if database_url is not None and using is not None:
            raise TypeError("DefaultRunner takes a database_url or using=, not both")
        self._is_site = database_url is None
        if database_url is None:
            databases.prepare_site()
            alias = settings.DATABASE if using is None else using
            self._begin(config, lambda pool: databases.open_alias(alias))
        else:
            self._begin(config, lambda pool: databases.open_url(database_url, pool_size=pool))

    def _begin(
        self, config: DefaultRunnerConfig | None, opened: Callable[[int | None], Database]
    ) -> None:
        """Open the database, which is given the size of its pool, and start a worker on it."""
        if config is not None and not isinstance(config, DefaultRunnerConfig):
            raise TypeError(f"config must be a DefaultRunnerConfig, not {type(config).__name__}")
        self._config = settled(config or DefaultRunnerConfig())
        self._database = opened(self._config.db_pool_size)
        self._lock = threading.Lock()
        self._lease: sharing.Lease | None = None
        self._is_closed = False
        if not self._is_site:
            try:
                self._sync_schedules()
                self._started_worker()
            except BaseException:
                # Nobody gets this runner, so nobody can shut it down.
                self._database.release()
                raise

    @staticmethod
    def with_config(database_url: str, config: DefaultRunnerConfig) -> DefaultRunner:
        """Return a runner with a configuration of its own; later changes to it have no effect."""
        return DefaultRunner(database_url, config=config)

    @staticmethod
    def with_schema(
        database_url: str, schema: str, *, config: DefaultRunnerConfig | None = None
    ) -> DefaultRunner:
        """Return a runner of one tenant, bound to a PostgreSQL schema of its own.

        Schema and tables are made on first use. Raises InvalidDatabaseURL, also for SQLite,
        InvalidSchemaName before anything is opened, SchemaUnusable.
        """
        runner = DefaultRunner.__new__(DefaultRunner)
        runner._is_site = False
        runner._begin(
            config, lambda pool: databases.open_schema(database_url, schema, pool_size=pool)
        )
        return runner

    def __repr__(self) -> str:
        return f"DefaultRunner({self._database.url})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    @property
    def alias(self) -> str:
        """The Django database alias this runner works on."""
        return self._database.alias

    # -- submit and wait

    def execute(self, workflow_name: str, context: Context) -> PipelineResult:
        """Run a workflow and return its result; a failed run is a result, not an exception.

        Raises WorkflowNotFound, InvalidContext, RunnerClosed, and WouldDeadlock inside an open
        transaction on the same database: no worker could see the run before it commits.
        """
        self._check_open()
        parent = nesting.current(self.alias)
        if settings.EAGER:
            return self._execute_eagerly(self._asked(workflow_name, context))
        if parent is None:
            self._check_may_wait()
            asked = self._asked(workflow_name, context)
            return self._posted(self._started_worker().post, asked).done.result()
        parent.check_may_block("execute()")
        self._check_may_wait()
        call = parent.next_call()
        for chance in itertools.count():
            child = parent.child_id(call, chance)
            ask = self._posted(parent.host.post, self._asked(workflow_name, context, parent, child))
            with parent.waiting(child):
                result = ask.done.result()
            if not nesting.is_stale_child(ask, result):
                return result
        raise AssertionError  # count() does not end

    async def aexecute(self, workflow_name: str, context: Context) -> PipelineResult:
        """As ``execute``, for ``async`` code; the event loop stays free."""
        self._check_open()
        parent = nesting.current(self.alias)
        if settings.EAGER:
            asked = self._asked(workflow_name, context)
            return await sync_to_async(self._execute_eagerly)(asked)
        if parent is None:
            asked = self._asked(workflow_name, context)
            worker = await asyncio.to_thread(self._started_worker)
            return await asyncio.wrap_future(self._posted(worker.post, asked).done)
        call = parent.next_call()
        for chance in itertools.count():
            child = parent.child_id(call, chance)
            ask = self._posted(parent.host.post, self._asked(workflow_name, context, parent, child))
            async with parent.awaiting(child):
                result = await asyncio.wrap_future(ask.done)
            if not nesting.is_stale_child(ask, result):
                return result
        raise AssertionError  # count() does not end

    def enqueue(
        self,
        workflow_name: str,
        context: Context | None = None,
        *,
        start_at: datetime | None = None,
        priority: int = 0,
        queue: str = "default",
        idempotency_key: str | None = None,
        created_by: str = "",
        reason: str = "",
    ) -> RunHandle:
        """Write a run in the caller's transaction and return its handle at once.

        The run exists if and only if the caller commits. ``start_at`` is aware; ``priority`` is
        higher-first, -32768 to 32767. An ``idempotency_key`` that a run holds returns that run's
        handle, or raises IdempotencyConflict when workflow or context differ.
        """
        options = self._checked_options(
            "enqueue()", start_at=start_at, priority=priority, queue=queue,
            idempotency_key=idempotency_key, created_by=created_by, reason=reason,
        )  # fmt: skip
        return self._enqueued(workflow_name, [context], options)[0]

    async def aenqueue(
        self, workflow_name: str, context: Context | None = None, **options: Any
    ) -> RunHandle:
        """As ``enqueue``, for ``async`` code."""
        return await sync_to_async(self.enqueue)(workflow_name, context, **options)

    def enqueue_many(
        self, workflow_name: str, contexts: Iterable[Context | None], **options: Any
    ) -> list[RunHandle]:
        """Write one run per context in one go; options as for ``enqueue``, without a key."""
        if options.pop("idempotency_key", None) is not None:
            raise TypeError("enqueue_many takes no idempotency_key: a key names one run")
        self._check_open()
        same = self._checked_options("enqueue_many()", **options)
        workflow, wanted = registry.find(workflow_name), inputs.contexts(contexts)
        if not settings.EAGER and bulk.takes(site_session(self.alias), workflow):
            return self._enqueued_in_bulk(workflow, wanted, same)
        return self._enqueued(workflow_name, wanted, same)

    # -- one run

    def handle(self, run_id: UUID | str) -> RunHandle:
        """Return a handle of a run by its id."""
        self._check_open()
        return RunHandle(inputs.run_id(run_id), self)

    def wait_for(self, run_id: UUID | str, *, timeout: float | None = None) -> PipelineResult:
        """Wait until a run has ended. Raises WaitTimeout, RunNotFound, WouldDeadlock."""
        self._check_open()
        id, timeout = inputs.run_id(run_id), inputs.seconds("wait()", "timeout", timeout)
        parent = nesting.current(self.alias)
        if settings.EAGER:
            eager.drain(self.alias, [id])
        else:
            if parent is not None:
                parent.check_may_block("wait()")
            self._check_may_wait()
        poll = self._config.executor_poll_interval_ms / 1000
        with parent.waiting() if parent else nullcontext(), self._reading() as session:
            return results.wait_for(session, id, timeout=timeout, poll_seconds=poll)

    def status_of(self, run_id: UUID | str) -> str:
        """Return a run's status as stored now. Raises RunNotFound."""
        self._check_open()
        with self._reading():
            return results.read_status(self.alias, inputs.run_id(run_id))

    def result_of(self, run_id: UUID | str) -> PipelineResult | None:
        """Return a run's result; None while it is open. Raises RunNotFound."""
        self._check_open()
        with self._reading() as session:
            return results.read_result(session, inputs.run_id(run_id))

    # -- end

    def shutdown(self, *, grace: float | None = None) -> None:
        """Stop the threads; tasks that run get ``grace`` seconds, then are handed back.

        Without ``grace`` it is ``CLOACA["SHUTDOWN_TIMEOUT_SECONDS"]``. Twice does no harm. Raises
        WouldDeadlock inside a task of this runner.
        """
        grace = inputs.seconds("shutdown()", "grace", grace)
        if nesting.current(self.alias) is not None:
            raise WouldDeadlock(
                "shutdown() inside a task would wait for the task itself", "call it elsewhere"
            )
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.end(grace=settings.SHUTDOWN_TIMEOUT_SECONDS if grace is None else grace)
        self._database.release()

    # -- the steps of the above

    def _checked_options(self, owner: str, **facts: Any) -> Options:
        return self._options(**inputs.run_options(owner, facts))

    def _options(self, *, parent: Any = None, **facts: Any) -> Options:
        if parent is not None:
            facts |= {
                "origin": Origin.TASK, "parent_id": parent.run_id,
                "parent_task_id": parent.task_id,
            }  # fmt: skip
        return Options(timeout_seconds=self._run_limit(), **facts)

    def _run_limit(self) -> float | None:
        return tuning.run_limit(self._config)

    def _asked(
        self,
        workflow_name: str,
        context: Context,
        parent: nesting.Parent | None = None,
        run_id: UUID | None = None,
    ) -> Submission:
        workflow, options = registry.find(workflow_name), self._options(parent=parent)
        return submission.prepare(workflow, inputs.context(context), options, run_id=run_id)

    def _posted(self, post: Callable[[object], None], asked: Submission) -> Ask:
        ask = Ask(asked, Future())
        post(ask)
        return ask

    def _enqueued(
        self, workflow_name: str, contexts: Iterable[Context | None], options: Options
    ) -> list[RunHandle]:
        self._check_open()
        workflow = registry.find(workflow_name)
        asked = [
            submission.prepare(workflow, Context() if one is None else inputs.context(one), options)
            for one in contexts
        ]
        if not asked:
            return []
        session = site_session(self.alias)
        with nullcontext() if session.submits_at_once else transaction.atomic(using=self.alias):
            written = submission.submit(session, asked, announces=True)
            ids = [written.existing.get(each.id, each.id) for each in asked]
            transaction.on_commit(lambda: self._committed(asked, written), using=self.alias)
        self._release_connection()
        return [RunHandle(run_id, self) for run_id in ids]

    def _enqueued_in_bulk(
        self, workflow: Workflow, contexts: Iterable[Context | None], options: Options
    ) -> list[RunHandle]:
        wanted = (Context() if one is None else inputs.context(one) for one in contexts)
        ids = bulk.submit(site_session(self.alias), workflow, wanted, options)
        transaction.on_commit(lambda: self._committed_in_bulk(workflow, ids), using=self.alias)
        self._release_connection()
        return [RunHandle(run_id, self) for run_id in ids]

    def _committed_in_bulk(self, workflow: Workflow, ids: list[UUID]) -> None:
        notices.log_submitted(workflow.name, ids)
        if self._lease is not None:
            self._lease.worker.hint()

    def _committed(self, asked: list[Submission], written: Submitted) -> None:
        notices.publish_submitted(written)
        if settings.EAGER:
            eager.drain(self.alias, [each.id for each in asked])
        elif self._lease is not None:
            worker = self._lease.worker
            (worker.hint if any(map(submission.needs_look, asked)) else worker.wake)()

    def _execute_eagerly(self, asked: Submission) -> PipelineResult:
        session = site_session(self.alias)
        with session.transaction():
            written = submission.submit(session, [asked])
        notices.publish_submitted(written)
        eager.drain(self.alias, [asked.id])
        result = results.read_result(session, asked.id)
        if result is None:
            raise WouldDeadlock(
                f"run {asked.id} is paused or waits for something outside it",
                "in EAGER mode nothing else will move it",
            )
        return result

    def _check_open(self) -> None:
        if self._is_closed:
            raise RunnerClosed()

    def _check_may_wait(self) -> None:
        if connections[self.alias].in_atomic_block:
            raise WouldDeadlock(
                "execute() inside an open transaction on the same database waits for a run that"
                " no worker can see before the transaction commits",
                _USE_ENQUEUE,
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise WouldDeadlock(
            "execute() would block the event loop", "await aexecute(), or use enqueue()"
        )

    def _started_worker(self) -> Worker:
        """Return the worker, started on first use, and again in a forked child."""
        with self._lock:
            self._check_open()
            if self._lease is None or self._lease.is_inherited():
                options = tuning.worker_options(
                    self._config, alias=self.alias, is_site=self._is_site
                )
                self._lease = sharing.lease(options, shared=self._is_site)
            return self._lease.worker

    @contextmanager
    def _reading(self) -> Any:
        try:
            with explained(self.alias):
                yield site_session(self.alias)
        finally:
            self._release_connection()

    def _operating(self) -> AbstractContextManager[Session]:
        self._check_open()
        return acts.acting(self.alias, shown=self._database.url)

    def _release_connection(self) -> None:
        """Return a pooled connection that this thread holds only for us."""
        connection = connections[self.alias]
        if self._database.is_ours and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()

    def _has_cron(self) -> bool:
        return self._config.enable_cron_scheduling

    def _look_at_schedules(self) -> None:
        # Without LISTEN nobody else tells this process.
        lease = self._lease
        if lease is not None:
            transaction.on_commit(lease.worker.hint, using=self.alias)

    def _wake(self) -> None:
        lease = self._lease
        if lease is not None:
            lease.worker.wake()

    def _tell(self, run_ids: list[UUID]) -> None:
        lease = self._lease
        if lease is not None:
            lease.worker.post(Moved(tuple(run_ids)))
