"""What a person may do to a run: asked first, permitted, checked again, logged."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person

PERMISSIONS = {
    "cancel": "cancel_execution",
    "pause": "pause_workflow",
    "resume": "pause_workflow",
    "retry": "retry_execution",
    "rerun": "run_workflow",
}
ACTS = sorted(PERMISSIONS)


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)
    workflows.single("customer_etl")


def ready_for(act):
    """Return a run that an act is possible for."""
    if act in {"retry", "rerun"}:
        return scenes.failed_run()
    status = RunStatus.PAUSED if act == "resume" else RunStatus.RUNNING
    made = scenes.run(status=status)
    scenes.task(made, "a", TaskStatus.PENDING)
    return made


def url_of(act, run):
    return reverse(f"admin:cloaca_django_pipelineexecution_{act}", args=[run.pk])


def rows():
    return sorted(PipelineExecution.objects.values_list("pk", "status", "revision"))


@pytest.mark.parametrize("act", ACTS)
def test_asking_changes_nothing_and_a_yes_acts_and_is_logged(operator, act):
    run = ready_for(act)
    before = rows()
    page = operator.get(url_of(act, run))
    assert page.status_code == 200
    assert "No, go back" in page.content.decode()
    assert rows() == before
    answer = operator.post(url_of(act, run), {"reason": "because"}, follow=True)
    assert answer.status_code == 200
    assert rows() != before
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.user.username) == (str(run.pk), "otto")
    assert act == "resume" or "because" in entry.get_change_message()


@pytest.mark.parametrize("act", ACTS)
def test_an_act_that_is_senseless_now_says_so_and_does_nothing(operator, act):
    other = "cancel" if act in {"retry", "rerun", "resume"} else "retry"
    run = ready_for(other)
    before = rows()
    assert "Go back" in operator.get(url_of(act, run)).content.decode()
    answer = operator.post(url_of(act, run), {"reason": "because"}, follow=True)
    assert 'class="warning"' in answer.content.decode()
    assert rows() == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("act", ACTS)
def test_each_act_needs_its_own_permission(transactional_db, act):
    others = [name for name in PERMISSIONS.values() if name != PERMISSIONS[act]]
    run = ready_for(act)
    before = rows()
    client = logged_in(person("nearly", *VIEWER, *others))
    assert client.get(url_of(act, run)).status_code == 403
    assert client.post(url_of(act, run), {"reason": "because"}).status_code == 403
    assert url_of(act, run) not in client.get(page_of(run)).content.decode()
    able = logged_in(person("able", *VIEWER, PERMISSIONS[act]))
    assert url_of(act, run) in able.get(page_of(run)).content.decode()
    assert rows() == before


def page_of(run):
    return reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])


@pytest.mark.parametrize("act", ACTS)
def test_without_a_token_nothing_is_done(operator, act):
    run = ready_for(act)
    client = Client(enforce_csrf_checks=True)
    client.cookies = operator.cookies
    before = rows()
    assert client.post(url_of(act, run), {"reason": "because"}).status_code == 403
    assert rows() == before


@pytest.mark.parametrize("act", ACTS)
def test_strangers_are_sent_to_the_login(transactional_db, act):
    answer = Client().get(url_of(act, ready_for(act)))
    assert answer.status_code == 302
    assert "/login/" in answer["Location"]


def test_a_pause_needs_a_reason(operator):
    run = ready_for("pause")
    answer = operator.post(url_of("pause", run), {"reason": "  "})
    assert "This field is required." in answer.content.decode()
    operator.post(url_of("pause", run), {"reason": "the bank is closed"})
    run.refresh_from_db()
    assert (run.status, run.paused_by, run.pause_reason) == (
        RunStatus.PAUSED,
        "otto",
        "the bank is closed",
    )


def test_twice_yes_makes_one_change_and_one_message(operator):
    run = ready_for("cancel")
    operator.post(url_of("cancel", run))
    again = operator.post(url_of("cancel", run), follow=True)
    assert "This run has ended: cancelled." in again.content.decode()
    assert LogEntry.objects.count() == 1


def test_a_retry_says_what_runs_again_and_leads_to_the_new_run(operator):
    run = ready_for("retry")
    text = operator.get(url_of("retry", run)).content.decode()
    assert "Runs again: charge_card, send_invoice" in text
    assert "Results kept: find_orders" in text
    assert "The workflow has changed since" in text
    answer = operator.post(url_of("retry", run), {"reason": "the gateway is back"})
    made = PipelineExecution.objects.get(parent=run)
    assert answer["Location"] == page_of(made)
    assert (made.reason, made.created_by) == ("the gateway is back", "otto")


def test_a_reason_that_no_column_takes_is_a_message_and_no_error(operator):
    run = ready_for("cancel")
    answer = operator.post(url_of("cancel", run), {"reason": "a\x00b"}, follow=True)
    assert answer.status_code == 200
    assert not LogEntry.objects.exists()
