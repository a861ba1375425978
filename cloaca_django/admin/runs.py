"""The pages of runs: the list, a run, one of its tasks, its context, and what one may do to it."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.urls import URLPattern

from cloaca_django.admin import access, changes, confirming, logged, run_acts, run_page, run_reads
from cloaca_django.admin.run_list import RunListAdmin
from cloaca_django.conf import settings
from cloaca_django.core.states import RUN_FINAL
from cloaca_django.engine import overview
from cloaca_django.errors import UnreadableContext
from cloaca_django.models import PipelineExecution, TaskExecution, TaskLog

LIVE = "X-Cloaca-Live"


@admin.register(PipelineExecution)
class RunAdmin(RunListAdmin):
    """Runs, newest first, and the page of each."""

    def get_urls(self) -> list[URLPattern]:
        own = [self.routed("changes/", self.changes_view, "changes")]
        own += [
            self.routed(f"bulk/{slug}/", partial(self.bulk_view, slug=slug), f"bulk_{slug}")
            for slug in run_acts.ACTS
        ]
        own += [
            self.routed(f"<str:object_id>/{slug}/", partial(self.act_view, slug=slug), slug)
            for slug in run_acts.ACTS
        ]
        own += [
            self.routed("<str:object_id>/context.json", self.context_view, "context"),
            self.routed("<str:object_id>/task/<int:task_id>/", self.task_view, "task"),
            self.routed("<str:object_id>/task/<int:task_id>/log/", self.log_view, "log"),
        ]
        return own + super().get_urls()

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> PipelineExecution | None:
        try:
            key = UUID(object_id)
        except ValueError:
            return None
        found: PipelineExecution | None = run_reads.runs(settings.DATABASE).filter(pk=key).first()
        return found

    # -- a run

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Show a run. A page that is live asks whether anything changed since its last answer."""
        run = self.row_or_none(request, object_id)
        if run is None:
            return self.gone(request, object_id)
        is_open = run.status not in RUN_FINAL
        if LIVE in request.headers and "If-None-Match" in request.headers:
            rows = run_reads.tag(settings.DATABASE, run.pk)
            if rows is not None and request.headers["If-None-Match"] == run_page.tag_of(
                rows, request, is_open=is_open
            ):
                return HttpResponseNotModified()
        facts = run_reads.read(settings.DATABASE, run)
        etag = run_page.tag_of(run_page.rows_of(facts), request, is_open=is_open)
        described = run_page.describe(facts, request, self)
        answer = self.page(
            request, "run.html", title=str(run), original=run, etag=etag, **described
        )
        answer["ETag"] = etag
        return answer

    def act_view(self, request: HttpRequest, object_id: str, *, slug: str) -> HttpResponse:
        """Ask, then act."""
        return confirming.ask(self, request, object_id, act=run_acts.ACTS[slug])

    # -- one task

    def task_view(self, request: HttpRequest, object_id: str, task_id: int) -> HttpResponse:
        """Show every attempt of a task with its error, traceback and log."""
        run, task = self._task(request, object_id, task_id)
        may_see = access.may(request, access.VIEW_CONTEXT)
        attempts, texts = run_reads.read_task(settings.DATABASE, task, with_logs=may_see)
        shown = [(one, texts.pop(one.attempt, "")) for one in attempts]
        return self.page(
            request, "task.html", title=task.name, original=run, run=run, task=task,
            attempts=shown, logs=sorted(texts.items(), reverse=True), may_see_context=may_see,
            is_captured=settings.LOG_CAPTURE, now=overview.read_clock(settings.DATABASE),
            back=self.url("change", run.pk),
        )  # fmt: skip

    def log_view(self, request: HttpRequest, object_id: str, task_id: int) -> HttpResponse:
        """Return the whole log of one attempt as text; that somebody did is logged."""
        run, task = self._task(request, object_id, task_id)
        if not access.may(request, access.VIEW_CONTEXT):
            raise PermissionDenied
        asked = request.GET.get("attempt", "")
        attempt = int(asked) if asked.isascii() and asked.isdigit() else task.attempt
        logs = TaskLog.objects.using(settings.DATABASE).filter(
            task=task, attempt=min(attempt, 10**6)
        )
        found = logs.first()
        if found is None:
            raise Http404
        told = "Read the log of %(task)s, attempt %(count)s"
        self.log_change(request, run, logged.entry(told, task=task.name, count=found.attempt))
        answer = HttpResponse(found.text, content_type="text/plain; charset=utf-8")
        # Whatever the site's middleware does: nobody may take a log for a page.
        answer["X-Content-Type-Options"] = "nosniff"
        return answer

    def _task(self, request: HttpRequest, object_id: str, task_id: int) -> tuple[Any, Any]:
        run = self.row_or_none(request, object_id)
        tasks = TaskExecution.objects.using(settings.DATABASE)
        # Too large for a bigint: no task has such an id.
        task = tasks.filter(run=run, pk=task_id).first() if run and task_id < 2**63 else None
        if task is None:
            raise Http404
        return run, task

    # -- its context

    def context_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the newest context as a file, without secrets; that somebody did is logged."""
        run = self.row_or_none(request, object_id)
        if not access.may(request, access.VIEW_CONTEXT):
            raise PermissionDenied
        if run is None:
            raise Http404
        try:
            state = changes.state_of(run_reads.read(settings.DATABASE, run))
        except UnreadableContext as error:
            raise Http404 from error
        self.log_change(request, run, logged.entry("Downloaded the context"))
        answer = HttpResponse(changes.shown_context(state), content_type="application/json")
        answer["Content-Disposition"] = f'attachment; filename="context-{run.pk}.json"'
        return answer
