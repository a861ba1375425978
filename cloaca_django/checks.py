"""System checks: a table of what can be wrong with a site's settings. Two ask the database.

With ``CLOACA["STRICT"]`` the warnings count as errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from cloaca_django import clock, conf, tenant_checks
from cloaca_django.core import registry
from cloaca_django.dialect import facts, presence, schemas
from cloaca_django.engine import declarations
from cloaca_django.errors import DuplicateSchedule, InvalidConfig, nearest, shown
from cloaca_django.models import Worker

APP = "cloaca_django"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong. ``find`` yields each case of it in words."""

    id: str
    subject: str
    find: Callable[[], Iterable[str]]
    hint: str
    deploy_only: bool = False
    asks_database: bool = False

    def messages(self, *, strict: bool) -> Iterator[CheckMessage]:
        """Return what Django prints."""
        kind = Error if strict or self.id.startswith("E") else Warning
        try:
            texts = list(dict.fromkeys(self.find()))
        except InvalidConfig:  # a value this check needs is bad itself, which E003 says
            return
        for text in texts:
            yield kind(text, hint=self.hint, obj=self.subject, id=f"cloaca.{self.id}")


def unknown_keys() -> Iterator[str]:
    """Find keys of CLOACA that mean nothing."""
    for key in conf.raw():
        if key not in conf.NAMES:
            yield f"CLOACA has an unknown key {shown(key)}{nearest(str(key), conf.NAMES)}"


def naive_times() -> Iterator[str]:
    """Find a site whose moments have no zone."""
    if not conf.of_site("USE_TZ", default=True):
        yield "USE_TZ is False; cloaca_django needs USE_TZ = True"


def bad_values() -> Iterator[str]:
    """Find values that no code could use."""
    try:
        conf.raw()
    except InvalidConfig as error:
        yield str(error)
        return
    for name in conf.NAMES:
        try:
            getattr(conf.settings, name)
        except InvalidConfig as error:
            yield str(error)


def unsupported_database() -> Iterator[str]:
    """Find a database the engine does not know."""
    for database in _databases():
        if not facts.is_supported(database):
            yield f"the engine cannot use a database of the kind {facts.kind(database)!r}"


def misrouted_models() -> Iterator[str]:
    """Find a router that sends our models elsewhere, or keeps them from being migrated."""
    for database in _databases():
        for model in apps.get_app_config(APP).get_models():
            places = {router.db_for_read(model), router.db_for_write(model)}
            if places != {database.alias}:
                found = " and ".join(sorted(places))
                yield f'{model.__name__} is routed to {found}, not to CLOACA["DATABASE"]'
            # Which schema gets tables of tenants is a question of its own, E014 to E019.
            elif not (
                tenant_checks.is_for_tenants() or router.allow_migrate_model(database.alias, model)
            ):
                yield f"a router keeps the table of {model.__name__} out of {database.alias!r}"


def no_worker() -> Iterator[str]:
    """Find a development server beside which no worker runs. Only ``runserver`` asks the database.

    With STRICT it would be an error, and the server could not start before the worker.
    """
    if sys.argv[1:2] != ["runserver"] or conf.settings.STRICT or conf.settings.EAGER:
        return
    for database in _databases():
        try:
            if not _has_worker(database):
                yield "no worker is running: runs that are enqueued wait for one"
        except DatabaseError:
            return  # not migrated yet, which runserver says itself


def _has_worker(database: BaseDatabaseWrapper) -> bool:
    if schemas.tenant_of(database):
        # The server starts in no tenant; one worker is there for all of them.
        return presence.is_served(database, presence.ALL)
    return Worker.objects.using(database.alias).claiming(clock.utc_now()).exists()


def shared_names() -> Iterator[str]:
    """Find a name by which two workflows declare a schedule."""
    try:
        declarations.declared_schedules()
    except DuplicateSchedule as error:
        yield str(error)


def network_file() -> Iterator[str]:
    """Find a database file whose locks cannot be trusted."""
    for database in _databases():
        if facts.is_on_network(database):
            yield "the database file is on a network file system, where locks are not reliable"


def kept_connections() -> Iterator[str]:
    """Find connections that are kept beside a pooler's."""
    for database in _databases():
        if database.settings_dict["CONN_MAX_AGE"] is None and facts.is_behind_pooler(database):
            yield "CONN_MAX_AGE is None behind a pooler: every thread keeps a place in the pool"


def unsafe_options() -> Iterator[str]:
    """Find views that will meet "database is locked"."""
    for database in _databases():
        if lacks := facts.unsafe_options(database):
            yield (
                f"the site's own connections to {database.alias!r} do not use "
                f"{' and '.join(lacks)}; while a worker writes, views may fail with "
                '"database is locked"'
            )


def deaf_workers() -> Iterator[str]:
    """Find notifications that will not arrive."""
    for database in _databases():
        if conf.settings.NOTIFY and facts.is_behind_pooler(database):
            yield 'CLOACA["NOTIFY"] is on behind a transaction pooler, which drops notifications'


def eager_in_production() -> Iterator[str]:
    """Find the switch for tests left on."""
    if conf.settings.EAGER:
        yield 'CLOACA["EAGER"] is on: runs are carried out inside the request that submits them'


def short_idle_limit() -> Iterator[str]:
    """Find a server that would end the transaction of a slow atomic task."""
    for database in _databases():
        limit = facts.idle_limit_seconds(database)
        if limit is not None and limit < conf.settings.TASK_TIMEOUT_SECONDS:
            yield (
                f"idle_in_transaction_session_timeout is {limit:g} s, less than "
                f"TASK_TIMEOUT_SECONDS ({conf.settings.TASK_TIMEOUT_SECONDS:g} s)"
            )


