"""What query sets need on tables with a long history and cannot say by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Lookup

from cloaca_django.core.states import AttemptOutcome
from cloaca_django.dialect import site_session
from cloaca_django.dialect.sql import ALIVE, DRAINING, READY, RUNNING, Fragments, literal

LOST = literal(AttemptOutcome.LOST)
# Of the newest failed attempts so many are looked at for those of the last day that were lost.
_ATTEMPTS = 1_000
_DAY = 86_400

# Names are few and their runs are many: the index of a workflow's history is entered once a name.
_NAMES = """
    WITH RECURSIVE found(name) AS (
        SELECT (SELECT min(workflow_name) FROM cloaca_run)
        UNION ALL
        SELECT (SELECT min(r.workflow_name) FROM cloaca_run r WHERE r.workflow_name > found.name)
        FROM found WHERE found.name IS NOT NULL)
    SELECT name FROM found WHERE name IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Glance:
    """How things stand at the moment ``at``.

    ``waiting`` tasks could start, the first of them since ``waited_since`` at the earliest;
    ``stalled`` ones run at a worker that is not heard of; ``lost`` attempts were of the last day.
    So many runs as are counted at most ended after ``counted_since``; None: fewer ever ended.
    """

    at: datetime
    waiting: int
    waited_since: datetime | None
    stalled: int
    lost: int
    counted_since: datetime | None
    has_paused: bool


def glance(alias: str, *, most: int) -> Glance:
    """Read it in one statement that looks at ``most`` rows of a kind."""
    session = site_session(alias)
    at, waiting, since, stalled, lost, counted, paused = session.run(_glance, most=most)[0]
    return Glance(
        session.aware(at), waiting, session.aware(since), stalled, lost, session.aware(counted),
        bool(paused),
    )  # fmt: skip


def _glance(d: Fragments) -> str:
    ready = f"FROM cloaca_task WHERE status = {READY}"
    return f"""
        SELECT {d.clock},
            (SELECT count(*) FROM (SELECT 1 {ready} LIMIT %(most)s) AS w),
            (SELECT max(coalesce(e.finished_at, r.start_at, r.created_at))
              FROM cloaca_task e JOIN cloaca_run r ON r.id = e.run_id
              WHERE e.run_id = (SELECT run_id FROM (SELECT id, run_id {ready} LIMIT %(most)s) AS w
                                ORDER BY id LIMIT 1)),
            (SELECT count(*) FROM cloaca_task t WHERE t.status = {RUNNING} AND NOT EXISTS (
                SELECT 1 FROM cloaca_worker w WHERE w.id = t.worker_id
                    AND w.state IN ({ALIVE}, {DRAINING}) AND w.lease_until > {d.clock})),
            (SELECT count(*) FROM (SELECT outcome, finished_at FROM cloaca_attempt
                                   ORDER BY id DESC LIMIT {_ATTEMPTS}) AS a
              WHERE outcome = {LOST} AND {d.seconds_until("finished_at")} > -{_DAY}),
            (SELECT finished_at FROM cloaca_run WHERE finished_at IS NOT NULL
              ORDER BY finished_at DESC LIMIT 1 OFFSET %(most)s),
            EXISTS (SELECT 1 FROM cloaca_workflow WHERE paused_at IS NOT NULL)"""


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
