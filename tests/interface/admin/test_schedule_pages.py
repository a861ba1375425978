"""The pages of schedules: the list, what it costs, and what one may do to a schedule."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from cloaca_django.core.states import Origin, RunStatus
from cloaca_django.engine import declarations, timetable
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.interface.admin import scenes
from tests.interface.admin.conftest import logged_in, person

MOST_QUERIES = 12


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


def url(name, *args):
    return reverse(f"admin:cloaca_django_cronschedule_{name}", args=args)


def made(name="nightly", **facts):
    given = {"name": name, "cron_expression": "30 2 * * *", "timezone": "Asia/Tokyo", **facts}
    return timetable.register("default", given.pop("workflow_name", "customer_etl"), given)


def page(client, *args):
    answer = client.get(url(*args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_line_says_what_runs_when_how_it_went_and_whether_it_goes_on(viewer, settings):
    settings.TIME_ZONE = "UTC"
    row = made()
    run = scenes.run(status=RunStatus.FAILED, schedule=row)
    CronSchedule.objects.update(last_run_at=run.created_at)
    text = page(viewer, "changelist")
    for words in ("customer_etl", "nightly", "At 02:30", "30 2 * * *", "Asia/Tokyo", "Enabled",
                  "02:30 JST = ", "17:30:00 UTC", "Failed"):  # fmt: skip
        assert words in text, words
    assert reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk]) in text


def test_a_line_says_why_a_schedule_does_not_run(viewer):
    parked, off, edited = made("parked"), made("off"), made("edited")
    CronSchedule.objects.filter(pk=parked.pk).update(
        parked_at=scenes.moment(0), error_message="the zone is gone\nmore"
    )
    timetable.set_enabled("default", off.pk, enabled=False, by="ana", reason="maintenance")
    CronSchedule.objects.filter(pk=edited.pk).update(declared="{}")
    CronSchedule.objects.filter(pk=edited.pk).update(workflow_name="long_gone")
    assert declarations.is_edited(CronSchedule.objects.get(pk=edited.pk))
    text = page(viewer, "changelist")
    for words in ("Parked", "the zone is gone<", "Disabled", "by ana: maintenance",
                  "edited by hand", "not registered here"):  # fmt: skip
        assert words in text, words


def test_the_list_is_filtered_and_searched(viewer):
    made("a"), made("b", timezone="Europe/Berlin", workflow_name="invoice_pipeline")
    off = made("c", cron_expression="7 7 * * *")
    scenes.run(schedule=off, status=RunStatus.FAILED)
    CronSchedule.objects.filter(name="a").update(next_run_at=scenes.moment(600))
    timetable.set_enabled("default", off.pk, enabled=False)
    for query, count in (
        ("", 3), ("state=disabled", 1), ("state=enabled", 2), ("state=parked", 0), ("state=x", 3),
        ("state=late", 1), ("result=Failed", 1), ("result=Completed", 0), ("result=x", 3),
        ("workflow=invoice_pipeline", 1), ("zone=Europe/Berlin", 1), ("zone=%00", 3),
        ("q=7+7", 1), ("q=invoice", 1), ("q=%00", 3), ("q=nothing", 0),
    ):  # fmt: skip
        answer = viewer.get(f"{url('changelist')}?{query}")
        assert len(answer.context["cl"].result_list) == count, query
    assert "No schedules match." in answer.content.decode()


@pytest.mark.parametrize("count", [1, 50])
def test_the_list_costs_the_same_for_few_and_many(planner, count, django_assert_max_num_queries):
    for at in range(count):
        scenes.run(schedule=made(f"s{at}"))
    with django_assert_max_num_queries(MOST_QUERIES):
        answer = planner.get(url("changelist"))
    assert len(answer.context["cl"].result_list) == count


def test_names_and_reasons_are_text(planner):
    row = made(scenes.NASTY, context={"a": scenes.NASTY})
    timetable.set_enabled("default", row.pk, enabled=False, by="ana", reason=scenes.NASTY)
    places = [("changelist",), ("change", row.pk), ("enable", row.pk), ("delete", row.pk)]
    for place in places:
        text = page(planner, *place)
        assert "<script>document" not in text, place
        assert "<img src=x" not in text, place


def test_who_may_only_look_sees_no_button_and_changes_nothing(viewer):
    row = made(context={"password": "hush", "size": 7})
    for text in (page(viewer, "changelist"), page(viewer, "change", row.pk)):
        for words in ("Disable…", "Enable…", "Trigger now…", "_save", "hush", "Delete", "addlink"):
            assert words not in text, words
    assert "At 02:30" in text
    assert "Tokyo" in text
    for slug in ("enable", "disable", "trigger", "change", "delete"):
        assert viewer.post(url(slug, row.pk), {"reason": "x"}).status_code == 403, slug
    for slug in ("bulk_enable", "bulk_disable", "bulk_trigger", "add"):
        assert viewer.post(url(slug), {"ids": str(row.pk)}).status_code == 403, slug
    assert CronSchedule.objects.get().enabled
    assert not PipelineExecution.objects.exists()


def test_an_operator_may_trigger_and_no_more(operator):
    row = made()
    text = page(operator, "change", row.pk)
    assert "Trigger now…" in text
    assert "Disable…" not in text
    assert operator.post(url("disable", row.pk), {"reason": "x"}).status_code == 403


def test_nobody_in_particular_sees_nothing(transactional_db):
    row, nobody = made(), logged_in(person("nina"))
    for place in (("changelist",), ("change", row.pk), ("preview",)):
        assert nobody.get(url(*place)).status_code == 403, place


def test_looking_changes_nothing(planner):
    row = made()
    before = CronSchedule.objects.values().get()
    for slug in ("enable", "disable", "trigger", "change", "delete", "history"):
        assert planner.get(url(slug, row.pk)).status_code == 200, slug
    for slug in ("bulk_enable", "bulk_disable", "bulk_trigger", "add", "preview"):
        assert planner.get(url(slug)).status_code in {200, 302}, slug
    assert CronSchedule.objects.values().get() == before
    assert not PipelineExecution.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_change_needs_the_token_of_the_form(planner):
    row = made()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = planner.cookies
    for slug in ("enable", "disable", "trigger", "change", "delete"):
        assert strict.post(url(slug, row.pk), {"reason": "x"}).status_code == 403, slug


def test_a_schedule_is_disabled_with_a_reason_and_enabled_again(planner):
    row = made()
    assert "starts no run until it is enabled" in page(planner, "disable", row.pk)
    planner.post(url("disable", row.pk), {"reason": "maintenance"})
    found = CronSchedule.objects.get()
    assert (found.enabled, found.disabled_by, found.disabled_reason) == (
        False, "petra", "maintenance",
    )  # fmt: skip
    again = planner.post(url("disable", row.pk), {"reason": "again"}, follow=True)
    assert "This schedule is disabled already." in again.content.decode()
    assert "maintenance" in page(planner, "enable", row.pk)
    planner.post(url("enable", row.pk))
    found = CronSchedule.objects.get()
    assert (found.enabled, found.disabled_reason) == (True, "")
    said = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert said == ["Disabled: maintenance", "Enabled."]


def test_a_schedule_is_triggered_and_keeps_its_next_time(planner):
    row = made(queue="q", priority=3)
    assert "counts for none" in page(planner, "trigger", row.pk)
    answer = planner.post(url("trigger", row.pk), {"reason": "a customer asks"})
    run = PipelineExecution.objects.get()
    assert answer.url.endswith(f"{run.pk}/change/")
    assert (run.schedule_id, run.queue, run.priority, run.created_by) == (row.pk, "q", 3, "petra")
    assert run.origin != Origin.RETRY
    assert CronSchedule.objects.get().next_run_at == row.next_run_at
    assert not CronExecution.objects.exists()


def test_a_trigger_that_is_sent_twice_starts_one_run(planner):
    row = made()
    once = planner.get(url("trigger", row.pk)).context["form"]["once"].value()
    first = planner.post(url("trigger", row.pk), {"once": once})
    second = planner.post(url("trigger", row.pk), {"once": once}, follow=True)
    assert second.redirect_chain[0][0] == first.url
    assert "This run was started already" in second.content.decode()
    assert (PipelineExecution.objects.count(), LogEntry.objects.count()) == (1, 1)
    again = planner.get(url("trigger", row.pk)).context["form"]["once"].value()
    planner.post(url("trigger", row.pk), {"once": again})
    assert PipelineExecution.objects.count() == 2


def test_many_triggers_that_are_sent_twice_start_one_run_each(planner):
    ids = [str(made(name).pk) for name in ("a", "b")]
    page = planner.post(url("changelist"), {"action": "trigger", "_selected_action": ids})
    facts = {"ids": ",".join(ids), "once": page.context["form"]["once"].value()}
    told = [
        planner.post(url("bulk_trigger"), facts, follow=True).content.decode() for _ in range(2)
    ]
    assert "Done for 2 schedules." in told[0]
    assert "Done for 0 schedules. 2 were sent already." in told[1]
    assert PipelineExecution.objects.count() == 2


def test_one_whose_code_is_elsewhere_cannot_be_triggered_here(planner):
    row = made(workflow_name="long_gone")
    assert "Trigger now…" not in page(planner, "change", row.pk)
    assert "No workflow of this name" in page(planner, "trigger", row.pk)
    planner.post(url("trigger", row.pk), {"reason": ""})
    assert not PipelineExecution.objects.exists()


def test_many_are_disabled_with_one_reason(planner):
    rows = [made(f"s{at}") for at in range(3)]
    timetable.set_enabled("default", rows[0].pk, enabled=False, by="ana")
    chosen = {"action": "disable", "_selected_action": [str(row.pk) for row in rows]}
    text = planner.post(url("changelist"), chosen).content.decode()
    assert "It can be done for 2 of the chosen schedules." in text
    assert "Yes, for 2 schedules" in text
    assert CronSchedule.objects.enabled().count() == 2
    ids = ",".join(str(row.pk) for row in rows)
    answer = planner.post(url("bulk_disable"), {"ids": ids, "reason": "rest"}, follow=True)
    assert "Done for 2 schedules. 1 was left alone." in answer.content.decode()
    assert CronSchedule.objects.filter(disabled_reason="rest").count() == 2
    assert LogEntry.objects.count() == 2


def test_a_schedule_is_deleted_and_its_runs_stay(planner):
    rows = [made("a"), made("b", workflow_name="invoice_pipeline")]
    run = scenes.run(schedule=rows[0])
    now = scenes.moment(0)
    CronExecution.objects.create(schedule=rows[0], run=run, scheduled_time=now, claimed_at=now)
    assert "Fires: 1" in page(planner, "delete", rows[0].pk)
    planner.post(url("delete", rows[0].pk), {"post": "yes"})
    assert list(CronSchedule.objects.all()) == [rows[1]]
    assert PipelineExecution.objects.get().schedule_id is None
    chosen = {"action": "delete_selected", "_selected_action": [str(rows[1].pk)], "post": "yes"}
    planner.post(url("changelist"), chosen)
    assert not CronSchedule.objects.exists()
    assert LogEntry.objects.count() == 2


def test_other_pages_lead_to_a_schedule_whoever_may_see_it(viewer):
    row = made()
    run = scenes.run(schedule=row)
    scenes.task(run, "a")
    places = (
        reverse("admin:app_list", args=["cloaca_django"]),
        reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk]),
        reverse("admin:cloaca_django_workflowcontrol_change", args=["customer_5Fetl"]),
    )
    blind = logged_in(person("bo", "view_pipelineexecution", "view_workflowcontrol"))
    parked = made("stuck")
    CronSchedule.objects.filter(pk=parked.pk).update(
        parked_at=scenes.moment(0), error_message="the zone is gone"
    )
    assert url("change", parked.pk) in viewer.get(places[0]).content.decode()
    for place in places:
        link = f'href="{url("change", row.pk)}"'
        assert link in viewer.get(place).content.decode(), place
        assert link not in blind.get(place).content.decode(), place


@pytest.mark.parametrize("junk", ["7", "x" * 300, "a%00b"])
def test_junk_in_place_of_an_id_is_a_message(planner, junk):
    base = url("changelist")
    for tail in ("change", "disable", "trigger", "delete"):
        answer = planner.get(f"{base}{junk}/{tail}/")
        assert answer.status_code == 302, tail
