"""What is in a run's context, and what each task changed in it. Redacted before it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from cloaca_django.admin import saying
from cloaca_django.admin.run_reads import RunFacts
from cloaca_django.core.merge import REMOVED, Path, Write
from cloaca_django.core.progress import TASK_COLUMNS, RunRow, RunState, restore
from cloaca_django.core.redaction import REDACTED, is_sensitive, redacted
from cloaca_django.errors import UnreadableContext
from cloaca_django.models import TaskExecution

MAX_SHOWN = 200
MAX_OPENED = 20_000
MAX_ROWS = 200
ABSENT = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Value:
    """A value as text. ``whole`` is more of it, where there is more; ``size`` is in letters."""

    text: str
    whole: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One write of one task."""

    path: str
    before: Value
    after: Value
    kind: str
    task: TaskExecution


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a context."""

    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class Contents:
    """The context section of a page. ``problem`` says why nothing could be read."""

    changes: Sequence[Change]
    more_changes: int
    first: Sequence[Entry]
    last: Sequence[Entry]
    problem: str = ""


def read(facts: RunFacts, *, may_see: bool) -> Contents:
    """Return the contexts of a run. Who may not see values gets keys and sizes."""
    try:
        state = state_of(facts)
    except UnreadableContext as error:
        return Contents([], 0, [], [], saying.of_context(error))
    found = _changes(facts, state, may_see)
    shown = [change for _at, change in zip(range(MAX_ROWS), found, strict=False)]
    return Contents(
        changes=shown,
        more_changes=sum(len(task.writes) for task in state.tasks) - len(shown),
        first=_entries(state.initial, may_see),
        last=[] if facts.is_open else _entries(state.final_context(), may_see),
    )


def state_of(facts: RunFacts) -> RunState:
    """Rebuild a run's state from the rows of its page. Raises UnreadableContext."""
    run = facts.run
    rows = [[getattr(task, name) for name in TASK_COLUMNS] for task in facts.tasks]
    row = RunRow(
        id=run.pk, workflow_name=run.workflow_name, status=run.status, revision=run.revision,
        context=run.context, priority=run.priority, queue=run.queue,
        error_message=run.error_message, traceparent=run.traceparent, tasks=rows,
    )  # fmt: skip
    return restore(row)


def shown_context(state: RunState) -> str:
    """Return the newest context as indented JSON, without secrets."""
    text: str = json.dumps(redacted(state.final_context()), ensure_ascii=False, indent=2)
    return text


def _changes(facts: RunFacts, state: RunState, may_see: bool) -> Iterator[Change]:
    for position, task in enumerate(facts.tasks):
        seen = state.seen_by(position) if state.tasks[position].writes else {}
        for write in state.tasks[position].writes:
            before = _at(seen, write.path)
            yield Change(
                path=_dotted(write.path),
                before=_value(before, write.path, may_see),
                after=_value(write.value, write.path, may_see),
                kind=_kind(write, before),
                task=task,
            )


def _kind(write: Write, before: Any) -> str:
    if write.value is REMOVED:
        return _("removed")
    return _("added") if before is REMOVED else _("changed")


def _at(data: Mapping[str, Any], path: Path) -> Any:
    found: Any = data
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return REMOVED
        found = found[key]
    return found


def _dotted(path: Path) -> str:
    return ".".join(key if key.isidentifier() else f"[{json.dumps(key)}]" for key in path)


def _entries(data: Mapping[str, Any], may_see: bool) -> Sequence[Entry]:
    shown = list(data.items())[:MAX_ROWS]
    return [Entry(key, _value(value, (key,), may_see)) for key, value in shown]


def _value(value: Any, path: Path, may_see: bool) -> Value:
    """Return a value for display: secret by any key on its way, cut, or only measured."""
    if value is REMOVED:
        return Value(ABSENT)
    if any(map(is_sensitive, path)):
        return Value(REDACTED)
    if not may_see:
        size = len(json.dumps(value, ensure_ascii=False))
        return Value(_("%d letters") % size, size=size)
    text = json.dumps(redacted(value), ensure_ascii=False)
    if len(text) <= MAX_SHOWN:
        return Value(text, size=len(text))
    whole = json.dumps(redacted(value), ensure_ascii=False, indent=2)[:MAX_OPENED]
    return Value(f"{text[:MAX_SHOWN]}…", whole, len(text))
