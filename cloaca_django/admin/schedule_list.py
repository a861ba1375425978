"""The list of schedules: what each runs, when, how it went, and whether it will go on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import (
    access,
    confirming,
    logged,
    schedule_acts,
    schedule_filters,
    schedule_history,
    schedule_preview,
    spans,
    vocabulary,
)
from cloaca_django.admin.attention import LATE_SECONDS
from cloaca_django.admin.confirming import Act
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.admin.schedule_acts import COUNTING
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.engine import forecast, overview
from cloaca_django.engine.forecast import Standing
from cloaca_django.models import CronSchedule, PipelineExecution

MAX_CHOSEN = 1_000
MAX_WORDS = 160
# Where each cell names no column there is nothing to be said in place of nothing.
NONE = format_html('<span class="cloaca-none">{}</span>', "\N{EN DASH}")
# How wide the picture of the last runs is for each of them.
BAR = 12


class ScheduleList(ChangeList):
    """Django's list, with the database's time and the last runs, which it asks for once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        now, names = overview.read_clock(settings.DATABASE), registry.names()
        may_see_runs = access.may_view(request, PipelineExecution)
        ids = [row.pk for row in rows] if may_see_runs else []
        records = schedule_history.records(settings.DATABASE, ids)
        for row in rows:
            row.admin_record = records.get(row.pk)
            row.admin_now = now
            row.admin_view = forecast.view_of(row)
            row.admin_is_stale = row.workflow_name not in names
        self.result_list, self.at = rows, now
        if not self.query and not self.has_active_filters:
            # Else Django offers to show all of what is shown already.
            self.full_result_count = self.result_count


def _permitted(act: Act) -> Any:
    return lambda _admin, request: access.may(request, act.permission)


