"""Off the path: the schedules that code declares are brought into the database.

A row remembers what code last declared. While it still says that, it follows the code; once a
person has changed it, it keeps the change until ``reset`` gives it back to the code. Whether it is
enabled is the person's business alone.
"""

from __future__ import annotations

import enum
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.context import encode
from cloaca_django.core.schedule_facts import Declared
from cloaca_django.engine import timetable
from cloaca_django.errors import DuplicateSchedule
from cloaca_django.models import CronSchedule

logger = logging.getLogger("cloaca_django.schedule")

GONE = "no code declares it any more"
# What a declaration says, but for what is the person's business.
FACTS = (
    "workflow_name", "cron_expression", "timezone", "catchup_policy", "overlap_policy",
    "deadline_seconds", "context", "queue", "priority", "start_date", "end_date",
)  # fmt: skip


class Action(enum.Enum):
    """What became of one schedule in a sync."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    KEPT = "edited by hand, left as it is"
    TAKEN = "left alone: made by hand, and code declares one of the same name"
    UNDECLARED = GONE
    DISABLED = f"disabled: {GONE}"


@dataclass(frozen=True, slots=True)
class Synced:
    """One schedule of a sync, and what was done about it."""

    name: str
    workflow_name: str
    action: Action


def sync(alias: str, *, reset: bool = False, prune: bool = False) -> list[Synced]:
    """Bring the declared schedules of all registered workflows into the database.

    ``reset`` gives edited schedules back to the code; ``prune`` disables those that no code
    declares any more. Doing it again does nothing. Raises DuplicateSchedule.
    """
    found = declared_schedules()
    done = [
        Synced(name, workflow, _bring(alias, workflow, declared, reset=reset))
        for name, (workflow, declared) in sorted(found.items())
    ]
    done += _leave(alias, set(found), prune=prune)
    for one in done:
        if one.action is not Action.UNCHANGED:
            logger.info("schedule %r of %r: %s", one.name, one.workflow_name, one.action.value)
    return done


def declared_schedules() -> dict[str, tuple[str, Declared]]:
    """Return what code declares: name to workflow and declaration. Raises DuplicateSchedule."""
    by_name: dict[str, list[tuple[str, Declared]]] = defaultdict(list)
    for workflow in registry.snapshot().values():
        for declared in workflow.schedules:
            by_name[declared.name].append((workflow.name, declared))
    for name, several in by_name.items():
        if len(several) > 1:
            raise DuplicateSchedule(name, sorted(workflow for workflow, _ in several))
    return {name: several[0] for name, several in by_name.items()}


def is_edited(schedule: CronSchedule) -> bool:
    """Say whether a declared schedule is no longer as code declared it last."""
    return bool(schedule.declared) and schedule.declared != _text(_values_of(schedule))


def _bring(alias: str, workflow: str, declared: Declared, *, reset: bool) -> Action:
    wanted = _wanted(workflow, declared)
    with transaction.atomic(using=alias):
        row = timetable.named(alias, declared.name)
        if row is None:
            row = timetable.register(alias, workflow, declared.facts, owner="schedule()")
            _remember(row, wanted)
            return Action.CREATED
        if not row.declared and not reset:
            return Action.TAKEN
        if row.declared == _text(wanted) and not (reset and is_edited(row)):
            return Action.KEPT if is_edited(row) else Action.UNCHANGED
        if is_edited(row) and not reset:
            return Action.KEPT
        facts = {name: value for name, value in declared.facts.items() if name != "enabled"}
        row = timetable.register(alias, workflow, facts, owner="schedule()")
        _remember(row, wanted)
        return Action.CHANGED


def _leave(alias: str, declared: set[str], *, prune: bool) -> Iterator[Synced]:
    """Say which enabled schedules no code declares any more, and disable them if that is asked."""
    rows = CronSchedule.objects.using(alias).enabled().exclude(declared="")
    for row in rows.exclude(name__in=declared).order_by("name"):
        if prune:
            timetable.set_enabled(alias, row.pk, enabled=False, reason=GONE)
        action = Action.DISABLED if prune else Action.UNDECLARED
        yield Synced(str(row.name), row.workflow_name, action)


def _wanted(workflow: str, declared: Declared) -> dict[str, Any]:
    values = {"workflow_name": workflow, **declared.facts}
    text = encode(declared.facts["context"].snapshot(), limit=settings.MAX_CONTEXT_BYTES)
    return {name: values[name] for name in FACTS} | {"context": text}


def _values_of(row: CronSchedule) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FACTS}


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=lambda moment: moment.isoformat())


def _remember(row: CronSchedule, wanted: Mapping[str, Any]) -> None:
    row.declared = _text(wanted)
    row.save(update_fields=["declared"])
