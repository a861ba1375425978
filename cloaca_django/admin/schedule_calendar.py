"""A week of all schedules: one lane for each, and above them how many runs start in each hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils import dateformat
from django.utils.timezone import get_current_timezone, get_current_timezone_name, localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.admin import schedule_preview
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.admin.schedule_preview import DAY, on_the_wall
from cloaca_django.conf import settings
from cloaca_django.core import catchup, cron
from cloaca_django.engine import overview
from cloaca_django.errors import InvalidInput
from cloaca_django.models import CronSchedule

MAX_LANES = 200
# Of more fires in a week only their number in each hour is looked at: one in each is as many.
MAX_FIRES = 169
WIDTH = 2_016
MARK = 8
TALLEST = 40
DAYS = 7
HOUR = timedelta(hours=1)
FIRST, LAST = date(1971, 1, 4), date(2198, 12, 24)


class Fires(NamedTuple):
    """One fire, or all of an hour: the first moment, the last, and how many."""

    first: datetime
    last: datetime
    number: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One fire, or several that lie too close to be told apart."""

    x: int
    width: int
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One schedule's week."""

    schedule: UUID
    workflow: str
    name: str
    sentence: str
    count: int
    marks: Sequence[Mark]
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """How many runs start in one hour."""

    x: int
    y: int
    width: int
    height: int
    title: str


class Week:
    """Seven days on the reader's clock, and where a moment lies in them."""

    def __init__(self, monday: date) -> None:
        self.monday = monday
        self.start, self.end = self.midnight(0), self.midnight(DAYS)
        # By real time: a week in which the clock is moved has an hour more or less.
        self._from = self.start.timestamp()
        self._scale = WIDTH / (self.end.timestamp() - self._from)

    def midnight(self, day: int) -> datetime:
        """Return the start of a day on the reader's clock, whatever happens to it in that week."""
        at = self.monday + timedelta(days=day)
        return datetime(at.year, at.month, at.day, tzinfo=get_current_timezone())

    def x(self, moment: datetime) -> int:
        """Return where a moment is drawn."""
        return round(self._scale * (moment.timestamp() - self._from))


