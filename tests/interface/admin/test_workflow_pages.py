"""The catalogue, the page of a workflow, and the form that starts a run."""

from __future__ import annotations

import json
import re

import pytest
from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.urls import reverse

import cloaca_django as cloaca
from cloaca_django.core.states import RunStatus
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    WorkflowControl,
    WorkflowDefinition,
)
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.test_run_page import MOST_QUERIES


class Order(forms.Form):
    """An author's own form."""

    number = forms.IntegerField(min_value=1)
    day = forms.DateField(required=False)


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    workflows.chain("customer_etl", workflows.nothing, workflows.nothing)
    with cloaca.WorkflowBuilder("with_inputs") as builder:
        builder.description("Takes what it is given")

        @cloaca.workflow_params(
            source=str, size=(int, 500), ratio=(float, 0.5), dry=(bool, False), tags=(list, [])
        )
        @cloaca.task(id="a")
        def a(context):
            """Do nothing."""

    with cloaca.WorkflowBuilder("with_form"):

        @cloaca.workflow_params(Order)
        @cloaca.task(id="a")
        def b(context):
            """Do nothing."""


def url(name, *args):
    return reverse(f"admin:cloaca_django_workflowcontrol_{name}", args=[quote(a) for a in args])


def shown(client, *place):
    answer = client.get(url(*place))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_catalogue_has_every_workflow_and_how_its_runs_went(operator):
    for status in (RunStatus.COMPLETED, RunStatus.COMPLETED, RunStatus.FAILED):
        scenes.run("customer_etl", status)
    scenes.run("customer_etl", RunStatus.FAILED, age=8 * 86_400)
    WorkflowControl.objects.create(name="gone", paused_at=scenes.moment(1), paused_by="ana")
    text = shown(operator, "changelist")
    assert "2 of the last 4 runs completed" in text
    assert "2 of 3 runs of the last 7 days completed" in text
    assert "67%" in text
    assert "Takes what it is given" in text
    assert "gone" in text


def test_workflows_are_chosen_by_state_and_schedule(operator):
    WorkflowControl.objects.create(name="gone")
    WorkflowControl.objects.create(name="with_form", paused_at=scenes.moment(1), paused_by="ana")
    CronSchedule.objects.create(
        name="nightly", workflow_name="with_inputs", cron_expression="0 0 * * *",
        created_at=scenes.moment(1), updated_at=scenes.moment(1),
    )  # fmt: skip

    def names(query):
        entries = operator.get(url("changelist") + query).context["entries"]
        return [entry.name for entry, _buttons in entries]

    assert names("?state=active") == ["customer_etl", "with_inputs"]
    assert names("?state=paused") == ["with_form"]
    assert names("?state=unknown") == ["gone"]
    assert names("?schedule=yes") == ["with_inputs"]
    assert names("?state=active&schedule=no") == ["customer_etl"]
    assert names("?app=tests") == ["customer_etl", "with_form", "with_inputs"]
    assert names("?app=-") == ["gone"]
    text = shown(operator, "changelist")
    assert url("pause", "customer_etl") in text
    assert url("resume", "with_form") in text
    assert url("pause", "gone") not in text
    assert "No workflow matches." in operator.get(f"{url('changelist')}?state=x").content.decode()


@pytest.mark.parametrize("count", [1, 60])
def test_catalogue_and_page_cost_the_same_for_few_and_many_runs(
    operator, count, django_assert_max_num_queries
):
    for _ in range(count):
        scenes.task(scenes.run("customer_etl"), "a")
        WorkflowControl.objects.get_or_create(name=f"w{_}")
    with django_assert_max_num_queries(MOST_QUERIES):
        shown(operator, "changelist")
    with django_assert_max_num_queries(MOST_QUERIES):
        shown(operator, "change", "customer_etl")


def test_each_version_says_how_many_of_the_newest_runs_are_of_it(operator):
    for version, count in (("new", 2), ("old", 1), ("oldest", 0)):
        WorkflowDefinition.objects.create(
            name="customer_etl", version=version, graph="{}", first_seen_at=scenes.moment(9)
        )
        for _ in range(count):
            scenes.run("customer_etl", workflow_version=version)
    answer = operator.get(url("change", "customer_etl"))
    assert {row.version: count for row, count in answer.context["versions"]} == {
        "new": 2, "old": 1, "oldest": 0,
    }  # fmt: skip
    assert "2 runs" in answer.content.decode()


def test_the_page_of_a_workflow(operator):
    scenes.busy_run()
    scenes.run("customer_etl", took=30)
    text = shown(operator, "change", "customer_etl")
    for words in ("Run now…", "Pause…", "Graph: customer_etl", "Task health", "notify", "30 s"):
        assert words in text, words
    assert "ratio" in shown(operator, "change", "with_inputs")
    assert operator.get(url("change", "nobody")).status_code == 302


