"""Waiting for a run on a command line: look, show, and lend a hand when nobody else works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from uuid import UUID

from cloaca_django import clock, tenancy
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerKind
from cloaca_django.engine import overview
from cloaca_django.engine.hiring import hire
from cloaca_django.engine.shift import Shift, TenantOptions, WorkerOptions
from cloaca_django.errors import RunNotFound
from cloaca_django.management.progress import Stopwatch, View
from cloaca_django.models import PipelineExecution, TaskExecution

LOOK_SECONDS = 0.1
# How often it is asked again whether a live worker serves the run.
ASK_SECONDS = 5.0


class TimeIsUp(Exception):  # noqa: N818 - not an error: the run goes on
    """The run had not ended in time."""


class Interrupted(Exception):  # noqa: N818 - not an error: the run goes on
    """A signal ended the wait."""


class Wait:
    """One wait for one run. ``interrupt`` is safe in a signal handler."""

    def __init__(self, alias: str, run_id: UUID, *, workflow: str, queue: str) -> None:
        self._alias = alias
        self._run_id = run_id
        self._workflow = workflow
        self._queue = queue
        self._worker: Shift | None = None
        self._next_ask = 0.0
        self._signals: SimpleQueue[None] = SimpleQueue()

    def interrupt(self) -> None:
        """Stop waiting."""
        self._signals.put(None)

    def until_end(self, view: View, *, timeout: float | None) -> None:
        """Show the run until it has ended. Raises TimeIsUp, Interrupted, RunNotFound."""
        end = None if timeout is None else clock.monotonic() + timeout
        watch = Stopwatch()
        with self._helper():
            while True:
                has_ended = self._has_ended()
                view.show(watch.views(self._tasks()))
                if has_ended:
                    return
                if end is not None and clock.monotonic() >= end:
                    raise TimeIsUp
                self._help(view)
                self._rest()

    def _has_ended(self) -> bool:
        runs = PipelineExecution.objects.using(self._alias).filter(pk=self._run_id)
        found = runs.values_list("finished_at").first()
        if found is None:
            raise RunNotFound(self._run_id)
        return found[0] is not None

    def _tasks(self) -> list[TaskExecution]:
        tasks = TaskExecution.objects.using(self._alias).filter(run=self._run_id)
        return list(tasks.in_graph_order())

    def _rest(self) -> None:
        try:
            self._signals.get(timeout=LOOK_SECONDS)
        except Empty:
            return
        raise Interrupted

    def _help(self, view: View) -> None:
        """Run the run in this process when no live worker would."""
        if self._worker is not None or clock.monotonic() < self._next_ask:
            return
        self._next_ask = clock.monotonic() + ASK_SECONDS
        if overview.has_claimer(self._alias, queue=self._queue, workflow=self._workflow):
            return
        view.say("No live worker serves this workflow: this process runs it itself")
        schema = tenancy.schema_here(self._alias)
        options = WorkerOptions(
            alias=self._alias,
            tenants=TenantOptions(only=frozenset({schema})) if schema else None,
            kind=WorkerKind.EMBEDDED,
            concurrency=settings.CONCURRENCY,
            queues=(self._queue,),
            task_timeout_seconds=settings.TASK_TIMEOUT_SECONDS,
            recovers=False,
            claims_only_own=True,
            durability=settings.DURABILITY,
        )
        self._worker = hire(options)
        self._worker.turn_in(schema).own.add(self._run_id)
        self._worker.start()

    @contextmanager
    def _helper(self) -> Iterator[None]:
        """Hand back at the end what this process was running."""
        try:
            yield
        finally:
            if self._worker is not None:
                self._worker.stop(grace=0.0)
