"""The pages for machines of a site with tenants: each speaks of its own, the public host of all."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.interface.commands import a_worker
from tests.tenants.conftest import in_tenant
from tests.tenants.directory.models import Domain, Tenant

TOKEN = "a-token-of-this-test"


def at(tenant):
    return Client(HTTP_HOST=f"{tenant.schema_name}.localhost")


@pytest.fixture
def tenants(make_tenants):
    return make_tenants(2, whole=True)


@pytest.fixture
def public(tenants):
    """A client at the host of the public schema."""
    row = Tenant(schema_name="public", name="Public")
    row.save()
    Domain.objects.create(domain="public.localhost", tenant=row)
    return Client(HTTP_HOST="public.localhost")


def verdicts(answer):
    return {one["probe"]: one["is_healthy"] for one in answer.json()["probes"]}


def test_a_tenants_host_speaks_of_that_tenant(tenants):
    one, other = tenants
    with in_tenant(one):
        a_worker()
    assert at(one).get("/cloaca/health/").status_code == 200
    answer = at(other).get("/cloaca/health/")
    assert answer.status_code == 503
    assert verdicts(answer)["worker"] is False
    assert at(other).get("/cloaca/ready/").status_code == 200


def test_staff_of_a_tenant_read_why_at_its_host_alone(tenants):
    one, other = tenants
    client = at(one)
    with in_tenant(one):
        client.force_login(get_user_model().objects.create_superuser("boss", password="x"))
    assert "no live worker" in client.get("/cloaca/health/").content.decode()
    elsewhere = client.get("/cloaca/health/", headers={"Host": f"{other.schema_name}.localhost"})
    assert elsewhere.status_code == 503
    assert "says" not in elsewhere.content.decode()


def test_the_public_host_speaks_of_all_and_names_none_to_strangers(tenants, public, settings):
    for tenant in tenants[:1]:
        with in_tenant(tenant):
            a_worker()
    answer = public.get("/cloaca/health/")
    assert answer.status_code == 503
    assert verdicts(answer)["worker"] is False
    assert "t2" not in answer.content.decode()
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN}
    told = public.get("/cloaca/health/", headers={"Authorization": f"Bearer {TOKEN}"})
    assert "1 of 2 tenants: t2: no live worker" in told.content.decode()
