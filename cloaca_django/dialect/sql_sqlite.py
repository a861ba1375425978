"""The statements that only SQLite has, and how it spells what ``sql`` leaves open."""

from __future__ import annotations

import re
from functools import cache

from cloaca_django.dialect import sql, sql_workers
from cloaca_django.dialect.sql import READY, RUN_ENDED, RUNNING, workflow_is_paused

_FORMAT = "'%%Y-%%m-%%d %%H:%%M:%%f'"


class SqliteFragments:
    """How SQLite spells what ``sql`` leaves open. Moments are UTC text, as Django writes them."""

    clock = f"strftime({_FORMAT}, coalesce(%(now)s, 'now'))"
    uuid = ""
    float = ""
    lock = lock_or_skip = share_or_skip = task_lock_or_skip = lock_schedule_or_skip = (
        keep_schedule
    ) = ""

    def later(self, seconds: str) -> str:
        return f"strftime({_FORMAT}, coalesce(%(now)s, 'now'), ({seconds}) || ' seconds')"

    def later_than(self, moment: str, seconds: str) -> str:
        start = self.latest(moment, self.clock)
        return f"strftime({_FORMAT}, {start}, ({seconds}) || ' seconds')"

    def latest(self, moment: str, other: str) -> str:
        return f"max(coalesce({moment}, ''), {other})"

    def seconds_until(self, moment: str) -> str:
        return f"(julianday({moment}) - julianday({self.clock})) * 86400.0"

    def seconds_between(self, start: str, end: str) -> str:
        return f"(julianday({end}) - julianday({start})) * 86400.0"

    def source(self, columns: str, rows: str = "rows") -> str:
        picked = ", ".join(
            f"json_extract(e.value, '$[{at}]') AS o_{pair.split()[0]}"
            for at, pair in enumerate(columns.split(", "))
        )
        return f"(SELECT {picked}, e.key AS o_order FROM json_each(%({rows})s) AS e) AS o"

    def by(self, index: str) -> str:
        return f"INDEXED BY {index}"

    def is_at(self, key: str, value: str) -> str:
        return f"{key} = {value}"

    def among(self, key: str, values: str) -> str:
        return f"{key} IN ({values})"

    def is_true(self, column: str) -> str:
        # Django 5.2 writes the condition of an index in the first way, 6.1 in the second, and
        # SQLite takes an index only for the way it has.
        return f"{column} AND {column} = 1"

    def returning(self, columns: str) -> str:
        # RETURNING does not know the alias of the table (SQLite 3.40), only its name, and forgets
        # the types of columns: without the cast no index serves a comparison.
        if "SELECT" in columns:
            cast = "CAST(cloaca_task.run_id AS TEXT))"
            return columns.replace("t.run_id)", cast).replace("t.", "")
        return re.sub(r"\b[rt]\.", "", columns)

    def tasks_as_json(self, columns: tuple[str, ...]) -> str:
        values = ", ".join(f"t.{column}" for column in columns)
        return (
            f"SELECT json_group_array(json_array({values})) FROM (SELECT * FROM cloaca_task"
            " WHERE run_id = r.id ORDER BY position) AS t"
        )


class SingleRowFragments(SqliteFragments):
    """The same for a batch of one row, which needs no JSON: each value is a parameter."""

    def source(self, columns: str, rows: str = "rows") -> str:
        picked = ", ".join(
            f"%({rows}{at})s AS o_{pair.split()[0]}" for at, pair in enumerate(columns.split(", "))
        )
        return f"(SELECT {picked}, 0 AS o_order) AS o"


FRAGMENTS = SqliteFragments()
SINGLE_ROW = SingleRowFragments()


def write_outcomes(d: SqliteFragments) -> str:
    """Write the outcomes whose claim still holds."""
    paused = (
        "EXISTS (SELECT 1 FROM cloaca_run r WHERE r.id = o_run"
        f" AND (r.paused_at IS NOT NULL OR {workflow_is_paused(d, 'r.workflow_name')}))"
    )
    return f"""
        UPDATE cloaca_task AS t SET {sql.outcome_assignments(d, paused=paused)}
        FROM {d.source(sql.OUTCOME_COLUMNS)}
        WHERE t.id = o_id AND {sql.hidden("t.status")} = {RUNNING} AND t.claim_token = o_token
          AND NOT EXISTS (SELECT 1 FROM cloaca_run r
                          WHERE r.id = o_run AND r.status IN {RUN_ENDED})
        RETURNING id"""


@cache
def choose_statement(lanes: int) -> str:
    """Choose the best tasks of ``lanes`` lanes, with their priorities: one index entry a task."""
    parts = " UNION ALL ".join(
        f"""SELECT * FROM (SELECT t.id, t.priority FROM cloaca_task t INDEXED BY cloaca_task_ready
            WHERE t.status = {READY} AND t.queue = %(queue{at})s
              AND t.workflow_name = %(workflow{at})s
              AND t.workflow_name || '/' || t.name NOT IN
                  (SELECT value FROM json_each(%(refused)s))
              AND NOT {workflow_is_paused(FRAGMENTS, f"%(workflow{at})s")}
            ORDER BY t.priority DESC, t.id LIMIT %(room)s)"""
        for at in range(lanes)
    )
    return f"SELECT id, priority FROM ({parts}) ORDER BY priority DESC, id LIMIT %(room)s"


def claim_chosen(d: SqliteFragments) -> str:
    """Claim the chosen tasks; the write transaction keeps every other claimer out."""
    return f"""
        UPDATE cloaca_task SET {sql_workers.claim_assignments(d)}
        WHERE id IN (SELECT o_id FROM {d.source("id bigint")}) AND {sql.hidden("status")} = {READY}
        RETURNING {d.returning(sql_workers.CLAIMED)}"""
