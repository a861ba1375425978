"""A schedule's context by the fields that its workflow declares, and what the log says of it."""

from __future__ import annotations

import pytest
from django import forms
from django.contrib.admin.models import LogEntry

import cloaca_django as cloaca
from cloaca_django.core.context import decode
from cloaca_django.models import CronSchedule
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person
from tests.interface.admin.test_schedule_form import TYPED, refused
from tests.interface.admin.test_schedule_pages import made, page, url


class CopyForm(forms.Form):
    """What an author's own form asks."""

    target = forms.CharField()
    limit = forms.IntegerField(initial=5, min_value=1)


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()
    with cloaca.WorkflowBuilder("with_form"):
        cloaca.workflow_params(CopyForm)(workflows.nothing)
        cloaca.task(id="a")(workflows.nothing)
    with cloaca.WorkflowBuilder("with_secret"):
        cloaca.workflow_params(api_key=str, token_list=list, notes=(str, ""))(workflows.nothing)
        cloaca.task(id="a")(workflows.nothing)


def typed_for(workflow, **typed):
    return {**TYPED, "workflow_name": workflow, "inputs_of": workflow, **typed}


INPUTS = {"input-source_id": "erp", "input-batch_size": "7", "input-ratio": "0.5"}


def context_of_the_row():
    return decode(CronSchedule.objects.get().context)


def shown_form(client, row):
    return client.get(url("change", row.pk)).context["adminform"].form


def as_typed(form):
    """Return what a browser sends for a form that nobody touches."""
    typed = {name: form[name].value() for name in form.fields}
    typed |= {form.inputs[name].html_name: form.inputs[name].value() for name in form.inputs.fields}
    typed = {name: "" if value is None else value for name, value in typed.items()}
    typed = {name: value for name, value in typed.items() if value is not False}
    return {**typed, "inputs_of": form.inputs_of}


def test_declared_inputs_are_fields_and_the_rest_is_json(planner):
    typed = typed_for("with_inputs", **INPUTS, context='{"more": 1}')
    assert planner.post(url("add"), typed).status_code == 302
    assert context_of_the_row() == {
        "more": 1, "source_id": "erp", "batch_size": 7, "ratio": 0.5, "dry_run": False,
    }  # fmt: skip
    form = shown_form(planner, CronSchedule.objects.get())
    assert form.inputs["source_id"].value() == "erp"
    assert form["context"].value() == '{\n  "more": 1\n}'


def test_saving_an_untouched_form_changes_nothing(planner):
    row = made(workflow_name="with_inputs", context={"source_id": "erp", "more": [1]})
    assert planner.post(url("change", row.pk), as_typed(shown_form(planner, row))).url
    found = CronSchedule.objects.get()
    assert (found.context, found.updated_at) == (row.context, row.updated_at)


def test_one_field_is_changed_and_the_others_stay_left_out(planner):
    row = made(workflow_name="with_inputs", context={"source_id": "erp", "more": 1})
    typed = as_typed(shown_form(planner, row)) | {"input-batch_size": "9", "input-dry_run": "on"}
    planner.post(url("change", row.pk), typed)
    assert context_of_the_row() == {
        "more": 1, "source_id": "erp", "batch_size": 9, "dry_run": True,
    }  # fmt: skip
    typed = as_typed(shown_form(planner, row))
    planner.post(url("change", row.pk), {**typed, "input-batch_size": ""})
    assert "batch_size" not in context_of_the_row()


@pytest.mark.parametrize(
    ("field", "value"),
    [("input-source_id", ""), ("input-batch_size", "many"), ("input-ratio", "1e999")],
)
def test_a_wrong_input_is_said_at_its_field(planner, field, value):
    said = refused(planner, **typed_for("with_inputs", **{**INPUTS, field: value}))
    assert set(said) == {"context"}
    typed = typed_for("with_inputs", **{**INPUTS, field: value})
    form = planner.post(url("add"), typed).context["adminform"].form
    assert set(form.inputs.errors) == {field.removeprefix("input-")}


def test_an_authors_own_form_is_asked(planner):
    typed = typed_for("with_form", **{"input-target": "a", "input-limit": "0"})
    form = planner.post(url("add"), typed).context["adminform"].form
    assert set(form.inputs.errors) == {"limit"}
    typed["input-limit"] = "3"
    assert planner.post(url("add"), typed).status_code == 302
    assert context_of_the_row() == {"target": "a", "limit": "3"}
    form = shown_form(planner, CronSchedule.objects.get())
    assert form.inputs["limit"].value() == "3"


