"""What each role sees and does in a real browser, and a run from its start to its end."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine.worker import Worker as LiveWorker
from cloaca_django.engine.worker import WorkerOptions
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect

LIST = "admin:cloaca_django_pipelineexecution_changelist"
ACTS = {"Cancel…", "Pause…", "Retry from failure…", "Run again…", "Run now…", "Drain…", "Delete…"}


def url(name, *args):
    return reverse(f"admin:cloaca_django_{name}", args=args)


def acts_on(page):
    """Return which acts a page offers."""
    found = [text.strip() for text in page.locator("a.cloaca-button").all_inner_texts()]
    return {act for act in ACTS if any(text.startswith(act) for text in found)}


def test_each_role_is_offered_what_it_may_do(visit, viewer, operator, planner, workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)
    live, failed = scenes.run(status=RunStatus.RUNNING), scenes.failed_run()
    scenes.task(live, "a", TaskStatus.PENDING)
    scenes.worker()
    places = (
        url("pipelineexecution_change", live.pk), url("pipelineexecution_change", failed.pk),
        url("workflowcontrol_changelist"), url("worker_changelist"),
    )  # fmt: skip
    seen = {}
    for name, client in (("viewer", viewer), ("operator", operator), ("planner", planner)):
        opened = visit(client)
        seen[name] = set().union(*(acts_on(opened.go(place)) for place in places))
        page = opened.go(url("cronschedule_changelist"))
        # In the empty list and above it.
        adds = page.get_by_role("link", name="Add schedule").count()
        assert bool(adds) == (name == "planner")
        page = opened.go(reverse(LIST))
        assert page.locator("select[name=action]").count() == (name != "viewer")
    assert seen["viewer"] == set()
    assert seen["operator"] == seen["planner"] == ACTS - {"Delete…"}


def test_a_run_is_started_and_watched_until_its_worker_has_done_it(
    visit, operator, workflows_of_test, gate
):
    workflows.chain("w", workflows.nothing, lambda context: gate.pass_through())
    page = visit(operator).go(url("workflowcontrol_run", "w"))
    expect(page.get_by_text("No worker is alive")).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    head = page.locator("[data-cloaca-live=head]")
    expect(head).to_contain_text("Pending")
    tasks = page.locator("[data-cloaca-live=tasks]")
    expect(tasks.get_by_text("no worker is running; start one")).to_be_visible()
    live = LiveWorker(WorkerOptions(poll_seconds=0.05))
    live.start()
    try:
        expect(head).to_contain_text("Running")
        expect(head).to_contain_text("1 of 2 tasks done")
        expect(page.get_by_text("No worker is running")).to_have_count(0)
        gate.open()
        expect(head).to_contain_text("Completed")
        expect(page.get_by_role("status")).to_contain_text("The run ended: completed.")
        expect(page.locator("[data-cloaca-live=tools]")).to_contain_text("Run again…")
    finally:
        gate.open()
        live.stop(grace=5.0)


def test_many_failed_runs_are_found_and_retried_on_a_small_screen(
    visit, operator, workflows_of_test
):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)
    failed = [scenes.failed_run() for _ in range(3)]
    scenes.run()
    opened = visit(operator, viewport={"width": 380, "height": 800})
    page = opened.go(f"{reverse(LIST)}?attention=yes")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option(label="Retry from failure…")
    page.get_by_role("button", name="Go").first.click()
    expect(page.get_by_role("heading", name="Retry from failure?")).to_be_visible()
    expect(page.get_by_text("A new run takes over what completed")).to_be_visible()
    page.get_by_role("button", name="Yes, for 3 runs").click()
    expect(page.get_by_text("Done for 3 runs.")).to_be_visible()
    assert PipelineExecution.objects.filter(parent__in=failed).count() == 3


def test_a_run_is_deleted_after_a_question(visit, transactional_db, settings):
    settings.CLOACA = {"ADMIN_DELETE_RUNS": True}
    client = logged_in(person("kim", *VIEWER, "delete_pipelineexecution"))
    run = scenes.failed_run()
    page = visit(client).go(url("pipelineexecution_change", run.pk))
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_text("It goes for good")).to_be_visible()
    page.get_by_role("button", name="Yes, delete it").click()
    expect(page.get_by_text("The run was deleted.")).to_be_visible()
    assert not PipelineExecution.objects.exists()
