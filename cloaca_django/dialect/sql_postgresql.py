"""The statements that only PostgreSQL has: locks that skip, several writes in one round trip."""

from __future__ import annotations

from collections.abc import Mapping

from cloaca_django.core.progress import TASK_COLUMNS
from cloaca_django.dialect import sql, sql_workers
from cloaca_django.dialect.sql import READY, RUN_ENDED, RUNNING, workflow_is_paused

# One for the database, whatever the schema: an announcement begins with the schema it concerns.
CHANNEL = "cloaca"


class PostgresFragments:
    """How PostgreSQL spells what ``sql`` leaves open."""

    clock = "coalesce(%(now)s::timestamptz, clock_timestamp())"
    uuid = "::uuid"
    float = "::float8"
    # NO KEY UPDATE: a plain FOR UPDATE also blocks the foreign-key checks of attempts and logs.
    lock = "FOR NO KEY UPDATE"
    lock_or_skip = "FOR NO KEY UPDATE SKIP LOCKED"
    lock_run = "FOR NO KEY UPDATE OF r"
    lock_run_or_skip = "FOR NO KEY UPDATE OF r SKIP LOCKED"
    lock_schedule_or_skip = "FOR NO KEY UPDATE OF s SKIP LOCKED"
    keep_schedule = "FOR SHARE OF s"
    share_or_skip = "FOR SHARE SKIP LOCKED"
    task_lock_or_skip = "FOR NO KEY UPDATE SKIP LOCKED"

    def later(self, seconds: str) -> str:
        return f"({self.clock} + make_interval(secs => {seconds}))"

    def later_than(self, moment: str, seconds: str) -> str:
        return f"({self.latest(moment, self.clock)} + make_interval(secs => {seconds}))"

    def latest(self, moment: str, other: str) -> str:
        return f"greatest({moment}, {other})"

    def seconds_until(self, moment: str) -> str:
        return f"extract(epoch FROM {moment} - {self.clock})"

    def seconds_between(self, start: str, end: str) -> str:
        return f"extract(epoch FROM {end} - {start})"

    def source(self, columns: str, rows: str = "rows") -> str:
        picked = ", ".join(
            f"(e.x->>{at})::{kind} AS o_{name}"
            for at, (name, kind) in enumerate(pair.split() for pair in columns.split(", "))
        )
        return (
            f"(SELECT {picked}, e.n AS o_order"
            f" FROM jsonb_array_elements(%({rows})s::jsonb) WITH ORDINALITY AS e(x, n)) AS o"
        )

    def nested(self, columns: str, arrays: str, rows: str) -> str:
        """Return a query of the arrays in a column of ``rows``."""
        picked = ", ".join(
            f"(e.x->>{at})::{kind} AS o_{name}"
            for at, (name, kind) in enumerate(pair.split() for pair in columns.split(", "))
        )
        return (
            f"SELECT {picked} FROM {rows} CROSS JOIN LATERAL jsonb_array_elements({arrays}) AS e(x)"
        )

    def by(self, index: str) -> str:
        return ""  # the planner finds it: see PostgresTransport.SETTINGS

    # A plan that is kept must look rows up by their key, even if it was made when there were two of
    # them, or counted then. The planner would rather walk such a table: once, beside a batch that
    # it takes for larger. To it an equality is a reason to read an index in order, from end to end;
    # membership in an array is none, so all that is left beside the lookup is a scan of the table,
    # which ``PostgresTransport.SETTINGS`` forbids.

    def is_at(self, key: str, value: str) -> str:
        return f"{key} = ANY(ARRAY[{value}])"

    def among(self, key: str, values: str) -> str:
        return f"{key} = ANY(ARRAY({values}))"

    def is_true(self, column: str) -> str:
        return column

    def returning(self, columns: str) -> str:
        return columns

    def tasks_as_json(self, columns: tuple[str, ...]) -> str:
        values = ", ".join(f"t.{column}" for column in columns)
        return (
            f"SELECT json_agg(json_build_array({values}) ORDER BY t.position)::text"
            " FROM cloaca_task t WHERE t.run_id = r.id"
        )


