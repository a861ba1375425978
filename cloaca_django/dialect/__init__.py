"""Everything PostgreSQL and SQLite do differently, and all hand-written SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections, transaction
from django.db import utils as django_errors

from cloaca_django.dialect import postgresql, schemas, sqlite
from cloaca_django.dialect.past_django import is_by_hand, is_in_transaction
from cloaca_django.dialect.session import LOOK, WORK, Lanes, Row, Session
from cloaca_django.dialect.trunk import Trunk

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import QuerySet

Rows = TypeVar("Rows", bound="QuerySet[Any]")

__all__ = [
    "DRIVER_ERRORS",
    "LOOK",
    "WORK",
    "Lanes",
    "Session",
    "Trunk",
    "abort_connections",
    "advisory_lock",
    "close_pool",
    "explained",
    "in_short",
    "is_by_hand",
    "is_disconnected",
    "is_in_transaction",
    "is_transient",
    "locked",
    "open_session",
    "open_trunk",
    "site_session",
    "submitting",
]

_SESSIONS: Mapping[str, type[Session]] = {
    "postgresql": postgresql.PostgresSession,
    "sqlite": sqlite.SqliteSession,
}
_MODULES: Mapping[str, ModuleType] = {"postgresql": postgresql, "sqlite": sqlite}

# What the engine's own connections raise; those of Django raise Django's.
DRIVER_ERRORS: tuple[type[Exception], ...] = (postgresql.ERROR, sqlite.ERROR)


class DjangoTransport:
    """The calling thread's own Django connection, inside whatever transaction it is in.

    In a site of tenants it is of the tenant that the thread was in when it was made.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper
        self._tenant = schemas.tenant_of(wrapper)

    def execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        with explained(self.wrapper.alias):
            if self._tenant:
                schemas.enter_tenant(self.wrapper, self._tenant)
            return self._execute(text, params)

    def _execute(self, text: str, params: Mapping[str, Any]) -> list[Row]:
        found: list[Row] | None = _MODULES[self.wrapper.vendor].execute_for_site(
            self.wrapper, text, params
        )
        if found is not None:
            return found
        with self.wrapper.cursor() as cursor:
            cursor.execute(text, params)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        # A savepoint when the caller is in a transaction: its commit decides.
        wrapper = self.wrapper
        if wrapper.vendor == "sqlite" and is_by_hand(wrapper):
            with sqlite.savepoint_by_hand(wrapper):
                yield
            return
        with transaction.atomic(using=wrapper.alias):
            yield

    def insist(self) -> None:
        """Nothing is relaxed here."""

    def close(self) -> None:
        """Leave the connection to Django."""

    @property
    def is_closed(self) -> bool:
        return False


def open_session(alias: str, *, patience: float = 30.0, schema: str = "") -> Session:
    """Open a connection of the engine's own to the database of ``alias``.

    On SQLite a statement waits ``patience`` seconds for the file before it is an error. In a site
    of tenants it is in ``schema``, or in the one that this thread's connection has.
    """
    wrapper = connections[alias]
    if tenant := schemas.tenant_of(wrapper):
        return Trunk(wrapper).session(schema or tenant)
    transport = _MODULES[wrapper.vendor].open_transport(wrapper, patience)
    return _SESSIONS[wrapper.vendor](transport, schema=schemas.schema_of(wrapper))


def open_trunk(alias: str) -> Trunk:
    """Return a connection of the engine's own for all tenants of a site; it opens on first use."""
    return Trunk(connections[alias])


def site_session(alias: str) -> Session:
    """Return a session on the calling thread's Django connection."""
    wrapper = connections[alias]
    return _SESSIONS[wrapper.vendor](DjangoTransport(wrapper), schema=schemas.schema_of(wrapper))


@contextmanager
def submitting(alias: str) -> Iterator[Session]:
    """Open a session on the calling thread's Django connection whose ``insert`` is all or nothing.

    No statement but the session's may run in the block.
    """
    session = site_session(alias)
    with nullcontext() if session.submits_at_once else sqlite.site_transaction(connections[alias]):
        yield session


def place_of(alias: str) -> object:
    """Return which file is where a database should be; None: it is a server's affair."""
    wrapper = connections[alias]
    return sqlite.place_of(wrapper) if wrapper.vendor == "sqlite" else None


@contextmanager
def explained(alias: str) -> Iterator[None]:
    """Raise NotInTenant when the block meets a table that its tenant's schema has not any more."""
    try:
        yield
    except django_errors.ProgrammingError as error:
        told = schemas.explain(schemas.schema_of(connections[alias]), error)
        if told is None:
            raise
        raise told from error


def locked(rows: Rows) -> Rows:
    """Lock what a query set reads until the transaction's end; a file is locked as a whole."""
    # Not the key: others may write rows that refer to these.
    return rows.select_for_update(no_key=True)


def abort_connections(wrappers: Sequence[BaseDatabaseWrapper]) -> None:
    """End what Django connections of other threads are doing, so that their locks are free."""
    for wrapper in wrappers:
        if wrapper.vendor in _MODULES:
            _MODULES[wrapper.vendor].abort(wrapper)


def close_pool(wrapper: BaseDatabaseWrapper) -> None:
    """Close an alias's pool of connections, where it has one."""
    if hasattr(wrapper, "close_pool"):
        schemas.await_returns(wrapper)
        wrapper.close_pool()


@contextmanager
def advisory_lock(alias: str) -> Iterator[None]:
    """Keep other processes that ask for the same lock out, where the database can."""
    wrapper = connections[alias]
    with _MODULES[wrapper.vendor].advisory_lock(wrapper):
        yield


def is_transient(error: BaseException) -> bool:
    """Say whether the same work may succeed later."""
    cause = _driver_error(error)
    return postgresql.is_transient(cause) or sqlite.is_transient(cause)


def in_short(error: BaseException) -> str:
    """Return what an error says in one line, without where in which statement it was."""
    cause = _driver_error(error)
    said = postgresql.message_of(cause) or str(error)
    return (said.splitlines() or [type(error).__name__])[0]


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error, which Django wraps in one of its classes."""
    wrapped = isinstance(error, django_errors.Error) and error.__cause__ is not None
    return error.__cause__ if wrapped and error.__cause__ else error


def is_disconnected(error: BaseException) -> bool:
    """Say whether the connection is gone; whatever it was committing has an unknown outcome."""
    cause = _driver_error(error)
    return postgresql.is_disconnected(cause) or sqlite.is_disconnected(cause)
