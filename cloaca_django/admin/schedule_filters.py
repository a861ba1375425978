"""What the list of schedules is narrowed by."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import vocabulary
from cloaca_django.admin.attention import LATE_SECONDS
from cloaca_django.conf import settings
from cloaca_django.core.states import RunStatus
from cloaca_django.engine import overview
from cloaca_django.engine.forecast import Standing
from cloaca_django.models import CronSchedule

LATE = "late"


class StandingFilter(admin.SimpleListFilter):
    """By what may be expected of a schedule."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        shown = (Standing.ENABLED, Standing.DISABLED, Standing.PARKED)
        found = [(one.value, vocabulary.word(one.value).label) for one in shown]
        return [*found, (LATE, str(capfirst(_("late now"))))]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Any] | None:
        found: QuerySet[Any]
        match self.value():
            case Standing.ENABLED.value:
                found = queryset.enabled()
            case Standing.DISABLED.value:
                found = queryset.filter(enabled=False)
            case Standing.PARKED.value:
                found = queryset.parked()
            case value if value == LATE:
                now = overview.read_clock(settings.DATABASE)
                found = queryset.due(now - timedelta(seconds=LATE_SECONDS))
            case _other:
                return None
        return found


class ResultFilter(admin.SimpleListFilter):
    """By how the last run went."""

    title = gettext_lazy("last run")
    parameter_name = "result"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(status), vocabulary.word(status).label) for status in RunStatus]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        asked = self.value()
        return queryset.filter(last_result=asked) if asked in RunStatus.values else None


class _ColumnFilter(admin.SimpleListFilter):
    """By the values that a column has."""

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        rows = CronSchedule.objects.using(settings.DATABASE).order_by(self.column)
        return [(name, name) for name in rows.values_list(self.column, flat=True).distinct()]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        asked = (self.value() or "").replace("\x00", "")
        return queryset.filter(**{self.column: asked}) if asked else None

    column: str


class WorkflowFilter(_ColumnFilter):
    """By workflow."""

    title = gettext_lazy("workflow")
    parameter_name = "workflow"
    column = "workflow_name"


class ZoneFilter(_ColumnFilter):
    """By time zone."""

    title = gettext_lazy("time zone")
    parameter_name = "zone"
    column = "timezone"


ALL = (StandingFilter, ResultFilter, WorkflowFilter, ZoneFilter)
