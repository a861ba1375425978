"""Declared inputs of a workflow, by types or by a form."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.context import Context
from cloaca_django.core.decorator import task
from cloaca_django.core.params import REQUIRED, Param, validate, workflow_params
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import InvalidDefinition, InvalidOptionType, InvalidParams


class ReportForm(forms.Form):
    day = forms.DateField()
    limit = forms.IntegerField(initial=10, min_value=1)
    is_draft = forms.BooleanField(required=False)


def build(params: Any = None) -> Workflow:
    with WorkflowBuilder("w", params=params):
        task(id="a")(lambda context: None)
    return registry.find("w")


def test_the_decorator_leaves_its_object_alone_outside_of_a_builder() -> None:
    def function() -> str:
        return "x"

    assert workflow_params(retries=int, region=(str, "us-east-1"))(function) is function


def test_declared_inputs_belong_to_the_innermost_builder() -> None:
    with WorkflowBuilder("w"):

        @workflow_params(source=str, batch_size=(int, 500))
        @task()
        def first(context: Any) -> None:
            pass

    params = registry.find("w").params
    assert params == (Param("source", str), Param("batch_size", int, 500))
    assert repr(params[0].default) == "REQUIRED"
    assert params[0].default is REQUIRED


def test_defaults_are_filled_in_and_other_keys_pass() -> None:
    workflow = build({"source": str, "batch_size": (int, 500), "rate": (float, 1)})
    data = {"source": "s", "other": [1]}
    assert validate(workflow, data) == {**data, "batch_size": 500, "rate": 1}
    assert data == {"source": "s", "other": [1]}


def test_complete_inputs_are_returned_as_they_are() -> None:
    data = {"n": 1}
    assert validate(build(), data) is data
    with registry.isolated():
        assert validate(build({"n": int}), data) is data


def test_every_problem_is_named_and_no_value() -> None:
    workflow = build({"source": str, "n": int, "rate": float})
    with pytest.raises(InvalidParams) as caught:
        validate(workflow, {"source": 12345, "n": True})
    assert str(caught.value) == (
        "Invalid inputs of workflow 'w': rate: is required; source: must be str, not int; "
        "n: must be int, not bool"
    )
    assert caught.value.problems == {
        "rate": "is required",
        "source": "must be str, not int",
        "n": "must be int, not bool",
    }


@pytest.mark.parametrize(
    "declared",
    [{"a": bytes}, {"a": (int, "x")}, {"a": 1}, {"": int}, {"a": (set, set())}, 1, object],
)
def test_impossible_declarations_are_refused(declared: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of a definition or of a context
        build(declared)


def test_none_may_be_a_default() -> None:
    assert validate(build({"a": (str, None)}), {}) == {"a": None}


def test_a_form_checks_and_fills_in() -> None:
    checked = validate(build(ReportForm), {"day": "2026-01-31", "other": 1})
    assert checked == {"day": "2026-01-31", "other": 1, "limit": 10, "is_draft": False}
    assert Context(checked)


def test_a_form_cleans_values_that_can_be_stored() -> None:
    assert validate(build(ReportForm), {"day": "2026-01-31", "limit": "7"})["limit"] == 7


def test_a_forms_problems_are_named() -> None:
    with pytest.raises(InvalidParams, match=r"day: This field is required\.; limit: Ensure"):
        validate(build(ReportForm), {"limit": 0})


class ChoosingForm(forms.Form):
    colour = forms.ChoiceField(choices=[("red", "Red")])
    sizes = forms.TypedMultipleChoiceField(choices=[("1", "One")])


def test_a_forms_problem_quotes_no_value() -> None:
    with pytest.raises(InvalidParams, match=r"colour: Select a valid choice\. \*\*\* is not") as it:
        validate(build(ChoosingForm), {"colour": "S3CR3T", "sizes": ["S3CR3T"]})
    assert "S3CR3T" not in f"{it.value} {it.value.problems}"


def test_odd_names_and_many_problems_make_no_odd_text() -> None:
    with pytest.raises(InvalidOptionType, match=r"workflow_params: '\\x1f' must be one of"):
        build({"\x1f": None})
    with pytest.raises(InvalidParams, match=r"; and 20 more$") as caught:
        validate(build({f"a\n{at}": int for at in range(30)}), {})
    assert str(caught.value).isprintable()
    assert len(caught.value.problems) == 30


def test_what_does_not_compare_is_no_type() -> None:
    class Mute:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(InvalidOptionType, match="must be one of the types"):
        build({"a": Mute()})


def test_the_decorator_takes_a_form_too() -> None:
    with WorkflowBuilder("w"):
        workflow_params(ReportForm)(None)
        task(id="a")(lambda context: None)
    assert registry.find("w").params is ReportForm
    with pytest.raises(InvalidDefinition):
        workflow_params(int)