def tasks_longer_than_runs() -> Iterator[str]:
    """Find tasks whose run is over before their own time is."""
    limit = conf.settings.PIPELINE_TIMEOUT_SECONDS
    for workflow in registry.snapshot().values():
        for task in workflow.tasks:
            own = task.policy.timeout_seconds
            if limit is not None and own is not None and own > limit:
                yield (
                    f"task {task.name!r} of workflow {workflow.name!r} may take {own:g} s, but a "
                    f"run ends after PIPELINE_TIMEOUT_SECONDS ({limit:g} s)"
                )


CHECKS: Sequence[Check] = (
    Check("E001", "CLOACA", unknown_keys, "The reference of settings lists every key."),
    Check("E002", "USE_TZ", naive_times, "Set USE_TZ = True; moments are stored in UTC."),
    Check("E003", "CLOACA", bad_values, "Correct the value, or leave the key out."),
    Check(
        "E010", "DATABASES", unsupported_database,
        'Point CLOACA["DATABASE"] to an alias of a supported kind: '
        f"{facts.supported()}.",
    ),
    Check(
        "E011", "DATABASE_ROUTERS", misrouted_models,
        f'Send the models of {APP} to CLOACA["DATABASE"], for reading, writing and migrations.',
    ),
    Check(
        "E013", "DATABASES", tenant_checks.behind_pooler,
        "Connect the worker and the site to the server itself, or to a pooler in session mode, and "
        'leave CLOACA["NOTIFY"] on. Silence this check if that pooler is in session mode.',
    ),
    Check(
        "E014", "TENANT_APPS", tenant_checks.shared_and_tenant,
        "List it for tenants only: a half-migrated tenant would read the public tables. "
        "Work of the whole site gets a tenant of its own.",
    ),
    Check(
        "E015", "TENANT_APPS", tenant_checks.shared_only,
        "List it for tenants instead, so that every tenant has its own tables.",
    ),
    Check(
        "E016", "TENANT_APPS", tenant_checks.without_schemas,
        "Tenants need a database with schemas.",
    ),
    Check(
        "E017", "TENANT_APPS", tenant_checks.unlisted,
        "List it for tenants, so that every tenant has its own tables.",
    ),
    Check(
        "E018", "TENANT_APPS", tenant_checks.incomplete,
        "A site with tenants has django_tenants in INSTALLED_APPS, its backend as ENGINE, "
        f"{tenant_checks.ROUTER!r} in DATABASE_ROUTERS, and a TENANT_MODEL.",
    ),
    Check(
        "E019", "CLOACA", tenant_checks.other_database,
        "Leave the key out, or name TENANT_DB_ALIAS there: each tenant's tables are in its schema.",
    ),
    Check(
        "E020", "TENANT_APPS", tenant_checks.leftovers_in_public,
        "A tenant that lacks its own would use them. Finish what they still hold, and drop them "
        "there, with their rows in django_migrations.",
        asks_database=True,
    ),
    Check(
        "E021", "workflows", shared_names,
        "Give one of them another name=; without one it is the workflow's.",
    ),
    Check(
        "W001", "DATABASES", network_file,
        "Put the file on a local disk, or use a database server.",
    ),
    Check(
        "W011", "DATABASES", kept_connections,
        "Set CONN_MAX_AGE = 0: behind a pooler, opening a connection is cheap.",
    ),
    Check("W012", "DATABASES", unsafe_options, facts.ADVICE),
    Check(
        "W014", "CLOACA", deaf_workers,
        'Set CLOACA["NOTIFY"] = False; workers then look for work every second.',
    ),
    Check(
        "W015", "TENANT_TYPES", tenant_checks.types_without_engine,
        "List it there too, or silence this check if tenants of that type need none.",
    ),
    Check(
        "W021", "CLOACA", eager_in_production,
        "It is meant for tests. Remove the key and run cloaca_worker.",
        deploy_only=True,
    ),
    Check(
        "W031", "DATABASES", short_idle_limit,
        "Raise the limit above the longest @task(atomic=True), or shorten that task.",
    ),
    Check(
        "W032", "workflows", tasks_longer_than_runs,
        'Raise CLOACA["PIPELINE_TIMEOUT_SECONDS"], or give the task less time.',
    ),
    Check(
        "W041", "cloaca_worker", no_worker,
        "Run this in another terminal: python manage.py cloaca_worker",
    ),
)  # fmt: skip


@register("cloaca")
def check_settings(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """Return every finding about the site's settings."""
    return _messages(app_configs, lambda check: not (check.deploy_only or check.asks_database))


@register("cloaca", deploy=True)
def check_deployment(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """Return the findings that matter in production only."""
    return _messages(app_configs, lambda check: check.deploy_only)


@register("cloaca", Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """Return the findings that only the database can tell, when a command asks about ours."""
    try:
        if conf.settings.DATABASE not in (databases or ()):
            return []
    except InvalidConfig:  # E003 says it
        return []
    return _messages(app_configs, lambda check: check.asks_database)


def _messages(
    app_configs: Sequence[AppConfig] | None, wanted: Callable[[Check], bool]
) -> Sequence[CheckMessage]:
    if app_configs is not None and all(app.name != APP for app in app_configs):
        return []
    strict = _is_strict()
    return [
        message for check in CHECKS if wanted(check) for message in check.messages(strict=strict)
    ]


def _is_strict() -> bool:
    try:
        return conf.settings.STRICT
    except InvalidConfig:  # E003 says it
        return False


def _databases() -> list[BaseDatabaseWrapper]:
    """Return the database of our tables, unless no alias has that name."""
    alias = conf.settings.DATABASE
    return [connections[alias]] if alias in connections else []
