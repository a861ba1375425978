"""Runs in a real browser, under a strict policy: nothing may be refused, nothing may fail."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.conftest import until

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect

LIST = "admin:cloaca_django_pipelineexecution_changelist"


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)


def page_of(run):
    return reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])


def end(run):
    """Let a run's open tasks and the run itself end, as an engine would."""
    now = scenes.moment(0)
    run.tasks.exclude(status=TaskStatus.FAILED).update(
        status=TaskStatus.COMPLETED, finished_at=now, claimed_at=now
    )
    PipelineExecution.objects.filter(pk=run.pk).update(
        status=RunStatus.FAILED, finished_at=now, revision=scenes.uuid.uuid4()
    )


def test_a_run_is_watched_from_start_to_end(visit, operator):
    run = scenes.busy_run()
    opened = visit(operator)
    page = opened.go(page_of(run))
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator("#cloaca-events summary").click()
    expect(page.get_by_text("5 of 9 tasks done")).to_be_visible()
    run.tasks.filter(name="dedupe").update(
        status=TaskStatus.COMPLETED, finished_at=scenes.moment(0)
    )
    expect(page.get_by_text("6 of 9 tasks done")).to_be_visible()
    assert page.locator("#cloaca-events").get_attribute("open") is not None
    end(run)
    expect(page.get_by_role("status")).to_contain_text("The run ended: failed. 1 task failed.")
    assert page.url.endswith(page_of(run))
    count = len(requests)
    page.wait_for_timeout(4500)
    assert len(requests) == count


def test_a_counter_ticks_without_any_request_and_each_box_leads_to_its_task(visit, operator):
    run = scenes.busy_run()
    page = visit(operator).go(page_of(run))
    page.get_by_label("Live").select_option("off")
    counter = page.locator("[data-cloaca-live=head] [data-cloaca-since]")
    before = counter.inner_text()
    expect(counter).not_to_have_text(before)
    boxes = page.locator(".cloaca-picture a")
    assert boxes.count() == 9
    places = [box.bounding_box() for box in page.locator(".cloaca-picture .cloaca-box").all()]
    for at, one in enumerate(places):
        for other in places[at + 1 :]:
            apart = (
                one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"]
                or other["y"] + other["height"] <= one["y"]
            )  # fmt: skip
            assert apart
    boxes.first.focus()
    page.keyboard.press("Enter")
    assert re.search(r"#task-\d+$", page.url)


def test_a_failed_run_is_retried(visit, operator):
    run = scenes.failed_run()
    page = visit(operator).go(page_of(run))
    expect(page.get_by_text("line 41, in charge_card")).to_be_visible()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".cloaca-traceback").get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == scenes.TRACEBACK.strip()
    page.get_by_role("link", name="Retry from failure").click()
    page.get_by_label("Reason").fill("the gateway is back")
    page.get_by_role("button", name="Yes, retry it").click()
    expect(page.get_by_text("A new run was started")).to_be_visible()
    made = PipelineExecution.objects.get(parent=run)
    assert page.url.endswith(page_of(made))
    page.get_by_role("link", name=str(run.pk)).click()
    expect(page.get_by_text("Runs that this one led to")).to_be_visible()


def test_a_run_is_paused_with_a_reason_and_cancelled(visit, operator):
    run = scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", TaskStatus.PENDING)
    page = visit(operator).go(page_of(run))
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Yes, pause it").click()
    until(lambda: page.locator(":invalid").count())
    page.get_by_label("Reason").fill("the bank is closed")
    page.get_by_role("button", name="Yes, pause it").click()
    expect(page.get_by_text("Paused by otto").first).to_be_visible()
    expect(page.get_by_text("the bank is closed").first).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.get_by_text("The run was cancelled.")).to_be_visible()


def test_a_list_stands_still_and_counts_what_is_new(visit, operator):
    scenes.failed_run()
    page = visit(operator).go(reverse(LIST))
    page.get_by_label("Live").select_option("2")
    scenes.run("brand_new", age=0)
    expect(page.get_by_text("1 new run")).to_be_visible()
    assert page.locator("#result_list tbody tr").count() == 1
    page.locator("[data-cloaca-changes] a").click()
    expect(page.locator("#result_list").get_by_text("brand_new")).to_be_visible()


def test_attacks_stay_text(visit, operator):
    nasty = scenes.NASTY
    run = scenes.run(nasty, RunStatus.FAILED, error_message=nasty, reason=nasty)
    task = scenes.task(run, nasty, TaskStatus.FAILED, error_message=nasty)
    scenes.attempt(task, 1, message=nasty, traceback=nasty, log=nasty)
    opened = visit(operator)
    for path in (page_of(run), reverse(LIST)):
        page = opened.go(path)
        assert "owned" not in page.title() or "<script>" in page.title()
        assert page.locator("img[src='x']").count() == 0


def test_everything_is_there_without_javascript(browser, live_server, operator):
    run = scenes.failed_run()
    context = browser.new_context(java_script_enabled=False)
    value = operator.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])
    page = context.new_page()
    try:
        page.goto(f"{live_server.url}{page_of(run)}")
        expect(page.get_by_text("line 41, in charge_card")).to_be_visible()
        expect(page.get_by_label("Live")).to_be_hidden()
        expect(page.get_by_role("link", name="Refresh")).to_be_visible()
        page.get_by_role("link", name="Run again").click()
        page.get_by_role("button", name="Yes, run it again").click()
        expect(page.get_by_text("A new run was started")).to_be_visible()
    finally:
        context.close()
