"""The hand-written SQL of workers, recovery and operator actions that both databases share."""

from __future__ import annotations

from cloaca_django.dialect.sql import (
    ALIVE,
    DEAD,
    DRAINING,
    HELD,
    PAUSED,
    READY,
    RUN_ENDED,
    RUN_PENDING,
    RUN_RUNNING,
    RUNNING,
    SCHEDULED,
    Fragments,
    hidden,
    in_batch,
    workflow_is_paused,
)

CLAIMED = (
    "t.id, t.run_id, t.position, t.attempt, t.priority,"
    " (SELECT r.revision FROM cloaca_run r WHERE r.id = t.run_id)"
)


def claim_assignments(d: Fragments) -> str:
    """Return the SET list of a claim: the token is the fence."""
    return f"""status = {RUNNING}, claim_token = %(token)s{d.uuid},
            worker_id = %(worker)s{d.uuid}, claimed_at = {d.clock}"""


def claim_own(d: Fragments) -> str:
    """Claim ready tasks of the given runs only."""
    ready = f"""
        SELECT c.id FROM cloaca_task c
        WHERE {in_batch(d, "c.run_id")}
          AND {hidden("c.status")} = {READY} AND NOT {workflow_is_paused(d, "c.workflow_name")}
        ORDER BY c.priority DESC, c.id LIMIT %(room)s {d.task_lock_or_skip}"""
    return f"""
        UPDATE cloaca_task AS t SET {claim_assignments(d)} WHERE {d.among("t.id", ready)}
        RETURNING {d.returning(CLAIMED)}"""


def register_worker(d: Fragments) -> str:
    """Insert a worker with a fresh lease."""
    return f"""
        INSERT INTO cloaca_worker (id, state, kind, hostname, pid, concurrency, queues, workflows,
            version, lease_seconds, started_at, heartbeat_at, lease_until, completed_count,
            failed_count)
        SELECT %(id)s{d.uuid}, {ALIVE}, %(kind)s, %(hostname)s, %(pid)s, %(concurrency)s,
            %(queues)s, %(workflows)s, %(version)s, %(lease)s{d.float}, {d.clock}, {d.clock},
            {d.later(f"%(lease)s{d.float}")}, 0, 0"""


def _counts(d: Fragments) -> str:
    # A heartbeat that comes late takes nothing back.
    return f"""completed_count = {d.latest("completed_count", "%(completed)s")},
            failed_count = {d.latest("failed_count", "%(failed)s")}"""


def renew_lease(d: Fragments) -> str:
    """Renew a worker's lease, unless it lapsed and was given up, and say what it did so far."""
    return f"""
        UPDATE cloaca_worker SET heartbeat_at = {d.clock},
            lease_until = {d.later("lease_seconds")}, {_counts(d)}
        WHERE id = %(worker)s{d.uuid} AND state IN ({ALIVE}, {DRAINING}) RETURNING state"""


def set_worker_state(d: Fragments) -> str:
    """Say that a worker drains or stopped. A dead one stays dead."""
    return f"""
        UPDATE cloaca_worker SET state = %(state)s, {_counts(d)}
        WHERE id = %(worker)s{d.uuid} AND state <> {DEAD}"""


def drain_worker(d: Fragments) -> str:
    """Ask a worker that is alive to claim nothing more."""
    return f"""
        UPDATE cloaca_worker SET state = {DRAINING}
        WHERE id = %(worker)s{d.uuid} AND state = {ALIVE} RETURNING id"""


def clamp_leases(d: Fragments) -> str:
    """Cut leases that a clock set back left far in the future: a jump costs one lease at most."""
    return f"""
        UPDATE cloaca_worker SET lease_until = {d.later("lease_seconds")}
        WHERE state IN ({ALIVE}, {DRAINING}) AND lease_until > {d.later("1.5 * lease_seconds")}"""


