"""The pages for machines of a site with tenants: each speaks of its own, the public host of all."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from cloaca_django import Context, DefaultRunner
from cloaca_django.engine import meter
from tests.interface.commands import a_worker, run
from tests.interface.conftest import until
from tests.interface.traces import traces
from tests.tenants.conftest import in_tenant
from tests.tenants.directory.models import Domain, Tenant
from tests.tenants.workers import enqueue, is_done, make_worker

__all__ = ["make_worker", "traces"]

TOKEN = "a-token-of-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


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


def samples(answer):
    """Return what a page of metrics says, by name and schema."""
    return {
        (one.name, one.labels["schema"]): one.value
        for family in text_string_to_metric_families(answer.content.decode())
        for one in family.samples
    }


def test_metrics_of_a_tenant_are_labelled_and_of_no_other(tenants, settings):
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN}
    one, other = tenants
    for tenant, count in ((one, 2), (other, 5)):
        with in_tenant(tenant):
            runner, context = DefaultRunner(), Context({"tenant": "x", "text": "y"})
            runner.enqueue_many("mark", [context] * count)
    found = samples(at(one).get("/cloaca/metrics/", headers=BEARER))
    assert found["cloaca_open_runs", one.schema_name] == 2
    assert {schema for _, schema in found} == {one.schema_name}


def test_metrics_at_the_public_host_are_of_all_and_for_the_token_alone(tenants, public, settings):
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN}
    assert public.get("/cloaca/metrics/").status_code == 403
    found = samples(public.get("/cloaca/metrics/", headers=BEARER))
    assert {schema for _, schema in found} == {tenant.schema_name for tenant in tenants}


def test_a_worker_of_tenants_counts_for_each(tenants):
    counts = meter.switch_on()
    try:
        for tenant in tenants:
            with in_tenant(tenant):
                DefaultRunner().enqueue(
                    "mark", Context({"tenant": tenant.schema_name, "text": "x"})
                )
        assert run("cloaca_worker", "--burst").code == 0
    finally:
        meter.switch_off()
    ended = {one.labels: one.values[0] for one in counts.series() if one.measure is meter.RUNS}
    assert ended == {("mark", "Completed", tenant.schema_name): 1.0 for tenant in tenants}


def test_spans_say_of_which_tenant_they_are(tenants, make_worker, traces):
    first, second = tenants
    make_worker(concurrency=2)
    runs = {tenant.schema_name: str(enqueue(tenant, "mark", text="x")) for tenant in tenants}
    until(lambda: is_done(first) and is_done(second))
    for found in (traces.named("send mark", count=2), traces.named("process mark/write", count=2)):
        assert {s.attributes["cloaca.schema"]: s.attributes["cloaca.run_id"] for s in found} == runs
    assert len({span.context.trace_id for span in traces.all()}) == 2
