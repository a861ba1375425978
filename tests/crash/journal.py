"""Tables and triggers of the tests' own: what changed, in order, and what bodies wrote.

A sequence number orders the changes, never a time: clocks jump in these tests. The time is there
for those who measure how long something took. What schedules do is in ``schedule_journal``; it
goes into the same table.
"""

from __future__ import annotations

from typing import Any

from tests.crash import schedule_journal

_COMMON = (
    "CREATE TABLE crash_effect (task_id bigint NOT NULL, token varchar(36) NOT NULL)",
    "CREATE TABLE crash_started (task_id bigint NOT NULL, token varchar(36) NOT NULL)",
)

# A running row that changes its token was stolen; it shows as a move from Running to Running.
_CHANGED = {
    "task": "OLD.status <> NEW.status OR (OLD.claim_token <> NEW.claim_token"
    " AND OLD.status = 'Running')",
    "run": "OLD.status <> NEW.status",
}

_SQLITE = (
    "CREATE TABLE crash_journal (seq integer PRIMARY KEY AUTOINCREMENT, kind text, row_id text,"
    " old text, new text, at text DEFAULT (strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')))",
    *(
        statement
        for kind in _CHANGED
        for statement in (
            f"CREATE TRIGGER crash_{kind}_insert AFTER INSERT ON cloaca_{kind} BEGIN"
            " INSERT INTO crash_journal (kind, row_id, old, new)"
            f" VALUES ('{kind}', NEW.id, '', NEW.status); END",
            f"CREATE TRIGGER crash_{kind}_update AFTER UPDATE ON cloaca_{kind}"
            f" WHEN {_CHANGED[kind]} BEGIN INSERT INTO crash_journal (kind, row_id, old, new)"
            f" VALUES ('{kind}', NEW.id, OLD.status, NEW.status); END",
        )
    ),
)

_POSTGRESQL = (
    "CREATE TABLE crash_journal (seq bigserial PRIMARY KEY, kind text, row_id text, old text,"
    " new text, at timestamptz DEFAULT clock_timestamp())",
    "CREATE FUNCTION crash_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO crash_journal (kind, row_id, old, new) VALUES (TG_ARGV[0],"
    " replace(NEW.id::text, '-', ''), CASE TG_OP WHEN 'UPDATE' THEN OLD.status ELSE '' END,"
    " NEW.status); RETURN NULL; END $$",
    *(
        statement
        for kind in _CHANGED
        for statement in (
            f"CREATE TRIGGER crash_{kind}_insert AFTER INSERT ON cloaca_{kind}"
            f" FOR EACH ROW EXECUTE FUNCTION crash_note('{kind}')",
            f"CREATE TRIGGER crash_{kind}_update AFTER UPDATE ON cloaca_{kind}"
            f" FOR EACH ROW WHEN ({_CHANGED[kind]}) EXECUTE FUNCTION crash_note('{kind}')",
        )
    ),
)

TABLES = ("crash_journal", "crash_effect", "crash_started")


def install(connection: Any) -> None:
    """Create the tables and triggers."""
    remove(connection)
    own = _SQLITE if connection.vendor == "sqlite" else _POSTGRESQL
    with connection.cursor() as cursor:
        for statement in (*_COMMON, *own, *schedule_journal.triggers(connection.vendor)):
            cursor.execute(statement)


def remove(connection: Any) -> None:
    """Drop them, if they are there."""
    with connection.cursor() as cursor:
        for kind in _CHANGED:
            for event in ("insert", "update"):
                on = "" if connection.vendor == "sqlite" else f" ON cloaca_{kind}"
                cursor.execute(f"DROP TRIGGER IF EXISTS crash_{kind}_{event}{on}")
        for statement in schedule_journal.removal(connection.vendor):
            cursor.execute(statement)
        if connection.vendor != "sqlite":
            cursor.execute("DROP FUNCTION IF EXISTS crash_note()")
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")


ROWS = (
    "cloaca_fire", "cloaca_attempt", "cloaca_log", "cloaca_task", "cloaca_run", "cloaca_schedule",
    "cloaca_worker", "cloaca_definition", "cloaca_workflow",
)  # fmt: skip


def clear(connection: Any) -> None:
    """Empty the engine's tables and ours."""
    script = "; ".join(f"DELETE FROM {table}" for table in (*ROWS, *TABLES))
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executescript(script)
        else:
            cursor.execute(script)
