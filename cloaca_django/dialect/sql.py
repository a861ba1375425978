"""The hand-written SQL that both databases share, one function a statement.

A batch travels as one JSON parameter, ``%(rows)s``: an array of arrays whose columns ``source``
names ``o_*``. So a statement's text, and the number of statements, never depend on the batch.
Status literals come from ``core.states``; they stand in the text because a partial index serves a
statement only when the planner sees the literal.
"""

from __future__ import annotations

from typing import Protocol

from cloaca_django.core.progress import TASK_COLUMNS
from cloaca_django.core.states import RUN_FINAL, TASK_FINAL, RunStatus, TaskStatus, WorkerState


def literal(value: str) -> str:
    """Return ``value`` as an SQL string; for constants of this package only."""
    return "'" + value.replace("'", "''") + "'"


def literals(values: frozenset[RunStatus] | frozenset[TaskStatus]) -> str:
    """Return a parenthesised SQL list."""
    return "(" + ", ".join(literal(value) for value in sorted(values)) + ")"


PENDING = literal(TaskStatus.PENDING)
READY = literal(TaskStatus.READY)
SCHEDULED = literal(TaskStatus.SCHEDULED)
HELD = literal(TaskStatus.HELD)
RUNNING = literal(TaskStatus.RUNNING)
SKIPPED = literal(TaskStatus.SKIPPED)
CANCELLED = literal(TaskStatus.CANCELLED)
TASK_ENDED = literals(TASK_FINAL)
RUN_ENDED = literals(RUN_FINAL)
PAUSED = literal(RunStatus.PAUSED)
RUN_PENDING = literal(RunStatus.PENDING)
RUN_RUNNING = literal(RunStatus.RUNNING)
ALIVE = literal(WorkerState.ALIVE)
DRAINING = literal(WorkerState.DRAINING)
DEAD = literal(WorkerState.DEAD)


class Fragments(Protocol):
    """What the two databases spell differently."""

    clock: str
    uuid: str
    float: str
    lock: str
    lock_or_skip: str
    share_or_skip: str
    task_lock_or_skip: str
    lock_schedule_or_skip: str
    keep_schedule: str

    def later(self, seconds: str) -> str: ...
    def later_than(self, moment: str, seconds: str) -> str: ...
    def latest(self, moment: str, other: str) -> str: ...
    def seconds_until(self, moment: str) -> str: ...
    def seconds_between(self, start: str, end: str) -> str: ...
    def source(self, columns: str, rows: str = ...) -> str: ...
    def by(self, index: str) -> str: ...
    def is_at(self, key: str, value: str) -> str: ...
    def among(self, key: str, values: str) -> str: ...
    def is_true(self, column: str) -> str: ...
    def returning(self, columns: str) -> str: ...
    def tasks_as_json(self, columns: tuple[str, ...]) -> str: ...


def workflow_is_paused(d: Fragments, name: str) -> str:
    """Return the condition that the workflow of a name is paused."""
    return (
        f"EXISTS (SELECT 1 FROM cloaca_workflow w WHERE {d.is_at('w.name', name)}"
        " AND w.paused_at IS NOT NULL)"
    )


def in_batch(d: Fragments, key: str, *, kind: str = "uuid") -> str:
    """Return the condition that a key is in the batch, which is a list of one-column rows."""
    return d.among(key, f"SELECT o_id FROM {d.source(f'id {kind}')}")


RUN_COLUMNS = (
    "id uuid, name text, version text, status text, revision uuid, context text, origin text,"
    " parent uuid, parent_task bigint, schedule uuid, created_by text, reason text,"
    " priority smallint, queue text, key text, start_at timestamptz, timeout float,"
    " waiting boolean, error text, traceparent text"
)

NEW_TASK_COLUMNS = (
    "run uuid, position int, name text, workflow text, queue text, priority smallint,"
    " status text, dependencies text, rules text, policy text, max_attempts int, token uuid,"
    " start_at timestamptz, changes text, reason text"
)


