"""The list of runs: it stands still, costs the same with a million rows, and acts on many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cloaca_django.admin import (
    access,
    confirming,
    run_acts,
    run_filters,
    run_months,
    run_reads,
    spans,
    vocabulary,
)
from cloaca_django.admin.confirming import Act
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.admin.run_months import Month
from cloaca_django.admin.run_rows import Facts, RunRows
from cloaca_django.conf import settings
from cloaca_django.core.states import Origin
from cloaca_django.models import PipelineExecution

# Counting goes no further: a count of a million rows takes longer than the page.
MAX_COUNTED = 10_000
MAX_CHOSEN = 1_000
# Where no index leads to what a filter leaves, so many runs are looked through at once.
MAX_WALKED = 50_000
LIVE_SECONDS = 15
MAX_NEWS = 1_000
BEFORE = "before"
ID_PREFIX = 4


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of what can be counted quickly; older rows are behind ``before=``."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, at most ``MAX_COUNTED``."""
        found: Any = self.object_list
        count: int = found.order_by()[:MAX_COUNTED].count()
        return count


class RunList(ChangeList):
    """Django's list, by the month, and what the columns of a page need, read together."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        for name in (BEFORE, run_months.MONTH):
            found.pop(name, None)
        return found

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        page: Any = self.model_admin
        self.edge = None if page.is_quick(request) else page.edge(request)
        return found.filter(pk__gte=self.edge) if self.edge else found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        self.result_list = rows
        page: Any = self.model_admin
        self.at = page.read_columns(rows)
        self.months = run_months.around(page.month(request), self.at, self._of_month)
        is_capped = self.result_count >= MAX_COUNTED
        self.older = ""
        is_last = self.page_num == self.paginator.num_pages
        if is_capped and rows and is_last:
            self.older = self.get_query_string({BEFORE: rows[-1].pk}, ["p"])
        self.is_capped = is_capped
        self.walked = MAX_WALKED
        self.further = ""
        if self.edge and is_last and not is_capped:
            self.further = self.get_query_string({BEFORE: self.edge}, ["p"])
        if not self.query and not self.has_active_filters:
            # Else Django offers to show all of what is shown already.
            self.full_result_count = self.result_count

    def _of_month(self, month: str) -> str:
        changed = {run_months.MONTH: month} if month else {}
        return self.get_query_string(changed, ["p", BEFORE, *([] if month else [run_months.MONTH])])


def _permitted(act: Act) -> Callable[[Any, HttpRequest], bool]:
    return lambda _admin, request: access.may(request, act.permission)


def _bulk(act: Act) -> Any:
    """Return the action of Django's list that asks before it does ``act`` to what was chosen."""

    @admin.action(description=act.label, permissions=[f"do_{act.slug}"])
    def ask(page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        rows = list(queryset.order_by("-id")[: MAX_CHOSEN + 1])
        return confirming.ask_for_many(page, request, rows, act=act, limit=MAX_CHOSEN)

    ask.__name__ = act.slug
    return ask


class RunListAdmin(ReadOnlyAdmin):
    """The columns, filters and actions of the list."""

    list_display = ("shown", "run", "happened", "moment")
    list_display_links = ("run",)
    list_filter = run_filters.ALL
    search_fields = ("workflow_name",)
    search_help_text = gettext_lazy("The start of a run's id, or part of a workflow's name")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    actions = [
        _bulk(run_acts.RETRY), _bulk(run_acts.RERUN), _bulk(run_acts.CANCEL), _bulk(run_acts.DELETE)
    ]  # fmt: skip
    change_list_template = "admin/cloaca_django/run_list.html"

    has_do_retry_permission = _permitted(run_acts.RETRY)
    has_do_rerun_permission = _permitted(run_acts.RERUN)
    has_do_cancel_permission = _permitted(run_acts.CANCEL)

    def has_do_delete_permission(self, request: HttpRequest) -> bool:
        """Say whether the list offers to delete."""
        return settings.ADMIN_DELETE_RUNS and access.may(request, access.DELETE_RUN)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_queryset(self, request: HttpRequest) -> QuerySet[PipelineExecution]:
        rows: Any = super().get_queryset(request)
        found = run_reads.with_due(rows.with_shown_status()).defer("context")
        month = self.month(request)
        found = found if month is None else run_months.only(found, month)
        before = _uuid(request.GET.get(BEFORE, ""))
        return found.filter(pk__lt=before) if before else found

    def month(self, request: HttpRequest) -> Month | None:
        """Return the month that is asked for."""
        return run_months.asked(request.GET.get(run_months.MONTH, ""))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by the start of an id or of a name. Contexts are never searched."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        names, bounds = run_filters.names_with(request, term), _id_range(term)
        found = Q(workflow_name__in=names)
        if len(names) == 1:
            found = Q(workflow_name=names[0])
        if bounds:
            by_id = Q(pk__gte=bounds[0], pk__lte=bounds[1])
            found = found | by_id if names else by_id
        return queryset.filter(found), False

    def is_quick(self, request: HttpRequest) -> bool:
        """Say whether an index leads to what filters and search leave, or there are none."""
        term = request.GET.get(SEARCH_VAR, "").strip().replace("\x00", "")
        if term and len(run_filters.names_with(request, term)) + bool(_id_range(term)) > 1:
            return False
        return run_filters.is_quick({**request.GET.dict(), SEARCH_VAR: term})

    def edge(self, request: HttpRequest) -> UUID | None:
        """Return the run at which looking through the history ends for now; None: at its end."""
        runs = self.get_queryset(request).order_by("-pk").values_list("pk", flat=True)
        # The last one to be looked at, if there is one behind it.
        found = list(runs[MAX_WALKED - 1 : MAX_WALKED + 1])
        return found[0] if len(found) > 1 else None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list. What is new is counted above it and moves no row."""
        seconds = settings.ADMIN_POLL_SECONDS
        newest = PipelineExecution.objects.using(settings.DATABASE).newest_first()
        facts = {
            "poll": round(1000 * max(seconds, LIVE_SECONDS)) if seconds else 0,
            "units": spans.units(),
            "newest": newest.values_list("pk", flat=True).first() or "",
            "title": _("Runs"),
            "is_empty_table": False,
        }
        return super().changelist_view(request, {**facts, **(extra_context or {})})

    def changes_view(self, request: HttpRequest) -> HttpResponse:
        """Say how many runs are newer than the list that was shown, or ended since, as JSON."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        since, at = _uuid(request.GET.get("since", "")), _moment(request.GET.get("at", ""))
        runs = PipelineExecution.objects.using(settings.DATABASE)
        found = runs.filter(pk__gt=since) if since else runs
        new = len(found.newest_first().values_list("pk", flat=True)[:MAX_NEWS])
        ended = runs.filter(finished_at__gt=at) if at else runs.none()
        ended = ended.filter(pk__lte=since) if since else ended.none()
        old = len(ended.order_by().values_list("pk", flat=True)[:MAX_NEWS])
        words = [ngettext("%d new run", "%d new runs", new) % new if new else ""]
        words += [ngettext("%d ended", "%d ended", old) % old if old else ""]
        return JsonResponse({"new": new, "ended": old, "text": ", ".join(filter(None, words))})

    def bulk_view(self, request: HttpRequest, *, slug: str) -> HttpResponse:
        """Do to many runs what was asked and confirmed."""
        act = run_acts.ACTS[slug]
        if not (self.has_view_permission(request) and access.may(request, act.permission)):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(self.url("changelist"))
        ids = [_uuid(text) for text in request.POST.get("ids", "").split(",")[:MAX_CHOSEN]]
        chosen = [id for id in ids if id is not None]
        rows = self.get_queryset(request).filter(pk__in=chosen)
        return confirming.do_to_many(self, request, rows, act=act)

    # -- columns

    def read_columns(self, rows: list[PipelineExecution]) -> datetime:
        """Read what the columns need, and hang it to each row; returns the database's time."""
        read = RunRows(settings.DATABASE, rows)
        for row in rows:
            row.admin_facts = read.facts(row)  # type: ignore[attr-defined]
        return read.at

    @admin.display(description=gettext_lazy("status"))
    def shown(self, row: Any) -> SafeString:
        facts = _facts(row)
        tags = render_to_string("admin/cloaca_django/part_tags.html", {"tags": facts.tags})
        return format_html("{} {}", facts.status, tags)

    @admin.display(description=gettext_lazy("run"))
    def run(self, row: Any) -> SafeString:
        text = short(row.pk)
        if row.origin == Origin.RETRY and row.parent_id:
            text += f" ↳ {short(row.parent_id)}"
        origin = vocabulary.ORIGINS.get(row.origin, row.origin)
        return format_html(
            '<bdi class="cloaca-strong cloaca-clamp" title="{}">{}</bdi> <code>{}</code>'
            ' <span class="cloaca-quiet">{}</span>',
            row.workflow_name, row.workflow_name, text, origin,
        )  # fmt: skip

    @admin.display(description=gettext_lazy("tasks, and what happened"))
    def happened(self, row: Any) -> SafeString:
        facts = _facts(row)
        shown = '{}<bdi class="cloaca-words cloaca-clamp">{}</bdi>'
        return format_html(shown, facts.pips, facts.sentence)

    @admin.display(description=gettext_lazy("submitted"))
    def moment(self, row: Any) -> SafeString:
        facts = _facts(row)
        shown = '{}<br><span class="cloaca-quiet">{}</span>{}'
        due = format_html('<br><span class="cloaca-bad cloaca-status">{}</span>', facts.due)
        return format_html(shown, facts.submitted, facts.duration, due if facts.due else "")


def _facts(row: Any) -> Facts:
    found: Facts = row.admin_facts
    return found


def short(run_id: UUID) -> str:
    """Return as much of a run's id as people need: its random end, not the time it starts with."""
    return str(run_id)[-12:]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _id_range(term: str) -> tuple[UUID, UUID] | None:
    """Return the lowest and highest id that start with some digits; None for other text."""
    digits = term.replace("-", "").lower()
    if not ID_PREFIX <= len(digits) <= 32 or any(d not in "0123456789abcdef" for d in digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
