"""Schemas as homes of tenants: which names are allowed, how one is made, how a connection is in it.

The schema of ``with_schema`` is a startup parameter of every connection of its alias, Django's
and the engine's own alike. No statement enters it, so none can fail or be forgotten. ``public`` is
not in the path: a schema that is missing, or has lost a table, is an error and never somebody
else's table. In a site of tenants Django's connections move between schemas (``tenancy``), and the
engine's own enter one in each transaction (``trunk``); both ask the server where they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from cloaca_django import clock
from cloaca_django.errors import InvalidSchemaName, InvalidSchemaNameType, NotInTenant, shown

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Where an alias's entry in DATABASES keeps the schema it is bound to.
KEY = "CLOACA_SCHEMA"

NEEDED = (
    "Schema-based multi-tenancy requires PostgreSQL. SQLite does not support database schemas."
    " Use a PostgreSQL URL like 'postgres://user:pass@host/db'"
)
MAX_LENGTH = 63
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_RETURN_SECONDS = 1.0
_SYSTEM = frozenset({"public", "information_schema"})

# SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T') on PostgreSQL 18. Quoted they would
# be allowed; whoever types one in psql without quotes is puzzled.
RESERVED_WORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check
    collate collation column concurrently constraint create cross current_catalog current_date
    current_role current_schema current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign freeze from full grant group having ilike in
    initially inner intersect into is isnull join lateral leading left like limit localtime
    localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
    references returning right select session_user similar some symmetric system_user table
    tablesample then to trailing true union unique user using variadic verbose when where window
    with
    """.split()  # noqa: SIM905 - a hundred quoted words are no easier to compare with the server's
)


def are_in(vendor: str) -> bool:
    """Say whether a kind of database has schemas."""
    return vendor == "postgresql"


def check_name(name: object) -> str:
    """Return ``name`` if a tenant's schema may be called that.

    ASCII only, so that characters are bytes: the server cuts a name after 63 bytes, and two long
    names would be one schema. Raises InvalidSchemaName.
    """
    if not isinstance(name, str):
        raise InvalidSchemaNameType(name, "a schema name is a str")
    if broken := broken_rule("Schema name", name, reserved=_SYSTEM):
        raise InvalidSchemaName(name, broken)
    return name


def broken_rule(what: str, name: str, *, reserved: frozenset[str]) -> str:
    """Return in words which rule for names of schemas and roles is broken; empty: none."""
    if not name:
        return f"{what} cannot be empty"
    if not _PLAIN.fullmatch(name):
        return (
            f"{what} must contain only alphanumeric characters and underscores"
            " (only ASCII letters, digits, underscore)"
        )
    if not name[0].isalpha():
        return f"{what} must start with a letter"
    if len(name) > MAX_LENGTH:
        return f"{what} must have at most {MAX_LENGTH} characters"
    if name.lower() in reserved:
        return f"{what} is reserved"
    if name.lower().startswith("pg_"):
        return f"{what} has the reserved prefix pg_"
    if name.lower() in RESERVED_WORDS:
        return f"{what} is a reserved word of PostgreSQL"
    return ""


def startup_options(schema: str, options: str) -> str:
    """Return the ``options`` of a connection that is born in ``schema`` and nowhere else.

    Precondition: ``check_name`` let the schema pass, so nothing in it needs an escape. It comes
    last: of two values for one parameter the server takes the later.
    """
    return f'{options} -c search_path="{schema}"'.strip()


def return_to_schema(connection: psycopg.Connection) -> None:
    """Undo what a task did to the path of a pooled connection, before the next one borrows it."""
    connection.execute("RESET search_path")


def await_returns(wrapper: Any) -> None:
    """Wait a moment for connections on their way back to the pool of a schema's alias.

    ``return_to_schema`` makes that a task of the pool's thread, and a pool that is closed meanwhile
    forgets the connection without closing it (psycopg_pool 3.3).
    """
    end = clock.monotonic() + _RETURN_SECONDS
    while schema_of(wrapper) and wrapper.pool and clock.monotonic() < end:
        stats = wrapper.pool.get_stats()
        if stats["pool_available"] >= stats["pool_size"]:
            return
        clock.sleep(0.005)


def path_of(schema: str) -> str:
    """Return the search path of a schema and nothing else. No name that is allowed has a quote."""
    return '"{}"'.format(schema.replace('"', '""'))


