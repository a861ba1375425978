"""What a schedule will do, as a piece of a page: of a saved one, and of what is being typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from django.template.loader import render_to_string
from django.utils import dateformat
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone_name, localtime
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from cloaca_django.admin import spans
from cloaca_django.admin.saying import in_words
from cloaca_django.conf import settings
from cloaca_django.core import cron, schedule_facts
from cloaca_django.engine import forecast, overview
from cloaca_django.errors import InvalidCronExpression, InvalidInput, InvalidTimezone
from cloaca_django.models import CronSchedule

COUNT = 5
EXAMPLES = (
    "0 * * * *", "*/15 * * * *", "30 2 * * *", "0 9-17 * * 1-5", "0 9 * * 1-5", "0 3 * * 0",
    "0 4 1 * *", "0 0 1 */3 *",
)  # fmt: skip
MOMENT = "D Y-m-d H:i"
DAY = "D H:i"
WEEK = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Fire:
    """One time on the clock of the schedule and on the reader's."""

    there: str
    here: str
    distance: str


def of_row(row: Any) -> SafeString:
    """Return the preview of a schedule, saved or not; what is wrong with it is said there."""
    facts: dict[str, Any] = {"problem": "", "here": get_current_timezone_name()}
    try:
        now = overview.read_clock(settings.DATABASE)
        found = forecast.of_schedule(row, now=now, count=COUNT)
        facts |= {
            "zone": found.zone.key,
            "sentence": sentence(row) or found.sentence,
            "fires": fires_of(found.fires, found.zone, now),
            "warnings": [in_words(one.text) for one in found.warnings],
        }
    except InvalidInput as error:
        facts["problem"] = problem(error)
    return render_to_string("admin/cloaca_django/part_preview.html", facts)


def of_typed(data: Mapping[str, Any]) -> SafeString:
    """Return the preview of what stands in a form, complete or not."""
    typed = str(data.get("cron_expression", ""))[: 4 * cron.MAX_LENGTH]
    row = CronSchedule(cron_expression=typed, timezone=str(data.get("timezone", "UTC")))
    try:
        zone = cron.parse(row.cron_expression, row.timezone).zone
        row.start_date = _moment(data.get("start_date", ""), zone)
        row.end_date = _moment(data.get("end_date", ""), zone)
    except InvalidInput:  # said by the preview itself
        pass
    return of_row(row)


def sentence(row: Any) -> str:
    """Return when a schedule runs in the reader's language; empty when it cannot be read."""
    try:
        schedule = cron.parse(row.cron_expression, row.timezone)
    except InvalidInput:
        return ""
    return cron.describe(schedule, language=get_language() or "en")


def examples() -> Sequence[tuple[str, str]]:
    """Return expressions that many schedules have, each with its sentence."""
    rows = [CronSchedule(cron_expression=text) for text in EXAMPLES]
    return [(row.cron_expression, sentence(row)) for row in rows]


def problem(error: InvalidInput) -> str:
    """Return what is wrong with what was typed, as briefly as a form wants it."""
    if isinstance(error, InvalidTimezone):
        meant = _("Did you mean %s?") % error.suggestion if error.suggestion else ""
        return f"{_('Unknown time zone.')} {meant}".strip()
    if isinstance(error, InvalidCronExpression):
        return in_words(error.problem)
    return str(error)[:500]


def both(moment: datetime, zone: Any) -> str:
    """Return a moment in the schedule's zone and in the reader's."""
    here = spans.exact(moment)
    if zone is None:
        return here
    return f"{on_the_wall(moment.astimezone(zone))} = {here}"


def on_the_wall(moment: datetime, form: str = MOMENT) -> str:
    """Return a moment as its own zone's clock shows it, and which of the zone's clocks that is."""
    # Django's own letter for that says nothing of a time that comes twice, where it matters most.
    return f"{dateformat.format(moment, form)} {moment:%Z}"


def clocks(moment: datetime, zone: Any, now: datetime) -> Sequence[str]:
    """Return a moment, briefly, on the schedule's clock and on the reader's where that differs."""
    form = DAY if abs(moment - now) < WEEK else MOMENT
    here = localtime(moment)
    there = here if zone is None else moment.astimezone(zone)
    both_clocks = [there] if there.utcoffset() == here.utcoffset() else [there, here]
    return [on_the_wall(one, form) for one in both_clocks]


def fires_of(times: Sequence[datetime], zone: Any, now: datetime) -> Sequence[Fire]:
    """Return times as a page lists them."""
    return [
        Fire(
            on_the_wall(at.astimezone(zone)),
            on_the_wall(localtime(at), DAY),
            spans.distance(at, now),
        )
        for at in times
    ]


def _moment(text: Any, zone: Any) -> datetime | None:
    try:
        found = parse_datetime(str(text))
        given = found and found.replace(tzinfo=zone)
        return cast(
            "datetime | None", schedule_facts.checked("form", {"start_date": given})["start_date"]
        )
    except (ValueError, OverflowError):  # half of a date, or one that the form will refuse
        return None
