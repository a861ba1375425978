"""The page of a run: what its template shows, put together from what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from cloaca_django import clock
from cloaca_django.admin import (
    access,
    attention,
    changes,
    graphs,
    run_acts,
    run_events,
    run_reads,
    spans,
    timeline,
    vocabulary,
    waiting,
)
from cloaca_django.admin.attention import Tag
from cloaca_django.admin.confirming import Act
from cloaca_django.admin.run_reads import RunFacts
from cloaca_django.conf import settings
from cloaca_django.core.states import TASK_FINAL, TaskStatus
from cloaca_django.models import TaskAttempt, TaskExecution, TaskLog, Worker

TASKS_A_PAGE = 300
# While something runs its bar grows, so a page is not the same for longer than this.
FRESH_SECONDS = 10

_MAIN = {run_acts.RETRY.slug, run_acts.RESUME.slug}
_FIRST = {TaskStatus.FAILED: 0, TaskStatus.RUNNING: 1}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task as the table shows it. ``attempts`` are those that did not succeed."""

    task: TaskExecution
    number: int
    sentence: str
    waited: float | None
    took: float | None
    worker: str
    is_known_worker: bool
    attempts: Sequence[TaskAttempt]
    log: TaskLog | None
    is_running: bool
    is_opened: bool


@dataclass(frozen=True, slots=True)
class Button:
    """An act that the reader may do now; ``is_main`` marks what most readers are here for."""

    act: Act
    url: str
    is_main: bool


