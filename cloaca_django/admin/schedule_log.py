"""What the admin's log says of a schedule that was changed: what it was, and what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloaca_django.admin import logged
from cloaca_django.admin.logged import CHANGED, CONTEXT
from cloaca_django.admin.schedule_form import DATES, ScheduleForm

MAX_SHOWN = 200
MAX_KEYS = 20
NOTHING = "-"


def message_of(form: ScheduleForm) -> str:
    """Return the entry for a form that was saved."""
    changes = list(_changes(form))
    return f"{CHANGED}{'; '.join(changes)}." if changes else logged.entry("Changed nothing")


def _changes(form: ScheduleForm) -> Iterator[str]:
    facts = {"workflow_name": form.cleaned_data["workflow_name"], **form.facts}
    context = facts.pop("context", form.stored_context)
    for name, new in facts.items():
        # On the clock that the form shows.
        shown = new.replace(tzinfo=None) if name in DATES and new is not None else new
        before, after = _text(form.initial.get(name)), _text(shown)
        if before != after:
            yield f"{name} from {before} to {after}"
    if keys := _different(form.stored_context, context):
        # Who may read a schedule's log need not be one who may see contexts.
        yield f"{CONTEXT}({', '.join(keys)})"


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys of a context that were set, changed or removed."""
    missing = object()
    found = (key for key in {*old, *new} if old.get(key, missing) != new.get(key, missing))
    return sorted(found)[:MAX_KEYS]


def _text(value: Any) -> str:
    return NOTHING if value in (None, "") else str(value)[:MAX_SHOWN]
