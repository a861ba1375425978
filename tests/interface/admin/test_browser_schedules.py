"""Schedules in a real browser, under a strict policy: typed, previewed, added, disabled."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cloaca_django.core.context import decode
from cloaca_django.models import CronSchedule
from tests.interface.admin import scenes
from tests.interface.admin.test_schedule_pages import made, url

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


def test_a_schedule_is_previewed_while_it_is_typed_and_added(visit, planner):
    page = visit(planner).go(url("add"))
    preview = page.locator("[data-cloaca-preview]")
    page.get_by_label("Workflow").select_option("customer_etl")
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Cron expression").press_sequentially("30 2 *")
    expect(preview).to_contain_text("needs 5 fields")
    page.get_by_label("Cron expression").press_sequentially(" * *")
    expect(preview).to_contain_text("At 02:30")
    page.get_by_label("Time zone").fill("Asia/Tokyo")
    expect(preview).to_contain_text("02:30 JST")
    expect(preview.locator("tbody tr")).to_have_count(5)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("At 02:30")
    row = CronSchedule.objects.get()
    assert (row.name, row.timezone, row.cron_expression) == ("nightly", "Asia/Tokyo", "30 2 * * *")
    assert row.next_run_at is not None


def test_a_schedule_is_disabled_with_a_reason(visit, planner):
    row = made()
    page = visit(planner).go(url("changelist"))
    page.get_by_role("link", name="customer_etl nightly").click()
    page.get_by_role("link", name="Disable…").click()
    page.get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Yes, disable it").click()
    expect(page.get_by_text("The schedule is disabled.")).to_be_visible()
    expect(page.get_by_text("by petra: maintenance")).to_be_visible()
    assert not CronSchedule.objects.get(pk=row.pk).enabled


def test_without_javascript_the_pages_are_complete(visit, planner, browser, live_server):
    row = made()
    context = browser.new_context(java_script_enabled=False)
    value = planner.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])
    page = context.new_page()
    try:
        page.goto(f"{live_server.url}{url('change', row.pk)}")
        expect(page.locator("[data-cloaca-preview]")).to_contain_text("02:30 JST")
        expect(page.get_by_role("button", name="weekdays")).to_have_count(0)
        page.get_by_role("link", name="Backfill…").click()
        page.get_by_label("From").fill("2026-01-01T00:00")
        page.get_by_label("To:").fill("2026-01-03T00:00")
        page.get_by_role("button", name="Count the runs").click()
        page.get_by_role("button", name="Yes, start 2 runs").click()
        expect(page.get_by_text("2 runs were started.")).to_be_visible()
        page.goto(f"{live_server.url}{url('calendar')}")
        expect(page.locator(".cloaca-calendar tbody tr")).to_have_count(2)
    finally:
        context.close()


def test_the_dashboard_leads_to_a_schedule(visit, planner):
    made()
    page = visit(planner).go(reverse("admin:app_list", args=["cloaca_django"]))
    page.get_by_role("link", name="customer_etl", exact=True).last.click()
    expect(page.get_by_label("Cron expression")).to_have_value("30 2 * * *")


def test_a_button_fills_in_an_expression_and_a_workflow_brings_its_fields(visit, planner):
    page = visit(planner).go(url("add"))
    page.get_by_role("button", name="weekdays").press("Enter")
    expect(page.get_by_label("Cron expression")).to_have_value("0 9 * * MON-FRI")
    expect(page.locator("[data-cloaca-preview]")).to_contain_text("Monday through Friday")
    page.get_by_label("Workflow").select_option("with_inputs")
    page.get_by_label("source_id").fill("erp")
    page.get_by_label("batch_size").fill("7")
    page.get_by_label("Priority").fill("99999")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("less than or equal to 32767")).to_be_visible()
    expect(page.get_by_label("source_id")).to_have_value("erp")
    page.get_by_label("Priority").fill("9")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("with_inputs")
    given = decode(CronSchedule.objects.get().context)
    assert (given["source_id"], given["batch_size"]) == ("erp", 7)
