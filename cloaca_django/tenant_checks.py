"""What can be wrong with a site's tenants: the settings of django-tenants, read and never imported.

With ``HAS_MULTI_TYPE_TENANTS`` the apps are in ``TENANT_TYPES``, a list for each type of tenant;
otherwise in ``SHARED_APPS`` and ``TENANT_APPS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.apps import apps
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cloaca_django import conf
from cloaca_django.dialect import facts

APP = "cloaca_django"
ROUTER = "django_tenants.routers.TenantSyncRouter"


def is_for_tenants() -> bool:
    """Say whether tenants, of one type at least, are to have an engine each."""
    return any(map(_holds_us, _lists_of_tenants().values()))


def shared_and_tenant() -> Iterator[str]:
    """Find an app whose tables exist twice."""
    name, listed = _shared_list()
    if _holds_us(listed):
        for other, apps_of_tenant in _lists_of_tenants().items():
            if _holds_us(apps_of_tenant):
                yield f"{APP} is in {name} and in {other}"


def shared_only() -> Iterator[str]:
    """Find tenants that would all share one set of tables."""
    name, listed = _shared_list()
    if _has_tenants() and _holds_us(listed) and not is_for_tenants():
        yield f"{APP} is in {name} only"


def unlisted() -> Iterator[str]:
    """Find an app that no schema gets the tables of, unless they are in another database."""
    name, listed = _shared_list()
    if not _has_tenants() or _holds_us(listed) or is_for_tenants():
        return
    if _alias_of_tenants() == conf.settings.DATABASE:
        others = " nor in ".join(_lists_of_tenants())
        yield f"{APP} is in INSTALLED_APPS, but neither in {name} nor in {others}"


def types_without_engine() -> Iterator[str]:
    """Find types of tenants whose schemas have no tables of ours, beside some that have them."""
    if is_for_tenants():
        for name, listed in _lists_of_tenants().items():
            if not _holds_us(listed):
                yield f"{APP} is not in {name}: these tenants have no engine"


def behind_pooler() -> Iterator[str]:
    """Find schemas that a pooler could mix up."""
    if not is_for_tenants():
        return
    for database in _database():
        if facts.is_behind_pooler(database):
            yield "tenants behind a transaction pooler: a connection may be in another's schema"
    if not conf.settings.NOTIFY:
        yield 'CLOACA["NOTIFY"] is False, which says that there is a transaction pooler'


def without_schemas() -> Iterator[str]:
    """Find tenants on a database that has no schemas."""
    for database in _database():
        if is_for_tenants() and not facts.has_schemas(database):
            yield f"{APP} is in TENANT_APPS, but this database has no schemas"


def incomplete() -> Iterator[str]:
    """Find what django-tenants needs to keep tenants apart and does not have."""
    if not is_for_tenants() or any(without_schemas()):
        return
    if not apps.is_installed("django_tenants"):
        yield "django_tenants is not in INSTALLED_APPS"
    for database in _database():
        if not hasattr(database, "set_tenant"):
            engine = database.settings_dict["ENGINE"]
            yield f"the ENGINE of {database.alias!r} is {engine!r}, which knows no tenants"
    router = conf.of_site("TENANT_SYNC_ROUTER", default=ROUTER)
    if router not in map(_path, conf.of_site("DATABASE_ROUTERS", default=())):
        yield f"DATABASE_ROUTERS lacks {router!r}"
    if not conf.of_site("TENANT_MODEL", default=None):
        yield "TENANT_MODEL is not set"


def other_database() -> Iterator[str]:
    """Find an engine that is not where the tenants are."""
    ours, theirs = conf.settings.DATABASE, _alias_of_tenants()
    if is_for_tenants() and ours != theirs:
        yield f'CLOACA["DATABASE"] is {ours!r}, but the schemas of the tenants are in {theirs!r}'


def leftovers_in_public() -> Iterator[str]:
    """Find tables of ours in ``public``, where a tenant that lacks one would find it.

    Asks the database; ``migrate`` and ``check --database`` do so.
    """
    public = _public()
    for database in _database():
        # Elsewhere than in public, somebody asks about a tenant.
        if not is_for_tenants() or getattr(database, "schema_name", None) != public:
            continue
        try:
            there = set(database.introspection.table_names())
        except DatabaseError:
            continue  # the command that asked will say so itself
        ours = {model._meta.db_table for model in apps.get_app_config(APP).get_models()}
        found = sorted(there & ours)
        if found:
            yield f"the schema {public!r} has tables of {APP}: {', '.join(found)}"


def _database() -> list[BaseDatabaseWrapper]:
    """Return the database of our tables, unless no alias has that name."""
    alias = conf.settings.DATABASE
    return [connections[alias]] if alias in connections else []


def _alias_of_tenants() -> str:
    alias: str = conf.of_site("TENANT_DB_ALIAS", default="default")
    return alias


def _public() -> str:
    name: str = conf.of_site("PUBLIC_SCHEMA_NAME", default="public")
    return name


def _has_tenants() -> bool:
    return any(_lists_of_tenants().values())


def _has_types() -> bool:
    return bool(conf.of_site("HAS_MULTI_TYPE_TENANTS", default=False))


def _shared_list() -> tuple[str, Sequence[str]]:
    """Return the list of what is in ``public``, with what it is called."""
    if _has_types():
        return _named(_public()), _of_type(_public())
    return "SHARED_APPS", conf.of_site("SHARED_APPS", default=())


def _lists_of_tenants() -> dict[str, Sequence[str]]:
    """Return the lists of what is in tenants' schemas, by what they are called."""
    if not _has_types():
        return {"TENANT_APPS": conf.of_site("TENANT_APPS", default=())}
    types = conf.of_site("TENANT_TYPES", default={})
    return {_named(kind): _of_type(kind) for kind in types if kind != _public()}


def _of_type(kind: str) -> Sequence[str]:
    listed: Sequence[str] = conf.of_site("TENANT_TYPES", default={}).get(kind, {}).get("APPS", ())
    return listed


def _named(kind: str) -> str:
    return f'TENANT_TYPES["{kind}"]["APPS"]'


def _holds_us(listed: Sequence[str]) -> bool:
    return any(entry == APP or entry.startswith(f"{APP}.") for entry in listed)


def _path(router: object) -> str:
    """Return the dotted path of a router, which may be given as one or be one."""
    if isinstance(router, str):
        return router
    return f"{type(router).__module__}.{type(router).__qualname__}"
