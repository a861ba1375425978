"""What happened in a run, in order, told from its rows: there is no table of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from cloaca_django.admin import vocabulary
from cloaca_django.admin.run_reads import RunFacts
from cloaca_django.core.states import TASK_FINAL, TaskStatus

MAX_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime
    task: str
    text: str
    tone: str


def tell(facts: RunFacts) -> Sequence[Event]:
    """Return the newest events, oldest first."""
    found = [*_of_the_run(facts), *_of_tasks(facts), *_of_attempts(facts)]
    return sorted(found, key=lambda event: event.at)[-MAX_EVENTS:]


def _of_the_run(facts: RunFacts) -> Iterator[Event]:
    run = facts.run
    origin = str(vocabulary.ORIGINS.get(run.origin, run.origin))
    by = f" ({run.created_by})" if run.created_by else ""
    yield Event(run.created_at, "", _("submitted %s") % origin + by, "off")
    if run.paused_at:
        by = run.paused_by or "?"
        yield Event(run.paused_at, "", _("paused by %s") % by, "wait")
    if run.finished_at:
        shown = vocabulary.word(run.status)
        yield Event(run.finished_at, "", _("the run ended: %s") % shown.word, shown.tone)


def _of_tasks(facts: RunFacts) -> Iterator[Event]:
    for task in facts.tasks:
        if task.claimed_at:
            text = _("attempt %d started") % task.attempt
            if task.status == TaskStatus.RUNNING or task.status in TASK_FINAL:
                yield Event(task.claimed_at, task.name, text, "run")
        if task.finished_at:
            shown = vocabulary.word(task.status)
            yield Event(task.finished_at, task.name, str(shown.word), shown.tone)


def _of_attempts(facts: RunFacts) -> Iterator[Event]:
    for task in facts.tasks:
        for attempt in facts.attempts.get(task.pk, ()):
            shown = vocabulary.word(attempt.outcome)
            text = _("attempt %(number)d %(outcome)s") % {
                "number": attempt.attempt, "outcome": shown.word,
            }  # fmt: skip
            yield Event(attempt.finished_at, task.name, text, shown.tone)
