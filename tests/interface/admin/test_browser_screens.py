"""Every screen in a real browser: accessible, quiet under a strict policy, within its width."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cloaca_django.models import PipelineExecution
from tests.interface.admin import scenes
from tests.interface.admin.shots import screens

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect

SCREENS = (
    "dashboard", "workflows", "workflow", "run-now", "workers", "run-live", "run-failed", "task",
    "runs", "schedules", "schedule", "schedule-inputs", "schedule-add", "schedule-disable",
    "cancel", "retry", "runs-empty", "calendar", "backfill",
)  # fmt: skip
# The same with as much on them as there may be.
FULL_SCREENS = ("runs-attention", "run-long", "run-stubborn", "task-stubborn", "pause")
WIDTHS = (1280, 380)
OURS = ".cloaca, .cloaca-inputs"
# All that the colours of a page decide.
COLOURS = {"preload": False, "runOnly": {"type": "rule", "values": ["color-contrast"]}}


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


def test_axe_finds_nothing_on_any_screen_be_it_light_or_dark(browser, live_server, planner):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # Its own style is what a strict policy refuses.
    context = browser.new_context(bypass_csp=True)
    value = planner.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])
    page = context.new_page()
    places = screens()
    found = []
    try:
        for name in SCREENS:
            page.emulate_media(color_scheme="light")
            page.goto(f"{live_server.url}{places[name]}")
            # Else a link is on its way from one colour to the other.
            page.add_style_tag(content="* { transition: none !important }")
            for scheme, options in (("light", {"preload": False}), ("dark", COLOURS)):
                page.emulate_media(color_scheme=scheme)
                result = axe.Axe().run(page, context=OURS, options=options)
                found += [
                    (name, scheme, rule["id"], node["html"][:160], node["failureSummary"][:300])
                    for rule in result.response["violations"] for node in rule["nodes"]
                ]  # fmt: skip
    finally:
        context.close()
    assert found == [], "\n".join(map(str, found))


def test_screens_are_within_their_width_and_break_no_policy(visit, planner):
    opened = visit(planner)
    places = screens()
    for name in (*SCREENS, *FULL_SCREENS):
        page = opened.go(places[name])
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate(
                "[document.documentElement, document.querySelector('#content')]"
                ".map((one) => one.scrollWidth)"
            )
            assert max(wide) <= width, name
        assert opened.violations() == [], name


def test_right_to_left_pages_keep_code_and_pictures_as_they_are(visit, operator, settings):
    settings.LANGUAGE_CODE = "ar"
    places = screens()
    page = visit(operator, locale="ar").go(places["run-failed"])
    assert page.evaluate("document.documentElement.dir") == "rtl"
    style = "getComputedStyle(document.querySelector('{}')).direction"
    assert page.evaluate(style.format(".cloaca pre")) == "ltr"
    assert page.evaluate(style.format(".cloaca-picture")) == "ltr"
    assert page.evaluate(style.format(".cloaca-graph-box")) == "ltr"
    # The axis of time and the bars below it run the same way.
    assert page.evaluate(style.format("td.cloaca-of-time")) == "ltr"
    assert page.evaluate(style.format("th.cloaca-of-time")) == "ltr"
    assert page.evaluate("document.querySelector('#content').scrollWidth") <= 1280


def test_a_run_is_started_by_hand_after_a_bad_value(visit, operator):
    page = visit(operator).go(reverse("admin:cloaca_django_workflowcontrol_changelist"))
    page.get_by_role("link", name="Run now… with_inputs").click()
    page.get_by_label("batch_size").fill("1")
    page.get_by_label("Further context (JSON)").fill('{"a": 1,\n  b}')
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    expect(page.get_by_text("line 2, column 3")).to_be_visible()
    page.get_by_label("source_id").fill("erp")
    page.get_by_label("Further context (JSON)").fill('{"a": 1}')
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("The run was started.")).to_be_visible()
    made = PipelineExecution.objects.get()
    assert page.url.endswith(f"{made.pk}/change/")


def test_a_workflow_is_paused_with_a_reason(visit, operator):
    page = visit(operator).go(
        reverse("admin:cloaca_django_workflowcontrol_change", args=["customer_5Fetl"])
    )
    page.get_by_role("link", name="Pause").click()
    page.get_by_label("Reason").fill("moving house")
    page.get_by_role("button", name="Yes, pause it").click()
    expect(page.get_by_text("moving house").first).to_be_visible()
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Yes, let it go on").click()
    expect(page.get_by_text("The workflow goes on.")).to_be_visible()


def test_a_worker_is_drained_and_the_page_follows(visit, operator):
    owner = scenes.worker()
    page = visit(operator).go(reverse("admin:cloaca_django_worker_changelist"))
    page.get_by_role("link", name="Drain").click()
    page.get_by_role("button", name="Yes, drain it").click()
    expect(page.locator(f"#worker-{owner.pk}").get_by_text("Draining")).to_be_visible()
    scenes.worker(hostname="app-late")
    expect(page.get_by_text("app-late:4711").first).to_be_visible(timeout=12_000)


def test_the_dashboard_follows_what_happens(visit, operator):
    scenes.worker()
    page = visit(operator).go(reverse("admin:app_list", args=["cloaca_django"]))
    page.get_by_label("Live").select_option("2")
    scenes.failed_run()
    expect(page.get_by_text("gateway did not answer").first).to_be_visible()
    page.get_by_role("link", name="Retry… invoice_pipeline").click()
    expect(page.get_by_role("button", name="Yes, retry it")).to_be_visible()
