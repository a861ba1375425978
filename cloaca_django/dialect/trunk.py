"""One connection of the engine's own that serves one tenant's schema after another.

A worker of many tenants cannot hold a connection for each. Here the schema is entered in the
transaction that needs it, and in no other way: outside of one the search path is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from cloaca_django.dialect import schemas
from cloaca_django.dialect.postgresql import PostgresSession, PostgresTransport, connect
from cloaca_django.dialect.session import Row, Session
from cloaca_django.errors import NotInTenant

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# One round trip: begin, enter, and say where we are. ``true``: until the transaction's end.
_ENTER = sql.SQL("BEGIN; SELECT set_config('search_path', {}, true), current_schema()")
# Nowhere, and soon through with waiting: while a tenant is being migrated its tables are locked,
# and all others wait meanwhile.
_LIMITS = "SET search_path = ''; SET lock_timeout = '1s'"


class Trunk:
    """A connection that is opened on first use, and again after a loss. One thread uses it."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self._params = wrapper.get_connection_params()
        self._connection: psycopg.Connection[Any] | None = None
        # The schema of the transaction that is open; empty: none is.
        self.entered = ""

    def session(self, schema: str) -> Session:
        """Return a session whose every transaction is in ``schema``; closing it closes the trunk.

        The sessions of other schemas then fail as on a connection that was lost, which it was.
        """
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self._opened()
        return PostgresSession(TenantTransport(self, connection, schema), schema=schema)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> psycopg.Connection[Any]:
        connection = connect(self._params)
        try:
            connection.execute(PostgresTransport.SETTINGS, prepare=False)
            connection.execute(_LIMITS, prepare=False)
        except BaseException:
            # Nobody would close it.
            connection.close()
            raise
        return connection


class TenantTransport(PostgresTransport):
    """The trunk's connection as one tenant's session uses it."""

    def __init__(self, trunk: Trunk, connection: psycopg.Connection[Any], schema: str) -> None:
        self._trunk = trunk
        self.connection = connection
        self.schema = schema
        self._cursor = connection.cursor()
        self._enter = _ENTER.format(sql.Literal(schemas.path_of(schema))).as_bytes(connection)

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        if self._is_inside():
            return super().execute(text, params)
        with self.transaction(durable=True):
            return super().execute(text, params)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        if self._is_inside():
            with super().transaction(durable=durable):
                yield
            return
        try:
            self._begin(durable=durable)
            yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._trunk.entered = ""

    def _commit(self) -> None:
        said = self.connection.execute("COMMIT", prepare=False).statusmessage
        if said != "COMMIT":
            # What the server answers when a statement had failed and somebody passed over it.
            raise psycopg.errors.InFailedSqlTransaction(f"COMMIT was answered with {said}")

    def _is_inside(self) -> bool:
        """Say whether a transaction is open. Raises NotInTenant if it is another tenant's."""
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            return False
        if not self._trunk.entered:
            # Nobody knows whose it was.
            self.connection.close()
        elif self._trunk.entered != self.schema:
            raise NotInTenant(
                self.schema, f"a transaction of {self._trunk.entered!r} is open on its connection"
            )
        return True

    def _begin(self, *, durable: bool) -> None:
        cursor = self.connection.execute(self._enter, prepare=False)
        cursor.nextset()
        row = cursor.fetchone()
        schemas.check_entered(self.schema, row[1] if row else None)
        self._trunk.entered = self.schema
        if not durable:
            self._cursor.execute("SET LOCAL synchronous_commit = off")

    def _roll_back(self) -> None:
        # A COMMIT that was cancelled leaves the transaction open, and one that failed ends it.
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            self.connection.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            # What went wrong first is on its way up; nobody may go on in this state.
            self.connection.close()
