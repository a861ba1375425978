"""What a row of django-celery-beat means here, or why it has no meaning here. Plain Python.

Source: its models of release 2.9, and ``celery.schedules`` of Celery 5.7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloaca_django.core import cron
from cloaca_django.core.states import CatchupPolicy

MINUTE, HOUR, DAY = 60, 3_600, 86_400

_SECONDS = {"days": DAY, "hours": HOUR, "minutes": MINUTE, "seconds": 1}
_COLUMNS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_KINDS = ("crontab", "interval", "solar", "clocked")
_EITHER_DAY = (
    "Celery runs it when the day of the month and the weekday match, cron when either does: give"
    " one of the two, and let the workflow look at the other"
)


class Untranslatable(Exception):  # noqa: N818 - an answer, not an error
    """There is no such schedule here; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One periodic task, by the names of its columns; those of an older version may be missing.

    ``crontab`` and ``interval`` are the rows it points to; None: it points to none.
    """

    task: Mapping[str, Any]
    crontab: Mapping[str, Any] | None = None
    interval: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The row's unique name."""
        return str(self.task["name"])


@dataclass(frozen=True, slots=True)
class Translation:
    """The facts of a schedule, and what the reader of a plan should know about it."""

    facts: Mapping[str, Any]
    notes: tuple[str, ...]


def translated(row: Row) -> Translation:
    """Return what a row becomes.

    Raises Untranslatable, InvalidCronExpression, InvalidTimezone; other facts are not checked.
    """
    expression, timezone = _times(row)
    if cron.parse(expression, timezone).is_either_day:
        raise Untranslatable(_EITHER_DAY)
    task = row.task
    facts = {
        "name": row.name,
        "cron_expression": expression,
        "timezone": timezone,
        "context": _context(task),
        "queue": task.get("queue") or "default",
        "priority": task.get("priority") or 0,
        "enabled": bool(task["enabled"]),
        "start_date": task.get("start_time"),
        "end_date": task.get("expires"),
        # What beat does after a pause: one run, however many times were missed.
        "catchup_policy": CatchupPolicy.LATEST.value,
    }
    return Translation(facts, tuple(_notes(row)))


def _times(row: Row) -> tuple[str, str]:
    """Return expression and zone."""
    kinds = [kind for kind in _KINDS if row.task.get(f"{kind}_id") is not None]
    if kinds == ["solar"]:
        raise Untranslatable("it follows the sun, which no schedule here does")
    if kinds == ["clocked"] or row.task.get("one_off"):
        raise Untranslatable("it runs once: enqueue the workflow with start_at instead")
    if row.crontab is not None and kinds == ["crontab"]:
        return _expression(row.crontab), str(row.crontab.get("timezone") or "UTC")
    if row.interval is not None and kinds == ["interval"]:
        return _steps(row.interval), "UTC"
    raise Untranslatable("it must have one schedule that exists, a crontab or an interval")


def _expression(crontab: Mapping[str, Any]) -> str:
    fields = [str(crontab[name]).replace(" ", "") or "*" for name in _COLUMNS]
    # Celery takes whole names of days and months, cron their first three letters.
    return " ".join(re.sub(r"[A-Za-z]{4,}", lambda word: word[0][:3], field) for field in fields)


def _steps(interval: Mapping[str, Any]) -> str:
    """Return the expression whose times are as far apart, if there is one."""
    every, period = interval["every"], interval["period"]
    seconds = every * _SECONDS.get(period, 0)
    if seconds == MINUTE:
        return "* * * * *"
    if seconds == DAY:
        return "0 0 * * *"
    if seconds == HOUR:
        return "0 * * * *"
    if 0 < seconds < HOUR and seconds % MINUTE == 0 and HOUR % seconds == 0:
        return f"*/{seconds // MINUTE} * * * *"
    if 0 < seconds < DAY and seconds % HOUR == 0 and DAY % seconds == 0:
        return f"0 */{seconds // HOUR} * * *"
    raise Untranslatable(
        f"an interval of {every} {period} divides neither an hour into whole minutes nor a day"
        " into whole hours"
    )


def _context(task: Mapping[str, Any]) -> dict[str, Any]:
    if _json(task, "args", default=[]) != []:
        raise Untranslatable("it has positional arguments; a context has names: use kwargs")
    found = _json(task, "kwargs", default={})
    if not isinstance(found, dict):
        raise Untranslatable("its kwargs are no JSON object")
    return found


def _json(task: Mapping[str, Any], column: str, *, default: object) -> Any:
    try:
        return json.loads(task.get(column) or json.dumps(default))
    except (ValueError, RecursionError):
        raise Untranslatable(f"its {column} are no JSON") from None


def _notes(row: Row) -> Iterator[str]:
    task = row.task
    if row.interval is not None:
        yield "runs at even times of the clock; beat counts an interval from the last run"
    if task.get("priority"):
        yield "higher priorities run first; with Redis, Celery's lower ones do"
    left_out = [name for name in ("exchange", "routing_key", "expire_seconds") if task.get(name)]
    if task.get("headers") not in (None, "", "{}"):
        left_out.append("headers")
    if left_out:
        yield f"without its {', '.join(left_out)}"