def hidden(column: str) -> str:
    """Return a column of text such that no partial index offers itself for it.

    A statement that finds rows by key must not walk the index of a status instead, whatever the
    statistics say of how few rows have it.
    """
    return f"{column} || ''"


def insert_runs(d: Fragments, *, runs: str = "") -> str:
    """Insert runs; one whose id or idempotency key exists is left out. Returns the ids inserted.

    ``runs`` is where they come from, if not from the batch.
    """
    deadline = d.later_than("o_start_at", "o_timeout")
    ended = f"CASE WHEN o_status IN {RUN_ENDED} THEN {d.clock} END"
    return f"""
        INSERT INTO cloaca_run (
            id, workflow_name, workflow_version, status, revision, context, origin, parent_id,
            parent_task_id, schedule_id, created_by, reason, priority, queue, idempotency_key,
            start_at, deadline_at, is_waiting, paused_by, pause_reason, created_at, started_at,
            finished_at, error_message, traceparent)
        SELECT o_id, o_name, o_version, o_status, o_revision, o_context, o_origin, o_parent,
            o_parent_task, o_schedule, o_created_by, o_reason, o_priority, o_queue, o_key,
            o_start_at, CASE WHEN o_timeout IS NOT NULL THEN {deadline} END, o_waiting, '', '',
            {d.clock}, {ended}, {ended}, o_error, o_traceparent
        FROM {runs or d.source(RUN_COLUMNS)} WHERE true
        ON CONFLICT DO NOTHING RETURNING id"""


def insert_tasks(d: Fragments, *, rows: str = "rows", among: str = "", tasks: str = "") -> str:
    """Insert tasks in order; one that should start is Held while its workflow is paused.

    ``among`` is a condition that leaves tasks out, ``tasks`` as ``runs`` above.
    """
    return f"""
        INSERT INTO cloaca_task (
            run_id, position, name, workflow_name, queue, priority, status, dependencies,
            trigger_rules, policy, max_attempts, attempt, crashes, claim_token, worker_id,
            claimed_at, due_at, finished_at, is_deferred, changes, error_message, reason)
        SELECT o_run, o_position, o_name, o_workflow, o_queue, o_priority, s_status,
            o_dependencies, o_rules, o_policy, o_max_attempts, 1, 0,
            CASE WHEN s_status = {RUNNING} THEN o_token END,
            CASE WHEN s_status = {RUNNING} THEN %(worker)s{d.uuid} END,
            CASE WHEN s_status = {RUNNING} THEN {d.clock} END,
            CASE WHEN s_status IN ({SCHEDULED}, {HELD}) THEN o_start_at END,
            CASE WHEN s_status IN {TASK_ENDED} THEN {d.clock} END,
            false, o_changes, '', o_reason
        FROM (SELECT o.*, CASE
                WHEN o_status NOT IN ({READY}, {RUNNING}) THEN o_status
                WHEN {workflow_is_paused(d, "o_workflow")} THEN {HELD}
                WHEN o_start_at > {d.clock} THEN {SCHEDULED}
                ELSE o_status END AS s_status
              FROM {tasks or d.source(NEW_TASK_COLUMNS, rows)} {among}) AS s
        ORDER BY o_order
        RETURNING id, run_id, position, status"""


OUTCOME_COLUMNS = (
    "id bigint, run uuid, token uuid, status text, changes text, error text, delay float,"
    " advance int"
)


def outcome_assignments(d: Fragments, *, paused: str) -> str:
    """Return the SET list that writes an outcome; ``paused`` is a condition on its run."""
    parked = f"o_status IN ({READY}, {SCHEDULED})"
    return f"""
        status = CASE WHEN {parked} AND {paused} THEN {HELD} ELSE o_status END,
        changes = o_changes, error_message = o_error, attempt = attempt + o_advance,
        claim_token = CASE WHEN {parked} THEN NULL ELSE claim_token END,
        worker_id = CASE WHEN {parked} THEN NULL ELSE worker_id END,
        due_at = CASE WHEN o_status = {SCHEDULED} THEN {d.later("o_delay")} END,
        finished_at = CASE WHEN {parked} THEN NULL ELSE {d.clock} END,
        is_deferred = false"""