def schema_of(wrapper: BaseDatabaseWrapper) -> str:
    """Return the schema that an alias is bound to, or its connection's tenant has; empty: none."""
    bound: str = wrapper.settings_dict.get(KEY, "")
    return bound or tenant_of(wrapper)


def tenant_of(wrapper: BaseDatabaseWrapper) -> str:
    """Return the schema that django-tenants has chosen for this thread's connection; empty: none.

    Its backend is known by what it keeps: only ``tenancy`` imports it.
    """
    return getattr(wrapper, "schema_name", None) or ""


def enter_tenant(wrapper: BaseDatabaseWrapper, schema: str) -> None:
    """Raise NotInTenant unless this thread's tenant, and its Django connection, are in ``schema``.

    The backend sets the path when a cursor is opened, passes over an error there, and a schema that
    is missing leaves ``public`` in charge; so the server is asked.
    """
    if tenant_of(wrapper) != schema:
        raise NotInTenant(schema, f"its connection was brought to {tenant_of(wrapper)!r} meanwhile")
    with wrapper.cursor() as cursor:
        cursor.execute(_WHERE)
        seen = cursor.fetchone()[0]
    if seen != schema:
        raise NotInTenant(schema, _elsewhere(seen))


def make(wrapper: BaseDatabaseWrapper) -> None:
    """Create the schema of an alias unless it is there.

    Precondition: the caller holds ``advisory_lock``. A login without CREATE on the database may
    come to a schema that exists, so that is asked first. Raises InvalidSchemaName for a name that
    differs from another only by case, DatabaseError.
    """
    schema = schema_of(wrapper)
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE lower(nspname) = lower(%s)", [schema]
        )
        found = [row[0] for row in cursor.fetchall()]
        if schema in found:
            return
        if found:
            raise InvalidSchemaName(schema, only_by_case("schema", found[0]))
        # Somebody who does not know our lock may be as fast.
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))


def only_by_case(kind: str, existing: str) -> str:
    """Return the rule that two names must differ by more than their case."""
    return f"it differs from existing {kind} {existing!r} only by case"


def check_site_connection(wrapper: BaseDatabaseWrapper) -> None:
    """Raise NotInTenant unless Django's connection is in the schema of its alias."""
    with wrapper.cursor() as cursor:
        cursor.execute(_WHERE)
        check_entered(schema_of(wrapper), cursor.fetchone()[0])


def check_engine_connection(schema: str, connection: psycopg.Connection[Any]) -> None:
    """Raise NotInTenant unless a new connection of the engine's own is in its schema.

    Once is enough. The path of a session changes by SET only, and on these connections nobody
    speaks but us; a rollback, a cancelled statement and RESET all lead back to the startup value.
    What could put a statement into another session is a transaction pooler: behind one that says
    so (``CLOACA["NOTIFY"]`` False) a schema is refused, and one that drops the startup parameter
    fails this very check. Comparing in every transaction would cost a round trip each: measured,
    40 us beside the 110 us of a small transaction over a socket, and more over a network.
    """
    row = connection.execute(_WHERE, prepare=False).fetchone()
    check_entered(schema, row[0] if row else None)


_WHERE = "SELECT current_schema()"


def check_entered(schema: str, seen: str | None) -> None:
    """Raise NotInTenant unless ``seen``, which the server calls the current schema, is ours."""
    if seen is None:
        raise NotInTenant(schema, "there is no such schema, or this login may not use it")
    if seen != schema:
        raise NotInTenant(
            schema,
            f"its connection is in {shown(seen)}: a pooler drops the startup parameter `options`;"
            " connect to the server itself",
        )


def _elsewhere(seen: str | None) -> str:
    if seen is None:
        return "there is no such schema, or this login may not use it"
    return f"its connection is in {shown(seen)}: there is no such schema, or its path was changed"


def explain(schema: str, error: BaseException) -> NotInTenant | None:
    """Return what a missing table means in a tenant's schema; None for other errors."""
    cause = error.__cause__ if error.__cause__ is not None else error
    if not schema or not isinstance(cause, psycopg.errors.UndefinedTable):
        return None
    what = str(cause).partition("\n")[0]
    return NotInTenant(schema, f"it is gone, or its tables are ({what}); make a new runner")
