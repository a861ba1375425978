"""On a site with tenants each page says whose rows it shows; elsewhere nothing is said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.urls import reverse

from cloaca_django.admin import tenant
from tests.interface.admin import scenes
from tests.interface.admin.test_schedule_pages import made, url


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


def places():
    row = made()
    return [
        reverse("admin:app_list", args=["cloaca_django"]),
        reverse("admin:cloaca_django_workflowcontrol_changelist"),
        reverse("admin:cloaca_django_pipelineexecution_changelist"),
        url("changelist"), url("change", row.pk), url("calendar"), url("disable", row.pk),
    ]  # fmt: skip


def test_a_site_without_tenants_says_nothing(planner):
    for place in places():
        assert "Tenant" not in planner.get(place).content.decode(), place


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, None), ({"schema_name": None}, None), ({"schema_name": "acme"}, "acme"),
        ({"schema_name": "acme", "tenant": SimpleNamespace(name="Acme Ltd")}, "Acme Ltd"),
        ({"schema_name": "acme", "tenant": SimpleNamespace()}, "acme"),
    ],
)  # fmt: skip
def test_a_tenant_is_called_by_its_name_else_by_its_schema(monkeypatch, facts, name):
    monkeypatch.setattr(tenant, "connections", {"default": SimpleNamespace(**facts)})
    found = tenant.current("default")
    assert (found and found.name) == name