def lock_runs(d: Fragments, *, wait: bool) -> str:
    """Lock run rows by id order. Everyone who moves a graph comes through here first."""
    return f"""
        SELECT r.id, r.status, r.revision,
            r.paused_at IS NOT NULL OR {workflow_is_paused(d, "r.workflow_name")}
        FROM cloaca_run r WHERE {in_batch(d, "r.id")}
        ORDER BY r.id {d.lock if wait else d.lock_or_skip}"""


MOVE_COLUMNS = "id bigint, status text, token uuid, reason text"


def move_tasks(d: Fragments, *, moves: str = "") -> str:
    """Write the moves of unclaimed tasks. The caller holds the locks of their runs.

    ``moves`` is where they come from, if not from the batch.
    """
    return f"""
        UPDATE cloaca_task AS t SET status = o_status, reason = o_reason,
            claim_token = o_token,
            worker_id = CASE WHEN o_status = {RUNNING} THEN %(worker)s{d.uuid} END,
            claimed_at = CASE WHEN o_status = {RUNNING} THEN {d.clock} END,
            finished_at = CASE WHEN o_status IN {TASK_ENDED} THEN {d.clock} END
        FROM {moves or d.source(MOVE_COLUMNS)}
        WHERE {d.is_at("t.id", "o_id")} AND t.status = {PENDING}"""


def move_runs(d: Fragments, *, moves: str = "") -> str:
    """Write runs' statuses and revisions. The caller holds their locks. ``moves``: as above."""
    return f"""
        UPDATE cloaca_run AS r SET status = o_status, revision = o_revision,
            started_at = coalesce(started_at, {d.clock}),
            finished_at = CASE WHEN o_status IN {RUN_ENDED} THEN {d.clock} END,
            is_waiting = false, error_message = o_error
        FROM {moves or d.source("id uuid, status text, revision uuid, error text")}
        WHERE {d.is_at("r.id", "o_id")}
        RETURNING {d.returning("r.id, r.created_at, r.started_at, r.finished_at")}"""


def load_runs(d: Fragments) -> str:
    """Read runs with their tasks, in one statement so that both are of one moment."""
    return f"""
        SELECT r.id, r.workflow_name, r.status, r.revision, r.context, r.priority, r.queue,
            r.error_message, r.traceparent, ({d.tasks_as_json(TASK_COLUMNS)})
        FROM cloaca_run r WHERE {in_batch(d, "r.id")}"""


def insert_attempts(d: Fragments) -> str:
    """Keep attempts that did not succeed."""
    columns = (
        "task bigint, attempt int, outcome text, type text, message text, traceback text,"
        " seconds float"
    )
    return f"""
        INSERT INTO cloaca_attempt (task_id, attempt, outcome, error_type, error_message,
            traceback, worker_id, started_at, finished_at)
        SELECT o_task, o_attempt, o_outcome, o_type, o_message, o_traceback, %(worker)s{d.uuid},
            CASE WHEN o_seconds IS NOT NULL THEN {d.later("-o_seconds")} END, {d.clock}
        FROM {d.source(columns)}"""


def insert_logs(d: Fragments) -> str:
    """Keep captured logs."""
    return f"""
        INSERT INTO cloaca_log (task_id, attempt, text)
        SELECT o_task, o_attempt, o_text FROM {d.source("task bigint, attempt int, text text")}"""


def look(d: Fragments) -> str:
    """Ask what waits; every part is the first entry of a partial index."""
    return f"""
        SELECT EXISTS (SELECT 1 FROM cloaca_task {d.by("cloaca_task_ready")}
                WHERE status = {READY}),
            EXISTS (SELECT 1 FROM cloaca_run WHERE {d.is_true("is_waiting")}),
            (SELECT {d.seconds_until("min(due_at)")}
              FROM cloaca_task {d.by("cloaca_task_due")} WHERE status = {SCHEDULED}),
            (SELECT {d.seconds_until("min(deadline_at)")} FROM cloaca_run
              WHERE finished_at IS NULL AND deadline_at IS NOT NULL)"""


