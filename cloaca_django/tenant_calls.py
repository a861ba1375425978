"""Calls that concern all tenants of a site at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction

from cloaca_django import tenancy
from cloaca_django.conf import settings
from cloaca_django.core.context import Context
from cloaca_django.handles import RunHandle
from cloaca_django.runner import DefaultRunner

ContextOf = Callable[[str], Context | None]


def for_each_tenant(
    workflow_name: str,
    context: Context | ContextOf | None = None,
    *,
    tenants: Iterable[object] | None = None,
    using: str | None = None,
    **options: Any,
) -> dict[str, RunHandle]:
    """Write a run of a workflow in each tenant, in one transaction; returns handles by schema.

    All of them are written or none; inside the caller's transaction its commit decides. ``context``
    may be a function, which is called in each tenant with its schema. ``tenants`` are rows or names
    of schemas; without them it is all tenants. ``options`` as for ``enqueue``. Raises
    TenantNotFound, NotInTenant, NotMigrated and what ``enqueue`` raises.
    """
    alias = settings.DATABASE if using is None else using
    chosen = tenancy.tenant_schemas(alias) if tenants is None else tenants
    runners = [DefaultRunner.for_tenant(tenant, using=using) for tenant in chosen]
    handles = {}
    with transaction.atomic(using=alias):
        for runner in runners:
            with tenancy.entered(alias, runner.schema):
                own = context(runner.schema) if callable(context) else context
                handles[runner.schema] = runner.enqueue(workflow_name, own, **options)
    return handles
