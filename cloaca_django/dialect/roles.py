"""Tenants on a server: a role and a schema of its own, made and removed in one transaction each.

Roles and schemas are transactional, so a failure leaves nothing behind. Every name is composed by
the driver; a password reaches the server as a SCRAM verifier only, which is no secret in a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from cloaca_django.dialect import schemas, urls_postgresql
from cloaca_django.dialect.postgresql import LOCK_SCHEMA
from cloaca_django.errors import ProvisioningFailed

if TYPE_CHECKING:
    from cloaca_django.dialect.urls import DatabaseUrl

_RESERVED = frozenset({"public", "none", "postgres", "admin"})
_LOCK_SECONDS = 10
_END_MILLISECONDS = 5_000

_CREATE = (
    "CREATE ROLE {role} LOGIN PASSWORD {verifier}",
    "CREATE SCHEMA {schema}",
    # Nothing by itself; a database may have default privileges that give PUBLIC something.
    "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
    "GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}",
    # A pooler that does not pass the startup parameter on still leads there.
    "ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}",
    # A database may have taken it from PUBLIC.
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    # Should the administrator's own runner be the first to make the tables.
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT ALL ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT ALL ON SEQUENCES TO {role}",
)
_REMOVE = (
    "DROP OWNED BY {role} CASCADE",
    "DROP SCHEMA {schema} CASCADE",
    "DROP ROLE {role}",
)
# An administrator who is no superuser needs the role's rights to use its tables and to drop them.
_JOIN = "GRANT {role} TO CURRENT_USER"

_TIE = """
    SELECT n.nspowner = r.oid OR EXISTS (
            SELECT FROM aclexplode(n.nspacl) a
            WHERE a.grantee = r.oid AND a.privilege_type = 'CREATE'),
        r.rolsuper OR r.rolname = current_user
    FROM pg_namespace n, pg_roles r WHERE n.nspname = %(schema)s AND r.rolname = %(role)s"""


def broken_rule(name: str) -> str:
    """Return in words which rule for names of users is broken; empty: none."""
    return schemas.broken_rule("User name", name, reserved=_RESERVED)


def create(url: DatabaseUrl, *, schema: str, role: str, password: str) -> None:
    """Make a role that may log in and use its schema and no other. Raises ProvisioningFailed.

    Precondition: the names were checked.
    """
    doing = "create tenant"
    with _connected(url, doing) as connection, connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        connection.execute(LOCK_SCHEMA.format("pg_advisory_xact_lock"), {"schema": schema.lower()})
        _check_free(connection, doing, kind="schema", name=schema)
        _check_free(connection, doing, kind="role", name=role)
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        ).decode()
        _run(connection, _CREATE, schema=schema, role=role, verifier=verifier)
        _join(connection, role)


def remove(url: DatabaseUrl, *, schema: str, role: str) -> None:
    """Drop a schema, its role and all the role owns here, and end the role's sessions.

    Both must exist and belong together, or nothing is removed. Raises ProvisioningFailed.
    """
    doing = "remove tenant"
    with _connected(url, doing) as connection:
        _check_tied(connection, doing, schema=schema, role=role)
        _run(connection, ["ALTER ROLE {role} NOLOGIN"], role=role)
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                _join(connection, role)
                # Whoever logged in before holds locks; now it cannot come back.
                connection.execute(
                    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
                    " WHERE usename = %s AND pid <> pg_backend_pid()",
                    [_END_MILLISECONDS, role],
                )
                _run(connection, _REMOVE, schema=schema, role=role)
        except psycopg.Error:
            # The tenant stays as it was.
            _run(connection, ["ALTER ROLE {role} LOGIN"], role=role)
            raise


@contextmanager
def _connected(url: DatabaseUrl, doing: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        params = urls_postgresql.connection_params(url)
        with psycopg.connect(**params, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProvisioningFailed(doing, f"{url.redacted}: {problem}") from error


def _check_free(connection: psycopg.Connection[Any], doing: str, *, kind: str, name: str) -> None:
    text = (
        "SELECT nspname FROM pg_namespace WHERE lower(nspname) = lower(%s)"
        if kind == "schema"
        else "SELECT rolname FROM pg_roles WHERE lower(rolname) = lower(%s)"
    )
    found = [row[0] for row in connection.execute(text, [name])]
    if name in found:
        raise ProvisioningFailed(doing, f"{kind} {name!r} already exists")
    if found:
        raise ProvisioningFailed(doing, f"{name!r}: {schemas.only_by_case(kind, found[0])}")


def _check_tied(connection: psycopg.Connection[Any], doing: str, *, schema: str, role: str) -> None:
    """Refuse a pair that is none: a slip in one name must not remove somebody else."""
    found = connection.execute(_TIE, {"schema": schema, "role": role}).fetchone()
    if found is None:
        raise ProvisioningFailed(
            doing, f"there is no schema {schema!r} or no role {role!r}; nothing was removed"
        )
    is_tied, is_of_administrators = found
    if is_of_administrators or not is_tied:
        raise ProvisioningFailed(
            doing, f"role {role!r} is not that of schema {schema!r}; nothing was removed"
        )


def _join(connection: psycopg.Connection[Any], role: str) -> None:
    row = connection.execute(
        "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is None or not row[0]:
        _run(connection, [_JOIN], role=role)


def _run(
    connection: psycopg.Connection[Any],
    statements: tuple[str, ...] | list[str],
    *,
    verifier: str = "",
    **names: str,
) -> None:
    parts: dict[str, sql.Composable] = {key: sql.Identifier(name) for key, name in names.items()}
    parts["database"] = sql.Identifier(connection.info.dbname)
    parts["verifier"] = sql.Literal(verifier)
    for statement in statements:
        connection.execute(sql.SQL(statement).format(**parts))
