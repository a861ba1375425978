"""The admin of each tenant, at its host: it shows and starts what is the tenant's, and no more."""

from __future__ import annotations

import uuid

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client

from cloaca_django import Context, DefaultRunner
from cloaca_django.models import PipelineExecution
from tests.tenants.conftest import in_tenant

APP = "cloaca_django"
ADMIN = "/admin/cloaca_django/"
RUNS = f"{ADMIN}pipelineexecution/"
ACTS = ["cancel", "pause", "resume", "retry", "rerun"]


@pytest.fixture
def sites(make_tenants):
    """Two tenants, each with a visitor who may do everything there, a run and a schedule."""
    found = []
    for tenant in make_tenants(2, whole=True):
        schema = tenant.schema_name
        client = Client(HTTP_HOST=f"{schema}.localhost")
        with in_tenant(tenant):
            client.force_login(get_user_model().objects.create_superuser("boss", password="x"))
            runner, context = DefaultRunner(), Context({"tenant": schema, "text": schema * 3})
            started = runner.enqueue("mark", context)
            runner.register_cron_workflow(
                "mark", "0 3 * * *", "UTC", name=f"of_{schema}", context=context
            )
        found.append((tenant, client, started.id))
    return found


def rows(tenant):
    with in_tenant(tenant):
        return sorted(PipelineExecution.objects.values_list("pk", "status", "revision"))


def text_of(answer):
    return answer.content.decode()


@pytest.mark.parametrize("page", ["", "pipelineexecution/", "worker/", "cronschedule/"])
def test_every_list_shows_what_is_the_tenants_own(sites, page):
    (_, a, run_of_a), (_, b, run_of_b) = sites
    for client, other, name in ((a, run_of_b, "of_t2"), (b, run_of_a, "of_t1")):
        answer = client.get(f"{ADMIN}{page}")
        assert answer.status_code == 200
        assert str(other) not in text_of(answer)
        assert name not in text_of(answer)
    if page == "pipelineexecution/":
        assert str(run_of_a) in text_of(a.get(f"{ADMIN}{page}"))
    if page == "cronschedule/":
        assert "of_t1" in text_of(a.get(f"{ADMIN}{page}"))


@pytest.mark.parametrize("page", ["change/", "context.json", "task/1/", "task/1/log/", "cancel/"])
def test_a_run_of_another_tenant_is_answered_like_one_that_never_was(sites, page):
    (_, a, run_of_a), (_, _, run_of_b) = sites
    never = uuid.uuid4()
    answers = [a.get(f"{RUNS}{id}/{page}", follow=True) for id in (run_of_b, never)]
    of_other, of_none = (
        (answer.status_code, text_of(answer).count(str(id)), "t2t2t2" in text_of(answer))
        for answer, id in zip(answers, (run_of_b, never), strict=True)
    )
    assert of_other == of_none
    assert of_other[2] is False
    assert a.get(f"{RUNS}{run_of_a}/change/").status_code == 200


@pytest.mark.parametrize("act", ACTS)
def test_no_act_reaches_a_run_of_another_tenant(sites, act):
    (_, a, run_of_a), (other, _, run_of_b) = sites
    before = rows(other)
    a.post(f"{RUNS}{run_of_b}/{act}/", {"reason": "because"})
    a.post(f"{RUNS}bulk/{act}/", {"_selected_action": [str(run_of_b)], "reason": "because"})
    assert rows(other) == before
    if act == "cancel":
        a.post(f"{RUNS}{run_of_a}/cancel/", {"reason": "because"})
        assert [status for _, status, _ in rows(sites[0][0])] == ["Cancelled"]


def test_run_now_starts_a_run_of_the_tenant_at_whose_host_it_is(sites):
    (tenant, a, _), (other, _, _) = sites
    before = rows(other)
    page = f"{ADMIN}workflowcontrol/mark/run/"
    assert a.get(page).status_code == 200
    a.post(page, {"input-tenant": "t1", "input-text": "by hand", "context": "{}", "reason": ""})
    assert len(rows(tenant)) == 2
    assert rows(other) == before


def test_who_logged_in_at_one_tenant_is_nobody_at_another(sites):
    (_, a, _), (_, b, run_of_b) = sites
    b.cookies = a.cookies
    answer = b.get(f"{RUNS}{run_of_b}/change/")
    assert (answer.status_code, "/admin/login/" in answer.url) == (302, True)


def test_an_admin_in_public_offers_nothing_of_ours(make_tenants, rf):
    (tenant,) = make_tenants(1, whole=True)
    request = rf.get("/")
    ours = [one for model, one in admin.site._registry.items() if model._meta.app_label == APP]
    assert len(ours) == 4
    with in_tenant(tenant):
        request.user = get_user_model().objects.create_superuser("boss", password="x")
        assert all(one.has_module_permission(request) for one in ours)
        assert all(one.has_view_permission(request) for one in ours)
    assert not any(one.has_module_permission(request) for one in ours)
    assert not any(one.has_view_permission(request) for one in ours)


NASTY = "<script>document.title='x'</script>"


@pytest.mark.parametrize(
    "page",
    ["", "workflowcontrol/", "pipelineexecution/", "cronschedule/", "cronschedule/calendar/"],
)
def test_every_page_says_whose_rows_it_shows(sites, page):
    tenant, client, _ = sites[0]
    type(tenant).objects.filter(pk=tenant.pk).update(name=NASTY)
    text = text_of(client.get(f"{ADMIN}{page}"))
    assert f"(schema <bdi>{tenant.schema_name}</bdi>)" in text
    assert "&lt;script&gt;document" in text
    assert NASTY not in text