def test_without_the_script_json_alone_will_do(planner):
    typed = {**TYPED, "workflow_name": "with_inputs", "context": '{"source_id": "erp"}'}
    assert planner.post(url("add"), typed).status_code == 302
    assert context_of_the_row() == {"source_id": "erp"}


def test_the_fields_come_after_a_workflow_was_chosen_without_the_script(planner):
    typed = {**TYPED, "workflow_name": "with_inputs"}
    text = planner.post(url("add"), typed).content.decode()
    assert 'name="input-source_id"' in text
    assert 'name="inputs_of" value="with_inputs"' in text


def test_another_workflow_brings_its_own_fields(planner):
    row = made(workflow_name="with_inputs", context={"source_id": "erp", "more": 1})
    typed = as_typed(shown_form(planner, row))
    typed |= typed_for("with_form", **{"input-target": "b", "input-limit": "2"})
    typed["context"] = '{"more": 1}'
    planner.post(url("change", row.pk), typed)
    assert context_of_the_row() == {"more": 1, "target": "b", "limit": "2"}


def test_secrets_have_fields_without_their_values(planner):
    row = made(workflow_name="with_secret",
               context={"api_key": "hush", "token_list": ["hush"], "notes": "a\nb"})  # fmt: skip
    form = shown_form(planner, row)
    assert "hush" not in page(planner, "change", row.pk)
    # What a line of text cannot show and give back stays in the JSON.
    assert set(form.inputs.fields) == {"api_key"}
    typed = as_typed(form)
    planner.post(url("change", row.pk), typed)
    assert decode(CronSchedule.objects.get().context) == decode(row.context)
    planner.post(url("change", row.pk), {**typed, "input-api_key": "new"})
    assert context_of_the_row() == {"api_key": "new", "token_list": ["hush"], "notes": "a\nb"}


def test_the_script_asks_for_the_fields_of_a_workflow(planner, viewer):
    text = planner.get(url("inputs"), {"workflow_name": "with_inputs"}).content.decode()
    assert 'name="input-batch_size"' in text
    assert "Inputs of with_inputs" in text
    for name in ("customer_etl", "nobody", scenes.NASTY, ""):
        text = planner.get(url("inputs"), {"workflow_name": name}).content.decode()
        assert text.strip() == "", name
    assert viewer.get(url("inputs"), {"workflow_name": "with_inputs"}).status_code == 403


def test_who_may_not_see_contexts_is_shown_no_input(transactional_db):
    row = made(workflow_name="with_inputs", context={"source_id": "whisper"})
    client = logged_in(person("carl", *VIEWER, "change_cronschedule"))
    assert "whisper" not in page(client, "change", row.pk)
    typed = typed_for("with_inputs", **INPUTS, priority="4")
    assert client.post(url("change", row.pk), typed).status_code == 302
    assert context_of_the_row() == {"source_id": "whisper"}


def said_of_the_change():
    return LogEntry.objects.latest("pk").get_change_message()


def test_the_log_says_what_was_and_what_is(planner):
    row = made(context={"region": "eu", "password": "hush"}, deadline_seconds=60)
    typed = {
        **TYPED, "cron_expression": "0 4 * * *", "priority": "5", "deadline_seconds": "",
        "start_date": "2030-01-01T00:00:00", "context": '{"password": "loud", "size": 1}',
    }  # fmt: skip
    planner.post(url("change", row.pk), typed)
    said = said_of_the_change()
    for words in (
        "cron_expression from 30 2 * * * to 0 4 * * *", "priority from 0 to 5",
        "deadline_seconds from 60 to -", "start_date from - to 2030-01-01 00:00:00",
        "context (password, region, size)",
    ):  # fmt: skip
        assert words in said, words
    for words in ("hush", "loud", "timezone", "workflow_name", "queue"):
        assert words not in said, words
    assert "Cron expression from" in page(planner, "history", row.pk)


def test_the_log_says_that_nothing_was_changed(planner):
    row = made()
    planner.post(url("change", row.pk), TYPED)
    assert said_of_the_change() == "Changed nothing."
    planner.post(url("change", row.pk), {**TYPED, "workflow_name": "invoice_pipeline"})
    assert said_of_the_change() == "Changed workflow_name from customer_etl to invoice_pipeline."
