"""The form of a schedule: what it accepts, what it says, and what stands in the row after."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry

from cloaca_django.admin.saying import in_words
from cloaca_django.admin.schedule_form import ScheduleForm
from cloaca_django.core import cron
from cloaca_django.core.context import decode
from cloaca_django.engine import timetable
from cloaca_django.models import CronSchedule
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person
from tests.interface.admin.test_schedule_pages import made, page, url

TYPED = {
    "workflow_name": "customer_etl", "name": "nightly", "enabled": "on",
    "cron_expression": "30 2 * * *", "timezone": "Asia/Tokyo", "start_date": "", "end_date": "",
    "catchup_policy": "all", "overlap_policy": "start", "deadline_seconds": "", "context": "{}",
    "queue": "default", "priority": "0",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


def refused(client, place=("add",), **typed):
    """Return what the form says, by field; nothing may have been written."""
    before = list(CronSchedule.objects.values())
    answer = client.post(url(*place), {**TYPED, **typed})
    assert answer.status_code == 200
    assert list(CronSchedule.objects.values()) == before
    return dict(answer.context["adminform"].form.errors)


def test_a_schedule_is_added_and_planned(planner):
    typed = {"start_date": "2030-01-01T00:00", "context": '{"region": "eu"}', "priority": "5"}
    answer = planner.post(url("add"), {**TYPED, **typed, "catchup_policy": "latest"})
    assert answer.status_code == 302
    row = CronSchedule.objects.get()
    assert (row.name, row.enabled, row.priority) == ("nightly", True, 5)
    assert row.catchup_policy == "latest"
    assert decode(row.context) == {"region": "eu"}
    assert row.start_date == datetime(2029, 12, 31, 15, tzinfo=UTC)
    assert row.next_run_at == datetime(2029, 12, 31, 17, 30, tzinfo=UTC)
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_a_change_is_planned_anew_and_touches_nothing_else(planner):
    row = made(start_date=datetime(2030, 1, 1, tzinfo=UTC), priority=7, context={"a": 1})
    form = planner.get(url("change", row.pk)).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    typed = {name: "" if value is None else value for name, value in shown.items()}
    assert planner.post(url("change", row.pk), typed).status_code == 302
    same = CronSchedule.objects.get()
    assert same.updated_at == row.updated_at
    typed |= {"cron_expression": "0 4 * * *", "workflow_name": "invoice_pipeline"}
    assert planner.post(url("change", row.pk), typed).status_code == 302
    found = CronSchedule.objects.get()
    assert (found.cron_expression, found.workflow_name) == ("0 4 * * *", "invoice_pipeline")
    assert found.next_run_at == datetime(2030, 1, 1, 19, tzinfo=UTC)
    assert (found.priority, found.start_date) == (7, row.start_date)


def test_who_saves_what_another_changed_meanwhile_is_told_and_changes_nothing(planner):
    row = made()
    form = planner.get(url("change", row.pk)).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    typed = {name: "" if value is None else value for name, value in shown.items()}
    first = planner.post(url("change", row.pk), {**typed, "cron_expression": "0 4 * * *"})
    assert first.status_code == 302
    said = refused(planner, ("change", row.pk), **{**typed, "priority": "9"})
    assert said == {
        "__all__": ["Somebody changed this schedule after you opened this page: open it again."]
    }
    assert LogEntry.objects.count() == 1
    text = page(planner, "change", row.pk)
    seen = CronSchedule.objects.get().updated_at.isoformat()
    assert f'<input type="hidden" name="seen" value="{seen}"' in text
    again = {**typed, "cron_expression": "0 4 * * *", "priority": "9", "seen": seen}
    assert planner.post(url("change", row.pk), again).status_code == 302
    found = CronSchedule.objects.get()
    assert (found.cron_expression, found.priority) == ("0 4 * * *", 9)
    assert refused(planner, ("change", row.pk), **{**again, "seen": "x\x00"})


def test_the_form_of_a_schedule_does_not_enable_or_disable_it(planner):
    row = made()
    planner.post(url("change", row.pk), {**TYPED, "enabled": "", "priority": "2"})
    assert CronSchedule.objects.get().enabled
    timetable.set_enabled("default", row.pk, enabled=False, by="ana", reason="rest")
    planner.post(url("change", row.pk), {**TYPED, "priority": "3"})
    found = CronSchedule.objects.get()
    assert (found.enabled, found.priority, found.disabled_by) == (False, 3, "ana")


def test_of_many_workflows_one_is_typed_with_suggestions(planner):
    assert '<select name="workflow_name"' in page(planner, "add")
    gone = made("old", workflow_name="gone")
    workflows.many([f"w{at}" for at in range(30)])
    text = page(planner, "add")
    assert '<select name="workflow_name"' not in text
    assert 'list="cloaca-workflows"' in text
    assert '<option value="w29">' in text
    assert "gone (not registered here)" in page(planner, "change", gone.pk)
    assert "w30 is not one of" in refused(planner, workflow_name="w30")["workflow_name"][0]
    planner.post(url("add"), {**TYPED, "workflow_name": "w29"})
    assert CronSchedule.objects.filter(workflow_name="w29").exists()


def test_one_may_be_added_disabled(planner):
    planner.post(url("add"), {**TYPED, "enabled": ""})
    assert not CronSchedule.objects.get().enabled


def test_a_new_zone_moves_the_dates_to_its_clock(planner):
    row = made(start_date=datetime(2030, 1, 1, tzinfo=UTC))
    typed = {**TYPED, "timezone": "UTC", "start_date": "2030-01-01T09:00:00"}
    assert planner.post(url("change", row.pk), typed).status_code == 302
    assert CronSchedule.objects.get().start_date == datetime(2030, 1, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * *", "needs 5 fields (minute hour day month weekday), got 3"),
        ("0 0 0 * * *", "seconds and a year field are not supported"),
        ("61 * * * *", "61 is out of range"),
        ("0 2 31 2 *", "no such date"),
        ("R * * * *", "minute"),
        ("H * * * *", "minute"),
        ("5-1 * * * *", "range start after end"),
        ("0 0 * * <b>", "weekday"),
        ("ä * * * *", "ASCII only"),
        ("* " * 200, "128"),
        ("", "required"),
    ],
)
def test_an_expression_that_says_nothing_is_refused_at_its_field(planner, expression, words):
    said = refused(planner, cron_expression=expression)
    assert set(said) == {"cron_expression"}
    assert words in " ".join(said["cron_expression"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Mars/Olympus"), ("workflow_name", "nobody_knows"), ("queue", "no such?"),
        ("priority", "99999999"), ("deadline_seconds", "0"), ("context", '{"a": '),
        ("context", "[1]"), ("catchup_policy", "often"), ("overlap_policy", ""),
        ("start_date", "yesterday"), ("start_date", "0001-01-01T00:00"),
        ("end_date", "9999-12-31T23:59"),
    ],
)  # fmt: skip
def test_each_mistake_is_said_at_its_field(planner, field, value):
    assert set(refused(planner, **{field: value})) == {field}


def test_an_end_before_the_start_is_refused(planner):
    said = refused(planner, start_date="2030-01-02T00:00", end_date="2030-01-01T00:00")
    assert set(said) == {"end_date"}


def test_a_context_that_the_workflow_would_refuse_is_refused(planner):
    said = refused(planner, workflow_name="with_inputs")
    assert "source_id" in " ".join(said["context"])


def test_a_name_is_taken_once(planner):
    row = made("nightly")
    assert set(refused(planner)) == {"name"}
    assert planner.post(url("change", row.pk), TYPED).status_code == 302
    for _ in range(2):
        assert planner.post(url("add"), {**TYPED, "name": ""}).status_code == 302
    assert CronSchedule.objects.filter(name=None).count() == 2


@pytest.mark.parametrize("place", [("add",), ("change",)])
def test_who_takes_the_name_while_the_form_is_checked_is_told_of(planner, monkeypatch, place):
    row = made("mine")
    check = ScheduleForm.clean

    def late(form):
        done = check(form)
        made("nightly")
        return done

    monkeypatch.setattr(ScheduleForm, "clean", late)
    args = (row.pk,) if place == ("change",) else ()
    answer = planner.post(url(*place, *args), TYPED, follow=True)
    assert "nightly" in answer.content.decode()
    assert [str(message) for message in answer.context["messages"]] != []
    # The other row was written within the same transaction, which was rolled back.
    assert CronSchedule.objects.get().name == "mine"
    assert not LogEntry.objects.exists()


def test_secrets_are_hidden_and_kept_until_typed_anew(planner):
    row = made(context={"api_key": "hush", "deep": [{"password": "murmur"}], "size": 1})
    text = page(planner, "change", row.pk)
    assert "hush" not in text
    assert "murmur" not in text
    typed = {"api_key": "***", "deep": [{"password": "***"}], "size": 2}
    planner.post(url("change", row.pk), {**TYPED, "context": json.dumps(typed)})
    kept = {"api_key": "hush", "deep": [{"password": "murmur"}], "size": 2}
    assert decode(CronSchedule.objects.get().context) == kept
    planner.post(url("change", row.pk), {**TYPED, "context": '{"api_key": "new"}'})
    assert decode(CronSchedule.objects.get().context) == {"api_key": "new"}


def test_who_may_not_see_contexts_changes_all_but_the_context(transactional_db):
    row = made(context={"size": "twelve"})
    client = logged_in(person("carl", *VIEWER, "change_cronschedule"))
    assert "twelve" not in page(client, "change", row.pk)
    client.post(url("change", row.pk), {**TYPED, "context": "{}", "priority": "4"})
    found = CronSchedule.objects.get()
    assert (found.priority, decode(found.context)) == (4, {"size": "twelve"})


def test_a_schedule_whose_code_or_zone_is_gone_can_be_opened_and_mended(planner):
    row = made(workflow_name="long_gone")
    assert "long_gone (not registered here)" in page(planner, "change", row.pk)
    typed = {**TYPED, "workflow_name": "long_gone"}
    assert planner.post(url("change", row.pk), typed).status_code == 302
    CronSchedule.objects.update(timezone="Mars/Olympus", context="{", parked_at=row.created_at)
    assert "Unknown time zone." in page(planner, "change", row.pk)
    place = ("change", row.pk)
    assert "timezone" in refused(planner, place, timezone="Mars/Olympus")
    assert planner.post(url("change", row.pk), typed).status_code == 302
    assert CronSchedule.objects.get().parked_at is None


def preview(client, **typed):
    answer = client.get(url("preview"), typed)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_preview_says_when_on_both_clocks(viewer, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    text = preview(viewer, cron_expression="30 2 * * *", timezone="Asia/Tokyo",
                   start_date="2030-01-01T00:00")  # fmt: skip
    for words in ("At 02:30", "Asia/Tokyo", "Tue 2030-01-01 02:30 JST", "Mon 18:30 CET"):
        assert words in text, words
    assert text.count("JST") == 5


def test_a_time_that_comes_twice_says_which_one_it_is(viewer, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    facts = {"cron_expression": "30 * * * *", "timezone": "Europe/Berlin"}
    text = preview(viewer, **facts, start_date="2099-10-25T01:45")
    for words in ("02:30 CEST", "02:30 CET"):
        assert words in text, words


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("30 2 * * *", "America/New_York", "02:30"),
        ("* * * * *", "UTC", "1440"),
        ("0 0 1 * 1", "UTC", "either"),
        ("59/15 * * * *", "UTC", "minute"),
        ("@daily", "UTC", "At 00:00"),
        ("61 * * * *", "UTC", "out of range"),
        ("<b> * * * *", "UTC", "&lt;B&gt;"),
        ("* * * * *", "<b>", "Unknown time zone."),
        ("", "", "empty"),
    ],
)
def test_the_preview_warns_of_what_one_may_not_expect(viewer, expression, zone, words):
    text = preview(viewer, cron_expression=expression, timezone=zone)
    assert words in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("language", "typed", "words"),
    [
        ("de", "61 * * * *|UTC", "Minute: 61 liegt außerhalb von 0-59"),
        ("es", "* * *|UTC", "necesita 5 campos (minuto hora día mes día-de-semana) y tiene 3"),
        ("de", "1 L * * *|UTC", "Stunde: L (der letzte) wird nicht unterstützt; möglich sind"),
        ("de", "30 2 * * *|Europe/Berlin", "02:30 gibt es nicht; ein Lauf um 03:00 holt es"),
        ("de", "0,30 2 * * *|Europe/Berlin", "2 Zeiten ab 02:00 gibt es nicht; ein Lauf um"),
        ("es", "*/7 * * * *|UTC", "el último intervalo es de 4 minutos."),
        ("es", "0 0 1 * 1|UTC", "coincide uno de los dos"),
        ("de", "* * * * *|berlin", "Unbekannte Zeitzone. Meinten Sie Europe/Berlin?"),
    ],
)
def test_the_preview_speaks_the_readers_language(viewer, settings, language, typed, words):
    settings.LANGUAGE_CODE = language
    expression, _, zone = typed.partition("|")
    assert words in preview(viewer, cron_expression=expression, timezone=zone)


def test_a_sentence_of_core_is_the_same_in_english_however_it_was_marked():
    found = [
        one.text
        for expression in ("*/7 */5 31 * 1", "59/15 * 29 2 *", "* * * * *")
        for one in cron.warnings_of(cron.parse(expression, "Europe/Berlin"), scenes.moment(0))
    ]
    assert len(found) > 4
    assert [in_words(text) for text in found] == [str(text) for text in found]
    assert in_words("not ours") == "not ours"


def test_who_may_only_add_is_shown_the_preview_too(transactional_db):
    client = logged_in(person("adam", "add_cronschedule"))
    assert "At 02:30" in preview(client, cron_expression="30 2 * * *", timezone="UTC")


@pytest.mark.parametrize("date", ["", "2030", "9999-12-31T00:00", "0001-01-01", "9998-12-31T00:00"])
def test_the_preview_bears_any_date(viewer, date):
    facts = {"cron_expression": "0 0 29 2 *", "timezone": "UTC"}
    preview(viewer, **facts, start_date=date)
    preview(viewer, **facts, end_date=date)
