"""How runs and tasks look in a trace: one span an attempt, one for whoever submits.

The spans of a run's tasks are children of the one that submitted it, which is what the run's row
keeps. So they are one trace, whichever workers, attempts and crashes it took.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cloaca_django import tracing
from cloaca_django.core.states import TaskStatus
from cloaca_django.tracing import QUIET, Quiet

if TYPE_CHECKING:
    from cloaca_django.engine.execution import Job
    from cloaca_django.engine.settlement import Outcome

# What came of an attempt that was cancelled, handed back or lost to another worker meanwhile.
REFUSED = "Refused"
# Of how many tasks this process remembers the spans, to link those that depend on them.
REMEMBERED = 4_096

_ended: OrderedDict[tuple[UUID, int], Any] = OrderedDict()
_open: dict[Job, Quiet] = {}


def sending(workflow_name: str, *, queue: str, schema: str = "", **facts: str) -> Quiet:
    """Return the block in which a run is submitted; its ``traceparent`` is the run's.

    None, that is, while nobody traces. ``facts`` become attributes.
    """
    if not tracing.is_on():
        return QUIET
    said = {"messaging.destination.name": queue, **_of("workflow", workflow_name)}
    for name, value in {"schema": schema, **facts}.items():
        said |= _of(name, value)
    return tracing.begun(tracing.SEND, workflow_name, said)


def sent(span: Quiet, run_ids: Sequence[UUID]) -> None:
    """Tell which runs a span submitted: the id of one, or how many there are."""
    if span is QUIET:
        return
    if len(run_ids) == 1:
        span.say(_of("run_id", str(run_ids[0])))
    else:
        span.say({"messaging.batch.message_count": len(run_ids)})


def around(job: Job, *, schema: str = "") -> Quiet:
    """Return the block in which a task's body runs. Its end is for ``came_to`` to tell."""
    if not tracing.is_on():
        return QUIET
    said = {
        "messaging.destination.name": job.queue,
        **_of("run_id", str(job.run_id)),
        **_of("workflow", job.workflow_name),
        **_of("task", job.task.name),
        **_of("attempt", job.attempt),
        **_of("schema", schema),
    }
    if job.worker is not None:
        said["messaging.client.id"] = str(job.worker)
    span = tracing.begun(
        tracing.PROCESS, f"{job.workflow_name}/{job.task.name}", said, parent=job.traceparent,
        links=_dependencies(job),
    )  # fmt: skip
    _open[job] = span
    _ended[job.run_id, job.position] = span.context
    while len(_ended) > REMEMBERED:
        _ended.popitem(last=False)
    return span


def came_to(job: Job, outcome: Outcome) -> None:
    """Tell what came of an attempt, and end its span. By whoever comes first."""
    if not _open or (span := _open.pop(job, None)) is None:
        return
    failure = outcome.failure
    if failure is not None:
        span.fail(failure.error_type, failure.message, failure.traceback)
    span.say(_of("outcome", _word_for(job, outcome)))
    if failure is not None and not _is_refused(job):
        span.say(_of("will_retry", outcome.status is not TaskStatus.FAILED))
    span.end()


def _word_for(job: Job, outcome: Outcome) -> str:
    if _is_refused(job):
        return REFUSED
    return str(outcome.status if outcome.failure is None else outcome.failure.outcome)


def _is_refused(job: Job) -> bool:
    if job.settled is not None:
        return not job.settled.accepted
    return job.cancelled.is_set()


def _dependencies(job: Job) -> Iterator[Any]:
    """Yield the spans that a task continues, as far as they were made in this process."""
    for position in job.dependencies:
        if context := _ended.get((job.run_id, position)):
            yield context


def _of(name: str, value: str | int) -> dict[str, str | int]:
    """Return an attribute of ours; what is empty is none."""
    return {} if value == "" else {f"cloaca.{name}": value}
