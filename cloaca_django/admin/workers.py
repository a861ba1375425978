"""The page of workers: who is alive, what each runs, and how to let one take no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django import VERSION
from cloaca_django.admin import access, confirming, vocabulary
from cloaca_django.admin.confirming import Act, Doing, Done
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import open_session
from cloaca_django.engine import operations, overview
from cloaca_django.errors import InvalidTransition
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


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One line. ``tone`` judges the age of the heartbeat; ``room`` is of the bar of slots."""

    worker: Worker
    kind: vocabulary.Text
    tone: str
    running: int
    tasks: Sequence[Any]
    filled: int
    is_foreign: bool
    drain_url: str


def _if_alive(worker: Any) -> str:
    if worker.state == WorkerState.ALIVE:
        return ""
    return _("This worker is %s.") % vocabulary.word(worker.state).word


def _explain_drain(worker: Any) -> Iterator[str]:
    yield _(
        "It claims nothing more from its next heartbeat on, within %d s; what it runs goes on to"
        " its end. It takes tasks again when it is started anew."
    ) % max(1, round(settings.HEARTBEAT_SECONDS))


def _drain(doing: Doing) -> Done:
    with closing(open_session(settings.DATABASE)) as session:
        if not operations.drain(session, doing.row.pk, by=doing.by):
            doing.row.refresh_from_db()
            raise InvalidTransition("worker", doing.row.state, WorkerState.DRAINING)
    logged = f"Drained: {doing.reason}" if doing.reason else "Drained."
    return Done(_("The worker takes no more tasks."), logged)


DRAIN = Act(
    "drain", access.DRAIN, gettext_lazy("Drain…"), gettext_lazy("Let %(what)s take no more tasks?"),
    gettext_lazy("Yes, drain it"), _explain_drain, _if_alive, _drain,
)  # fmt: skip


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers, those heard of last first."""

    def get_urls(self) -> list[URLPattern]:
        drain = self.routed("<str:object_id>/drain/", self.drain_view, "drain")
        return [drain, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the workers that live, and those that ended lately."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = overview.read_clock(settings.DATABASE)
        rows = self._rows(request, now)
        seconds = settings.ADMIN_POLL_SECONDS
        return self.page(
            request, "workers.html", title=_("Workers"), rows=rows, now=now,
            poll=round(1000 * max(seconds, LIVE_SECONDS)) if seconds else 0,
            is_workerless=not any(
                row.worker.state == WorkerState.ALIVE and row.worker.lease_until > now
                and row.worker.kind != WorkerKind.EMBEDDED for row in rows
            ),
        )  # fmt: skip

    def _rows(self, request: HttpRequest, now: datetime) -> Sequence[WorkerRow]:
        found = Worker.objects.using(settings.DATABASE)
        recent = Q(heartbeat_at__gte=now - timedelta(hours=ENDED_HOURS))
        alive = Q(state__in=[WorkerState.ALIVE, WorkerState.DRAINING])
        newest = found.filter(alive | recent).order_by("-heartbeat_at", "id")[:MAX_WORKERS]
        workers = sorted(newest, key=lambda worker: _ORDER.index(worker.state))
        may_drain = access.may(request, access.DRAIN)
        tasks = _running()
        return [
            self._row(worker, tasks.get(worker.pk, ()), now, may_drain=may_drain)
            for worker in workers
        ]

    def _row(
        self, worker: Worker, tasks: Sequence[Any], now: datetime, *, may_drain: bool
    ) -> WorkerRow:
        can_drain = may_drain and not _if_alive(worker)
        return WorkerRow(
            worker=worker,
            kind=KINDS.get(worker.kind, worker.kind),
            tone=_tone(worker, now),
            running=len(tasks),
            tasks=tasks[:MAX_TASKS],
            filled=round(60 * min(1.0, len(tasks) / max(1, worker.concurrency))),
            is_foreign=bool(worker.version) and worker.version != VERSION,
            drain_url=self.url("drain", worker.pk) if can_drain else "",
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Lead to the line of a worker in the list, which says all there is."""
        worker = self.row_or_none(request, object_id)
        if worker is None:
            return self.gone(request, object_id)
        return HttpResponseRedirect(f"{self.url('changelist')}#worker-{worker.pk}")

    def drain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then drain."""
        return confirming.ask(self, request, object_id, act=DRAIN)


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
