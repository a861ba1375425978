"""What the outside learns of a commit: one log record a transition, and the site's signals."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from uuid import UUID

from django.db import connections
from django.dispatch import Signal

from cloaca_django import signals, tenancy
from cloaca_django.core.states import RUN_FINAL, TaskStatus
from cloaca_django.dialect.rows import EndedRun
from cloaca_django.engine import meter
from cloaca_django.engine.connections import tidy
from cloaca_django.engine.execution import Job, tell_failure
from cloaca_django.engine.firing import Fired
from cloaca_django.engine.messages import Effects
from cloaca_django.engine.settlement import Failure, Outcome
from cloaca_django.engine.submission import Submitted

# The tenant whose turn is telling: an alias and a schema. None: the site has no tenants.
_tenant: ContextVar[tuple[str, str] | None] = ContextVar("cloaca_tenant", default=None)

run_log = logging.getLogger("cloaca_django.run")
task_log = logging.getLogger("cloaca_django.task")
schedule_log = logging.getLogger("cloaca_django.schedule")


@contextmanager
def within(alias: str, schema: str) -> Iterator[None]:
    """Let what is told in the block be told in a tenant; an empty schema changes nothing."""
    mark = _tenant.set((alias, schema) if schema else _tenant.get())
    try:
        yield
    finally:
        _tenant.reset(mark)


def publish(effects: Effects) -> None:
    """Log, count and signal what a committed transaction did."""
    meter.count(meter.REFUSED, _schema(), by=len(effects.settled.fenced))
    for outcome in effects.settled.accepted:
        _publish_task(outcome)
    for state, times in effects.settled.finished:
        _publish_run(state.id, state.workflow_name, state.status, state.error_message)
        if times.finished_at is not None:
            seconds = (times.finished_at - times.created_at).total_seconds()
            meter.time(meter.RUN_SECONDS, seconds, state.workflow_name)
    publish_ended((*effects.ended, *effects.settled.ended))
    if effects.submitted:
        publish_submitted(effects.submitted)


def publish_fired(fired: Fired) -> None:
    """Log what schedules could not do, and signal the ones that were parked."""
    for schedule_id, count in fired.passed_over.items():
        schedule_log.warning(
            "schedule passed over %d of its times", count,
            extra=_facts(schedule_id=str(schedule_id), count=count),
        )  # fmt: skip
        meter.count(meter.PASSED_OVER, _schema(), by=count)
    publish_parked(fired.parked)


def publish_parked(parked: Mapping[UUID, str]) -> None:
    """Log and signal schedules that are parked: they fire no more until somebody mends them."""
    for schedule_id, error in parked.items():
        schedule_log.error(
            "schedule parked: %s", error,
            extra=_facts(schedule_id=str(schedule_id), error=error),
        )  # fmt: skip
        meter.count(meter.PARKED, _schema())
        _send(signals.schedule_parked, str(schedule_id), schedule_id=schedule_id, error=error)


def publish_submitted(submitted: Submitted) -> None:
    """Log runs that were written, and signal those that ended at once: all their tasks skipped."""
    for state in submitted.states:
        run_log.debug(
            "run submitted", extra=_facts(run_id=str(state.id), workflow=state.workflow_name)
        )
        if state.status in RUN_FINAL:
            _publish_run(state.id, state.workflow_name, state.status, state.error_message)


def log_submitted(workflow_name: str, run_ids: Iterable[UUID]) -> None:
    """Log runs of one workflow that were written."""
    if run_log.isEnabledFor(logging.DEBUG):
        for run_id in run_ids:
            run_log.debug("run submitted", extra=_facts(run_id=str(run_id), workflow=workflow_name))


def publish_ended(runs: Iterable[EndedRun]) -> None:
    """Log and signal runs that were ended from outside their graph."""
    for run in runs:
        _publish_run(run.id, run.workflow_name, run.status, run.error_message)


def publish_start(job: Job) -> None:
    """Log that a task was claimed."""
    task_log.debug(
        "task started",
        extra=_facts(
            run_id=str(job.run_id), task_id=job.task_id, task=job.task.name,
            workflow=job.workflow_name, attempt=job.attempt,
        ),
    )  # fmt: skip


def tell_timeout(job: Job, failure: Failure) -> None:
    """Let ``on_failure`` hear of a timeout that was settled.

    The body may hang in its thread for ever, so it hears on the thread of the signals.
    """
    if job.task.on_failure is not None:
        _courier.deliver(partial(tell_failure, job, failure))


def _publish_run(run_id: UUID, workflow: str, status: str, error: str) -> None:
    run_log.info(
        "run %s", status.lower(),
        extra=_facts(run_id=str(run_id), workflow=workflow, status=str(status)),
    )  # fmt: skip
    meter.count(meter.RUNS, workflow, str(status), _schema())
    _send(signals.run_finished, workflow, run_id=run_id, status=str(status), error_message=error)


def _publish_task(outcome: Outcome) -> None:
    workflow, task, failure = outcome.workflow_name, outcome.task_name, outcome.failure
    facts = _facts(
        run_id=str(outcome.run_id), task_id=outcome.task_id, task=task, workflow=workflow,
        attempt=outcome.attempt,
    )  # fmt: skip
    _count_task(outcome)
    if failure is None:
        if outcome.status is TaskStatus.COMPLETED:
            task_log.debug("task completed", extra=facts)
            _send(signals.task_completed, workflow, run_id=outcome.run_id, task=task,
                  attempt=outcome.attempt)  # fmt: skip
        return
    will_retry = outcome.status is not TaskStatus.FAILED
    task_log.warning(
        "task %s", "will be retried" if will_retry else "failed",
        extra=facts | {"error": failure.message},
    )  # fmt: skip
    _send(
        signals.task_failed, workflow, run_id=outcome.run_id, task=task,
        attempt=outcome.attempt, error=failure.message, will_retry=will_retry,
    )  # fmt: skip


def _count_task(outcome: Outcome) -> None:
    """Count an attempt; a task that is handed back unstarted had none."""
    workflow, task, failure = outcome.workflow_name, outcome.task_name, outcome.failure
    if failure is None and outcome.status is not TaskStatus.COMPLETED:
        return
    how = outcome.status if failure is None else failure.outcome
    meter.count(meter.ATTEMPTS, workflow, task, str(how), _schema())
    if failure is not None and outcome.status is not TaskStatus.FAILED:
        meter.count(meter.RETRIES, workflow, task, _schema())
    if outcome.seconds is not None:
        meter.time(meter.TASK_SECONDS, outcome.seconds, workflow, task)


def _schema() -> str:
    """Return the schema of the tenant whose turn is telling; empty: the site has none."""
    tenant = _tenant.get()
    return "" if tenant is None else tenant[1]


def _facts(**facts: object) -> dict[str, object]:
    """Return what a log record carries besides its words; in a site of tenants, its schema too."""
    tenant = _tenant.get()
    return facts if tenant is None else {"schema": tenant[1], **facts}


class Courier:
    """Calls what listens, in order, on one thread, which ends when nothing is left to call."""

    def __init__(self) -> None:
        self._pending: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._is_running = False

    def deliver(self, call: Callable[[], object]) -> None:
        """Call soon, in the tenant of now; ``call`` raises nothing."""
        tenant = _tenant.get()
        with self._lock:
            self._pending.append(call if tenant is None else partial(_call_in, *tenant, call))
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="cloaca-signals", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._is_running = False
                    break
                call = self._pending.popleft()
            tidy()
            call()
        connections.close_all()


def _call_in(alias: str, schema: str, call: Callable[[], object]) -> None:
    try:
        with tenancy.entered(alias, schema):
            call()
    except Exception:
        # The tenant may be gone; who listens must not hear of it in another's schema.
        run_log.warning("a notice was not delivered", exc_info=True, extra={"schema": schema})


_courier = Courier()


def _send(signal: Signal, sender: str, **facts: object) -> None:
    if signal.receivers:
        # An exception of a receiver is logged by Django and goes no further.
        _courier.deliver(partial(signal.send_robust, sender, **facts))
