"""What the journal notes of schedules, in order.

``fire``: a time got its run, or was passed over. ``edit``: somebody made or changed a schedule.
``plan``: its next time moved though nobody edited it, which only firing does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """When a note is written: what happens to a table, whether it counts, and what it says."""

    event: str
    table: str
    kind: str
    row: str
    old: str
    new: str
    when: str = "1 = 1"


_FACTS = (
    "NEW.cron_expression || '|' || NEW.catchup_policy || '|' || coalesce(NEW.deadline_seconds, 0)"
)
# Two edits may have one moment.
_UNEDITED = (
    "OLD.updated_at = NEW.updated_at AND OLD.enabled = NEW.enabled"
    " AND OLD.cron_expression = NEW.cron_expression"
)
_NEXT = "{moment:NEW.next_run_at}"
_FIRED = ("fire", "{key:NEW.schedule_id}", "{key:NEW.run_id}", "{moment:NEW.scheduled_time}")

NOTES = {
    "fired": Note("INSERT", "cloaca_fire", *_FIRED),
    "fired_late": Note(
        "UPDATE", "cloaca_fire", *_FIRED, when="OLD.run_id IS NULL AND NEW.run_id IS NOT NULL"
    ),
    "made": Note("INSERT", "cloaca_schedule", "edit", "{key:NEW.id}", _FACTS, _NEXT),
    "edited": Note(
        "UPDATE", "cloaca_schedule", "edit", "{key:NEW.id}", _FACTS, _NEXT,
        when=f"NOT ({_UNEDITED})",
    ),
    "planned": Note(
        "UPDATE", "cloaca_schedule", "plan", "{key:NEW.id}", "{moment:OLD.next_run_at}", _NEXT,
        when=f"{_UNEDITED} AND OLD.next_run_at IS DISTINCT FROM NEW.next_run_at",
    ),
}  # fmt: skip

_SPELLINGS = {
    "sqlite": {"key": "{}", "moment": "{}"},
    "postgresql": {
        "key": "replace({}::text, '-', '')",
        "moment": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    },
}


def triggers(vendor: str) -> Iterator[str]:
    """Return the statements that create the triggers."""
    for name, note in NOTES.items():
        values = ", ".join(f"coalesce({_spelled(vendor, part)}, '')" for part in _parts(note))
        write = (
            "INSERT INTO crash_journal (kind, row_id, old, new)"
            f" VALUES ('{note.kind}', {values});"
        )  # fmt: skip
        head = f"CREATE TRIGGER crash_{name} AFTER {note.event} ON {note.table}"
        if vendor == "sqlite":
            yield f"{head} WHEN {note.when} BEGIN {write} END"
            continue
        yield (
            f"CREATE FUNCTION crash_note_{name}() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN {write} RETURN NULL; END $$"
        )
        yield f"{head} FOR EACH ROW WHEN ({note.when}) EXECUTE FUNCTION crash_note_{name}()"


def removal(vendor: str) -> Iterator[str]:
    """Return the statements that drop them, if they are there."""
    for name, note in NOTES.items():
        if vendor == "sqlite":
            yield f"DROP TRIGGER IF EXISTS crash_{name}"
        else:
            yield f"DROP TRIGGER IF EXISTS crash_{name} ON {note.table}"
            yield f"DROP FUNCTION IF EXISTS crash_note_{name}()"


def _parts(note: Note) -> tuple[str, str, str]:
    return note.row, note.old, note.new


def _spelled(vendor: str, part: str) -> str:
    """Return what a note says as a database spells it."""
    if not part.startswith("{"):
        return part
    how, _, column = part.strip("{}").partition(":")
    return _SPELLINGS[vendor][how].format(column)
