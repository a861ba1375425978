"""A server that goes away while a runner of a tenant is made: said as that, whoever finds out."""

from __future__ import annotations

import pytest
from django.db import connection

from cloaca_django import DefaultRunner, databases
from cloaca_django.errors import DatabaseUnreachable
from tests.tenants.conftest import in_tenant


def _in_its_request(tenant):
    with in_tenant(tenant):
        DefaultRunner()


@pytest.mark.parametrize("make", [DefaultRunner.for_tenant, _in_its_request])
def test_a_runner_of_a_tenant_says_that_the_database_cannot_be_reached(
    make_tenants, monkeypatch, make
):
    (tenant,) = make_tenants(1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(databases, "_checked", set())
        # Django's own connection lives on; the engine's, which looks at the tables, finds nobody.
        meanwhile.setitem(connection.settings_dict, "PORT", "1")
        with pytest.raises(DatabaseUnreachable, match="cannot reach 'default'"):
            make(tenant)
