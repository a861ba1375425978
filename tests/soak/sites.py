"""The site under test as its own processes and the harness see it: with tenants, or with none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cloaca_django import DefaultRunner, tenancy

ALIAS = "default"
TENANTS = ("north", "south")


def schemas() -> tuple[str, ...]:
    """Return the schemas with tables of the engine; an empty name stands for a site's only one."""
    return TENANTS if tenancy.has_tenants(ALIAS) else ("",)


@contextmanager
def entered(schema: str) -> Iterator[None]:
    """Be in a tenant while the block runs."""
    if not schema:
        yield
        return
    with tenancy.entered(ALIAS, schema):
        yield


@cache
def runner(schema: str) -> DefaultRunner:
    """Return the site's runner for one tenant, or the only one there is."""
    if not schema:
        return DefaultRunner(using=ALIAS)
    return DefaultRunner.for_tenant(schema, using=ALIAS)
