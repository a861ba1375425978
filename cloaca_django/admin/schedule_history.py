"""How the last runs of the schedules on a page went, read for all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import attrgetter, or_
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, Subquery

from cloaca_django.admin import workflow_reads
from cloaca_django.admin.workflow_reads import Record
from cloaca_django.models import CronSchedule, PipelineExecution

SHOWN = 20


def records(alias: str, schedules: Iterable[UUID]) -> Mapping[UUID, Record]:
    """Return how the last runs of each schedule went.

    Two statements, whatever the number of schedules and the length of their histories: one finds
    where the last runs of each begin, one reads them.
    """
    ids = list(schedules)
    if not ids:
        return {}
    runs: dict[UUID, list[Any]] = defaultdict(list)
    # Sorted here: asked for in this order, SQLite reads the whole table by its key instead.
    for run in sorted(_last_runs(alias, ids), key=attrgetter("pk"), reverse=True):
        runs[run.schedule_id].append(run)
    return {id: workflow_reads.record(runs[id], shown=SHOWN) for id in ids}


def _last_runs(alias: str, ids: Iterable[UUID]) -> Any:
    runs: Any = PipelineExecution.objects.using(alias)
    own = runs.filter(schedule=OuterRef("pk")).newest_first().values("pk")
    rows = CronSchedule.objects.using(alias).filter(pk__in=ids)
    edges = rows.annotate(edge=Subquery(own[SHOWN - 1 : SHOWN])).values_list("pk", "edge")
    wanted = Q(pk__in=())
    for id, edge in edges:
        wanted = or_(wanted, Q(schedule=id) if edge is None else Q(schedule=id, pk__gte=edge))
    columns = ("schedule_id", "status", "created_at", "finished_at")
    return runs.filter(wanted).order_by().only(*columns)
