"""Tasks, workflows, policies, rules and configurations of whatever people have at hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django import (
    DefaultRunnerConfig,
    WorkflowBuilder,
    schedule,
    task,
    workflow_params,
)
from cloaca_django.core import config, registry, rules
from cloaca_django.core.namespace import TaskNamespace
from cloaca_django.core.retry import BackoffStrategy, RetryCondition, RetryPolicy
from cloaca_django.core.rules import Rule
from tests.fuzz.hostile import judged, letters, mixed, oddities, things
from tests.workflows import nothing

OPTIONS = sorted(task.__kwdefaults__)
PARTS = {
    "retry_attempts": st.integers(-2, 2_000), "retry_delay_ms": st.integers(-1, 10**12),
    "retry_backoff": st.sampled_from(["fixed", "linear", "exponentail"]),
    "timeout_seconds": st.floats(-1, 10**7), "id": mixed(["a", "::", "/", ".", "-", "\n"], most=5),
    "retry_condition": st.sampled_from([ValueError, [ValueError], [1], "transient", []]),
}  # fmt: skip
NAMES = mixed(["a", "b", "::", "w", " ", ".", "-", "/", "\n", "\x00", "é", "x" * 300], most=4)
KINDS = ["Always", "All", "Any", "None", "TaskSuccess", "TaskFailed", "ContextValue", "Eqals", 7]
OPERATORS = ["Equals", "eq", "GreaterThan", "<", "Contains", "NotExists", "Eqals", "", None, 7]
leaves = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "task_name": NAMES | things, "key": letters | things, "value": things,
        "operator": st.sampled_from(OPERATORS) | things,
    },
)  # fmt: skip
raw_rules = st.recursive(
    leaves | things,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS), "conditions": st.lists(inner, max_size=3) | things}
    ),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def _registry():
    with registry.isolated():
        yield


def _define(name: str, *tasks: dict[str, Any], **options: Any) -> None:
    with registry.isolated(), WorkflowBuilder(name, **options):
        for facts in tasks:
            task(**facts)(nothing)


@given(st.data(), st.sampled_from(OPTIONS))
def test_any_option_of_a_task(data, option):
    value = data.draw(PARTS.get(option, things) | things)
    judged(lambda: _define("w", {"id": "a", option: value}))


@given(st.dictionaries(st.sampled_from(OPTIONS) | letters, things, max_size=4))
def test_any_options_of_a_task(options):
    judged(lambda: _define("w", options))


@given(things | oddities)
def test_anything_as_a_task(thing):
    def define() -> None:
        with registry.isolated(), WorkflowBuilder("w"):
            task(id="a")(thing)
            task()(thing)

    judged(define)


@given(st.lists(st.tuples(NAMES, st.lists(NAMES | things, max_size=3)), max_size=5))
def test_any_graph(drafts):
    judged(lambda: _define("w", *({"id": id, "dependencies": needs} for id, needs in drafts)))


@given(raw_rules)
def test_any_rule_is_refused_or_stored_and_read_as_it_was(raw):
    read: list[Rule] = []
    if judged(lambda: read.append(rules.parse(raw, owner="task 'a'"))):
        text = read[0].to_text()
        text.encode()
        assert Rule.from_text(text) == read[0]
        assert read[0].allows({}, {}) in (True, False)
    judged(lambda: _define("w", {"id": "a"}, {"id": "b", "trigger_rules": raw}))


@given(letters | things, things, things)
def test_any_comparison(key, operator, value):
    judged(lambda: rules.context_value(key, operator, value))


@given(NAMES | things, st.dictionaries(
    st.sampled_from(["tenant", "package", "workflow", "max_running", "params", "durability"]),
    NAMES | things, max_size=2,
))  # fmt: skip
def test_any_workflow(name, options):
    judged(lambda: _define(name, {"id": "a"}, **options))


@given(letters | things, letters | things)
def test_any_word_about_a_workflow(key, value):
    builder = WorkflowBuilder("w")
    judged(lambda: builder.description(value))
    judged(lambda: builder.tag(key, value))
    judged(lambda: builder.add_task(value))
    judged(lambda: builder.schedule(key))
    judged(lambda: builder.schedule("@daily", timezone=value, name=key))
    judged(lambda: workflow_params(value))
    judged(lambda: workflow_params(a=(value, key)))
    judged(lambda: registry.find(value))
    judged(lambda: TaskNamespace.from_string(key))


@given(letters | things, letters | things, letters | things)
def test_any_declaration_of_a_schedule(expression, zone, name):
    def declare(**given: Any) -> None:
        with registry.isolated():
            schedule(expression, **given)(nothing)

    judged(declare)
    judged(lambda: declare(timezone=zone))
    judged(lambda: declare(name=name))


@given(NAMES | things, things)
def test_any_constructor_of_a_workflow(name, thing):
    judged(lambda: registry.register_workflow_constructor(name, nothing))
    judged(lambda: registry.register_workflow_constructor("w", lambda: thing))


@given(things, st.sampled_from(["max_attempts", "initial_delay", "max_delay", "backoff_strategy",
                                "retry_condition", "with_jitter"]))  # fmt: skip
def test_any_step_of_a_policy(thing, step):
    judged(lambda: getattr(RetryPolicy.builder(), step)(thing).build())


@given(things, things, st.sampled_from(["max_attempts", "initial_delay", "with_jitter", "backoff"]))
def test_any_policy(first, second, name):
    judged(lambda: RetryPolicy(**{name: first}))
    judged(lambda: BackoffStrategy.linear(first))
    judged(lambda: BackoffStrategy.exponential(first, second))
    judged(lambda: BackoffStrategy(first, second))
    judged(lambda: RetryCondition.error_pattern(first))
    judged(lambda: RetryCondition.exceptions(first, second))
    judged(lambda: RetryCondition(first))


@given(st.sampled_from([*config.DefaultRunnerConfig.fields, "workflow_timeout_seconds"]), things)
def test_any_configuration(name, thing):
    made: list[DefaultRunnerConfig] = []
    judged(lambda: made.append(DefaultRunnerConfig(**{name: thing})))
    judged(lambda: setattr(DefaultRunnerConfig(), name, thing))
    for one in made:
        judged(lambda one=one: config.settled(one))
        assert repr(one)