def show(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    """Answer with the page of a week."""
    alias = settings.DATABASE
    now = overview.read_clock(alias)
    week = _week_of(request.GET.get("week", ""), now)
    rows = list(CronSchedule.objects.using(alias).planned().by_workflow()[: MAX_LANES + 1])
    load: Counter[datetime] = Counter()
    lanes = [_lane(row, week, load) for row in rows[:MAX_LANES]]
    return page.page(
        request, "calendar.html", title=_("Calendar"), original=_("Calendar"), lanes=lanes,
        now=now, bars=_bars(load, week), busiest=max(load.values(), default=0), width=WIDTH,
        height=TALLEST, days=_days(week), present=week.x(now) if _is_in(week, now) else None,
        here=get_current_timezone_name(), limit=MAX_LANES if len(rows) > MAX_LANES else 0,
        before=_week_link(week, -1), after=_week_link(week, 1),
        earlier=_month_link(week, -1), later=_month_link(week, 1), month=_month(week),
        resting=_resting(alias),
    )  # fmt: skip


def _week_of(text: str, now: datetime) -> Week:
    """Return the week of a date such as 2026-11-23; this week for anything else."""
    today = localtime(now).date()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = today
    day = day if FIRST <= day <= LAST else today
    return Week(day - timedelta(days=day.weekday()))


def _week_link(week: Week, weeks: int) -> str:
    other = week.monday + timedelta(weeks=weeks)
    return other.isoformat() if FIRST <= other <= LAST else ""


def _month(week: Week) -> str:
    """Return the name of the month that most of a week is in."""
    return dateformat.format(week.midnight(3), "F Y")


def _month_link(week: Week, months: int) -> str:
    """Return the week with the first Thursday of another month: most of it is in that month."""
    middle = week.monday + timedelta(days=3)
    years, number = divmod(middle.month - 1 + months, 12)
    first = date(middle.year + years, number + 1, 1)
    thursday = first + timedelta(days=(3 - first.weekday()) % 7)
    return thursday.isoformat() if FIRST <= thursday <= LAST else ""


def _is_in(week: Week, moment: datetime) -> bool:
    return week.start <= moment < week.end


def _resting(alias: str) -> str:
    """Say how many schedules are not shown, since they start nothing."""
    on, off, _parked = CronSchedule.objects.using(alias).counts()
    planned = CronSchedule.objects.using(alias).planned().count()
    count = on + off - planned
    if not count:
        return ""
    text = ngettext(
        "%d schedule is disabled, parked or ended and starts nothing.",
        "%d schedules are disabled, parked or ended and start nothing.",
        count,
    )
    return text % count


def _days(week: Week) -> list[tuple[str, str, int]]:
    """Return each day's name and date, and where it starts."""
    starts = [week.midnight(day) for day in range(DAYS)]
    return [(dateformat.format(at, "D j"), dateformat.format(at, "M"), week.x(at)) for at in starts]


def _lane(row: CronSchedule, week: Week, load: Counter[datetime]) -> Lane:
    """Draw a schedule's week, and add what it starts to the load of each hour."""
    groups = list(_fires(row, week))
    for group in groups:
        load[group.first.replace(minute=0, second=0, microsecond=0)] += group.number
    count = sum(group.number for group in groups)
    sentence = schedule_preview.sentence(row) or row.cron_expression
    text = ngettext("%(what)s: %(count)d run", "%(what)s: %(count)d runs", count)
    return Lane(
        schedule=row.pk, workflow=row.workflow_name, name=row.name or "", sentence=sentence,
        count=count, marks=_marks(groups, week), label=text % {"what": row, "count": count},
    )  # fmt: skip


def _fires(row: CronSchedule, week: Week) -> Iterator[Fires]:
    """Yield the fires of a week, each by itself or by the hour."""
    try:
        schedule = cron.parse(row.cron_expression, row.timezone)
    except InvalidInput:  # its zone is gone, and no worker has noticed yet
        return
    start, end = week.start - catchup.TICK, week.end - catchup.TICK
    if row.start_date is not None:
        start = max(start, row.start_date - catchup.TICK)
    if row.end_date is not None:
        end = min(end, row.end_date)
    if start >= end:
        return
    if cron.count_fires(schedule, start, end) <= MAX_FIRES:
        yield from (Fires(at, at, 1) for at in cron.fires_between(schedule, start, end))
        return
    while start < end:
        until = min(end, start + HOUR)
        if fires := cron.count_fires(schedule, start, until):
            yield Fires(start + catchup.TICK, until + catchup.TICK, fires)
        start = until


def _marks(groups: Sequence[Fires], week: Week) -> Sequence[Mark]:
    """Join what is an hour apart or less, and hardly to be seen apart."""
    joined: list[Fires] = []
    for group in groups:
        if joined and group.first - joined[-1].last <= HOUR:
            before = joined.pop()
            joined.append(Fires(before.first, group.last, before.number + group.number))
        else:
            joined.append(group)
    return [_mark(group, week) for group in joined]


def _mark(fires: Fires, week: Week) -> Mark:
    x = min(week.x(fires.first), WIDTH - MARK)
    title = on_the_wall(localtime(fires.first), DAY)
    if fires.number > 1:
        span = f"{title} \N{EN DASH} {on_the_wall(localtime(fires.last), DAY)}"
        text = ngettext("%(span)s: %(count)d run", "%(span)s: %(count)d runs", fires.number)
        title = text % {"span": span, "count": fires.number}
    return Mark(x, min(max(MARK, week.x(fires.last) - x + MARK), WIDTH - x), title)


def _bars(load: Counter[datetime], week: Week) -> Sequence[Bar]:
    busiest = max(load.values(), default=1)
    return [_bar(moment, count, busiest, week) for moment, count in sorted(load.items())]


def _bar(moment: datetime, count: int, busiest: int, week: Week) -> Bar:
    height = max(2, round(TALLEST * count / busiest))
    x = max(0, week.x(moment))
    facts = {"hour": on_the_wall(localtime(moment), DAY), "count": count}
    title = ngettext("%(hour)s: %(count)d run", "%(hour)s: %(count)d runs", count) % facts
    return Bar(x, TALLEST - height, WIDTH // (DAYS * 24) - 1, height, title)
