"""Tenants of a django-tenants site: who they are, and how a thread's connection is in one.

The only importer of django-tenants, and only when a site uses it. A unit of work enters exactly one
schema, in the thread that does the work; the server is asked where the connection is, and another
answer is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.migrations.loader import MigrationLoader
from django.dispatch import receiver
from django.utils.functional import SimpleLazyObject

from cloaca_django.dialect import Session, schemas, sql_tenants
from cloaca_django.errors import InvalidOption, InvalidOptionType, NotInTenant, TenantNotFound


def has_tenants(alias: str) -> bool:
    """Say whether the database of an alias is a django-tenants site's."""
    return bool(schemas.tenant_of(connections[alias]))


def public_schema() -> str:
    """Return the schema of what all tenants share; nothing of ours is in it."""
    from django_tenants.utils import get_public_schema_name  # noqa: PLC0415 - see above

    return str(get_public_schema_name())


def is_public(alias: str) -> bool:
    """Say whether this thread's connection is in what all tenants share."""
    return schemas.tenant_of(connections[alias]) == public_schema()


def schema_here(alias: str) -> str:
    """Return the schema that this thread's connection is in; empty: the site has no tenants.

    Raises NotInTenant in the public schema, which runs nothing.
    """
    schema = schemas.tenant_of(connections[alias])
    if schema and schema == public_schema():
        raise NotInTenant(
            schema,
            "that is no tenant and runs nothing; call this in a tenant's request or"
            " tenant_context(), or use DefaultRunner.for_tenant(tenant)",
        )
    return schema


def schema_named(alias: str, tenant: object) -> str:
    """Return the schema of a tenant, given as a row of the tenants' model or as a schema's name.

    Raises InvalidOption for what is neither, TenantNotFound for a name that no tenant has.
    """
    if not has_tenants(alias):
        raise InvalidOption(
            "for_tenant()", "tenant", tenant,
            rule="needs a site with tenants, whose database is of django-tenants' kind",
        )  # fmt: skip
    name = tenant if isinstance(tenant, str) else getattr(tenant, "schema_name", None)
    if not isinstance(name, str):
        raise InvalidOptionType(
            "for_tenant()", "tenant", tenant, rule="must be a tenant or the name of its schema"
        )
    # A row that was read is taken at its word: async code could not ask again.
    is_row = not isinstance(tenant, str) and getattr(tenant, "pk", None) is not None
    if name == public_schema() or not (is_row or _exists(alias, name)):
        raise TenantNotFound(name)
    return name


def require(alias: str, schema: str) -> None:
    """Raise TenantNotFound for a schema that no tenant has."""
    if schema == public_schema() or not _exists(alias, schema):
        raise TenantNotFound(schema)


def tenant_schemas(alias: str) -> list[str]:
    """Return the schemas of all tenants, sorted."""
    found = _tenants(alias).exclude(schema_name=public_schema())
    return sorted(found.values_list("schema_name", flat=True))


def list_statement(alias: str) -> str:
    """Return the statement that reads the schemas of all rows of the tenants' model.

    For a connection that is not Django's; the public schema's own row is among them.
    """
    model = _tenants(alias).model
    quote, schema = connections[alias].ops.quote_name, public_schema()
    column = quote(model._meta.get_field("schema_name").column)
    return f"SELECT {column} FROM {quote(schema)}.{quote(model._meta.db_table)}"  # noqa: S608


def missing_migrations(session: Session) -> list[str]:
    """Return which of our migrations the session's schema lacks. Raises NotInTenant."""
    if not session.run(sql_tenants.is_recorded)[0][0]:
        return sorted(_our_migrations())
    applied = {name for (name,) in session.run(sql_tenants.applied_migrations)}
    return sorted(_our_migrations() - applied)


@cache
def _our_migrations() -> frozenset[str]:
    loaded = MigrationLoader(None).disk_migrations
    return frozenset(name for app, name in loaded if app == "cloaca_django")


@contextmanager
def entered(alias: str, schema: str) -> Iterator[None]:
    """Be in a tenant on this thread's connection while the block runs, and then where it was.

    Raises NotInTenant when the server says that the connection is elsewhere.
    """
    connection: Any = connections[alias]
    before = connection.tenant
    connection.set_tenant(_lazy_tenant(alias, schema))
    try:
        _check(connection)
        yield
    finally:
        connection.set_tenant(before)


class NotReached(NotInTenant):
    """What a body hears whose first statement found no way into its tenant: it may come again."""


