"""How schedules look on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cloaca_django.core import redaction
from cloaca_django.engine.forecast import Forecast, ScheduleView, Standing, in_zone
from cloaca_django.engine.takeover import Entry, Fate

_HEADS = ("SCHEDULE", "WORKFLOW", "WHEN", "NEXT RUN", "LAST", "STATE")


def table(views: Sequence[ScheduleView]) -> Iterator[str]:
    """Yield a table, with a line below each schedule that needs to be explained."""
    rows = [_HEADS, *map(_cells, views)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    explained = [[], *(list(_explained(view)) for view in views)]
    for row, more in zip(rows, explained, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        yield from more


def preview(forecast: Forecast) -> Iterator[str]:
    """Yield a sentence, the coming times, and what to know."""
    zone = forecast.zone
    yield f"{forecast.sentence}  ({forecast.expression}, {zone.key})"
    for fire in forecast.fires:
        yield f"  {moment(fire, zone)}"
    if not forecast.fires:
        yield "  never again"
    for advice in forecast.warnings:
        yield f"Note: {advice.text}"


def preview_data(forecast: Forecast) -> dict[str, Any]:
    """Return the same as JSON shows it."""
    return {
        "expression": forecast.expression,
        "timezone": forecast.zone.key,
        "sentence": forecast.sentence,
        "next": [
            {"local": in_zone(fire, forecast.zone), "utc": fire.isoformat()}
            for fire in forecast.fires
        ],
        "warnings": [{"code": one.code, "text": one.text} for one in forecast.warnings],
    }


def entry(found: Entry) -> Iterator[str]:
    """Yield the lines of one row of an import's plan."""
    yield f"{found.name}  ({found.task}): {found.fate.value}"
    if found.fate is Fate.REFUSED:
        yield f"  {found.why}"
    if found.fate is Fate.TAKEN:
        yield from _facts(found)
    for note in found.notes:
        yield f"  note: {note}"


def _facts(found: Entry) -> Iterator[str]:
    facts = found.facts
    yield f"  runs {found.workflow} at {facts['cron_expression']} {facts['timezone']}"
    words = [
        f"queue {facts['queue']}",
        f"priority {facts['priority']}",
        "enabled" if facts["enabled"] else "disabled",
        f"context {redaction.redacted(facts['context'])}",
    ]
    words += [f"from {facts['start_date']}"] if facts["start_date"] else []
    words += [f"until {facts['end_date']}"] if facts["end_date"] else []
    yield f"  {', '.join(words)}"


def entry_data(found: Entry) -> dict[str, Any]:
    """Return the same as JSON shows it."""
    facts = {**found.facts}
    if facts:
        facts["context"] = redaction.redacted(facts["context"])
    return {
        "name": found.name,
        "task": found.task,
        "enabled_in_beat": found.is_enabled,
        "fate": found.fate.name.lower(),
        "workflow": found.workflow or None,
        "facts": facts,
        "notes": found.notes,
        "why": found.why or None,
    }


def moment(at: datetime, zone: ZoneInfo | None) -> str:
    """Return a moment on the clock of a zone, and in UTC where that is another one."""
    utc = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if zone is None or zone.key == "UTC":
        return utc
    local = at.astimezone(zone)
    same_day = local.date() == at.astimezone(UTC).date()
    return f"{local:%Y-%m-%d %H:%M %Z} = {utc[11:] if same_day else utc}"


def _cells(view: ScheduleView) -> tuple[str, ...]:
    state = view.standing.value + (", edited by hand" if view.is_edited else "")
    next_run = "-"
    if view.standing is Standing.ENABLED and view.next_run_at is not None:
        next_run = moment(view.next_run_at, view.zone)
    return (
        view.label,
        view.facts["workflow_name"],
        f"{view.sentence} ({view.facts['timezone']})",
        next_run,
        view.facts["last_result"] or "-",
        state,
    )


def _explained(view: ScheduleView) -> Iterator[str]:
    if view.standing is Standing.PARKED:
        yield f"  parked: {view.facts['error_message']}"
    if view.standing is Standing.DISABLED and (who := _who(view)):
        yield f"  disabled{who}"


def _who(view: ScheduleView) -> str:
    by, reason = view.facts["disabled_by"], view.facts["disabled_reason"]
    return (f" by {by}" if by else "") + (f": {reason}" if reason else "")