FRAGMENTS = PostgresFragments()


def settle_statement(d: PostgresFragments, *, wait: bool) -> str:
    """Lock runs and write outcomes in one round trip; the first column tells the rows apart."""
    return f"""
        WITH {_locked_and_written(d, sql.OUTCOME_COLUMNS, wait=wait)}
        SELECT NULL::bigint, run_id, run_status, revision, is_paused FROM locked
        UNION ALL SELECT o_id, NULL, NULL, NULL, NULL FROM written"""


def _locked_and_written(
    d: PostgresFragments, columns: str, *, wait: bool = False, only: str = ""
) -> str:
    """Return the CTEs that lock runs and write outcomes; ``only``: one more condition on these."""
    paused = workflow_is_paused(d, "r.workflow_name")
    # Each outcome carries its run along: joining two CTEs would be a loop over both. The status is
    # hidden from the planner (|| ''), or it walks the index of running tasks once per outcome.
    return f"""locked AS MATERIALIZED (
            SELECT o.*, r.id AS run_id, r.status AS run_status, r.revision,
                r.paused_at IS NOT NULL OR {paused} AS is_paused
            FROM {d.source(columns)} JOIN cloaca_run r ON {d.is_at("r.id", "o_run")}
            ORDER BY o_run {d.lock_run if wait else d.lock_run_or_skip}),
        written AS (
            UPDATE cloaca_task AS t SET {sql.outcome_assignments(d, paused="is_paused")}
            FROM locked
            WHERE {d.is_at("t.id", "o_id")} AND t.claim_token = o_token
              AND {sql.hidden("t.status")} = {RUNNING}
              AND run_status NOT IN {RUN_ENDED}
              {only}
            RETURNING locked.*)"""


def settle_known_statement(d: PostgresFragments) -> str:
    """Settle in one round trip: outcomes, what they release, and their runs.

    Only of runs that are as the worker knows them, and of each no more than one outcome: so a run
    moves with its outcome or not at all. Returns the runs that moved.
    """
    columns = f"{sql.OUTCOME_COLUMNS}, known uuid, next text, moved uuid, failure text, moves jsonb"
    moves = d.nested(sql.MOVE_COLUMNS, "o_moves", "written")
    runs = (
        "(SELECT run_id AS o_id, o_next AS o_status, o_moved AS o_revision, o_failure AS o_error"
        " FROM written) AS o"
    )
    return f"""
        WITH {_locked_and_written(d, columns, only="AND revision = o_known AND NOT is_paused")},
        moves AS MATERIALIZED ({moves}),
        released AS ({sql.move_tasks(d, moves="moves AS o")}),
        relaxed AS MATERIALIZED (
            SELECT set_config('synchronous_commit', 'off', true) WHERE %(relaxed)s)
        {sql.move_runs(d, moves=f"{runs} LEFT JOIN relaxed ON true")}"""


def insert_statement(d: PostgresFragments) -> str:
    """Submit in one statement: runs, the tasks of those that are new, and the announcement."""
    among = "WHERE o_run IN (SELECT id FROM run)"
    return f"""
        WITH run AS ({sql.insert_runs(d)}),
        task AS ({sql.insert_tasks(d, rows="tasks", among=among)})
        SELECT id, NULL::bigint, NULL::int, NULL::text FROM run
        UNION ALL SELECT run_id, id, position, status FROM task
        UNION ALL SELECT NULL, NULL, NULL, pg_notify('{CHANNEL}', %(announce)s::text)::text
        WHERE %(announce)s::text IS NOT NULL"""


