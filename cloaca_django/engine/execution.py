"""Stage 3, run: user code, outside every engine transaction. Its end becomes an ``Outcome``."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import traceback as tracebacks
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.core.context import Context, encode_writes
from cloaca_django.core.merge import Write, diff
from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.core.task import Policy, Task
from cloaca_django.engine import connections
from cloaca_django.engine.capture import current_job, storable
from cloaca_django.engine.claiming import Assignment, Unreadable
from cloaca_django.engine.settlement import Failure, Outcome, Settled
from cloaca_django.errors import ContextTooLarge, UnexpectedResult
from cloaca_django.tenancy import NotReached

logger = logging.getLogger("cloaca_django.task")

MESSAGE_LIMIT = 4_000
TRACEBACK_LIMIT = 32_000
# Until a task is tried again whose connection could not be brought to its tenant.
NOT_BEGUN_SECONDS = 1.0


# Which job each thread runs or ran last.
on_thread: dict[int, Job] = {}


class Flag:
    """An event that costs nothing until somebody waits for it; few tasks are ever cancelled."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        event = self._event
        if event is not None:
            event.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most ``seconds``. By one thread at a time."""
        self._event = event = threading.Event()
        # Whoever set it before it saw the event set the flag first.
        return self._is_set or event.wait(seconds)


@dataclass(slots=True, eq=False)
class Job:
    """One claimed task on its way through an executor."""

    task_id: int
    run_id: UUID
    position: int
    token: UUID
    attempt: int
    workflow_name: str
    task: Task
    policy: Policy
    seen: dict[str, object]
    started: float | None = None
    thread_id: int | None = None
    worker: UUID | None = None
    queue: str = "default"
    dependencies: tuple[int, ...] = ()
    traceparent: str | None = None
    # Set when this job's outcome no longer counts: timed out, cancelled or fenced.
    cancelled: Flag = field(default_factory=Flag)
    # Its outcome was taken, or nobody waits for it any more: a claim has one outcome.
    is_over: bool = False
    # Of an async body; cancelling it cancels the body.
    future: Future[Any] | None = None
    # How many of its threads or coroutines wait for something without its slot.
    waits: int = 0
    settled: Settled | None = None
    # Who runs this job; set for tasks that may start runs and wait for them.
    host: Any = None
    # Numbers the runs it asks for. A counter and not a sum: coroutines and threads may share it.
    calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    waits_for: set[UUID] = field(default_factory=set)
    log_lines: list[str] = field(default_factory=list)
    log_size: int = 0

    @property
    def seconds(self) -> float | None:
        """Return how long the body has run."""
        return None if self.started is None else clock.monotonic() - self.started

    def outcome(self, status: TaskStatus, **facts: Any) -> Outcome:
        """Return an outcome of this claim."""
        log = "\n".join(self.log_lines)
        return Outcome(
            self.task_id, self.run_id, self.position, self.token, self.attempt, status,
            log=storable(log, settings.LOG_CAPTURE_BYTES) if log else "", seconds=self.seconds,
            workflow_name=self.workflow_name, task_name=self.task.name,
            **facts,
        )  # fmt: skip


def job_for(assignment: Assignment, task: Task, *, worker: UUID | None = None) -> Job:
    """Return the job of a claimed task, with the context it will receive."""
    state = assignment.state
    row = state.tasks[assignment.position]
    return Job(
        task_id=assignment.task_id,
        run_id=state.id,
        position=assignment.position,
        token=assignment.token,
        attempt=assignment.attempt,
        workflow_name=state.workflow_name,
        task=task,
        policy=row.policy,
        seen=state.seen_by(assignment.position),
        worker=worker,
        queue=state.queue,
        dependencies=state.shape.dependencies[assignment.position],
        traceparent=state.traceparent,
    )


def perform(job: Job, handle: Any) -> Outcome:
    """Run a task's body on this thread and return what came of it. Raises nothing."""
    begin(job)
    mark = current_job.set(job)
    context = Context.trusted(job.seen)
    try:
        returned = call(job, context, handle)
        result = completed(job, context, returned)
    except NotReached:
        result = not_begun(job)
    except BaseException as error:
        result = failed(job, error)
    finally:
        current_job.reset(mark)
    return result


async def perform_async(job: Job, handle: Any, before: connections.Depths) -> Outcome:
    """Run an ``async def`` body on the running loop and return what came of it.

    ``before`` are the transactions that were open where Django does what async bodies ask of it.
    """
    job.started = clock.monotonic()
    mark = current_job.set(job)
    context = Context.trusted(job.seen)
    try:
        body: Coroutine[Any, Any, Any] = call(job, context, handle)
        returned = await body
        await connections.check_ended_async(job.task.name, before)
        return completed(job, context, returned)
    except BaseException as error:
        return failed(job, error)
    finally:
        current_job.reset(mark)


def begin(job: Job) -> None:
    """Note that the body starts, on this thread."""
    job.started, job.thread_id = clock.monotonic(), threading.get_ident()
    on_thread[job.thread_id] = job


def call(job: Job, context: Context, handle: Any) -> Any:
    """Call the body as its signature wants it; it must end the transactions that it begins."""
    function = job.task.function
    if handle is not None:
        handle.context = context
    before = connections.open_blocks()
    returned = function(context, handle) if job.task.wants_handle else function(context)
    connections.check_ended(job.task.name, before)
    return returned


def outcome_of(job: Job, context: Context, returned: Any) -> Outcome:
    """Return the outcome of a body that ended: its context changes, or why they cannot be kept."""
    writes = writes_of(job, context, returned)
    return job.outcome(TaskStatus.COMPLETED, writes=writes, changes=_encoded(writes))