def bury_workers(d: Fragments) -> str:
    """Mark workers whose lease lapsed."""
    return f"""
        UPDATE cloaca_worker SET state = {DEAD}
        WHERE state IN ({ALIVE}, {DRAINING}) AND lease_until < {d.clock} RETURNING id"""


def bury_worker(d: Fragments) -> str:
    """Mark one worker that is known to be dead."""
    return f"""
        UPDATE cloaca_worker SET state = {DEAD}
        WHERE id = %(worker)s{d.uuid} AND state IN ({ALIVE}, {DRAINING})"""


def _has_ended(d: Fragments) -> str:
    # With nothing left to take over: a task that runs names its worker.
    return f"""state NOT IN ({ALIVE}, {DRAINING})
          AND NOT EXISTS (SELECT 1 FROM cloaca_task t {d.by("cloaca_task_running")}
                          WHERE t.worker_id = cloaca_worker.id AND t.status = {RUNNING})"""


def forget_workers(d: Fragments) -> str:
    """Delete worker rows a day after they ended, once no task refers to them as its owner."""
    return f"""
        DELETE FROM cloaca_worker
        WHERE heartbeat_at < {d.later("-86400.0")} AND {_has_ended(d)}"""


def forget_worker(d: Fragments) -> str:
    """Delete one such row before its day is over."""
    return f"""
        DELETE FROM cloaca_worker
        WHERE id = %(worker)s{d.uuid} AND {_has_ended(d)} RETURNING id"""


_ORPHAN = "t.id, t.run_id, t.claim_token, t.attempt, t.crashes, t.is_deferred"


def orphans(d: Fragments) -> str:
    """Find running tasks whose owner is not alive now. No lock: a frozen client hides nothing.

    The plus sign keeps SQLite from walking the whole table because it is in the order asked for.
    """
    return f"""
        SELECT {_ORPHAN} FROM cloaca_task t {d.by("cloaca_task_running")}
        WHERE t.status = {RUNNING}
          AND NOT EXISTS (SELECT 1 FROM cloaca_worker w
                          WHERE w.id = t.worker_id AND w.state IN ({ALIVE}, {DRAINING}))
        ORDER BY +t.id LIMIT 500"""


def owned(d: Fragments) -> str:
    """Read what a worker owns; the last column says that the claim is older than the grace.

    A claim from the future, after the clock went back, counts as old.
    """
    return f"""
        SELECT {_ORPHAN}, t.claimed_at NOT BETWEEN {d.later(f"-%(grace)s{d.float}")}
            AND {d.later(f"%(grace)s{d.float}")} FROM cloaca_task t {d.by("cloaca_task_running")}
        WHERE t.status = {RUNNING} AND t.worker_id = %(worker)s{d.uuid}"""


def held(d: Fragments) -> str:
    """Read the policies of what a worker owns, and for how many seconds it has."""
    return f"""
        SELECT t.policy, {d.seconds_between("t.claimed_at", d.clock)}
        FROM cloaca_task t {d.by("cloaca_task_running")}
        WHERE t.status = {RUNNING} AND t.worker_id = %(worker)s{d.uuid}"""


def share_runs(d: Fragments) -> str:
    """Keep runs from being paused while their tasks are put back."""
    return f"""
        SELECT r.id FROM cloaca_run r WHERE {in_batch(d, "r.id")}
        ORDER BY r.id {d.share_or_skip}"""


def requeue(d: Fragments) -> str:
    """Put running tasks back, each only while the claim that was seen still holds."""
    return f"""
        UPDATE cloaca_task AS t SET claim_token = NULL, worker_id = NULL, is_deferred = false,
            crashes = crashes + o_crash, status = CASE
            WHEN EXISTS (SELECT 1 FROM cloaca_run r
                          WHERE {d.is_at("r.id", "t.run_id")} AND r.paused_at IS NOT NULL)
              OR {workflow_is_paused(d, "t.workflow_name")} THEN {HELD} ELSE {READY} END
        FROM {d.source("id bigint, token uuid, crash int")}
        WHERE {d.is_at("t.id", "o_id")} AND t.claim_token = o_token
          AND {hidden("t.status")} = {RUNNING}
        RETURNING {d.returning("t.id")}"""


