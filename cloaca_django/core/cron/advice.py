"""What the author of a schedule may not expect. Nothing here refuses anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from cloaca_django.core.cron.dialect import FIELDS, Field, columns_of
from cloaca_django.core.cron.fires import later_than, stretches_of
from cloaca_django.core.cron.schedule import LONGEST, Schedule
from cloaca_django.core.cron.times import DAY
from cloaca_django.core.cron.zones import Stretch
from cloaca_django.core.wording import counted

# Every five minutes; more than that should be a conscious choice.
MANY_PER_DAY = 288
# Every zone that moves its clocks does so within a year.
HORIZON = 400 * DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = tuple(FIELDS[3].names)
_CYCLES = {
    "minute": "every hour",
    "hour": "every day",
    "day": "on day 1 of every month",
    "month": "every January",
    "weekday": "every Sunday",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """One remark. ``code`` never changes its meaning; ``text`` is an English sentence."""

    code: str
    text: str


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
            yield Advice("day_never", f"Day {day} never comes in {', '.join(without)}.")
        elif without:
            yield Advice("day_missing", f"Day {day} does not come in {', '.join(without)}.")
        if day == 29 and 2 in months:
            yield Advice("leap_day", "February has a day 29 in leap years only.")


def _either(schedule: Schedule) -> Iterator[Advice]:
    if schedule.is_either_day:
        yield Advice("either_day", "Runs when either matches: the day of the month or the weekday.")
    elif schedule.needs_both_days:
        yield Advice(
            "both_days",
            "Runs when both match, the day of the month and the weekday: "
            "a day field with * in it narrows the other.",
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
        yield Advice("single_value", f"{item} means {column.name} {only} only.")


def _uneven(column: Field, item: str, step: int) -> Iterator[Advice]:
    cycle = _CYCLES[column.name]
    if column.name == "day":
        yield Advice("uneven_step", f"{item} starts over {cycle}, whatever its length.")
    elif rest := column.size % step:
        last = counted(rest, "day" if column.name == "weekday" else column.name)
        yield Advice("uneven_step", f"{item} starts over {cycle}: the last interval is {last}.")


def _only_value(meant: str) -> int | None:
    bounds, _, step = meant.partition("/")
    low, _, high = bounds.partition("-")
    return int(low) if not high or int(low) + int(step or 1) > int(high) else None


def _many(schedule: Schedule) -> Iterator[Advice]:
    if schedule.times.per_day > MANY_PER_DAY:
        yield Advice("many", f"Runs {schedule.times.per_day} times a day.")


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
    what = f"{first} does not" if missed == 1 else f"{missed} times from {first} on do not"
    end = (
        "exist; nothing is made up, as the next hour follows at once."
        if schedule.is_every_hour
        else f"exist; one run at {to} makes up for it."
    )
    return Advice("clock_forward", f"{_move(schedule, stretch, to)}: {what} {end}")


def _repeat(schedule: Schedule, stretch: Stretch) -> Advice | None:
    until = min(stretch.shown, stretch.end + stretch.offset)
    again = schedule.times.count(stretch.opens_at, until)
    if not again:
        return None
    show = partial(_wall, beside=stretch.shown)
    first = show(next(schedule.times.between(stretch.opens_at, until)))
    what, run = (
        (f"{first} comes", "runs") if again == 1 else (f"{again} times from {first} on come", "run")
    )
    end = "both times" if schedule.follows_clock else "the first time only"
    move = _move(schedule, stretch, show(stretch.opens_at))
    return Advice("clock_back", f"{move}: {what} twice and {run} {end}.")


def _move(schedule: Schedule, stretch: Stretch, to: str) -> str:
    when = _wall(stretch.shown, beside=None)
    return f"On {when} the clock in {schedule.timezone} goes to {to}"


def _wall(time: int, *, beside: int | None) -> str:
    """Return a time on the wall, without its date where that is the date of ``beside``."""
    moment = _EPOCH + timedelta(seconds=time)
    is_known = beside is not None and time // DAY == beside // DAY
    return f"{moment:%H:%M}" if is_known else f"{moment:%Y-%m-%d %H:%M}"