def tag_of(facts_or_rows: tuple[Any, ...], request: HttpRequest, *, is_open: bool) -> str:
    """Return the ETag of a run's page: its rows, and who reads it in which language."""
    user: Any = request.user
    tick = int(clock.utc_now().timestamp() // FRESH_SECONDS) if is_open else 0
    who = (
        user.pk,
        get_language(),
        access.may(request, access.VIEW_CONTEXT),
        request.GET.urlencode(),
    )
    text = repr((facts_or_rows, who, tick))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def rows_of(facts: RunFacts) -> tuple[Any, ...]:
    """Return what ``run_reads.tag`` would read now."""
    run = facts.run
    states = ((t.status, t.claim_token, t.attempt, t.is_deferred) for t in facts.tasks)
    return (run.revision, run.status, run.paused_at, run.is_waiting, *states)


def describe(facts: RunFacts, request: HttpRequest, urls: Any) -> Mapping[str, Any]:
    """Return what the template needs. ``urls`` makes the URLs of the runs' pages."""
    shown, pages = _part(facts, request)
    rows = list(_rows(facts, shown))
    may_see = access.may(request, access.VIEW_CONTEXT)
    return {
        "facts": facts,
        "run": facts.run,
        "now": facts.at,
        "status": facts.status,
        "tags": list(_tags(facts)),
        "counts": list(_counts(facts, shown)),
        "delay": spans.between(facts.expected_at, facts.begun_at),
        "done": sum(facts.counts.get(status, 0) for status in TASK_FINAL),
        "origin": vocabulary.ORIGINS.get(facts.run.origin, facts.run.origin),
        "elapsed": spans.between(facts.run.created_at, facts.ended_or_now),
        "is_workerless": facts.is_open
        and run_reads.is_workerless(settings.DATABASE, facts.workers.values()),
        "buttons": list(_buttons(facts, request, urls)),
        "refusals": list(_refusals(facts, request)),
        "graph": _graph(facts, request),
        "timeline": timeline.draw(facts, shown),
        "rows": rows,
        "pages": pages,
        "may_see_context": may_see,
        "may_see_workers": access.may_view(request, Worker),
        "contents": changes.read(facts, may_see=may_see),
        "events": run_events.tell(facts),
        "poll": _poll(facts),
        "ended": "" if facts.is_open else _ended(facts),
    }


def _counts(
    facts: RunFacts, shown: Sequence[TaskExecution]
) -> Iterator[tuple[str, str, int | None]]:
    """Return how many tasks have each status, its tone, and the first such one on the page."""
    first: dict[str, int] = {}
    for task in shown:
        first.setdefault(task.status, task.position)
    for status in vocabulary.READING_ORDER:
        if count := facts.counts.get(status):
            word = vocabulary.word(status)
            yield f"{count} {word.word}", word.tone, first.get(status)


def _tags(facts: RunFacts) -> Iterator[Tag]:
    running = [task for task in facts.tasks if task.status == TaskStatus.RUNNING]
    return attention.tags(
        facts.run, facts.at, counts=facts.counts,
        crashes=sum(task.crashes for task in facts.tasks),
        owners={task.worker_id for task in running if task.worker_id},
        heard_of=facts.heard_of,
    )  # fmt: skip


def _poll(facts: RunFacts) -> int:
    seconds = settings.ADMIN_POLL_SECONDS
    return round(1000 * seconds) if seconds and facts.is_open else 0


def _ended(facts: RunFacts) -> str:
    failed = facts.counts.get(TaskStatus.FAILED, 0)
    text = _("The run ended: %s.") % vocabulary.word(facts.status).word
    return text + (
        " " + ngettext("%d task failed.", "%d tasks failed.", failed) % failed if failed else ""
    )


def _part(facts: RunFacts, request: HttpRequest) -> tuple[Sequence[TaskExecution], Sequence[int]]:
    """Return the tasks of the asked page, and the numbers of all pages; what is wrong first."""
    if len(facts.tasks) <= TASKS_A_PAGE:
        return facts.tasks, ()
    ordered = sorted(facts.tasks, key=lambda t: (_FIRST.get(TaskStatus(t.status), 2), t.position))
    pages = range(1, -(-len(ordered) // TASKS_A_PAGE) + 1)
    asked = request.GET.get("tasks", "1")
    at = int(asked) if asked.isascii() and asked.isdigit() and int(asked[:6]) in pages else 1
    return ordered[(at - 1) * TASKS_A_PAGE : at * TASKS_A_PAGE], pages


def _rows(facts: RunFacts, tasks: Sequence[TaskExecution]) -> Iterator[TaskRow]:
    is_first = True
    for task in tasks:
        attempts = facts.attempts.get(task.pk, ())
        logs = facts.logs.get(task.pk, ())
        has_error = task.status == TaskStatus.FAILED
        yield TaskRow(
            task=task,
            number=task.position + 1,
            sentence=waiting.sentence(task, facts),
            waited=_waited(task, facts),
            took=_took(task, facts),
            worker=_worker(task, facts),
            is_known_worker=task.worker_id in facts.workers,
            attempts=attempts,
            log=logs[-1] if logs else None,
            is_running=task.status == TaskStatus.RUNNING,
            is_opened=has_error and is_first,
        )
        is_first = is_first and not has_error


def _waited(task: TaskExecution, facts: RunFacts) -> float | None:
    """Return how long a task waited for a worker: from its last dependency to its last claim."""
    if task.claimed_at is None or task.attempt > 1:
        return None
    ends = [
        facts.by_name[name].finished_at
        for name in facts.dependencies(task)
        if name in facts.by_name
    ]
    start = max((end for end in ends if end), default=facts.run.start_at or facts.run.created_at)
    return spans.between(start, task.claimed_at)


def _took(task: TaskExecution, facts: RunFacts) -> float | None:
    if task.status in {TaskStatus.SCHEDULED, TaskStatus.READY, TaskStatus.HELD}:
        return None
    return spans.between(task.claimed_at, task.finished_at or facts.at)


def _worker(task: TaskExecution, facts: RunFacts) -> str:
    if task.worker_id is None:
        return ""
    known = facts.workers.get(task.worker_id)
    return known.name if known else str(task.worker_id)[:8]


def _buttons(facts: RunFacts, request: HttpRequest, urls: Any) -> Iterator[Button]:
    for act in run_acts.ACTS.values():
        if access.may(request, act.permission) and not act.refusal(facts.run):
            is_main = act.slug in _MAIN
            yield Button(act, urls.url(act.slug, facts.run.pk), is_main)


def _refusals(facts: RunFacts, request: HttpRequest) -> Iterator[tuple[str, str]]:
    """Return why a new run cannot be made of this one now, to who may else do it."""
    found: dict[str, list[str]] = {}
    for act in (run_acts.RETRY, run_acts.RERUN):
        refusal = act.refusal(facts.run)
        if refusal and access.may(request, act.permission):
            found.setdefault(refusal, []).append(str(act.label))
    for refusal, labels in found.items():
        yield refusal, ", ".join(label.rstrip("…") for label in labels) + ":"


def _graph(facts: RunFacts, request: HttpRequest) -> graphs.Graph:
    nodes = [
        graphs.Node(
            task.name, facts.dependencies(task), task.status, _words(task, facts),
            link=f"#task-{task.position}", title=_title(task, facts),
        )
        for task in facts.tasks
    ]  # fmt: skip
    drawn, finished = graphs.without_finished(nodes, request)
    count = ngettext("%d task", "%d tasks", len(drawn)) % len(drawn)
    return graphs.shown(drawn, request, label=_("Graph: %s") % count, finished=finished)


def _words(task: TaskExecution, facts: RunFacts) -> str:
    shown = vocabulary.word(task.status)
    words = f"{shown.glyph} {shown.label}"
    if task.attempt > 1:
        words += f" ({task.attempt}/{task.max_attempts})"
    took = spans.between(task.claimed_at, task.finished_at)
    return f"{words} {spans.span(took)}" if took is not None and task.finished_at else words


def _title(task: TaskExecution, facts: RunFacts) -> str:
    parts = [task.name, vocabulary.word(task.status).label, waiting.sentence(task, facts)]
    return ": ".join(part for part in parts if part)