def insert_alike_statement(d: PostgresFragments) -> str:
    """Submit runs that differ by id and context only: the server repeats one run and its tasks.

    The contexts travel as one JSON array, whose elements keep their own text.
    """
    each = (
        "ROWS FROM (unnest(%(ids)s::uuid[]), json_array_elements(%(contexts)s::json))"
        " WITH ORDINALITY AS b(id, context, n)"
    )
    given = {"id": "b.id", "revision": "gen_random_uuid()", "context": "b.context::text"}
    runs = f"(SELECT {_picked(sql.RUN_COLUMNS, given)} FROM {each}, {d.source(sql.RUN_COLUMNS)})"
    tasks = (
        f"(SELECT {_picked(sql.NEW_TASK_COLUMNS, {'run': 'b.id'})}, (b.n, o.o_order) AS o_order"
        f" FROM {each}, {d.source(sql.NEW_TASK_COLUMNS, 'tasks')})"
    )
    return f"""
        WITH run AS ({sql.insert_runs(d, runs=f"{runs} AS o")}),
        task AS ({sql.insert_tasks(d, tasks=f"{tasks} AS o")})
        SELECT count(*), NULL::text FROM run
        UNION ALL SELECT NULL, pg_notify('{CHANNEL}', %(announce)s::text)::text
        WHERE %(announce)s::text IS NOT NULL"""


def _picked(columns: str, given: Mapping[str, str]) -> str:
    """Return the columns of a source, but what is given instead of them."""
    names = [pair.split()[0] for pair in columns.split(", ")]
    return ", ".join(f"{given.get(name, f'o.o_{name}')} AS o_{name}" for name in names)


def claim_statement(d: PostgresFragments) -> str:
    """Claim by lane, found by a loose walk over the ready index.

    So a backlog that this worker has no code for costs one entry, not all of them.
    """
    first = f"SELECT t.queue, t.workflow_name FROM cloaca_task t WHERE t.status = {READY}"
    return f"""
        WITH RECURSIVE lane(queue, workflow_name) AS (
            ({first} AND t.id >= %(low)s ORDER BY t.queue, t.workflow_name LIMIT 1)
            UNION ALL
            SELECT n.queue, n.workflow_name FROM lane l CROSS JOIN LATERAL (
                {first} AND t.id >= %(low)s
                  AND (t.queue, t.workflow_name) > (l.queue, l.workflow_name)
                ORDER BY t.queue, t.workflow_name LIMIT 1) n),
        candidate AS MATERIALIZED (
            SELECT c.id, c.run_id FROM lane l CROSS JOIN LATERAL (
                SELECT t.id, t.priority, t.run_id FROM cloaca_task t
                WHERE t.status = {READY} AND t.queue = l.queue
                  AND t.workflow_name = l.workflow_name AND t.id >= %(low)s
                  AND (t.workflow_name || '/' || t.name) <> ALL(%(refused)s::text[])
                ORDER BY t.priority DESC, t.id LIMIT %(room)s
                {d.task_lock_or_skip}) c
            WHERE l.queue = ANY(%(queues)s::text[])
              AND l.workflow_name = ANY(%(workflows)s::text[])
              AND NOT {workflow_is_paused(d, "l.workflow_name")}
            ORDER BY c.priority DESC, c.id LIMIT %(room)s),
        relaxed AS MATERIALIZED (
            SELECT set_config('synchronous_commit', 'off', true) WHERE %(relaxed)s)
        UPDATE cloaca_task AS t SET {sql_workers.claim_assignments(d)}
        FROM candidate c JOIN cloaca_run r ON {d.is_at("r.id", "c.run_id")}
            LEFT JOIN relaxed ON true
        WHERE {d.is_at("t.id", "c.id")}
        RETURNING t.id, t.run_id, t.position, t.attempt, t.priority, r.revision,
            r.workflow_name, r.status, r.priority, r.queue, r.error_message,
            CASE WHEN t.dependencies = '[]' THEN r.context END,
            CASE WHEN t.dependencies = '[]' THEN ({d.tasks_as_json(TASK_COLUMNS)}) END"""