def promote_due(d: Fragments, *, only: bool = False) -> str:
    """Make due tasks Ready, or Held when their run or workflow is paused."""
    due = f"""
        SELECT c.id FROM cloaca_task c {d.by("cloaca_task_due")}
        WHERE c.status = {SCHEDULED} AND c.due_at <= {d.clock} {_only_runs(d) if only else ""}
        ORDER BY c.due_at LIMIT 1000 {d.task_lock_or_skip}"""
    return f"""
        UPDATE cloaca_task AS t SET due_at = NULL, status = CASE
            WHEN EXISTS (SELECT 1 FROM cloaca_run r
                          WHERE {d.is_at("r.id", "t.run_id")} AND r.paused_at IS NOT NULL)
              OR {workflow_is_paused(d, "t.workflow_name")} THEN {HELD} ELSE {READY} END
        WHERE {d.among("t.id", due)}"""


def _only_runs(d: Fragments) -> str:
    return f"AND {in_batch(d, 'c.run_id')}"


def overdue_runs(d: Fragments) -> str:
    """Find open runs past their deadline, and how many seconds they had."""
    return f"""
        SELECT id, {d.seconds_between(d.latest("start_at", "created_at"), "deadline_at")}
        FROM cloaca_run
        WHERE finished_at IS NULL AND deadline_at <= {d.clock} ORDER BY deadline_at LIMIT 200"""


def cancel_tasks(d: Fragments) -> str:
    """Cancel every open task of some runs. The caller holds the locks of the runs."""
    return f"""
        UPDATE cloaca_task SET status = {CANCELLED}, reason = %(reason)s,
            finished_at = {d.clock}, due_at = NULL, is_deferred = false
        WHERE {in_batch(d, "run_id")}
          AND status NOT IN {TASK_ENDED}"""


def resolve_tokens(d: Fragments) -> str:
    """Read what became of claims whose settle has an unknown outcome."""
    return f"""
        SELECT t.id, t.claim_token, t.status FROM cloaca_task t
        WHERE {in_batch(d, "t.id", kind="bigint")}"""


def mark_deferred(d: Fragments) -> str:
    """Note that running tasks wait, or no longer wait, in defer_until."""
    return f"""
        UPDATE cloaca_task AS t SET is_deferred = o_deferred
        FROM {d.source("id bigint, token uuid, deferred boolean")}
        WHERE {d.is_at("t.id", "o_id")} AND t.claim_token = o_token
          AND {hidden("t.status")} = {RUNNING}"""


def read_times(d: Fragments) -> str:
    """Read when a run was submitted, first settled and ended."""
    return f"""
        SELECT created_at, started_at, finished_at FROM cloaca_run
        WHERE id = %(id)s{d.uuid}"""


def open_among(d: Fragments) -> str:
    """Find those of some runs that are open."""
    return f"""
        SELECT id FROM cloaca_run
        WHERE {in_batch(d, "id")} AND finished_at IS NULL"""


def places(d: Fragments) -> str:
    """Read where tasks stand in their graphs, and what they are called."""
    return f"""
        SELECT t.id, t.position, t.workflow_name, t.name FROM cloaca_task t
        WHERE {in_batch(d, "t.id", kind="bigint")}"""


def next_due(d: Fragments) -> str:
    """Ask how many seconds are left until a task of some runs is due."""
    return f"""
        SELECT {d.seconds_until("min(due_at)")} FROM cloaca_task
        WHERE {hidden("status")} = {SCHEDULED}
          AND {in_batch(d, "run_id")}"""


def read_clock(d: Fragments) -> str:
    """Read the database's time."""
    return f"SELECT {d.clock}"
