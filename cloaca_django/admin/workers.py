"""The page of workers: who is alive, what each runs, and how to let one take no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import access, confirming, vocabulary, worker_acts
from cloaca_django.admin.choices import Filter, choose
from cloaca_django.admin.confirming import Act
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.engine import overview
from cloaca_django.engine.shift import software
from cloaca_django.models import TaskExecution, Worker

MAX_WORKERS = 200
MAX_TASKS = 3
MAX_RUNNING = 1_000
LIVE_SECONDS = 5
# How long an ended worker is still of interest.
ENDED_HOURS = 24

_ORDER = (WorkerState.ALIVE, WorkerState.DRAINING, WorkerState.DEAD, WorkerState.STOPPED)

KINDS: Mapping[str, vocabulary.Text] = {
    WorkerKind.WORKER: gettext_lazy("worker process"),
    WorkerKind.RUNNER: gettext_lazy("runner in a program"),
    WorkerKind.EMBEDDED: gettext_lazy("runner of this site"),
}

# There is no leader: whoever takes what anybody submits fires schedules as well.
ROLES: Mapping[str, vocabulary.Text] = {
    WorkerKind.WORKER: gettext_lazy("tasks and schedules"),
    WorkerKind.RUNNER: gettext_lazy("tasks and schedules"),
    WorkerKind.EMBEDDED: gettext_lazy("only runs of its own"),
}

FILTERS = (
    Filter(
        "state", gettext_lazy("State"), lambda worker: worker.state,
        lambda state: vocabulary.word(state).label,
    ),
    Filter("host", gettext_lazy("Host"), lambda worker: worker.hostname),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One line. ``tone`` judges the age of the heartbeat; ``filled`` is of the bar of slots."""

    worker: Worker
    kind: vocabulary.Text
    role: vocabulary.Text
    tone: str
    running: int
    tasks: Sequence[Any]
    filled: int
    is_foreign: bool
    buttons: Sequence[tuple[Act, str]]


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers, those heard of last first."""

    def get_urls(self) -> list[URLPattern]:
        own = [
            self.routed(f"<str:object_id>/{slug}/", partial(self.act_view, slug=slug), slug)
            for slug in worker_acts.ACTS
        ]
        return own + super().get_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the workers that live, and those that ended lately."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = overview.read_clock(settings.DATABASE)
        found = self._workers(now)
        chosen, filters = choose(request, found, FILTERS)
        seconds = settings.ADMIN_POLL_SECONDS
        return self.page(
            request, "workers.html", title=_("Workers"), rows=self._rows(request, chosen, now),
            now=now, choices=filters, is_empty=not found,
            poll=round(1000 * max(seconds, LIVE_SECONDS)) if seconds else 0,
            is_workerless=not (
                any(
                    worker.state == WorkerState.ALIVE and worker.lease_until > now
                    and worker.kind != WorkerKind.EMBEDDED for worker in found
                )
                or overview.is_tenant_served(settings.DATABASE)
            ),
        )  # fmt: skip

    def _workers(self, now: datetime) -> Sequence[Worker]:
        found = Worker.objects.using(settings.DATABASE)
        recent = Q(heartbeat_at__gte=now - timedelta(hours=ENDED_HOURS))
        alive = Q(state__in=[WorkerState.ALIVE, WorkerState.DRAINING])
        newest = found.filter(alive | recent).order_by("-heartbeat_at", "id")[:MAX_WORKERS]
        return sorted(newest, key=lambda worker: _ORDER.index(worker.state))

    def _rows(
        self, request: HttpRequest, workers: Sequence[Worker], now: datetime
    ) -> Sequence[WorkerRow]:
        tasks = _running()
        return [self._row(request, one, tasks.get(one.pk, ()), now) for one in workers]

    def _row(
        self, request: HttpRequest, worker: Worker, tasks: Sequence[Any], now: datetime
    ) -> WorkerRow:
        return WorkerRow(
            worker=worker,
            kind=KINDS.get(worker.kind, worker.kind),
            role=ROLES.get(worker.kind, ""),
            tone=_tone(worker, now),
            running=len(tasks),
            tasks=tasks[:MAX_TASKS],
            filled=round(60 * min(1.0, len(tasks) / max(1, worker.concurrency))),
            is_foreign=bool(worker.version) and worker.version != software(),
            buttons=[
                (act, self.url(act.slug, worker.pk)) for act in worker_acts.ACTS.values()
                if access.may(request, act.permission) and not act.refusal(worker)
            ],
        )  # fmt: skip

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Lead to the line of a worker in the list, which says all there is."""
        worker = self.row_or_none(request, object_id)
        if worker is None:
            return self.gone(request, object_id)
        return HttpResponseRedirect(f"{self.url('changelist')}#worker-{worker.pk}")

    def act_view(self, request: HttpRequest, object_id: str, *, slug: str) -> HttpResponse:
        """Ask, then act."""
        return confirming.ask(self, request, object_id, act=worker_acts.ACTS[slug])


def _running() -> Mapping[UUID, Sequence[Any]]:
    """Return the running tasks of each worker, oldest claim first."""
    running = TaskExecution.objects.using(settings.DATABASE).running().order_by("claimed_at")
    found: dict[UUID, list[Any]] = defaultdict(list)
    columns = ("worker_id", "run_id", "position", "name", "workflow_name")
    for row in running.values_list(*columns, named=True)[:MAX_RUNNING]:
        found[row.worker_id].append(row)
    return found


def _tone(worker: Worker, now: datetime) -> str:
    """Judge the age of a heartbeat by how often there should be one."""
    if worker.state not in {WorkerState.ALIVE, WorkerState.DRAINING}:
        return "off"
    beats = (now - worker.heartbeat_at).total_seconds() / settings.HEARTBEAT_SECONDS
    if beats > 5:
        return "bad"
    return "wait" if beats > 2 else "good"
