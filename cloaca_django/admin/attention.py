"""Which runs wait for a person: failed and not repeated, left by their worker, or not taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy

from cloaca_django.admin.vocabulary import Text
from cloaca_django.core.states import Origin, RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution, TaskExecution, Worker, WorkflowControl

# A failure that nobody repeated is of interest for so long.
TROUBLE_DAYS = 7
# A bad day leaves more failures than anybody reads; of so many it is asked whether they wait.
MAX_FAILED = 1_000
# A run or a schedule is late when nobody has taken it this long after its time.
LATE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Tag:
    """What is worth knowing of a run beside its status. ``meaning`` is a sentence."""

    word: Text
    meaning: Text
    tone: str


STALLED = Tag(gettext_lazy("stalled"), gettext_lazy("stalled: its worker is not heard of"), "bad")
LATE = Tag(gettext_lazy("late"), gettext_lazy("late: no worker has taken it"), "bad")
RECOVERED = Tag(gettext_lazy("recovered"), gettext_lazy("recovered from a lost worker"), "wait")
MANUAL = Tag(gettext_lazy("by hand"), gettext_lazy("started by hand"), "off")


def runs(alias: str, at: datetime) -> QuerySet[Any]:
    """Return the runs that wait for a person at a moment; how many others there are is no cost."""
    found = _failed(alias, at).values("pk").order_by()
    others = (_stalled(alias, at), _late(alias, at))
    chosen = found.union(*(one.values("run_id").order_by() for one in others), all=True)
    shown: QuerySet[Any] = PipelineExecution.objects.using(alias).filter(pk__in=chosen)
    return shown


def _failed(alias: str, at: datetime) -> QuerySet[PipelineExecution]:
    since = at - timedelta(days=TROUBLE_DAYS)
    failed = PipelineExecution.objects.using(alias).troubled().filter(status=RunStatus.FAILED)
    edge = failed.newest_first().values("pk")[MAX_FAILED : MAX_FAILED + 1]
    newest = failed.filter(pk__gt=Coalesce(Subquery(edge), UUID(int=0)))
    return newest.filter(finished_at__gte=since, children__isnull=True)


def _stalled(alias: str, at: datetime) -> QuerySet[TaskExecution]:
    live = Worker.objects.using(alias).heard_of(at).values("pk")
    return TaskExecution.objects.using(alias).running().exclude(worker_id__in=live)


def _late(alias: str, at: datetime) -> QuerySet[TaskExecution]:
    due = at - timedelta(seconds=LATE_SECONDS)
    paused = WorkflowControl.objects.using(alias).paused().values("pk")
    ready = TaskExecution.objects.using(alias).ready().exclude(workflow_name__in=paused)
    claimed = TaskExecution.objects.filter(run=OuterRef("run"), claimed_at__isnull=False)
    at_its_time = Q(run__start_at__isnull=True) | Q(run__start_at__lte=due)
    return ready.filter(
        ~Exists(claimed), at_its_time, run__status=RunStatus.PENDING, run__created_at__lte=due
    )


def tags(
    run: Any, at: datetime, *, counts: Mapping[str, int], crashes: int,
    owners: Collection[UUID], heard_of: Collection[UUID],
) -> Iterator[Tag]:  # fmt: skip
    """Yield the tags of a run with its ``shown_status``. ``owners`` have its running tasks."""
    if any(owner not in heard_of for owner in owners):
        yield STALLED
    if _is_late(run, at, counts):
        yield LATE
    if crashes:
        yield RECOVERED
    if run.origin == Origin.ADMIN:
        yield MANUAL


def _is_late(run: Any, at: datetime, counts: Mapping[str, int]) -> bool:
    if run.shown_status != RunStatus.PENDING or not counts.get(TaskStatus.READY):
        return False
    since: datetime = max(m for m in (run.created_at, run.start_at) if m is not None)
    return at - since >= timedelta(seconds=LATE_SECONDS)
