"""What may be said of a schedule, in code or by a call: checked here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from cloaca_django.core import cron, options
from cloaca_django.core.context import Context
from cloaca_django.core.states import CatchupPolicy, OverlapPolicy
from cloaca_django.errors import (
    InvalidContextType,
    InvalidOption,
    InvalidOptionType,
    UnknownOption,
)

YEAR = 366 * 86_400


class Timed(Protocol):
    """A schedule, wherever it was read."""

    @property
    def id(self) -> UUID: ...

    @property
    def cron_expression(self) -> str: ...

    @property
    def timezone(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule that code declares for a workflow: every fact, checked, a name among them."""

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name it is known by in the database."""
        return str(self.facts["name"])


def declared(workflow_name: str, facts: Mapping[str, Any]) -> Declared:
    """Return a declaration from what code says, complete with defaults. Raises as ``checked``."""
    values = checked(f"schedule of workflow {workflow_name!r}", {**_DEFAULTS, **facts})
    return Declared({**values, "name": values["name"] or workflow_name})


def extended(
    workflow_name: str, present: tuple[Declared, ...], another: Declared
) -> tuple[Declared, ...]:
    """Return a workflow's declarations with one more. Raises InvalidOption for a name again."""
    if another.name in {one.name for one in present}:
        rule = "must be given and differ: another schedule of this workflow has this one"
        owner = f"schedule of workflow {workflow_name!r}"
        raise InvalidOption(owner, "name", another.name, rule=rule)
    return (*present, another)


def checked(owner: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts of a schedule by the names of its fields, ``context`` as a Context.

    Raises InvalidCronExpression, InvalidTimezone, InvalidOption, UnknownOption, InvalidContext.
    """
    values = {name: _check_of(owner, name)(owner, name, value) for name, value in facts.items()}
    if "cron_expression" in values:
        schedule = cron.parse(values["cron_expression"], values.get("timezone", "UTC"))
        values |= {"cron_expression": schedule.expression, "timezone": schedule.timezone}
    check_dates(owner, values.get("start_date"), values.get("end_date"))
    return values


def check_dates(owner: str, start: datetime | None, end: datetime | None) -> None:
    """Raise InvalidOption for an end before the start."""
    if start is not None and end is not None and start > end:
        raise InvalidOption(owner, "end_date", end, rule=f"must not be before start_date, {start}")


def run_context(schedule: Timed, time: datetime, data: Mapping[str, Any]) -> Context:
    """Return what a run for one time of a schedule starts from: its own context, and which it is.

    ``data`` is the schedule's context.
    """
    context = Context(dict(data))
    context.update_from_dict(
        {
            "scheduled_time": time.isoformat(),
            "schedule_id": str(schedule.id),
            "schedule_timezone": schedule.timezone,
            "schedule_expression": schedule.cron_expression,
        }
    )
    return context


def _check_of(owner: str, name: str) -> Callable[[str, str, Any], Any]:
    if name not in _CHECKS:
        raise UnknownOption(owner, name, _CHECKS)
    return _CHECKS[name]


def _as_given(owner: str, option: str, value: Any) -> Any:
    return value


def _name(owner: str, option: str, value: Any) -> str | None:
    return None if value is None else options.text(owner, option, value, low=1, high=255)


def _deadline(owner: str, option: str, value: Any) -> int | None:
    return None if value is None else options.integer(owner, option, value, low=1, high=YEAR)


def _date(owner: str, option: str, value: Any) -> datetime | None:
    rule = "must be an aware datetime of the years 1970 to 9998, or None"
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidOptionType(owner, option, value, rule=rule)
    if value.utcoffset() is None or not _EARLIEST <= value < _LATEST:
        raise InvalidOption(owner, option, value, rule=rule)
    return value.astimezone(UTC)


def _context(owner: str, option: str, value: Any) -> Context:
    if value is None:
        return Context()
    if isinstance(value, Context | dict):
        return Context(value)
    raise InvalidContextType("$", f"context must be a Context, not {type(value).__name__}")


def _choice_of(accepted: type[CatchupPolicy] | type[OverlapPolicy]) -> Callable[..., str]:
    def check(owner: str, option: str, value: Any) -> str:
        return options.choice(owner, option, value, accepted=accepted.values)

    return check


_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)

_DEFAULTS: Mapping[str, Any] = {
    "timezone": "UTC",
    "name": None,
    "enabled": True,
    "catchup_policy": CatchupPolicy.ALL.value,
    "overlap_policy": OverlapPolicy.START.value,
    "deadline_seconds": None,
    "context": None,
    "queue": "default",
    "priority": 0,
    "start_date": None,
    "end_date": None,
}

_CHECKS: Mapping[str, Callable[[str, str, Any], Any]] = {
    # Read together, by ``cron.parse``.
    "cron_expression": _as_given,
    "timezone": _as_given,
    "name": _name,
    "enabled": options.boolean,
    "catchup_policy": _choice_of(CatchupPolicy),
    "overlap_policy": _choice_of(OverlapPolicy),
    "deadline_seconds": _deadline,
    "context": _context,
    "queue": options.queue_name,
    "priority": options.priority,
    "start_date": _date,
    "end_date": _date,
}