def _bulk(act: Act) -> Any:
    """Return the action of Django's list that asks before it does ``act`` to what was chosen."""

    @admin.action(description=act.label, permissions=[act.slug])
    def ask(page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        rows = _with_status(queryset[: MAX_CHOSEN + 1])
        return confirming.ask_for_many(
            page, request, rows, act=act, limit=MAX_CHOSEN, counting=COUNTING
        )

    ask.__name__ = act.slug
    return ask


def _with_status(rows: Any) -> list[Any]:
    found = list(rows)
    for row in found:
        row.shown_status = forecast.view_of(row).standing.value
    return found


class ScheduleListAdmin(ReadOnlyAdmin):
    """The columns, filters and actions of the list."""

    list_display = ("named", "when", "next_run", "last_runs", "standing")
    list_display_links = ("named",)
    list_filter = schedule_filters.ALL
    search_fields = ("name", "workflow_name", "cron_expression")
    ordering = ("workflow_name", "created_at", "id")
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    actions = [*(_bulk(act) for act in schedule_acts.ACTS.values()), "export_json"]
    change_list_template = "admin/cloaca_django/schedule_list.html"

    has_enable_permission = _permitted(schedule_acts.ENABLE)
    has_disable_permission = _permitted(schedule_acts.DISABLE)
    has_trigger_permission = _permitted(schedule_acts.TRIGGER)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ScheduleList

    def get_queryset(self, request: HttpRequest) -> QuerySet[CronSchedule]:
        found: Any = super().get_queryset(request)
        rows: QuerySet[CronSchedule] = found.with_last_result()
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return super().get_search_results(request, queryset, search_term.replace("\x00", ""))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        facts = {
            "title": _("Schedules"), "calendar_url": self.url("calendar"),
            "add_url": self.url("add"), **(extra_context or {}),
        }  # fmt: skip
        return super().changelist_view(request, facts)

    def bulk_view(self, request: HttpRequest, *, slug: str) -> HttpResponse:
        """Do to many schedules what was asked and confirmed."""
        act = schedule_acts.ACTS[slug]
        if not (self.has_view_permission(request) and access.may(request, act.permission)):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(self.url("changelist"))
        ids = [_uuid(text) for text in request.POST.get("ids", "").split(",")[:MAX_CHOSEN]]
        rows = self.get_queryset(request).filter(pk__in=[id for id in ids if id is not None])
        return confirming.do_to_many(self, request, rows, act=act, counting=COUNTING)

    @admin.action(description=gettext_lazy("Export JSON"), permissions=["view"])
    def export_json(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Answer with a file of what was chosen, as the command prints it, without secrets."""
        rows = list(queryset[:MAX_CHOSEN])
        items = [forecast.data_of(forecast.view_of(row)) for row in rows]
        if access.may(request, access.VIEW_CONTEXT):
            user: Any = request.user
            LogEntry.objects.log_actions(user.pk, rows, CHANGE, logged.entry("Exported as JSON"))
        else:
            items = [{**item, "context": None} for item in items]
        answer = JsonResponse(
            {"items": items, "total": len(items)},
            json_dumps_params={"indent": 2, "ensure_ascii": False},
        )
        answer["Content-Disposition"] = 'attachment; filename="schedules.json"'
        return answer

    # -- columns

    @admin.display(description=gettext_lazy("schedule"))
    def named(self, row: Any) -> SafeString:
        mark = _("not registered here") if row.admin_is_stale else ""
        name = row.name if row.name != row.workflow_name else None
        return format_html(
            '<bdi class="cloaca-strong">{}</bdi>{}{}', row.workflow_name,
            format_html("<br><bdi>{}</bdi>", name) if name else "",
            format_html(' <span class="cloaca-tag">{}</span>', mark) if mark else "",
        )  # fmt: skip

    @admin.display(description=gettext_lazy("when"))
    def when(self, row: Any) -> SafeString:
        shown = '{}<br><code dir="ltr">{}</code> <span class="cloaca-quiet">{}</span>'
        sentence = schedule_preview.sentence(row) or row.cron_expression
        return format_html(shown, sentence, row.cron_expression, row.timezone)

    @admin.display(description=gettext_lazy("next run"))
    def next_run(self, row: Any) -> SafeString | str:
        view = row.admin_view
        if view.standing is not Standing.ENABLED:
            return NONE
        at = view.next_run_at
        is_late = at <= row.admin_now - timedelta(seconds=LATE_SECONDS)
        clocks = schedule_preview.clocks(at, view.zone, row.admin_now)
        return format_html(
            '<time class="{}" datetime="{}" title="{}">{}</time>{}',
            "cloaca-status cloaca-bad" if is_late else "", at.isoformat(),
            schedule_preview.both(at, view.zone),
            (_("due %s") if is_late else "%s") % spans.distance(at, row.admin_now),
            format_html_join("", '<bdi dir="ltr" class="cloaca-words cloaca-quiet">{}</bdi>',
                             ((text,) for text in clocks)),
        )  # fmt: skip

    @admin.display(description=gettext_lazy("last 20 runs"))
    def last_runs(self, row: Any) -> SafeString | str:
        if row.last_run_id is None or row.admin_record is None:
            return NONE
        word = vocabulary.word(row.last_result)
        ago = spans.shown(row.last_run_at, row.admin_now) if row.last_run_at else ""
        facts = {"record": row.admin_record, "small": True, "room": BAR * schedule_history.SHOWN}
        return format_html(
            '<a href="{}" title="{}"><span class="cloaca-status cloaca-{}">'
            '<span aria-hidden="true">{}</span><span class="cloaca-hidden">{}</span></span>'
            ' <span class="cloaca-number">{}</span></a><div class="cloaca">{}</div>',
            self.run_url(row.last_run_id), word.label, word.tone, word.glyph, word.label, ago,
            render_to_string("admin/cloaca_django/part_strip.html", facts),
        )  # fmt: skip

    @admin.display(description=gettext_lazy("state"))
    def standing(self, row: Any) -> SafeString:
        view = getattr(row, "admin_view", None) or forecast.view_of(row)
        word = vocabulary.word(view.standing.value)
        edited = _("edited by hand") if view.is_edited else ""
        return format_html(
            '<span class="cloaca-status cloaca-{}"><span aria-hidden="true">{}</span> {}</span>'
            ' <bdi class="cloaca-words">{}</bdi>{}',
            word.tone, word.glyph, word.label, _why(row, view.standing),
            format_html(' <span class="cloaca-tag">{}</span>', edited) if edited else "",
        )  # fmt: skip


def _why(row: Any, standing: Standing) -> str:
    text = ""
    if standing is Standing.PARKED:
        text = row.error_message
    elif standing is Standing.DISABLED and (row.disabled_by or row.disabled_reason):
        by = _("by %s") % row.disabled_by if row.disabled_by else ""
        text = ": ".join(part for part in (by, row.disabled_reason) if part)
    first = text.strip().partition("\n")[0]
    return f"{first[:MAX_WORDS]}…" if len(first) > MAX_WORDS else first


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
