"""Whose rows the admin shows, where each tenant has a schema of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connections


@dataclass(frozen=True, slots=True)
class Tenant:
    """The tenant of the connection that answers. ``name`` is the schema's where it has no other."""

    name: str
    schema: str


def current(alias: str) -> Tenant | None:
    """Return the tenant whose schema a connection is in; None on a site without tenants.

    A tenant backend, as that of django-tenants, keeps both names on its connection.
    """
    connection: Any = connections[alias]
    schema = str(getattr(connection, "schema_name", None) or "")
    if not schema:
        return None
    tenant = getattr(connection, "tenant", None)
    return Tenant(str(getattr(tenant, "name", "") or schema), schema)
