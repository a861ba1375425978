"""What query sets need on tables with a long history and cannot say by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Lookup

from cloaca_django.core.states import AttemptOutcome, RunStatus
from cloaca_django.dialect import site_session
from cloaca_django.dialect.sql import ALIVE, DRAINING, READY, RUNNING, Fragments, literal

LOST = literal(AttemptOutcome.LOST)
COMPLETED = literal(RunStatus.COMPLETED)
# Of the newest failed attempts so many are looked at for those of the last day that were lost.
_ATTEMPTS = 1_000
_DAY = 86_400
# The usual duration is that of so many runs.
_RUNS = 1_000
_PAUSED = 8

# Names are few and their runs are many: the index of a workflow's history is entered once a name.
_NAMES = """
    WITH RECURSIVE found(name) AS (
        SELECT (SELECT min(workflow_name) FROM cloaca_run)
        UNION ALL
        SELECT (SELECT min(r.workflow_name) FROM cloaca_run r WHERE r.workflow_name > found.name)
        FROM found WHERE found.name IS NOT NULL)
    SELECT name FROM found WHERE name IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Paused:
    """A workflow that somebody paused."""

    name: str
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Glance:
    """How things stand at the moment ``at``.

    ``waiting`` tasks could start, the first of them since ``waited_since`` at the earliest;
    ``stalled`` ones run at a worker that is not heard of; ``lost`` attempts were of the last day.
    So many runs as are counted at most ended after ``counted_since``; None: fewer ever ended.
    ``median`` is of the runs of the last day that completed, in seconds; None: there is none.
    """

    at: datetime
    waiting: int
    waited_since: datetime | None
    stalled: int
    lost: int
    counted_since: datetime | None
    median: float | None
    has_runs: bool
    paused: Sequence[Paused]


def glance(alias: str, *, most: int) -> Glance:
    """Read it in one statement that looks at ``most`` rows of a kind."""
    session = site_session(alias)
    rows = session.run(_glance, most=most)
    at, waiting, since, stalled, lost, counted, median, has_runs = rows[0][:8]
    return Glance(
        session.aware(at), waiting, session.aware(since), stalled, lost, session.aware(counted),
        None if median is None else float(median), bool(has_runs),
        [
            Paused(name, session.aware(moment), by, reason)
            for name, moment, by, reason in (row[8:] for row in rows) if name is not None
        ],
    )  # fmt: skip


def _glance(d: Fragments) -> str:
    ready = f"FROM cloaca_task WHERE status = {READY}"
    # Beside each paused workflow, and once if there is none.
    return f"""
        WITH usual AS (
            SELECT {d.seconds_between("created_at", "finished_at")} AS took
            FROM (SELECT status, created_at, finished_at FROM cloaca_run
                  WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT {_RUNS}) AS r
            WHERE status = {COMPLETED} AND {d.seconds_until("finished_at")} > -{_DAY})
        SELECT g.*, p.name, p.paused_at, p.paused_by, p.pause_reason FROM (SELECT {d.clock} AS now,
            (SELECT count(*) FROM (SELECT 1 {ready} LIMIT %(most)s) AS w) AS waiting,
            (SELECT max(coalesce(e.finished_at, r.start_at, r.created_at))
              FROM cloaca_task e JOIN cloaca_run r ON r.id = e.run_id
              WHERE e.run_id = (SELECT run_id FROM (SELECT id, run_id {ready} LIMIT %(most)s) AS w
                                ORDER BY id LIMIT 1)) AS since,
            (SELECT count(*) FROM cloaca_task t WHERE t.status = {RUNNING} AND NOT EXISTS (
                SELECT 1 FROM cloaca_worker w WHERE w.id = t.worker_id
                    AND w.state IN ({ALIVE}, {DRAINING}) AND w.lease_until > {d.clock})) AS stalled,
            (SELECT count(*) FROM (SELECT outcome, finished_at FROM cloaca_attempt
                                   ORDER BY id DESC LIMIT {_ATTEMPTS}) AS a
              WHERE outcome = {LOST} AND {d.seconds_until("finished_at")} > -{_DAY}) AS lost,
            (SELECT finished_at FROM cloaca_run WHERE finished_at IS NOT NULL
              ORDER BY finished_at DESC LIMIT 1 OFFSET %(most)s) AS counted,
            (SELECT took FROM usual ORDER BY took LIMIT 1
              OFFSET (SELECT count(*) / 2 FROM usual)) AS median,
            EXISTS (SELECT 1 FROM cloaca_run) AS has_runs) AS g
        LEFT JOIN (SELECT name, paused_at, paused_by, pause_reason FROM cloaca_workflow
                   WHERE paused_at IS NOT NULL ORDER BY name LIMIT {_PAUSED}) AS p ON true
        ORDER BY p.name"""


def workflow_names(alias: str) -> list[str]:
    """Return the name of every workflow that has a run, in the database's order."""
    return [str(row[0]) for row in site_session(alias).transport.execute(_NAMES, {})]


class Spelled(Lookup):
    """True where a column of text has one of some known values, which stand in the statement.

    SQLite takes a partial index only where the statement repeats its condition word for word, and
    a bound value is no word. The values are this package's own, never a person's. A lookup, because
    Django 6.1 compares any other expression with 1 there.
    """

    lookup_name = "spelled"
    prepare_rhs = False

    def __init__(self, column: str, *values: str) -> None:
        super().__init__(F(column), values)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        texts = ", ".join(map(literal, self.rhs))
        kind = f"= {texts}" if len(self.rhs) == 1 else f"IN ({texts})"
        return f"{column} {kind}", tuple(params)