class _Homes(threading.local):
    """Where this thread's connections shall be as soon as they are opened, by alias."""

    def __init__(self) -> None:
        self.schemas: dict[str, str] = {}


_homes = _Homes()


@contextmanager
def expected(alias: str, schema: str) -> Iterator[None]:
    """As ``entered``, but a thread that has no connection is not given one before it asks.

    A connection that is opened within the block, the first and any later one, is checked before
    its first statement, which raises NotReached if the server says that it is elsewhere. One that
    is open already is where somebody left it, and may be used past Django; so it is entered now.
    """
    connection: Any = connections[alias]
    before = connection.tenant
    connection.set_tenant(_lazy_tenant(alias, schema))
    _homes.schemas[alias] = schema
    try:
        if connection.connection is not None:
            _check(connection)
        yield
    finally:
        del _homes.schemas[alias]
        connection.set_tenant(before)


@receiver(connection_created)
def _check_opened(connection: Any, **_: object) -> None:
    schema = _homes.schemas.get(connection.alias)
    # A body that went to another tenant by itself is where it wants to be.
    if schema is None or schemas.tenant_of(connection) != schema:
        return
    try:
        _check(connection)
    except BaseException as error:
        # It is open by now, and would be used by who comes next.
        connection.close()
        if isinstance(error, NotInTenant):
            raise NotReached(schema, error.problem) from error
        raise


def check_reach(alias: str, schema: str) -> None:
    """Raise NotInTenant unless this thread's connection is in a schema, or in the public one.

    An empty schema: the site has no tenants.
    """
    if not schema:
        return
    here = schemas.tenant_of(connections[alias])
    if here not in (schema, public_schema()):
        raise NotInTenant(
            schema,
            f"the connection is in {here!r}; leave that tenant first, or make a runner of it",
        )


@contextmanager
def bound(alias: str, schema: str) -> Iterator[None]:
    """Be in the tenant that a runner is bound to; it is entered if this thread is in none.

    Raises NotInTenant inside another tenant. An empty schema: the site has no tenants.
    """
    check_reach(alias, schema)
    if not schema or schemas.tenant_of(connections[alias]) == schema:
        yield
    else:
        with entered(alias, schema):
            yield


class EnteredAsync:
    """As ``entered``, for a coroutine: its database work has a thread and a connection of its own.

    Django does what all async code asks for on one thread, so two tenants would share it.
    """

    def __init__(self, alias: str, schema: str) -> None:
        self._alias = alias
        self._schema = schema
        self._thread = ThreadSensitiveContext()

    async def __aenter__(self) -> None:
        await self._thread.__aenter__()  # type: ignore[no-untyped-call]
        try:
            await sync_to_async(self._enter)()
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *raised: object) -> None:
        try:
            await sync_to_async(connections.close_all)()
        finally:
            await self._thread.__aexit__(None, None, None)  # type: ignore[no-untyped-call]

    def _enter(self) -> None:
        connection: Any = connections[self._alias]
        # Read now: a coroutine that looks at its tenant could not.
        tenant = _tenants(self._alias).filter(schema_name=self._schema).first()
        if tenant is None:
            raise NotInTenant(self._schema, "no tenant has that schema any more")
        connection.set_tenant(tenant)
        _check(connection)


def _check(connection: Any) -> None:
    try:
        schemas.enter_tenant(connection, connection.schema_name)
    except NotInTenant:
        # Whatever put it there must not be found by the next who uses it.
        if not connection.in_atomic_block:
            connection.close()
        raise


def _exists(alias: str, schema: str) -> bool:
    if not _is_storable(schema):
        return False
    return bool(_tenants(alias).filter(schema_name=schema).exists())


def _is_storable(text: str) -> bool:
    """Say whether the server takes a text at all: it has neither NUL nor half a character."""
    return "\x00" not in text and text == text.encode("utf-8", "replace").decode()


def _lazy_tenant(alias: str, schema: str) -> Any:
    """Return a tenant whose row is read when somebody asks for more than its schema."""
    tenant = SimpleLazyObject(lambda: _tenants(alias).get(schema_name=schema))
    # Past the proxy, which would read the row.
    tenant.__dict__["schema_name"] = schema
    return tenant


def _tenants(alias: str) -> Any:
    from django_tenants.utils import get_tenant_model  # noqa: PLC0415 - see above

    return get_tenant_model()._default_manager.using(alias)