def test_a_run_is_started_with_typed_inputs(operator):
    data = {"input-source": " x ", "input-size": "12", "input-ratio": "1.5", "input-dry": "on",
            "input-tags": '["a"]', "context": '{"more": [1, 2]}', "reason": "a try"}  # fmt: skip
    answer = operator.post(url("run", "with_inputs"), data)
    made = PipelineExecution.objects.get()
    assert answer["Location"].endswith(f"{made.pk}/change/")
    assert json.loads(made.context) == {
        "source": " x ", "size": 12, "ratio": 1.5, "dry": True, "tags": ["a"], "more": [1, 2],
    }  # fmt: skip
    assert (made.origin, made.created_by, made.reason) == ("admin", "otto", "a try")
    told = LogEntry.objects.get().get_change_message()
    assert re.fullmatch(f"Started run {made.pk}, inputs [0-9a-f]{{12}}: a try", told)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"input-size": "many"}, "Enter a whole number."),
        ({"input-source": ""}, "This field is required."),
        ({"input-tags": "{"}, "Enter a valid JSON."),
        ({"input-tags": '{"a": 1}'}, "must be list, not dict"),
        ({"context": '{"a": 1,\n  b}'}, "line 2, column 3"),
        ({"context": "[1]"}, "a JSON object is needed"),
        ({"context": '{"a": NaN}'}, "NaN"),
        ({"context": "[" * 5000}, "cloaca-form"),
        ({"start_at": "never"}, "Enter a valid date/time."),
        ({"start_at": "9999-12-31T23:59"}, "years 1970 to 9997"),
    ],
)
def test_a_bad_value_is_named_where_it_was_typed_and_nothing_starts(operator, data, says):
    good = {"input-source": "x", "input-size": "1", "input-ratio": "1", "input-tags": "[]",
            "context": "{}"}  # fmt: skip
    answer = operator.post(url("run", "with_inputs"), {**good, **data})
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert not PipelineExecution.objects.exists()


def test_the_form_of_a_workflows_author_is_used(operator):
    bad = operator.post(url("run", "with_form"), {"input-number": "0", "context": "{}"})
    assert "greater than or equal to 1" in bad.content.decode()
    good = {"input-number": "7", "input-day": "2026-01-05", "context": "{}"}
    operator.post(url("run", "with_form"), good)
    assert json.loads(PipelineExecution.objects.get().context) == {
        "number": 7,
        "day": "2026-01-05",
    }


def test_a_workflow_is_paused_with_a_reason_and_resumed(operator):
    assert (
        "This field is required"
        in operator.post(url("pause", "customer_etl"), {"reason": ""}).content.decode()
    )
    operator.post(url("pause", "customer_etl"), {"reason": "moving house"})
    row = WorkflowControl.objects.get(pk="customer_etl")
    assert (row.paused_by, row.pause_reason) == ("otto", "moving house")
    text = shown(operator, "change", "customer_etl")
    assert "Paused by otto" in text
    assert "moving house" in text
    assert "the run will wait until it is resumed" in shown(operator, "run", "customer_etl")
    operator.post(url("resume", "customer_etl"))
    assert WorkflowControl.objects.get(pk="customer_etl").paused_at is None
    assert LogEntry.objects.count() == 2


def test_asking_changes_nothing_and_viewers_may_not_even_ask(operator, viewer):
    for slug in ("pause", "run"):
        assert operator.get(url(slug, "customer_etl")).status_code == 200
        assert viewer.get(url(slug, "customer_etl")).status_code == 403
        assert viewer.post(url(slug, "customer_etl"), {"reason": "x"}).status_code == 403
    assert not WorkflowControl.objects.exists()
    assert not PipelineExecution.objects.exists()
    text = shown(viewer, "change", "customer_etl")
    assert "Run now" not in text
    assert "Pause…" not in text


def test_a_workflow_that_no_code_registers_cannot_be_run(operator):
    WorkflowControl.objects.create(name="gone")
    answer = operator.post(url("run", "gone"), {"context": "{}"}, follow=True)
    assert "No workflow “gone” is registered in this process." in answer.content.decode()
    assert operator.post(url("run", "never_there"), {"context": "{}"}).status_code == 302
    assert not PipelineExecution.objects.exists()


def test_names_of_any_kind_have_a_page(operator):
    for name in ("a/b", "run/", "50%", "ünïcode…", scenes.NASTY[:60], "a_b?c#d"):
        WorkflowControl.objects.create(name=name)
        scenes.run(name)
        text = shown(operator, "change", name)
        assert "<script>document" not in text
    assert "<script>document" not in shown(operator, "changelist")
