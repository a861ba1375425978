"""The probes as a web request asks for them: where the request is, and within a time limit."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.db import connections

from cloaca_django import databases, deadline, health, tenancy
from cloaca_django.dialect import is_transient, schemas
from cloaca_django.errors import InvalidConfig, NotInTenant
from cloaca_django.health import PROBES, Finding

# What is found when the others find nothing in time.
TIME = "time"


def examine(
    alias: str,
    *,
    seconds: float,
    probes: Collection[str],
    max_ready_seconds: float,
    max_late_seconds: float,
) -> list[Finding]:
    """Run probes in the tenant that this thread is in, in all of them if it is in none.

    Raises InvalidConfig for a probe that there is not. What is not known after some seconds is one
    finding, ``time``.
    """
    for probe in probes:
        if probe not in PROBES:
            rule = f"must be some of {', '.join(PROBES)}"
            raise InvalidConfig("the probes of a health view", probe, rule)
    limits = {
        "probes": tuple(probes),
        "max_ready_seconds": max_ready_seconds,
        "max_late_seconds": max_late_seconds,
    }
    schema = schemas.tenant_of(connections[alias])
    question = ("health", alias, schema, *limits.values())
    try:
        return deadline.within(seconds, question, partial(_examine, alias, schema, limits))
    except TimeoutError:
        return [Finding(TIME, False, f"no answer within {seconds:g} s")]


def is_reached(findings: Collection[Finding]) -> bool:
    """Say whether the database answered, so that it may be asked who wants to know."""
    return not any(
        found.is_healthy is False and found.probe in (TIME, "database") for found in findings
    )


def _examine(alias: str, schema: str, limits: dict[str, Any]) -> list[Finding]:
    """Run the probes. On a thread of its own, which is in no tenant yet."""
    try:
        if not schema:
            return health.check(alias, **limits)
        if schema == tenancy.public_schema():
            return health.check_tenants(alias, tenancy.tenant_schemas(alias), **limits)
        with tenancy.entered(alias, schema):
            return health.check(alias, **limits)
    except NotInTenant as error:
        return [Finding("database", False, str(error))]
    except Exception as error:
        if not is_transient(error):
            raise
        return [Finding("database", False, databases.first_line(error))]