def completed(job: Job, context: Context, returned: Any) -> Outcome:
    """Return the outcome of a body that ended, after telling ``on_success`` if it counts."""
    result = outcome_of(job, context, returned)
    if job.task.on_success is not None and not job.cancelled.is_set():
        final = returned if isinstance(returned, Context) else context
        _notify(job, job.task.on_success, job.task.name, final.copy())
    return result


def writes_of(job: Job, context: Context, returned: Any) -> tuple[Write, ...]:
    """Return what a body changed: a returned Context replaces, a dict adds, None keeps."""
    if returned is None or returned is context:
        return context.writes_since(job.seen)
    if isinstance(returned, Context):
        return diff(job.seen, returned.snapshot())
    if isinstance(returned, dict):
        context.update_from_dict(returned)
        return context.writes_since(job.seen)
    raise UnexpectedResult(job.task.name, returned)


def _encoded(writes: tuple[Write, ...]) -> str | None:
    if not writes:
        return None
    text = encode_writes(writes)
    limit = settings.MAX_CONTEXT_BYTES
    if len(text) > limit // 4 and len(text.encode()) > limit:
        raise ContextTooLarge(len(text.encode()), limit)
    return text


def failed(job: Job, error: BaseException) -> Outcome:
    """Return the outcome of a body that raised: another attempt, or the end."""
    failure = failure_of(error)
    if not job.cancelled.is_set():
        # Else this outcome does not count; of a timeout ``on_failure`` hears when it is settled.
        tell_failure(job, failure)
    types = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    return after_failure(job, failure, types)


def tell_failure(job: Job, failure: Failure) -> None:
    """Tell ``on_failure`` how an attempt failed."""
    if job.task.on_failure is not None:
        _notify(job, job.task.on_failure, job.task.name, failure.message, Context.trusted(job.seen))


def after_failure(job: Job, failure: Failure, error_types: list[str]) -> Outcome:
    """Return the outcome of a failed attempt as the task's policy decides."""
    retry = job.policy.retry
    if not retry.should_retry_error(job.attempt, error_types=error_types, message=failure.message):
        return job.outcome(TaskStatus.FAILED, failure=failure)
    delay = retry.delay_seconds(job.attempt, _random)
    status = TaskStatus.SCHEDULED if delay > 0 else TaskStatus.READY
    return job.outcome(status, failure=failure, delay_seconds=delay, charges_attempt=True)


_random = random.Random()  # noqa: S311 - jitter, not secrets


def failure_of(error: BaseException) -> Failure:
    """Return an exception as data that both databases store."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else (
        f"{kind.__module__}.{kind.__qualname__}"
    )  # fmt: skip
    text, trace = _words_of(error), _trace_of(error)
    return Failure(
        error_type=storable(name, 255),
        message=storable(f"{kind.__qualname__}: {text}" if text else kind.__qualname__,
                         MESSAGE_LIMIT),
        traceback=storable(trace, TRACEBACK_LIMIT),
    )  # fmt: skip


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        # User code, which may raise anything; the failure it belongs to must not be lost.
        return "<unprintable>"


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(tracebacks.format_exception(error))
    except BaseException:
        # The same: notes and causes may be properties.
        return "".join(tracebacks.format_tb(error.__traceback__))


def escaped(job: Job, error: BaseException) -> Outcome:
    """Return the outcome of a job that broke outside its body; asks user code nothing."""
    name = type(error).__qualname__
    message = f"{name}: raised beside the task's body; the worker's log has the traceback"
    failure = Failure(storable(name, 255), storable(message, MESSAGE_LIMIT))
    return after_failure(job, failure, [])


def timed_out(job: Job, seconds: float) -> Outcome:
    """Return the outcome of a job that outlived its limit."""
    failure = Failure(
        "TimeoutError",
        f"TimeoutError: Task execution timeout after {seconds:g}s",
        outcome=AttemptOutcome.TIMED_OUT,
    )
    return after_failure(job, failure, ["builtins.TimeoutError"])


def handed_back(job: Job) -> Outcome:
    """Return a claim unused: the task is ready again and no attempt is charged."""
    return job.outcome(TaskStatus.READY)


def not_begun(job: Job) -> Outcome:
    """Return a claim whose body could not be called, or not reach its tenant's tables.

    It is tried again in a moment, and nothing is charged.
    """
    return job.outcome(TaskStatus.SCHEDULED, delay_seconds=NOT_BEGUN_SECONDS)


def end(job: Job) -> None:
    """Note that the body is over, on this thread."""
    if job.thread_id is not None:
        on_thread.pop(job.thread_id, None)


def untouched(assignment: Assignment) -> Outcome:
    """Return a claim of a task that this process has no code for."""
    return Outcome(
        assignment.task_id, assignment.state.id, assignment.position, assignment.token,
        assignment.attempt, TaskStatus.READY,
    )  # fmt: skip


def _notify(job: Job, callback: Any, *arguments: Any) -> None:
    before = connections.open_blocks()
    try:
        callback(*arguments)
        connections.check_ended(job.task.name, before)
    except BaseException:
        # The outcome stands, whatever a callback thinks of it (ruling 28), SystemExit included.
        connections.unwind(before)
        logger.exception(
            "callback of task %s failed", job.task.name,
            extra={"run_id": str(job.run_id), "task": job.task.name, "attempt": job.attempt},
        )  # fmt: skip


def unreadable(found: Unreadable) -> Outcome:
    """Return the failure of a task whose run cannot be read; no body is called."""
    claim = found.claim
    failure = Failure("UnreadableContext", storable(found.error, MESSAGE_LIMIT))
    return Outcome(
        claim.task_id, claim.run_id, claim.position, found.token, claim.attempt,
        TaskStatus.FAILED, failure=failure,
    )  # fmt: skip
