"""The pages of schedules: the list, the form, its preview, and what one may do to a schedule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import (
    access,
    confirming,
    saying,
    schedule_acts,
    schedule_backfill,
    schedule_calendar,
    schedule_fields,
    schedule_inputs,
    schedule_log,
    schedule_preview,
    spans,
)
from cloaca_django.admin.schedule_form import ScheduleForm
from cloaca_django.admin.schedule_list import NONE, ScheduleListAdmin
from cloaca_django.conf import settings
from cloaca_django.core.context import decode
from cloaca_django.core.redaction import redacted
from cloaca_django.engine import overview, timetable
from cloaca_django.errors import CloacaError, ScheduleNotFound, UnreadableContext
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution

MAX_RECENT = 10
OWNER = "schedule"


@admin.register(CronSchedule)
class ScheduleAdmin(ScheduleListAdmin):
    """Schedules. They are added, changed and deleted here, through the engine's own operations."""

    form = ScheduleForm
    readonly_fields = ("preview", "shown_context", "standing")
    change_form_template = "admin/cloaca_django/schedule_form.html"

    has_add_permission = admin.ModelAdmin.has_add_permission
    has_change_permission = admin.ModelAdmin.has_change_permission
    has_delete_permission = admin.ModelAdmin.has_delete_permission

    def get_urls(self) -> list[URLPattern]:
        acts = schedule_acts.ACTS
        own = [
            self.routed("preview/", self.preview_view, "preview"),
            self.routed("inputs/", self.inputs_view, "inputs"),
            self.routed("calendar/", self.calendar_view, "calendar"),
            self.routed(
                f"<str:object_id>/{schedule_backfill.SLUG}/",
                self.backfill_view,
                schedule_backfill.SLUG,
            ),
        ]
        own += [
            self.routed(f"bulk/{slug}/", partial(self.bulk_view, slug=slug), f"bulk_{slug}")
            for slug in acts
        ]
        own += [
            self.routed(f"<str:object_id>/{slug}/", partial(self.act_view, slug=slug), slug)
            for slug in acts
        ]
        return own + super().get_urls()

    # -- the form

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        state = ["enabled"] if obj is None else ["standing"]
        if obj is not None and self.has_change_permission(request, obj):
            state.append("seen")
        return [
            (None, {"fields": ["workflow_name", "name", *state]}),
            (_("When"), {"fields": [
                "cron_expression", "timezone", "preview", "start_date", "end_date",
            ]}),
            (_("If times are missed or overlap"), {"fields": [
                "catchup_policy", "overlap_policy", "deadline_seconds",
            ]}),
            (_("Runs"), {"fields": ["queue", "priority", *self._context(request, obj)]}),
        ]  # fmt: skip

    def _context(self, request: HttpRequest, obj: Model | None) -> list[str]:
        """Return the field of the context: to type in, to read, or none, by what one may."""
        if obj is None:
            return ["context"]
        if not access.may(request, access.VIEW_CONTEXT):
            return []
        return ["context" if self.has_change_permission(request, obj) else "shown_context"]

    @admin.display(description=gettext_lazy("Preview"))
    def preview(self, row: Any) -> SafeString:
        """Show what the saved schedule does; the script shows what is being typed."""
        is_saved = row is not None and row.cron_expression
        return format_html(
            '<div class="cloaca" aria-live="polite" data-cloaca-preview="{}">{}</div>',
            self.url("preview"), schedule_preview.of_row(row) if is_saved else NONE,
        )  # fmt: skip

    @admin.display(description=gettext_lazy("Context"))
    def shown_context(self, row: Any) -> SafeString | str:
        try:
            data = redacted(decode(row.context))
        except UnreadableContext as error:
            return saying.of_context(error)
        text = json.dumps(data, ensure_ascii=False, indent=2)
        return format_html('<div class="cloaca"><pre tabindex="0">{}</pre></div>', text)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the script with the preview of what stands in the form."""
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        return HttpResponse(schedule_preview.of_typed(request.GET))

    def inputs_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the script with the fields of the workflow that was chosen."""
        if not (self.has_change_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        name = request.GET.get("workflow_name", "")
        fields = schedule_inputs.fields_of(schedule_inputs.workflow_of(name), {})
        facts = {"inputs": fields, "inputs_of": name, "mark": schedule_inputs.MARK}
        return TemplateResponse(request, "admin/cloaca_django/part_inputs.html", facts)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Show the form, and save it."""
        facts: dict[str, Any] = {
            "examples": schedule_preview.examples(), "zones": schedule_fields.zones(),
            "mark": schedule_inputs.MARK, "inputs_url": self.url("inputs"),
        }  # fmt: skip
        facts |= self._around(request, object_id) if object_id else {}
        try:
            return super().changeform_view(
                request, object_id, form_url, {**facts, **(extra_context or {})}
            )
        except CloacaError as error:
            # Somebody took the name, or deleted it, after the form was checked.
            messages.warning(request, str(error)[:500])
            return HttpResponseRedirect(self.url("changelist"))

    def _around(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        """Return what a schedule's page shows beside its form."""
        row = self.row_or_none(request, object_id)
        if row is None:
            return {}
        runs = PipelineExecution.objects.using(settings.DATABASE).filter(schedule=row.pk)
        recent: Any = runs.newest_first().with_shown_status()
        may_see_runs = access.may_view(request, PipelineExecution)
        shown = list(recent.defer("context")[:MAX_RECENT]) if may_see_runs else []
        for run in shown:
            run.admin_seconds = spans.between(run.started_at or run.created_at, run.finished_at)
        return {
            "buttons": list(self._buttons(request, row)),
            "recent": shown,
            "now": overview.read_clock(settings.DATABASE),
        }

    def _buttons(self, request: HttpRequest, row: CronSchedule) -> Iterable[tuple[Any, str]]:
        for act in schedule_acts.ACTS.values():
            if access.may(request, act.permission) and not act.refusal(row):
                yield act.label, self.url(act.slug, row.pk)
        if access.may(request, access.RUN) and not schedule_acts.if_registered(row):
            yield schedule_backfill.LABEL, self.url(schedule_backfill.SLUG, row.pk)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Have the engine write it: it plans the next run and tells the workers."""
        alias, workflow = settings.DATABASE, form.cleaned_data["workflow_name"]
        if change:
            timetable.update(alias, obj.pk, form.facts, workflow_name=workflow, owner=OWNER)
        else:
            made = timetable.register(alias, workflow, form.facts, owner=OWNER, replaces=False)
            obj.pk = made.pk
        obj.refresh_from_db(using=alias)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Log what was changed from what to what."""
        if add:
            return super().construct_change_message(request, form, formsets, add)
        return schedule_log.message_of(form)

    # -- acts

    def act_view(self, request: HttpRequest, object_id: str, *, slug: str) -> HttpResponse:
        """Ask, then act."""
        return confirming.ask(self, request, object_id, act=schedule_acts.ACTS[slug])

    def backfill_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which past times are meant, count them, then start their runs."""
        row = self.row_or_none(request, object_id)
        if not access.may(request, access.RUN):
            raise PermissionDenied
        if row is None:
            return self.gone(request, object_id)
        return schedule_backfill.ask(self, request, row)

    def calendar_view(self, request: HttpRequest) -> HttpResponse:
        """Show a week of all schedules."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return schedule_calendar.show(self, request)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a schedule with its history; its runs stay."""
        # Who was faster has done what was asked.
        with suppress(ScheduleNotFound):
            timetable.delete(settings.DATABASE, obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Count the fires that go with schedules, in place of reading each of them."""
        rows = list(objs)
        fires = CronExecution.objects.using(settings.DATABASE).filter(schedule__in=rows).count()
        counts = {self.opts.verbose_name_plural: len(rows)}
        counts |= {CronExecution._meta.verbose_name_plural: fires} if fires else {}
        texts = [str(row) for row in rows]
        if any(row.declared for row in rows):
            texts.append(_("Code declares some of them: the next sync makes those again."))
        return texts, counts, set(), []
