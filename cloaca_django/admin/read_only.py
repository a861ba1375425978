"""What all our admin classes share: rows are read here, and moved by acts only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from cloaca_django.admin import access, logged, spans
from cloaca_django.conf import settings


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that nobody adds, edits or deletes by hand."""

    show_full_result_count = False
    list_per_page = 50
    actions_selection_counter = True

    class Media:
        css = {"all": ["cloaca_django/admin.css"]}
        js = ["cloaca_django/admin.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(settings.DATABASE)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access.is_here() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access.is_here() and super().has_view_permission(request, obj)

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Refuse conditions on columns in the URL: filters and the search are all there is.

        Else who may not see contexts could ask whether one contains a text.
        """
        filters: Any = self.get_list_filter(request)
        return lookup in {one.parameter_name for one in filters}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # -- pages

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show who did what to a row, in the reader's language."""
        answer = super().history_view(request, object_id, extra_context)
        shown = getattr(answer, "context_data", None) or {}
        for entry in shown.get("action_list", ()):
            entry.change_message = logged.in_words(entry.change_message)
        return answer

    def url(self, name: str, *args: Any) -> str:
        """Return the URL of one of this table's pages, as ``changelist`` or ``cancel``."""
        meta = self.opts
        place = f"admin:{meta.app_label}_{meta.model_name}_{name}"
        return reverse(place, args=[quote(arg) for arg in args], current_app=self.admin_site.name)

    def run_url(self, run_id: Any) -> str:
        """Return the URL of a run's page."""
        place = "admin:cloaca_django_pipelineexecution_change"
        return reverse(place, args=[run_id], current_app=self.admin_site.name)

    def routed(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """Return a page of this table's behind the admin's login.

        Outside of any transaction of the request: an act commits on a connection of the engine's
        own, which must not wait for this one.
        """
        meta = self.opts
        full = f"{meta.app_label}_{meta.model_name}_{name}"
        guarded = transaction.non_atomic_requests(self.admin_site.admin_view(view))
        return path(route, guarded, name=full)

    def page(
        self, request: HttpRequest, template: str, *, title: str, **facts: Any
    ) -> TemplateResponse:
        """Answer with a page inside the admin's frame."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            # Our templates extend those of lists and forms, for their breadcrumbs.
            "cl": {"opts": self.opts},
            "has_view_permission": True,
            "change": True,
            "media": self.media,
            "title": title,
            "units": spans.units(),
            **facts,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/cloaca_django/{template}", context)

    def row_or_none(self, request: HttpRequest, object_id: str) -> Any:
        """Return a row by what stands in a URL; None for junk and for what is gone.

        Raises PermissionDenied for who may not see it.
        """
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer for a row that is not there: the list, and a message."""
        text = _("There is no %(name)s with the id “%(id)s”. It may have been deleted.")
        name = {"name": self.opts.verbose_name, "id": unquote(object_id)[:80]}
        messages.warning(request, text % name)
        return HttpResponseRedirect(self.url("changelist"))
