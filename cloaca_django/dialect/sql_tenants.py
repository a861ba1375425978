"""The hand-written SQL of a worker's visit to a tenant's schema."""

from __future__ import annotations

from cloaca_django.dialect import sql, sql_schedules
from cloaca_django.dialect.sql import ALIVE, DRAINING, RUNNING, Fragments


def visit(d: Fragments) -> str:
    """Ask everything that tells whether a tenant has work, in one statement.

    What ``look`` asks, when the next schedule is due, whether one is overdue that nobody here has
    code for, whether one is parked, and whether it is to be swept.
    """
    return f"""
        SELECT looked.*, ({sql_schedules.seconds_to_next_fire(d)}),
            EXISTS ({sql_schedules.overdue_strangers(d)}),
            EXISTS (SELECT 1 FROM cloaca_schedule s WHERE s.parked_at IS NOT NULL),
            ({_needs_sweep()})
        FROM ({sql.look(d)}) AS looked"""


def needs_sweep(d: Fragments) -> str:
    """Ask whether a worker is registered that may die, or a task is left of one that did."""
    return f"SELECT {_needs_sweep()}"


def _needs_sweep() -> str:
    return f"""
        EXISTS (SELECT 1 FROM cloaca_worker w WHERE w.state IN ({ALIVE}, {DRAINING}))
        OR EXISTS (SELECT 1 FROM cloaca_task t WHERE t.status = {RUNNING})"""


def is_recorded(d: Fragments) -> str:
    """Ask whether a schema has a record of migrations."""
    return "SELECT to_regclass('django_migrations') IS NOT NULL"


def applied_migrations(d: Fragments) -> str:
    """Read which of our migrations a schema has."""
    return "SELECT name FROM django_migrations WHERE app = 'cloaca_django'"
