"""What waits for a person: runs, schedules that are late or parked, paused workflows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import access, plain, run_acts, vocabulary
from cloaca_django.admin.run_rows import RunRows
from cloaca_django.admin.vocabulary import Text
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect.history import Paused
from cloaca_django.engine.forecast import Standing

MAX_SHOWN = 8
MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that waits for a person."""

    what: str
    says: str
    since: datetime | None
    status: str
    run: Any = None
    may_retry: bool = False
    schedule: Any = None
    is_workflow: bool = False


_WHY: Mapping[str, Text] = {
    vocabulary.STALLED: gettext_lazy("its worker is not heard of"),
    vocabulary.LATE: gettext_lazy("no worker has taken it"),
}


def of_runs(request: HttpRequest, rows: RunRows, runs: Sequence[Any]) -> Iterator[Trouble]:
    """Yield runs that need somebody, with their error or what is wrong with them."""
    may_retry = access.may(request, access.RETRY)
    for run in runs:
        facts = rows.facts(run)
        if run.status == RunStatus.FAILED:
            may = may_retry and not run_acts.RETRY.refusal(run)
            says = plain.first_line(run.error_message, MAX_WORDS)
            yield Trouble(run.workflow_name, says, run.finished_at, run.status, run, may)
        else:
            says = str(_WHY.get(facts.wrong, "")) or facts.sentence
            shown = facts.wrong or run.shown_status
            yield Trouble(run.workflow_name, says, run.created_at, shown, run)


def of_schedules(late: Sequence[Any], parked: Sequence[Any]) -> Iterator[Trouble]:
    """Yield schedules that nobody fired, and those that cannot be planned."""
    for schedule in late[:MAX_SHOWN]:
        says = _("its time has come and no worker has fired it")
        yield Trouble(str(schedule), says, schedule.next_run_at, vocabulary.LATE, schedule=schedule)
    for schedule in parked[:MAX_SHOWN]:
        says = plain.first_line(schedule.error_message, MAX_WORDS)
        parked = Standing.PARKED.value
        yield Trouble(str(schedule), says, schedule.parked_at, parked, schedule=schedule)


def of_workflows(paused: Iterable[Paused]) -> Iterator[Trouble]:
    """Yield workflows that somebody paused."""
    for one in paused:
        says = _("by %s") % (one.by or "?")
        says += f": {one.reason}" if one.reason else ""
        yield Trouble(one.name, says, one.at, RunStatus.PAUSED, is_workflow=True)
