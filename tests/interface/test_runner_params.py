"""Inputs that a workflow declares: checked by ``execute`` and ``enqueue`` alike."""

from __future__ import annotations

import pytest
from django import forms

from cloaca_django import Context, WorkflowBuilder, task, workflow_params
from cloaca_django.errors import InvalidParams
from cloaca_django.models import PipelineExecution
from tests import workflows


@pytest.fixture
def declared(runner):
    seen = []
    with WorkflowBuilder("w"):

        @workflow_params(day=str, rows=(int, 10), share=(float, 0.5))
        @task()
        def body(context):
            seen.append(context.to_dict())

    return runner


@pytest.mark.parametrize("way", ["execute", "enqueue", "enqueue_many"])
def test_defaults_are_filled_in(declared, way):
    given = Context({"day": "monday", "more": 1})
    if way == "execute":
        result = declared.execute("w", given)
    elif way == "enqueue":
        result = declared.enqueue("w", given).wait(20)
    else:
        result = declared.enqueue_many("w", [given])[0].wait(20)
    assert result.final_context.to_dict() == {
        "day": "monday",
        "more": 1,
        "rows": 10,
        "share": 0.5,
    }
    assert given.to_dict() == {"day": "monday", "more": 1}


BAD = [
    ({}, "day: is required"),
    ({"day": 7}, "day: must be str, not int"),
    ({"day": None}, "day: must be str, not NoneType"),
    ({"day": "x", "rows": "10"}, "rows: must be int, not str"),
    ({"day": "x", "rows": True}, "rows: must be int, not bool"),
    ({"rows": 1.5}, "rows: must be int, not float"),
]


@pytest.mark.parametrize(("data", "text"), BAD)
@pytest.mark.parametrize("way", ["execute", "enqueue"])
def test_bad_inputs_are_refused_by_name_and_nothing_is_written(declared, way, data, text):
    with pytest.raises(InvalidParams, match=f"Invalid inputs of workflow 'w': .*{text}") as caught:
        getattr(declared, way)("w", Context(data))
    assert isinstance(caught.value, ValueError)
    assert not PipelineExecution.objects.exists()


def test_no_value_is_quoted(declared):
    with pytest.raises(InvalidParams) as caught:
        declared.execute("w", Context({"day": ["S3CR3T"], "rows": "S3CR3T"}))
    assert "S3CR3T" not in str(caught.value)


class ReportForm(forms.Form):
    day = forms.DateField()
    rows = forms.IntegerField(min_value=1, initial=10)
    title = forms.CharField(max_length=5, required=False)


def test_a_form_cleans_the_inputs(runner):
    workflows.single("w", builder={"params": ReportForm})
    result = runner.execute("w", Context({"day": "2026-01-31", "rows": "7", "title": " ab "}))
    assert result.final_context.to_dict() == {"day": "2026-01-31", "rows": 7, "title": "ab"}


@pytest.mark.parametrize("way", ["execute", "enqueue"])
def test_a_forms_errors_are_told_with_their_fields(runner, way):
    workflows.single("w", builder={"params": ReportForm})
    with pytest.raises(InvalidParams) as caught:
        getattr(runner, way)("w", Context({"day": "yesterday", "rows": 0, "title": "too long"}))
    text = str(caught.value)
    assert "day: Enter a valid date." in text
    assert "rows: Ensure this value is greater than or equal to 1." in text
    assert "title: Ensure this value has at most 5 characters" in text
    assert not PipelineExecution.objects.exists()
