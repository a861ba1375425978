"""The filters of the list of runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from cloaca_django.admin import attention, vocabulary
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, RUN_TROUBLED, Origin, RunStatus
from cloaca_django.dialect import history
from cloaca_django.engine import overview

OPEN = "open"


class StatusFilter(admin.SimpleListFilter):
    """By the status that people see."""

    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        found = [(str(status), vocabulary.word(status).label) for status in RunStatus]
        return [*found, (OPEN, gettext_lazy("Any that has not ended"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        asked = self.value()
        runs: Any = queryset
        if asked == OPEN:
            found = runs.found_open()
        elif asked not in RunStatus.values:
            return None
        elif asked in RUN_TROUBLED:
            found = runs.troubled().filter(status=asked)
        elif asked in RUN_FINAL:
            found = runs.filter(status=asked)
        else:
            found = runs.found_open().filter(shown_status=asked)
        shown: QuerySet[Any] = found
        return shown


class WorkflowFilter(admin.SimpleListFilter):
    """By workflow: those that this process knows or that have runs."""

    title = gettext_lazy("workflow")
    parameter_name = "workflow"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        known = sorted({*registry.names(), *names(request)})
        return [(name, name) for name in known]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        asked = self.value()
        if asked and "\x00" in asked:
            return queryset.none()  # no database of ours has such a text
        return queryset.filter(workflow_name=asked) if asked else None


class OriginFilter(admin.SimpleListFilter):
    """By who asked for the run."""

    title = gettext_lazy("origin")
    parameter_name = "origin"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(origin), vocabulary.ORIGINS[origin]) for origin in Origin]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        return queryset.filter(origin=self.value()) if self.value() in Origin.values else None


class FinishedFilter(admin.SimpleListFilter):
    """By when the run ended."""

    title = gettext_lazy("time of its end")
    parameter_name = "finished"
    _HOURS: Mapping[str, tuple[int, Any]] = {
        "hour": (1, gettext_lazy("the last hour")),
        "day": (24, gettext_lazy("the last 24 hours")),
        "week": (168, gettext_lazy("the last 7 days")),
    }

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [(key, label) for key, (_hours, label) in self._HOURS.items()]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        found = self._HOURS.get(self.value() or "")
        if found is None:
            return None
        since = overview.read_clock(settings.DATABASE) - timedelta(hours=found[0])
        return queryset.filter(finished_at__gte=since)


class AttentionFilter(admin.SimpleListFilter):
    """Those that wait for a person."""

    title = gettext_lazy("what needs attention")
    parameter_name = "attention"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("failed, stalled or late"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        if self.value() != "yes":
            return None
        waiting = attention.runs(settings.DATABASE, overview.read_clock(settings.DATABASE))
        return queryset.filter(pk__in=waiting.order_by().values("pk"))


ALL = (StatusFilter, AttentionFilter, WorkflowFilter, OriginFilter, FinishedFilter)


def names(request: HttpRequest) -> list[str]:
    """Return the workflows that have runs; the database is asked once for a page."""
    found: list[str] | None = getattr(request, "cloaca_names", None)
    if found is None:
        found = history.workflow_names(settings.DATABASE)
        request.cloaca_names = found  # type: ignore[attr-defined]
    return found


def names_with(request: HttpRequest, term: str) -> list[str]:
    """Return the workflows that have runs and a text in their names, in any case."""
    wanted = term.casefold()
    return [name for name in names(request) if wanted in name.casefold()]


def is_quick(given: Mapping[str, str]) -> bool:
    """Say whether an index leads to what these filters leave, however long the history is."""
    known = {*(kind.parameter_name for kind in ALL), SEARCH_VAR}
    asked = {name: value for name, value in given.items() if name in known and value}
    status = asked.get(StatusFilter.parameter_name)
    is_open = status == OPEN or (status in RunStatus.values and status not in RUN_FINAL)
    if is_open or asked.get(AttentionFilter.parameter_name) == "yes":
        return True
    match list(asked):
        case []:
            return True
        case [StatusFilter.parameter_name]:
            return status in RUN_TROUBLED
        case [one]:
            return one in {WorkflowFilter.parameter_name, SEARCH_VAR}
        case _several:
            return False