def save_definitions(d: Fragments) -> str:
    """Keep versions of graphs that are new."""
    return f"""
        INSERT INTO cloaca_definition (name, version, graph, first_seen_at)
        SELECT o_name, o_version, o_graph, {d.clock}
        FROM {d.source("name text, version text, graph text")} WHERE true
        ON CONFLICT DO NOTHING"""


def save_limits(d: Fragments) -> str:
    """Keep what definitions say of workflows as a whole."""
    return f"""
        INSERT INTO cloaca_workflow (name, max_running, paused_by, pause_reason)
        SELECT o_name, o_limit, '', '' FROM {d.source("name text, limit int")} WHERE true
        ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running
        WHERE cloaca_workflow.max_running IS DISTINCT FROM excluded.max_running"""


def lock_limits(d: Fragments) -> str:
    """Lock limited workflows that have runs waiting, so that one admission at a time counts."""
    return f"""
        SELECT w.name, w.max_running FROM cloaca_workflow w
        WHERE w.max_running IS NOT NULL AND w.paused_at IS NULL
          AND EXISTS (SELECT 1 FROM cloaca_run r
                      WHERE r.workflow_name = w.name AND {d.is_true("r.is_waiting")})
        ORDER BY w.name {d.lock_or_skip}"""


def waiting_runs(d: Fragments) -> str:
    """Choose the runs that a workflow's limit has room for, and lock them."""
    return f"""
        SELECT r.id FROM cloaca_run r
        WHERE r.workflow_name = %(name)s AND {d.is_true("r.is_waiting")} AND r.paused_at IS NULL
          AND (r.start_at IS NULL OR r.start_at <= {d.clock})
        ORDER BY r.priority DESC, r.id LIMIT %(room)s {d.lock_or_skip}"""


def count_admitted(d: Fragments) -> str:
    """Count the open runs of a workflow that hold a place."""
    return """
        SELECT count(*) FROM cloaca_run
        WHERE workflow_name = %(name)s AND finished_at IS NULL AND NOT is_waiting"""


def admit_runs(d: Fragments) -> str:
    """Give waiting runs their place."""
    return f"""
        UPDATE cloaca_run SET is_waiting = false
        WHERE {in_batch(d, "id")}"""


def release_held(d: Fragments) -> str:
    """Make held tasks claimable again where nothing holds them any more."""
    return f"""
        UPDATE cloaca_task AS t SET
            status = CASE WHEN t.due_at > {d.clock} THEN {SCHEDULED} ELSE {READY} END
        WHERE {in_batch(d, "t.run_id")}
          AND {hidden("t.status")} = {HELD} AND NOT {workflow_is_paused(d, "t.workflow_name")}
          AND EXISTS (SELECT 1 FROM cloaca_run r
                      WHERE {d.is_at("r.id", "t.run_id")} AND r.paused_at IS NULL
                        AND NOT r.is_waiting)"""


def hold_tasks(d: Fragments) -> str:
    """Hold every task of some runs that could start."""
    return f"""
        UPDATE cloaca_task SET status = {HELD}
        WHERE {in_batch(d, "run_id")}
          AND status IN ({READY}, {SCHEDULED})"""


def pause_runs(d: Fragments) -> str:
    """Write a pause on open runs. The caller holds their locks."""
    return f"""
        UPDATE cloaca_run SET status = {PAUSED}, paused_at = {d.clock}, paused_by = %(by)s,
            pause_reason = %(reason)s
        WHERE {in_batch(d, "id")}"""


def resume_runs(d: Fragments) -> str:
    """Take a pause back. The caller holds the locks of the runs."""
    return f"""
        UPDATE cloaca_run SET paused_at = NULL, paused_by = '', pause_reason = '',
            status = CASE WHEN started_at IS NULL THEN {RUN_PENDING} ELSE {RUN_RUNNING} END
        WHERE {in_batch(d, "id")} AND status NOT IN {RUN_ENDED}"""


