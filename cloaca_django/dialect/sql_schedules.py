"""The hand-written SQL of schedules that both databases share."""

from __future__ import annotations

from cloaca_django.dialect.sql import ALIVE, DRAINING, Fragments, in_batch


def _is_planned(d: Fragments) -> str:
    # Spelled as the partial index of due schedules is.
    return f"{d.is_true('s.enabled')} AND s.next_run_at IS NOT NULL AND s.parked_at IS NULL"


def _is_known(d: Fragments) -> str:
    return f"s.workflow_name IN (SELECT o_name FROM {d.source('name text')})"


def seconds_to_next_fire(d: Fragments) -> str:
    """Ask when the first schedule of known workflows is due: the first entry of an index."""
    return f"""
        SELECT {d.seconds_until("s.next_run_at")}
        FROM cloaca_schedule s {d.by("cloaca_schedule_due")}
        WHERE {_is_planned(d)} AND {_is_known(d)}
        ORDER BY s.next_run_at LIMIT 1"""


def due_schedules(d: Fragments) -> str:
    """Lock due schedules of known workflows, most overdue first, and leave out locked ones."""
    return f"""
        SELECT s.id, s.workflow_name, s.cron_expression, s.timezone, s.catchup_policy,
            s.overlap_policy, s.deadline_seconds, s.context, s.queue, s.priority, s.end_date,
            s.next_run_at, {d.clock}
        FROM cloaca_schedule s {d.by("cloaca_schedule_due")}
        WHERE {_is_planned(d)} AND s.next_run_at <= {d.clock} AND {_is_known(d)}
        ORDER BY s.next_run_at LIMIT %(room)s {d.lock_schedule_or_skip}"""


def open_runs(d: Fragments) -> str:
    """Ask which of some schedules have an open run.

    A statement of its own, after the one that locks them: that one may see runs as they were before
    it waited its turn, and miss what another worker has just fired.
    """
    return f"""
        SELECT DISTINCT r.schedule_id FROM cloaca_run r
        WHERE {in_batch(d, "r.schedule_id")} AND r.finished_at IS NULL"""


def insert_fires(d: Fragments) -> str:
    """Insert fires; one whose time was fired before is left out. Returns the ids inserted.

    A time that was passed over without a run is fired now.
    """
    columns = "id uuid, schedule uuid, run uuid, time timestamptz, reason text"
    return f"""
        INSERT INTO cloaca_fire AS f (id, schedule_id, run_id, scheduled_time, claimed_at, reason)
        SELECT o_id, o_schedule, o_run, o_time, {d.clock}, o_reason FROM {d.source(columns)}
        WHERE true ORDER BY o_order
        ON CONFLICT (schedule_id, scheduled_time) DO UPDATE
            SET id = excluded.id, run_id = excluded.run_id, claimed_at = excluded.claimed_at,
                reason = ''
            WHERE f.reason <> '' AND excluded.reason = ''
        RETURNING id"""


def keep_schedule(d: Fragments) -> str:
    """Lock a schedule against being deleted, edited or fired."""
    return f"""
        SELECT s.id FROM cloaca_schedule s
        WHERE {in_batch(d, "s.id")} {d.keep_schedule}"""


def advance_schedules(d: Fragments) -> str:
    """Write what firing did to schedules. The caller holds their locks."""
    columns = "id uuid, next timestamptz, fired boolean, skipped bigint"
    return f"""
        UPDATE cloaca_schedule AS s SET next_run_at = o_next,
            last_run_at = CASE WHEN o_fired THEN {d.clock} ELSE last_run_at END,
            skipped_count = skipped_count + o_skipped
        FROM {d.source(columns)} WHERE {d.is_at("s.id", "o_id")}"""


def park_schedules(d: Fragments) -> str:
    """Take schedules that cannot be planned off the plan, with the reason."""
    return f"""
        UPDATE cloaca_schedule AS s SET parked_at = {d.clock}, error_message = o_error
        FROM {d.source("id uuid, error text")}
        WHERE {d.is_at("s.id", "o_id")} AND s.parked_at IS NULL"""


def unpark_schedules(d: Fragments) -> str:
    """Plan the parked schedules of known workflows again."""
    return f"""
        UPDATE cloaca_schedule AS s {d.by("cloaca_schedule_parked")}
        SET parked_at = NULL, error_message = ''
        WHERE s.parked_at IS NOT NULL AND {_is_known(d)}
        RETURNING id"""


def overdue_strangers(d: Fragments) -> str:
    """Read the schedules that are overdue by a while and whose workflow is not known here."""
    late = d.later(f"-%(patience)s{d.float}")
    return f"""
        SELECT s.id, s.workflow_name FROM cloaca_schedule s {d.by("cloaca_schedule_due")}
        WHERE {_is_planned(d)} AND s.next_run_at <= {late} AND NOT {_is_known(d)}
        ORDER BY s.next_run_at LIMIT 1000"""


def workflows_of_workers(d: Fragments) -> str:
    """Read which workflows the living workers have code for, a JSON list each."""
    return f"SELECT workflows FROM cloaca_worker WHERE state IN ({ALIVE}, {DRAINING})"
