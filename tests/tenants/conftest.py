"""Tenants of a django-tenants site, by the hundred, and a look at who was left where."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections
from django_tenants.utils import tenant_context

from cloaca_django.core import registry
from tests.interface.conftest import gate, never, new_gate, until, workflows_of_test
from tests.worksite.process import Site
from tests.worksite.process import worksite as bare_worksite

if os.environ.get("TEST_DATABASE") != "tenants":
    raise pytest.UsageError("these tests are of a site with tenants: set TEST_DATABASE=tenants")

from tests.tenants import template
from tests.tenants.directory.models import Domain, Tenant
from tests.tenants.ledger.models import Mark

__all__ = ["bare_worksite", "gate", "never", "new_gate", "until", "workflows_of_test"]

NEEDED = ("cloaca_", "ledger_", "django_content_type", "django_migrations")
OF_THE_LEDGER = registry.find("mark")


@pytest.fixture
def worksite(bare_worksite: Site) -> Site:
    """The site under test; its processes and its tests know the workflows of the ledger, too."""
    registry.register(OF_THE_LEDGER)
    return bare_worksite


@pytest.fixture(scope="session")
def template_schema(django_db_setup: None, django_db_blocker: Any) -> Iterator[template.Template]:
    """The schema that tenants of tests are copies of, migrated once."""
    with django_db_blocker.unblock():
        made = template.migrate()
    yield made
    with django_db_blocker.unblock():
        template.drop([template.NAME])


@pytest.fixture
def make_tenants(
    template_schema: template.Template, transactional_db: None
) -> Iterator[Callable[..., list[Tenant]]]:
    """Return a function that makes tenants with their schemas, ``t1`` and so on or by names given.

    Each has the host ``<schema>.localhost``. They are committed, so that workers see them. Unless
    they are ``whole`` they have the tables of the engine and the ledger only, at half the price.
    """
    numbers = itertools.count(1)

    def make(count: int = 0, *names: str, whole: bool = False) -> list[Tenant]:
        wanted = [*names, *(f"t{next(numbers)}" for _ in range(count))]
        (template_schema if whole else template_schema.of(*NEEDED)).copy_to(wanted)
        tenants = Tenant.objects.bulk_create(
            Tenant(schema_name=name, name=name.title()) for name in wanted
        )
        Domain.objects.bulk_create(
            (
                Domain(domain=f"{tenant.schema_name.lower()}.localhost", tenant=tenant)
                for tenant in tenants
            ),
            # Names that differ by case have one host; it is the first's.
            ignore_conflicts=True,
        )
        return tenants

    yield make
    connection.set_schema_to_public()
    template.drop(schemas_of_tenants())


@pytest.fixture(autouse=True)
def _nobody_left_behind(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Fail a test that leaves a connection with a tenant, or anything of ours in ``public``."""
    yield
    with django_db_blocker.unblock():
        assert_nobody_left_behind()


def assert_nobody_left_behind() -> None:
    """Fail if a connection of this thread is with a tenant, or ``public`` has tables of ours."""
    left = {
        one.alias: one.schema_name
        for one in connections.all(initialized_only=True)
        if getattr(one, "schema_name", "public") != "public"
    }
    connection.set_schema_to_public()
    strays = tables_of(["public"]) & tables_of_tenants()
    assert left == {}, "connections of this thread are still in a tenant's schema"
    assert strays == set(), "public has tables that belong to tenants"


def in_tenant(tenant: Tenant) -> AbstractContextManager[None]:
    """Be in a tenant for a block, as a request is."""
    context: AbstractContextManager[None] = tenant_context(tenant)
    return context


def marks_of(tenant: Tenant) -> set[tuple[str, str]]:
    """Return the rows that a tenant has: whose they say they are, and their text."""
    with in_tenant(tenant):
        return set(Mark.objects.values_list("tenant", "text"))


def schemas_of_tenants() -> set[str]:
    """Return the schemas that are neither the server's own, nor public, nor the template."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'"
            " AND nspname NOT IN ('information_schema', 'public', %s)",
            [template.NAME],
        )
        return {name for (name,) in cursor.fetchall()}


def tables_of(schemas: list[str]) -> set[str]:
    """Return the names of the tables in some schemas."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = ANY(%s)", [schemas])
        return {name for (name,) in cursor.fetchall()}


def tables_of_tenants() -> set[str]:
    """Return the names of the tables that only tenants have."""
    models = [
        *apps.get_app_config("cloaca_django").get_models(),
        *apps.get_app_config("ledger").get_models(),
        *apps.get_app_config("auth").get_models(),
    ]
    return {model._meta.db_table for model in models}
