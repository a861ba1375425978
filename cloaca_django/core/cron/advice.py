"""What the author of a schedule may not expect. Nothing here refuses anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from cloaca_django.core.cron.dialect import FIELDS, Field, columns_of
from cloaca_django.core.cron.fires import later_than, stretches_of
from cloaca_django.core.cron.schedule import LONGEST, Schedule
from cloaca_django.core.cron.times import DAY
from cloaca_django.core.cron.zones import Stretch
from cloaca_django.core.wording import Said, said, said_of

# Every five minutes; more than that should be a conscious choice.
MANY_PER_DAY = 288
# Every zone that moves its clocks does so within a year.
HORIZON = 400 * DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = tuple(FIELDS[3].names)
# What starts over, and how long its last interval is.
_RESTARTS: Mapping[str, Callable[[str, int], Said]] = {
    "minute": lambda item, rest: said_of(
        "%(item)s starts over every hour: the last interval is %(count)d minute.",
        "%(item)s starts over every hour: the last interval is %(count)d minutes.",
        item=item, count=rest,
    ),
    "hour": lambda item, rest: said_of(
        "%(item)s starts over every day: the last interval is %(count)d hour.",
        "%(item)s starts over every day: the last interval is %(count)d hours.",
        item=item, count=rest,
    ),
    "month": lambda item, rest: said_of(
        "%(item)s starts over every January: the last interval is %(count)d month.",
        "%(item)s starts over every January: the last interval is %(count)d months.",
        item=item, count=rest,
    ),
    "weekday": lambda item, rest: said_of(
        "%(item)s starts over every Sunday: the last interval is %(count)d day.",
        "%(item)s starts over every Sunday: the last interval is %(count)d days.",
        item=item, count=rest,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Advice:
    """One remark. ``code`` never changes its meaning; ``text`` is an English sentence."""

    code: str
    text: Said


def warnings_of(schedule: Schedule, now: datetime) -> tuple[Advice, ...]:
    """Return the remarks on a schedule; moves of the clock within 400 days of ``now`` included."""
    return (
        *_dates(schedule),
        *_either(schedule),
        *_steps(schedule),
        *_many(schedule),
        *_moves(schedule, later_than(now)),
    )


def _dates(schedule: Schedule) -> Iterator[Advice]:
    """Remark on days that not all of the months have."""
    if "*" in schedule.plain[2]:
        return
    months = sorted(schedule.times.months)
    for day in sorted(schedule.days):
        without = [_MONTHS[month - 1] for month in months if LONGEST[month - 1] < day]
        if len(without) == len(months):
            yield Advice("day_never", said(
                "Day %(day)d never comes in %(months)s.", day=day, months=", ".join(without),
            ))  # fmt: skip
        elif without:
            yield Advice("day_missing", said(
                "Day %(day)d does not come in %(months)s.", day=day, months=", ".join(without),
            ))  # fmt: skip
        if day == 29 and 2 in months:
            yield Advice("leap_day", said("February has a day 29 in leap years only."))


def _either(schedule: Schedule) -> Iterator[Advice]:
    if schedule.is_either_day:
        yield Advice(
            "either_day",
            said("Runs when either matches: the day of the month or the weekday."),
        )
    elif schedule.needs_both_days:
        yield Advice(
            "both_days",
            said(
                "Runs when both match, the day of the month and the weekday: "
                "a day field with * in it narrows the other."
            ),
        )


def _steps(schedule: Schedule) -> Iterator[Advice]:
    """Remark on steps that do not do what they seem to."""
    written = columns_of(schedule.expression)
    for column, text, plain in zip(FIELDS, written, schedule.plain, strict=True):
        if plain != "*":
            for item, meant in zip(text.split(","), plain.split(","), strict=True):
                yield from _step(column, item, meant)


def _step(column: Field, item: str, meant: str) -> Iterator[Advice]:
    start, _, step = item.partition("/")
    if not step:
        return
    if start == "*":
        yield from _uneven(column, item, int(step))
    elif (only := _only_value(meant)) is not None:
        facts = {"item": item, "field": column.name, "value": only}
        yield Advice("single_value", said("%(item)s means %(field)s %(value)d only.", **facts))


def _uneven(column: Field, item: str, step: int) -> Iterator[Advice]:
    if column.name == "day":
        text = said("%(item)s starts over on day 1 of every month, whatever its length.", item=item)
        yield Advice("uneven_step", text)
    elif rest := column.size % step:
        yield Advice("uneven_step", _RESTARTS[column.name](item, rest))


def _only_value(meant: str) -> int | None:
    bounds, _, step = meant.partition("/")
    low, _, high = bounds.partition("-")
    return int(low) if not high or int(low) + int(step or 1) > int(high) else None


def _many(schedule: Schedule) -> Iterator[Advice]:
    if schedule.times.per_day > MANY_PER_DAY:
        yield Advice("many", said("Runs %(number)d times a day.", number=schedule.times.per_day))


def _moves(schedule: Schedule, now: int) -> Iterator[Advice]:
    """Remark on the next gap and on the next repeated hour that the schedule meets."""
    found: dict[str, Advice] = {}
    for stretch in stretches_of(schedule, now, now + HORIZON):
        if stretch.start >= now:
            for advice in (_gap(schedule, stretch), _repeat(schedule, stretch)):
                if advice is not None:
                    found.setdefault(advice.code, advice)
    yield from found.values()


def _gap(schedule: Schedule, stretch: Stretch) -> Advice | None:
    missed = schedule.times.count(stretch.shown, stretch.opens_at)
    if not missed:
        return None
    show = partial(_wall, beside=stretch.shown)
    to = show(stretch.opens_at)
    first = show(next(schedule.times.between(stretch.shown, stretch.opens_at)))
    facts = {"move": _move(schedule, stretch, to), "first": first, "to": to}
    if schedule.is_every_hour:
        return Advice("clock_forward", said_of(
            "%(move)s: %(first)s does not exist; "
            "nothing is made up, as the next hour follows at once.",
            "%(move)s: %(count)d times from %(first)s on do not exist; "
            "nothing is made up, as the next hour follows at once.",
            count=missed, **facts,
        ))  # fmt: skip
    return Advice("clock_forward", said_of(
        "%(move)s: %(first)s does not exist; one run at %(to)s makes up for it.",
        "%(move)s: %(count)d times from %(first)s on do not exist; "
        "one run at %(to)s makes up for it.",
        count=missed, **facts,
    ))  # fmt: skip


def _repeat(schedule: Schedule, stretch: Stretch) -> Advice | None:
    until = min(stretch.shown, stretch.end + stretch.offset)
    again = schedule.times.count(stretch.opens_at, until)
    if not again:
        return None
    show = partial(_wall, beside=stretch.shown)
    first = show(next(schedule.times.between(stretch.opens_at, until)))
    facts = {"move": _move(schedule, stretch, show(stretch.opens_at)), "first": first}
    if schedule.follows_clock:
        return Advice("clock_back", said_of(
            "%(move)s: %(first)s comes twice and runs both times.",
            "%(move)s: %(count)d times from %(first)s on come twice and run both times.",
            count=again, **facts,
        ))  # fmt: skip
    return Advice("clock_back", said_of(
        "%(move)s: %(first)s comes twice and runs the first time only.",
        "%(move)s: %(count)d times from %(first)s on come twice and run the first time only.",
        count=again, **facts,
    ))  # fmt: skip


def _move(schedule: Schedule, stretch: Stretch, to: str) -> Said:
    when = _wall(stretch.shown, beside=None)
    facts = {"when": when, "zone": schedule.timezone, "to": to}
    return said("On %(when)s the clock in %(zone)s goes to %(to)s", **facts)


def _wall(time: int, *, beside: int | None) -> str:
    """Return a time on the wall, without its date where that is the date of ``beside``."""
    moment = _EPOCH + timedelta(seconds=time)
    is_known = beside is not None and time // DAY == beside // DAY
    return f"{moment:%H:%M}" if is_known else f"{moment:%Y-%m-%d %H:%M}"
