"""How a runner comes to its database: settings for plain scripts, aliases for URLs, our tables.

An alias of a URL is bound to one schema for good: runners of two tenants never share one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import django
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as site
from django.db import DatabaseError, NotSupportedError, connections
from django.db.migrations.executor import MigrationExecutor

from cloaca_django import clock, tenancy
from cloaca_django.conf import settings
from cloaca_django.core import options
from cloaca_django.dialect import (
    DRIVER_ERRORS,
    advisory_lock,
    aliases,
    close_pool,
    facts,
    open_session,
    pooling,
    schemas,
    urls,
)
from cloaca_django.dialect.urls import DatabaseUrl
from cloaca_django.engine.capture import current_job
from cloaca_django.errors import (
    DatabaseUnreachable,
    NoDatabase,
    NotInTenant,
    NotMigrated,
    SchemaUnusable,
)

APP = "cloaca_django"
MIGRATION_CHANCES = 10

_lock = threading.Lock()
_numbers = itertools.count(1)
_ours: dict[tuple[str, int | None], str] = {}
_users: Counter[str] = Counter()
_unpooled: set[tuple[str, str, str]] = set()
_checked: set[tuple[str, str, str]] = set()

# How Django and the engine's own connections say that a database is away.
_AWAY: tuple[type[Exception], ...] = (*DRIVER_ERRORS, DatabaseError)


@dataclass(frozen=True, slots=True)
class Database:
    """A database a runner works on. ``url`` is for people: it holds no password."""

    alias: str
    url: str
    is_ours: bool
    folder: str | None = None
    # The tenant's, in a site of tenants.
    schema: str = ""

    def release(self) -> None:
        """Close what the last runner on this database leaves, and remove a private one's files."""
        if not self.is_ours:
            return
        connection = connections[self.alias]
        connection.close()
        with _lock:
            _users[self.alias] -= 1
            is_last = not _users[self.alias]
            if is_last:
                _forget(self.alias)
        if is_last:
            close_pool(connection)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def prepare_site() -> None:
    """Make Django usable in a plain script: the site's settings if it names some, else ours."""
    if not site.configured and not os.environ.get(ENVIRONMENT_VARIABLE):
        site.configure(
            INSTALLED_APPS=[APP],
            DATABASES={},
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
    # Not ``ready``: a workflows.py is imported while the apps become so.
    if not apps.models_ready:
        django.setup()


def open_url(text: str, *, pool_size: int | None) -> Database:
    """Return the database of a URL, with our tables in it.

    A URL that names a database the site has configured uses the site's alias, which only the
    site's own ``migrate`` changes. Raises InvalidDatabaseURL, DatabaseUnreachable, NotMigrated.
    """
    url = urls.parse(text)
    prepare_site()
    folder = None
    shown = url.redacted
    if url.is_memory:
        folder = tempfile.mkdtemp(prefix="cloaca-")
        url = url.at_file(Path(folder) / "memory.db")
    with _lock:
        alias = _site_alias(url)
        is_ours = alias is None
        if alias is None:
            alias = _own_alias(url, pool_size, is_private=folder is not None)
            _users[alias] += 1
    database = Database(alias, shown, is_ours, folder)
    try:
        _check_supported(alias)
        if is_ours:
            migrate(alias)
        else:
            require_tables(alias)
    except DatabaseError as error:
        database.release()
        raise DatabaseUnreachable(shown, first_line(error)) from error
    return database


def open_schema(text: str, schema: str, *, pool_size: int | None) -> Database:
    """Return a schema of the database of a URL; the schema and our tables are made if missing.

    It has an alias of its own, also in a site that has configured the same database: that alias's
    connections are in another schema. Raises InvalidDatabaseURL and InvalidSchemaName before
    anything is opened, InvalidSchemaName for a name that only differs by case, SchemaUnusable.
    """
    url = urls.parse(text).in_schema(schema)
    prepare_site()
    site = _site_alias(url)
    if site is not None and tenancy.has_tenants(site):
        return open_tenant(site, schema)
    with _lock:
        alias = _own_alias(url, pool_size, is_private=False)
        _users[alias] += 1
    database = Database(alias, f"{url.redacted}, schema={schema!r}", is_ours=True)
    try:
        _check_not_pooled(alias, schema)
        migrate(alias)
        _check_tables(alias)
    except (DatabaseError, NotInTenant) as error:
        database.release()
        raise SchemaUnusable(url.redacted, schema, first_line(error)) from error
    except BaseException:
        database.release()
        raise
    return database


def open_tenant(alias: str, tenant: object) -> Database:
    """Return the schema of a tenant of a site, given as a row or by its schema's name.

    Raises TenantNotFound, NotInTenant for a schema that is missing, NotMigrated,
    DatabaseUnreachable.
    """
    with _reaching(alias):
        schema = tenancy.schema_named(alias, tenant)
        require_tables(alias, schema=schema)
    return Database(alias, f"using={alias!r}, schema={schema!r}", is_ours=False, schema=schema)


def open_alias(alias: str) -> Database:
    """Return the database of a configured alias; in a site of tenants, the tenant's of this thread.

    Raises UnknownChoice for what is no alias, NoDatabase, NotMigrated, DatabaseUnreachable, and
    NotInTenant where the thread is in no tenant.
    """
    prepare_site()
    if alias not in connections:
        options.choice("DefaultRunner()", "using", alias, accepted=site_aliases())
    if facts.is_missing(connections[alias]):
        raise NoDatabase()
    with _reaching(alias):
        if schema := _schema_here(alias):
            require_tables(alias, schema=schema)
            shown = f"using={alias!r}, schema={schema!r}"
            return Database(alias, shown, is_ours=False, schema=schema)
        _check_supported(alias)
        require_tables(alias)
    return Database(alias, f"using={alias!r}", is_ours=False)


@contextmanager
def _reaching(alias: str) -> Iterator[None]:
    """Say of a site's database that it cannot be reached, whoever finds out: Django or we."""
    try:
        yield
    except _AWAY as error:
        raise DatabaseUnreachable(alias, first_line(error)) from error


def _schema_here(alias: str) -> str:
    """Return the tenant's schema of this thread, or of the async task that runs on it.

    On an event loop no connection says where a coroutine is.
    """
    job = current_job.get()
    if job is not None and job.task.is_async and job.host is not None and job.host.alias == alias:
        return str(job.host.schema)
    return tenancy.schema_here(alias)


def site_aliases() -> list[str]:
    """Return the aliases that the site has configured, sorted; those of runners are not its own."""
    return sorted(set(connections).difference(_ours.values()))


def _site_alias(url: DatabaseUrl) -> str | None:
    for alias in site_aliases():
        if url.same_database_as(connections[alias].settings_dict):
            return alias
    return None


def _own_alias(url: DatabaseUrl, pool_size: int | None, *, is_private: bool) -> str:
    """Configure an alias for a URL; two runners on one URL share it."""
    key = (repr(url.settings(pool_size)), pool_size)
    if not is_private and key in _ours:
        return _ours[key]
    alias = f"cloaca-{next(_numbers)}"
    aliases.add(alias, url.settings(pool_size))
    _ours[key] = alias
    return alias


def _forget(alias: str) -> None:
    """Take away an alias that no runner uses any more; a program may make a runner a request."""
    del _users[alias]
    for key in [key for key, one in _ours.items() if one == alias]:
        del _ours[key]
    aliases.remove(alias)


def unapplied(alias: str, *, schema: str = "") -> list[str]:
    """Return the names of our migrations that a database lacks, or a tenant's ``schema`` in it."""
    if schema:
        # Through a connection that cannot see the public schema, which says that all is applied.
        with closing(open_session(alias, schema=schema)) as session:
            return tenancy.missing_migrations(session)
    executor = MigrationExecutor(connections[alias])
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    return [migration.name for migration, _ in executor.migration_plan(targets)]


def require_tables(alias: str, *, schema: str = "") -> None:
    """Raise NotMigrated unless all our migrations are applied; ``schema`` is a tenant's."""
    # Once is enough: a site makes a runner for every request.
    key = (alias, str(connections[alias].settings_dict["NAME"]), schema)
    if key in _checked:
        return
    missing = unapplied(alias, schema=schema)
    if missing:
        raise NotMigrated(alias, missing, schema=schema)
    _checked.add(key)


def migrate(alias: str) -> None:
    """Create or change our tables, and nothing else's; first the schema the alias is bound to.

    Several processes may come at once: one migrates while the others wait.
    """
    with advisory_lock(alias):
        if schemas.schema_of(connections[alias]):
            schemas.make(connections[alias])
            schemas.check_site_connection(connections[alias])
        for chance in range(MIGRATION_CHANCES):
            try:
                if not unapplied(alias):
                    return
                executor = MigrationExecutor(connections[alias])
                targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
                executor.migrate(targets)
            except DatabaseError:
                # On SQLite another process may be ahead of us; then its tables are there soon.
                if chance == MIGRATION_CHANCES - 1:
                    raise
                connections[alias].close()
                clock.sleep(0.1)


def _check_not_pooled(alias: str, schema: str) -> None:
    """Refuse a database whose connections change between transactions, as told or as seen."""
    server = _server_of(alias)
    if server not in _unpooled:
        if pooling.is_transaction_pooled(connections[alias]):
            raise NotInTenant(
                schema,
                "a transaction pooler stands before the server, and may put a statement into"
                " another's connection; connect to the server itself, or in session mode",
            )
        # Once is enough: a program may make a runner for every request.
        _unpooled.add(server)
    if not settings.NOTIFY:
        raise NotInTenant(
            schema,
            'CLOACA["NOTIFY"] is False: behind a transaction pooler a connection may be in'
            " another's schema; connect to the server itself",
        )


def _server_of(alias: str) -> tuple[str, str, str]:
    """Return where an alias connects to."""
    facts = connections[alias].settings_dict
    return str(facts["HOST"]), str(facts["PORT"]), str(facts["NAME"])


def _check_tables(alias: str) -> None:
    """Raise NotInTenant for a table that was dropped by hand after a migration had recorded it."""
    connection = connections[alias]
    existing = set(connection.introspection.table_names())
    wanted = {model._meta.db_table for model in apps.get_app_config(APP).get_models()}
    if missing := sorted(wanted - existing):
        raise NotInTenant(
            schemas.schema_of(connection),
            f"there the migrations are recorded and the table {missing[0]!r} is missing;"
            " restore it, or drop the schema",
        )
    # Many tenants may be opened by one thread, which is not to hold a connection for each.
    connection.close_if_unusable_or_obsolete()


def _check_supported(alias: str) -> None:
    if not facts.is_supported(connections[alias]):
        kind = facts.kind(connections[alias])
        raise NotSupportedError(f"the engine cannot use {kind}; it needs {facts.supported()}")


def first_line(error: BaseException) -> str:
    """Return what a database error says, without its hints."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
