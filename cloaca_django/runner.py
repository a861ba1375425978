"""``DefaultRunner``, the facade: one short method per public call."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections

from cloaca_django import databases, tenancy
from cloaca_django.calls import acts, tuning
from cloaca_django.calls.many import ManyCalls
from cloaca_django.calls.operator import OperatorCalls
from cloaca_django.calls.runs import RunCalls
from cloaca_django.calls.schedules import ScheduleCalls
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.config import DefaultRunnerConfig, settled
from cloaca_django.core.context import Context
from cloaca_django.core.result import PipelineResult
from cloaca_django.core.states import Origin
from cloaca_django.databases import Database
from cloaca_django.dialect import Session, explained, schemas, site_session, submitting
from cloaca_django.engine import (
    eager,
    inputs,
    nesting,
    notices,
    results,
    sharing,
    spans,
    submission,
)
from cloaca_django.engine.messages import Ask, Moved
from cloaca_django.engine.submission import Options, Submission, Submitted
from cloaca_django.engine.turn import Turn
from cloaca_django.errors import RunnerClosed, WouldDeadlock
from cloaca_django.handles import RunHandle
from cloaca_django.tracing import Quiet


class DefaultRunner(ManyCalls, RunCalls, OperatorCalls, ScheduleCalls):
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
                self._started_turn()
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

        Schema and tables are made on first use; on the database of a site with tenants the tenant
        must exist. Raises InvalidDatabaseURL, also for SQLite, InvalidSchemaName before anything is
        opened, SchemaUnusable, and in such a site TenantNotFound and NotMigrated.
        """
        runner = DefaultRunner.__new__(DefaultRunner)
        runner._is_site = False
        runner._begin(
            config, lambda pool: databases.open_schema(database_url, schema, pool_size=pool)
        )
        return runner

    @staticmethod
    def for_tenant(
        tenant: object, *, using: str | None = None, config: DefaultRunnerConfig | None = None
    ) -> DefaultRunner:
        """Return the site's runner of one tenant, given as a row or by its schema's name.

        Its calls enter the tenant by themselves outside of any, and raise NotInTenant inside
        another. Raises TenantNotFound, NotMigrated, InvalidOption in a site without tenants.
        """
        databases.prepare_site()
        alias = settings.DATABASE if using is None else using
        runner = DefaultRunner.__new__(DefaultRunner)
        runner._is_site = True
        runner._begin(config, lambda pool: databases.open_tenant(alias, tenant))
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

    @property
    def schema(self) -> str:
        """The tenant's schema this runner is bound to in a site of tenants; else empty."""
        return self._database.schema

    # -- submit and wait

    def execute(self, workflow_name: str, context: Context) -> PipelineResult:
        """Run a workflow and return its result; a failed run is a result, not an exception.

        Raises WorkflowNotFound, InvalidContext, RunnerClosed, and WouldDeadlock inside an open
        transaction on the same database: no worker could see the run before it commits.
        """
        self._check_open()
        parent = nesting.current(self.alias, self.schema)
        if settings.EAGER:
            return self._execute_eagerly(self._asked(workflow_name, context))
        if parent is None:
            self._check_may_wait()
            asked = self._asked(workflow_name, context)
            return self._posted(self._started_turn().post, asked).done.result()
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
        parent = nesting.current(self.alias, self.schema)
        if settings.EAGER:
            asked = self._asked(workflow_name, context)
            return await sync_to_async(self._execute_eagerly)(asked)
        if parent is None:
            asked = self._asked(workflow_name, context)
            turn = await asyncio.to_thread(self._started_turn)
            return await asyncio.wrap_future(self._posted(turn.post, asked).done)
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

    # -- one run

    def handle(self, run_id: UUID | str) -> RunHandle:
        """Return a handle of a run by its id."""
        self._check_open()
        return RunHandle(inputs.run_id(run_id), self)

    # -- end

    def shutdown(self, *, grace: float | None = None) -> None:
        """Stop the threads; tasks that run get ``grace`` seconds, then are handed back.

        Without ``grace`` it is ``CLOACA["SHUTDOWN_TIMEOUT_SECONDS"]``. Twice does no harm. Raises
        WouldDeadlock inside a task of this runner.
        """
        grace = inputs.seconds("shutdown()", "grace", grace)
        if nesting.current(self.alias, self.schema) is not None:
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
        with self._sending(workflow_name, options) as span:
            made = submission.prepare(
                workflow, inputs.context(context), options, run_id=run_id,
                traceparent=span.traceparent,
            )  # fmt: skip
            spans.sent(span, [made.id])
        return made

    def _sending(self, workflow_name: str, options: Options) -> Quiet:
        schema = self.schema or schemas.tenant_of(connections[self.alias])
        return spans.sending(workflow_name, schema=schema, queue=options.queue)

    def _posted(self, post: Callable[[object], None], asked: Submission) -> Ask:
        ask = Ask(asked, Future())
        post(ask)
        return ask

    def _enqueued(
        self, workflow_name: str, contexts: Iterable[Context | None], options: Options
    ) -> list[RunHandle]:
        self._check_open()
        workflow = registry.find(workflow_name)
        with self._sending(workflow_name, options) as span:
            asked = [
                submission.prepare(
                    workflow, Context() if one is None else inputs.context(one), options,
                    traceparent=span.traceparent,
                )
                for one in contexts
            ]  # fmt: skip
            if not asked:
                return []
            spans.sent(span, [each.id for each in asked])
            ids = self._submitted(asked)
        self._release_connection()
        return [RunHandle(run_id, self) for run_id in ids]

    def _submitted(self, asked: list[Submission]) -> list[UUID]:
        """Write runs in the caller's transaction; returns their ids, or who holds their keys."""
        with self._here():
            with submitting(self.alias) as session:
                written = submission.submit(session, asked, announces=True)
            self._after_commit(lambda: self._committed(asked, written))
        return [written.existing.get(each.id, each.id) for each in asked]

    def _committed(self, asked: list[Submission], written: Submitted) -> None:
        with notices.within(self.alias, self.schema):
            notices.publish_submitted(written)
        if settings.EAGER:
            # The caller may be in another tenant by now.
            with tenancy.entered(self.alias, self.schema) if self.schema else nullcontext():
                eager.drain(self.alias, [each.id for each in asked])
        elif turn := self._own_turn():
            (turn.hint if any(map(submission.needs_look, asked)) else turn.wake)()

    def _execute_eagerly(self, asked: Submission) -> PipelineResult:
        with self._here():
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
        tenancy.check_reach(self.alias, self.schema)

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Be in this runner's tenant, on this thread's connection and in what is told."""
        schema = self.schema
        if not schema:
            yield
            return
        with tenancy.bound(self.alias, schema), notices.within(self.alias, schema):
            yield

    def _started_turn(self) -> Turn:
        """Return the turn of the worker, started on first use, and again in a forked child."""
        with self._lock:
            self._check_open()
            if self._lease is None or self._lease.is_inherited():
                options = tuning.worker_options(
                    self._config, alias=self.alias, is_site=self._is_site, schema=self.schema
                )
                self._lease = sharing.lease(options, shared=self._is_site)
            return self._lease.worker.turn_in(self.schema)

    @contextmanager
    def _reading(self) -> Any:
        try:
            with self._here(), explained(self.alias):
                yield site_session(self.alias)
        finally:
            self._release_connection()

    @contextmanager
    def _operating(self) -> Iterator[Session]:
        self._check_open()
        with self._here(), acts.acting(self.alias, shown=self._database.url) as session:
            yield session

    def _release_connection(self) -> None:
        """Return a pooled connection that this thread holds only for us."""
        connection = connections[self.alias]
        if self._database.is_ours and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()

    def _poll_seconds(self) -> float:
        return self._config.executor_poll_interval_ms / 1000

    def _has_cron(self) -> bool:
        return self._config.enable_cron_scheduling

    def _own_turn(self) -> Turn | None:
        lease = self._lease
        return None if lease is None else lease.worker.turn_in(self.schema)

    def _look_at_schedules(self) -> None:
        # Without LISTEN nobody else tells this process.
        if turn := self._own_turn():
            self._after_commit(turn.hint)

    def _wake(self) -> None:
        if turn := self._own_turn():
            turn.wake()

    def _tell(self, run_ids: list[UUID]) -> None:
        if turn := self._own_turn():
            turn.post(Moved(tuple(run_ids)))
