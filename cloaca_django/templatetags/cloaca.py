"""``{% load cloaca %}``: statuses, lengths of time and moments as the admin shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from cloaca_django import clock
from cloaca_django.admin import (
    access,
    dashboard,
    plain,
    schedule_preview,
    spans,
    tenant,
    tracebacks,
    vocabulary,
)
from cloaca_django.conf import settings
from cloaca_django.engine import overview
from cloaca_django.models import CronSchedule, PipelineExecution

register = template.Library()

NONE = "\N{EN DASH}"


@register.inclusion_tag("admin/cloaca_django/part_status.html", name="cloaca_status")
def status(value: str) -> dict[str, Any]:
    """Show a status: glyph, word and tone."""
    return {"word": vocabulary.word(value)}


@register.inclusion_tag(
    "admin/cloaca_django/part_live.html", name="cloaca_live_control", takes_context=True
)
def live_control(context: dict[str, Any]) -> dict[str, Any]:
    """Let the reader choose how often the page asks for news."""
    return {"request": context["request"]}


@register.filter(name="cloaca_span")
def span(seconds: float | None) -> str:
    """Return a length of time in words; a dash for none."""
    return NONE if seconds is None else spans.span(seconds)


@register.simple_tag(name="cloaca_ago")
def ago(moment: datetime | None, at: datetime | None = None) -> SafeString | str:
    """Show how far a moment is from now, and the moment itself when pointed at."""
    return NONE if moment is None else spans.shown(moment, at or clock.utc_now())


@register.simple_tag(name="cloaca_since")
def since(moment: datetime, at: datetime) -> SafeString:
    """Show how long ago a moment was; the script lets it count on."""
    length = spans.span((at - moment).total_seconds())
    iso = moment.isoformat()
    return format_html('<time datetime="{}" data-cloaca-since="{}">{}</time>', iso, iso, length)


@register.filter(name="cloaca_exact")
def exact(moment: datetime | None) -> str:
    """Return a moment to the second, in the reader's zone, with the zone's name."""
    return NONE if moment is None else spans.exact(moment)


@register.filter(name="cloaca_text")
def text(value: object) -> str:
    """Return what a program wrote without its control characters."""
    return plain.text(str(value))


@register.filter(name="cloaca_sentence")
def sentence(row: CronSchedule) -> str:
    """Return when a schedule runs, in words; its expression where it cannot be read."""
    return schedule_preview.sentence(row) or row.cron_expression


@register.filter(name="cloaca_rest")
def rest(count: int) -> str:
    """Return ``and 3 more``; empty for none."""
    return _("and %d more") % count if count > 0 else ""


@register.inclusion_tag("admin/cloaca_django/part_traceback.html", name="cloaca_traceback")
def traceback(written: str, attempt: Any) -> dict[str, Any]:
    """Show a traceback with the frames of libraries folded."""
    # Not localized: an id is no number.
    return {"parts": tracebacks.parts_of(plain.text(written)), "id": f"trace-{attempt}"}


@register.inclusion_tag("admin/cloaca_django/part_missing_worker.html", name="cloaca_bar")
def bar(at: datetime | None = None) -> dict[str, Any]:
    """Warn when no worker is alive."""
    at = at or overview.read_clock(settings.DATABASE)
    return {"is_missing": not overview.has_worker(settings.DATABASE, at)}


@register.inclusion_tag("admin/cloaca_django/part_tenant.html", name="cloaca_tenant")
def tenant_tag() -> dict[str, Any]:
    """Say whose rows these are, on a site with tenants."""
    return {"tenant": tenant.current(settings.DATABASE)}


@register.inclusion_tag(
    "admin/cloaca_django/part_dashboard.html", name="cloaca_dashboard", takes_context=True
)
def show_dashboard(context: dict[str, Any]) -> dict[str, Any]:
    """Show the first page, to who may see runs."""
    request = context["request"]
    if not access.may_view(request, PipelineExecution):
        return {"board": None}
    return {"board": dashboard.read(request), "units": spans.units(), "request": request}


@register.simple_tag(name="cloaca_schedule", takes_context=True)
def schedule(context: dict[str, Any], row: CronSchedule, text: object) -> SafeString:
    """Name a schedule by some text; who may see its page gets a link."""
    name = format_html('<bdi class="cloaca-strong">{}</bdi>', str(text))
    if not access.may_view(context["request"], CronSchedule):
        return name
    place = reverse("admin:cloaca_django_cronschedule_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', place, name)


@register.simple_tag(name="cloaca_rise")
def rise(ground: int, *heights: int) -> int:
    """Return where a bar starts that stands on others."""
    return ground - sum(heights)


@register.simple_tag(name="cloaca_share")
def share(part: float) -> str:
    """Return a part of one as a percentage."""
    return f"{part:.0%}"


@register.simple_tag(name="cloaca_more")
def more(count: int, shown: int) -> str:
    """Return how many there are beyond those that are shown."""
    return rest(count - shown)