def pause_workflow(d: Fragments) -> str:
    """Write a pause on a workflow."""
    return f"""
        INSERT INTO cloaca_workflow (name, paused_at, paused_by, pause_reason)
        VALUES (%(name)s, {d.clock}, %(by)s, %(reason)s)
        ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at,
            paused_by = excluded.paused_by, pause_reason = excluded.pause_reason"""


def resume_workflow(d: Fragments) -> str:
    """Take a workflow's pause back."""
    return """
        UPDATE cloaca_workflow SET paused_at = NULL, paused_by = '', pause_reason = ''
        WHERE name = %(name)s"""


def known_workflows(d: Fragments) -> str:
    """Read the names of all workflows that a worker or an operator has named."""
    return "SELECT name FROM cloaca_workflow"


def hold_ready(d: Fragments) -> str:
    """Hold ready tasks of paused workflows, a batch; claims leave them alone anyway."""
    return _hold_paused(d, READY, index="cloaca_task_ready")


def hold_scheduled(d: Fragments) -> str:
    """Hold scheduled tasks of paused workflows, a batch."""
    return _hold_paused(d, SCHEDULED, index="cloaca_task_due")


def _hold_paused(d: Fragments, status: str, *, index: str) -> str:
    # One status a statement, so that its partial index serves it.
    found = f"""
        SELECT c.id FROM cloaca_task c {d.by(index)}
        WHERE c.status = {status} AND {workflow_is_paused(d, "c.workflow_name")}
        LIMIT 1000 {d.task_lock_or_skip}"""
    return f"""
        UPDATE cloaca_task SET status = {HELD} WHERE {d.among("id", found)} RETURNING id"""


def held_runs(d: Fragments) -> str:
    """Find runs of a workflow with held tasks."""
    return f"""
        SELECT DISTINCT run_id FROM cloaca_task
        WHERE workflow_name = %(name)s AND status = {HELD}"""


def stray_runs(d: Fragments) -> str:
    """Find runs with held tasks that nothing holds.

    A transaction that read a pause and commits after the resume leaves such tasks behind. The
    coalesce keeps SQLite from walking all tasks by run because that makes DISTINCT easy.
    """
    return f"""
        SELECT DISTINCT coalesce(t.run_id, t.run_id)
        FROM cloaca_task t {d.by("cloaca_task_held")} JOIN cloaca_run r
            ON {d.is_at("r.id", "t.run_id")}
        WHERE t.status = {HELD} AND NOT {workflow_is_paused(d, "t.workflow_name")}
          AND r.paused_at IS NULL AND NOT r.is_waiting LIMIT 500"""


def children_of(d: Fragments) -> str:
    """Find open runs that tasks of some runs started, and theirs."""
    return f"""
        WITH RECURSIVE child(id) AS (
            SELECT r.id FROM cloaca_run r
            WHERE {in_batch(d, "r.parent_id")}
              AND r.parent_task_id IS NOT NULL
            UNION
            SELECT r.id FROM child c JOIN cloaca_run r ON {d.is_at("r.parent_id", "c.id")}
            WHERE r.parent_task_id IS NOT NULL)
        SELECT r.id FROM child c JOIN cloaca_run r ON {d.is_at("r.id", "c.id")}
        WHERE r.finished_at IS NULL"""


def end_runs(d: Fragments) -> str:
    """End runs from outside their graph. The caller holds their locks and cancelled their tasks."""
    return f"""
        UPDATE cloaca_run AS r SET status = %(status)s, revision = %(revision)s{d.uuid},
            started_at = coalesce(started_at, {d.clock}), finished_at = {d.clock},
            is_waiting = false, error_message = %(message)s
        WHERE {in_batch(d, "r.id")}
        RETURNING {d.returning("r.id, r.workflow_name")}"""
