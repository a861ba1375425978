"""The hand-written SQL of a worker's visit to a tenant's schema."""

from __future__ import annotations

from cloaca_django.dialect import sql, sql_schedules
from cloaca_django.dialect.sql import ALIVE, DRAINING, Fragments


def visit(d: Fragments) -> str:
    """Ask everything that tells whether a tenant has work, in one statement.

    What ``look`` asks, when the next schedule is due, whether one is overdue that nobody here has
    code for, whether one is parked, and whether a worker is alive.
    """
    return f"""
        SELECT looked.*, ({sql_schedules.seconds_to_next_fire(d)}),
            EXISTS ({sql_schedules.overdue_strangers(d)}),
            EXISTS (SELECT 1 FROM cloaca_schedule s WHERE s.parked_at IS NOT NULL),
            EXISTS (SELECT 1 FROM cloaca_worker w WHERE w.state IN ({ALIVE}, {DRAINING}))
        FROM ({sql.look(d)}) AS looked"""


def has_workers(d: Fragments) -> str:
    """Ask whether a worker is registered and neither stopped nor was given up."""
    return f"SELECT EXISTS (SELECT 1 FROM cloaca_worker w WHERE w.state IN ({ALIVE}, {DRAINING}))"


def applied_migrations(d: Fragments) -> str:
    """Read which of our migrations a schema has."""
    return "SELECT name FROM django_migrations WHERE app = 'cloaca_django'"
