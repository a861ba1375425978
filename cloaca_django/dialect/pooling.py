"""Whether a transaction pooler stands between us and the server, found out by what it does.

Behind one a session's transactions may be on different connections of the server, and two sessions'
on the same. Nothing it answers tells it apart from the server itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from cloaca_django.dialect.postgresql import connect

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_WHO = "SELECT pg_backend_pid()"


def is_transaction_pooled(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether one session is found on the connection of another, or moves to a third one.

    A pooler that has just come up, and has a connection for everybody, may escape.
    """
    params = wrapper.get_connection_params()
    with wrapper.wrap_database_errors, connect(params) as one, connect(params) as other:
        before = _backend(other)
        with one.transaction():
            if _backend(one) == before:
                return True
            try:
                return _backend(other) != before
            except psycopg.Error:
                # It waits for a place that the open transaction has.
                return True


def _backend(connection: psycopg.Connection) -> int:
    row = connection.execute(_WHO, prepare=False).fetchone()
    return int(row[0]) if row else 0
