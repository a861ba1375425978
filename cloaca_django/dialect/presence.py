"""That a worker serves a tenant which has nothing to do, without a row in the tenant's schema.

The worker's listening connection holds shared advisory locks: one for all tenants or one for each
that it serves, and one for each that it leaves out. They end with the connection, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

_SERVES = "cloaca_django.serves"
_OMITS = "cloaca_django.omits"
# No schema has this name; it stands for all of them.
ALL = ""

_HOLD = "SELECT pg_advisory_lock_shared(hashtext(%(kind)s), hashtext(%(schema)s))"
# The server shows the two keys of a lock as unsigned numbers.
_KEY = "(hashtext(%({})s)::bigint & 4294967295)::oid"
_IS_SERVED = f"""
    SELECT count(*) FILTER (
            WHERE classid = {_KEY.format("serves")} AND objid = {_KEY.format("all")})
            > count(*) FILTER (WHERE classid = {_KEY.format("omits")})
        OR count(*) FILTER (
            WHERE classid = {_KEY.format("serves")} AND objid = {_KEY.format("schema")}) > 0
    FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid IN ({_KEY.format("serves")}, {_KEY.format("omits")})
      AND objid IN ({_KEY.format("all")}, {_KEY.format("schema")})"""


@dataclass(frozen=True, slots=True)
class Presence:
    """Which tenants a worker is there for. ``only`` None: all but the excluded ones."""

    only: Collection[str] | None = None
    excluded: Collection[str] = ()

    def hold(self, connection: psycopg.Connection[Any]) -> None:
        """Say so for as long as the connection lives."""
        served = (ALL,) if self.only is None else self.only
        for kind, schemas in ((_SERVES, served), (_OMITS, self.excluded)):
            for schema in schemas:
                connection.execute(_HOLD, {"kind": kind, "schema": schema})


def is_served(wrapper: BaseDatabaseWrapper, schema: str) -> bool:
    """Say whether a worker is there for a tenant."""
    names = {"serves": _SERVES, "omits": _OMITS, "all": ALL, "schema": schema}
    with wrapper.cursor() as cursor:
        cursor.execute(_IS_SERVED, names)
        return bool(cursor.fetchone()[0])
