"""Off the path: the schedules of django-celery-beat become ours, as a plan to be reviewed first.

Its tables are read and never written. The package itself need not be installed.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction

from cloaca_django.core import beat, registry
from cloaca_django.core.beat import Row, Untranslatable
from cloaca_django.dialect import outside
from cloaca_django.engine import timetable
from cloaca_django.errors import (
    InvalidInput,
    InvalidOption,
    NothingToImport,
    WorkflowNotFound,
    listed,
)
from cloaca_django.models import CronSchedule

logger = logging.getLogger("cloaca_django.schedule")

PREFIX = "django_celery_beat_"


class Fate(enum.Enum):
    """What becomes of a row."""

    TAKEN = "taken over"
    THERE = "left as it is: a schedule of this name is there already"
    REFUSED = "not taken over"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row and its fate. Facts are those of the schedule, none if it is refused for ``why``."""

    name: str
    task: str
    is_enabled: bool
    fate: Fate
    workflow: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    why: str = ""


def plan(alias: str, *, workflows: Mapping[str, str]) -> list[Entry]:
    """Decide about every row, by name, and write nothing.

    ``workflows`` says which workflow stands for a Celery task; a task that it does not name stands
    for the workflow of its own name. Raises NothingToImport, InvalidOption, WorkflowNotFound.
    """
    rows = _rows(alias)
    tasks = {str(row.task["task"]) for row in rows}
    for task, workflow in workflows.items():
        if task not in tasks:
            rule = f"must name a task of a row; they have: {listed(sorted(tasks))}"
            raise InvalidOption("cloaca_schedules import", "map", task, rule=rule)
        registry.find(workflow)
    names = CronSchedule.objects.using(alias).filter(name__in=[row.name for row in rows])
    taken = set(names.values_list("name", flat=True))
    return [_entry(row, workflows, is_there=row.name in taken) for row in rows]


def carry_out(alias: str, entries: Sequence[Entry]) -> None:
    """Write the schedules of a plan: all that are to be taken over, or none.

    Raises ScheduleExists when somebody else took a name since the plan was made.
    """
    with transaction.atomic(using=alias):
        for entry in entries:
            if entry.fate is Fate.TAKEN:
                timetable.register(
                    alias, entry.workflow, entry.facts, owner="import", replaces=False
                )
                logger.info("schedule %r of %r: imported", entry.name, entry.workflow)


def _rows(alias: str) -> list[Row]:
    tasks = outside.read_table(alias, f"{PREFIX}periodictask")
    if tasks is None:
        raise NothingToImport(alias, f"{PREFIX}periodictask")
    crontabs, intervals = (
        {row["id"]: row for row in outside.read_table(alias, f"{PREFIX}{kind}schedule") or ()}
        for kind in ("crontab", "interval")
    )
    rows = [
        Row(
            task,
            crontab=crontabs.get(task.get("crontab_id")),
            interval=intervals.get(task.get("interval_id")),
        )
        for task in tasks
    ]
    return sorted(rows, key=lambda row: row.name)


def _entry(row: Row, workflows: Mapping[str, str], *, is_there: bool) -> Entry:
    task = str(row.task["task"])
    entry = Entry(row.name, task, bool(row.task["enabled"]), Fate.THERE)
    if is_there:
        return entry
    try:
        workflow = _workflow(task, workflows)
        found = beat.translated(row)
        timetable.checked_values("import", workflow, found.facts)
    except (Untranslatable, InvalidInput) as problem:
        return replace(entry, fate=Fate.REFUSED, why=str(problem))
    return replace(
        entry, fate=Fate.TAKEN, workflow=workflow, facts=found.facts, notes=found.notes
    )  # fmt: skip


def _workflow(task: str, workflows: Mapping[str, str]) -> str:
    name = workflows.get(task, task)
    try:
        return registry.find(name).name
    except WorkflowNotFound:
        raise Untranslatable(
            f"no workflow is called {task!r}; say which one stands for it: --map {task}=WORKFLOW"
        ) from None
