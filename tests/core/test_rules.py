"""Trigger rules: the language, its limits and what it decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core.namespace import WorkflowContext
from cloaca_django.core.rules import (
    Rule,
    all_of,
    always,
    any_of,
    context_value,
    none_of,
    parse,
    task_failed,
    task_skipped,
    task_success,
)
from cloaca_django.core.states import TaskStatus
from cloaca_django.errors import (
    InvalidContext,
    InvalidContextType,
    InvalidTriggerRule,
    UnknownOperator,
)

from .json_values import keys, scalars, values

NAMESPACE = WorkflowContext("public", "embedded", "w")
STATUSES = {"a": TaskStatus.COMPLETED, "b": TaskStatus.FAILED, "c": TaskStatus.SKIPPED}

names = st.sampled_from("abcd")
leaves = (
    st.just(always())
    | st.builds(task_success, names)
    | st.builds(task_failed, names)
    | st.builds(task_skipped, names)
    | st.builds(
        context_value,
        keys,
        st.sampled_from(["Equals", "NotEquals", "Contains", "NotContains", "Exists", "NotExists"]),
        values,
    )
)
raw_rules = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda group, conditions: group(*conditions),
        st.sampled_from([all_of, any_of, none_of]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def read(raw: Any) -> Rule:
    return parse(raw, owner="task 'x'", namespace=NAMESPACE)


def decides(raw: Any, **context: Any) -> bool:
    return read(raw).allows(STATUSES, context)


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (always(), {"type": "Always"}),
        (all_of(always()), {"type": "All", "conditions": [{"type": "Always"}]}),
        (any_of(), {"type": "Any", "conditions": []}),
        (none_of(), {"type": "None", "conditions": []}),
        (task_success("a"), {"type": "TaskSuccess", "task_name": "a"}),
        (task_failed("a"), {"type": "TaskFailed", "task_name": "a"}),
        (task_skipped("a"), {"type": "TaskSkipped", "task_name": "a"}),
        (
            context_value("k", "==", 1),
            {"type": "ContextValue", "key": "k", "operator": "Equals", "value": 1},
        ),
    ],
)
def test_builders_return_plain_dicts(raw: Any, data: Any) -> None:
    assert raw == data
    assert type(raw) is dict


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (always(), True),
        (all_of(), True),
        (any_of(), False),
        (none_of(), True),
        (task_success("a"), True),
        (task_success("public::embedded::w::a"), True),
        (task_success("b"), False),
        (task_failed("b"), True),
        (task_skipped("c"), True),
        (task_success("not ended"), False),
        (all_of(task_success("a"), task_success("b")), False),
        (any_of(task_success("b"), task_failed("b")), True),
        (none_of(task_success("b"), task_failed("a")), True),
        (any_of(task_success("b"), all_of(task_failed("b"), none_of(task_success("c")))), True),
    ],
)
def test_conditions_about_tasks(raw: Any, expected: bool) -> None:
    assert decides(raw) is expected


@pytest.mark.parametrize(
    ("operator", "value", "found", "expected"),
    [
        ("Equals", 5, {"k": 5}, True),
        ("Equals", 5, {"k": 5.0}, False),
        ("Equals", True, {"k": 1}, False),
        ("Equals", None, {}, False),
        ("Equals", [1], {"k": [1]}, True),
        ("Equals", {"a": [1]}, {"k": {"a": [True]}}, False),
        ("NotEquals", 5, {}, True),
        ("NotEquals", 5, {"k": 5}, False),
        ("GreaterThan", 1, {"k": 1.5}, True),
        ("GreaterThan", 1, {"k": 1}, False),
        ("GreaterThan", 1, {"k": "2"}, False),
        ("GreaterThan", 1, {"k": True}, False),
        ("GreaterThan", 1, {}, False),
        ("LessThan", 1, {"k": 0}, True),
        ("LessThan", 1, {"k": None}, False),
        ("Contains", "b", {"k": "abc"}, True),
        ("Contains", "z", {"k": "abc"}, False),
        ("Contains", 1, {"k": [2, 1]}, True),
        ("Contains", 1, {"k": [True, 1.0]}, False),
        ("Contains", 1, {"k": "1"}, False),
        ("Contains", "a", {"k": {"a": 1}}, False),
        ("Contains", 1, {}, False),
        ("NotContains", 1, {}, True),
        ("NotContains", 1, {"k": [1]}, False),
        ("Exists", None, {"k": None}, True),
        ("Exists", None, {}, False),
        ("NotExists", None, {}, True),
        ("NotExists", None, {"k": None}, False),
    ],
)
def test_conditions_about_the_context(
    operator: str, value: Any, found: dict[str, Any], expected: bool
) -> None:
    assert decides(context_value("k", operator, value), **found) is expected


def test_a_value_of_the_wrong_type_is_logged_without_the_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "cloaca_django"):
        assert not decides(context_value("token", ">", 1), token="hunter2")
    assert "GreaterThan of 'token' is False: it is str" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("EQUALS", "Equals"), ("eq", "Equals"), ("==", "Equals"),
        ("not_equals", "NotEquals"), ("ne", "NotEquals"), ("!=", "NotEquals"),
        ("greater_than", "GreaterThan"), (">", "GreaterThan"), ("GT", "GreaterThan"),
        ("lessthan", "LessThan"), ("<", "LessThan"), ("lt", "LessThan"),
        ("contains", "Contains"), ("Not_Contains", "NotContains"),
        ("exists", "Exists"), ("not_exists", "NotExists"),
    ],
)  # fmt: skip
def test_operators_have_upstreams_spellings(spelling: str, name: str) -> None:
    assert context_value("k", spelling, 1)["operator"] == name


@pytest.mark.parametrize("key", ["a\ud800", "a\x00", "k" * 256])
def test_a_key_that_no_context_holds_is_refused_and_never_stored(key: str) -> None:
    with pytest.raises(InvalidContext, match="key"):
        parse(context_value(key, "Exists"), owner="task 'a'")


@pytest.mark.parametrize("operator", ["~", "Eqals", "", None, 1, "=>"])
def test_an_unknown_operator_lists_the_known_ones(operator: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown operator .* Use one of: Equals, NotEquals"):
        context_value("k", operator, 1)


def test_a_misspelt_operator_gets_a_hint() -> None:
    with pytest.raises(UnknownOperator, match="did you mean 'Equals'"):
        context_value("k", "Eqals", 1)


def deep(levels: int) -> Any:
    raw = always()
    for _ in range(levels):
        raw = all_of(raw)
    return raw


@pytest.mark.parametrize(
    ("raw", "fragment"),
    [
        ("always", "'always' is not a rule"),
        ([always()], "is not a rule"),
        (all_of("a"), "'a' is not a rule"),  # type: ignore[arg-type]
        ({}, "unknown type None; accepted: Always, All"),
        ({"type": "Some"}, "unknown type 'Some'"),
        ({"type": []}, "unknown type []"),
        ({"type": "All"}, "All needs a list of conditions"),
        ({"type": "Any", "conditions": "x"}, "Any needs a list"),
        ({"type": "TaskSuccess"}, "needs the name of a task"),
        ({"type": "TaskFailed", "task_name": 1}, "needs the name of a task, not 1"),
        ({"type": "ContextValue", "operator": "Exists"}, "needs the name of a key"),
        (context_value("k", "GreaterThan", "abc"), "GreaterThan of key 'k' needs a number"),
        (context_value("k", "LessThan", True), "needs a number"),
        (deep(32), "nested over 32 deep"),
        (deep(100), "nested over 32 deep"),
        (all_of(*[always()] * 1000), "over 1,000 conditions"),
        (all_of(*[always()] * 10_000), "over 1,000 conditions"),
    ],
)
def test_what_is_no_rule_is_refused(raw: Any, fragment: str) -> None:
    with pytest.raises(InvalidTriggerRule) as caught:
        read(raw)
    assert "task 'x': invalid trigger rule: " in str(caught.value)
    assert fragment in str(caught.value)


def test_a_rule_compares_with_json_only() -> None:
    with pytest.raises(InvalidContextType, match=r"\$\.value: unsupported type: set"):
        read(context_value("k", "Equals", {1}))


@given(raw_rules)
def test_a_rule_survives_its_text(raw: Any) -> None:
    rule = read(raw)
    assert Rule.from_text(rule.to_text()) == rule
    assert read(rule.to_data()) == rule


@given(st.lists(raw_rules, max_size=4), st.dictionaries(keys, scalars, max_size=3))
def test_groups_agree_with_python(raw: list[Any], context: dict[str, Any]) -> None:
    each = [read(one).allows(STATUSES, context) for one in raw]
    assert read(all_of(*raw)).allows(STATUSES, context) is all(each)
    assert read(any_of(*raw)).allows(STATUSES, context) is any(each)
    assert read(none_of(*raw)).allows(STATUSES, context) is (not any(each))


def test_a_rule_knows_what_it_reads() -> None:
    rule = read(any_of(task_success("a"), none_of(task_failed("public::embedded::w::b"))))
    assert rule.task_names() == {"a", "b"}
    assert not rule.reads_context
    assert read(all_of(context_value("k", "exists"))).reads_context
