"""What a task receives, when it runs, and what is left at the end."""

from __future__ import annotations

import pytest

from cloaca_django import (
    Context,
    all_of,
    always,
    any_of,
    context_value,
    none_of,
    task_failed,
    task_skipped,
    task_success,
)
from tests import workflows

ONCE = {"retry_attempts": 1}


def run(runner, **data):
    return runner.execute("w", Context(data))


def statuses(result):
    return {task.name: task.status for task in result.task_results}


def appends(word):
    return lambda context: context.set("order", [*context.get("order", []), word])


def test_lists_of_parallel_tasks_unite_without_doubling_what_they_share(runner):
    workflows.diamond("w", top=appends("top"), left=appends("left"), right=appends("right"))
    assert run(runner, order=["start"]).final_context["order"] == ["start", "top", "left", "right"]


def test_objects_of_parallel_tasks_merge_path_by_path(runner):
    seen = []
    workflows.diamond(
        "w",
        left=workflows.writes("m", {"a": 1}),
        right=workflows.writes("m", {"b": 2}),
        join=lambda context: seen.append(context["m"]),
    )
    assert run(runner).final_context["m"] == {"a": 1, "b": 2}
    assert seen == [{"a": 1, "b": 2}]


def test_a_fresh_value_of_an_ancestor_is_not_overwritten_by_a_stale_copy(runner):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.writes("x", "fresh"), {"dependencies": ["a"]}),
        ("c", workflows.writes("other", 1), {"dependencies": ["a"]}),
        ("d", workflows.nothing, {"dependencies": ["b", "c"]}),
    )
    assert run(runner, x="old").final_context.to_dict() == {"x": "fresh", "other": 1}


def test_the_later_in_order_wins_between_writers_that_could_not_see_each_other(runner):
    workflows.diamond("w", left=workflows.writes("x", "left"), right=workflows.writes("x", "right"))
    for _ in range(5):
        assert run(runner).final_context["x"] == "right"


def test_a_removal_reaches_whoever_comes_after(runner):
    def remove(context):
        context.remove("x")

    workflows.chain("w", remove, lambda context: context.set("seen", "x" in context))
    assert run(runner, x=1, y=2).final_context.to_dict() == {"y": 2, "seen": False}


def test_a_returned_context_replaces_what_the_task_saw(runner):
    workflows.chain("w", lambda context: Context({"only": 1}), workflows.writes("b", 2))
    assert run(runner, i=1).final_context.to_dict() == {"only": 1, "b": 2}


def test_a_task_after_a_failed_one_is_skipped_and_so_is_what_follows(runner):
    workflows.chain("w", workflows.boom, workflows.boom, workflows.boom, **ONCE)
    result = run(runner)
    assert result.status == "Failed"
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "c": "Skipped"}


def test_other_branches_of_a_failed_run_go_on_to_their_end(runner):
    workflows.diamond("w", left=workflows.boom, right=workflows.writes("right", 1), **ONCE)
    result = run(runner)
    assert statuses(result) == {
        "top": "Completed",
        "left": "Failed",
        "right": "Completed",
        "join": "Skipped",
    }
    assert (result.status, result.final_context.to_dict()) == ("Failed", {"right": 1})


def test_a_task_runs_when_one_dependency_was_skipped_and_another_completed(runner):
    never = context_value("no", "Exists")
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.boom, {"trigger_rules": never}),
        ("c", workflows.writes("c", 1), {"dependencies": ["a", "b"]}),
        ("d", workflows.boom, {"dependencies": ["b"]}),
    )
    result = run(runner)
    assert statuses(result) == {
        "a": "Completed",
        "b": "Skipped",
        "c": "Completed",
        "d": "Skipped",
    }
    assert result.status == "Completed"


RULES = [
    (context_value("go", "Equals", True), {"go": True}, True),
    (context_value("go", "Equals", True), {"go": False}, False),
    (context_value("go", "Equals", True), {"go": 1}, False),
    (context_value("n", "Equals", 5), {"n": 5}, True),
    (context_value("n", "Equals", 5), {"n": 5.0}, False),
    (context_value("n", "GreaterThan", 3), {"n": 5}, True),
    (context_value("n", "LessThan", 3), {"n": 5}, False),
    (context_value("n", "GreaterThan", 3), {"n": "5"}, False),
    (context_value("n", "GreaterThan", 3), {}, False),
    (context_value("l", "Contains", "x"), {"l": ["x"]}, True),
    (context_value("l", "NotContains", "x"), {"l": "axb"}, False),
    (context_value("k", "Exists"), {"k": None}, True),
    (context_value("k", "NotExists"), {}, True),
    (task_success("a"), {}, True),
    (task_success("public::embedded::w::a"), {}, True),
    (task_failed("a"), {}, False),
    (task_skipped("a"), {}, False),
    (all_of(), {}, True),
    (any_of(), {}, False),
    (none_of(), {}, True),
    (always(), {}, True),
    (all_of(task_success("a"), none_of(context_value("k", "Exists"))), {}, True),
    (any_of(task_failed("a"), all_of(task_success("a"), context_value("k", "Exists"))), {}, False),
]


@pytest.mark.parametrize(("rule", "data", "runs"), RULES)
def test_a_rule_decides_whether_a_task_runs(runner, rule, data, runs):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.writes("ran", True), {"dependencies": ["a"], "trigger_rules": rule}),
        ("after", workflows.writes("after", True), {"dependencies": ["a", "b"]}),
    )
    result = run(runner, **data)
    assert result.status == "Completed"
    assert statuses(result)["b"] == ("Completed" if runs else "Skipped")
    assert result.final_context.get("ran", False) is runs
    assert result.final_context["after"]


def test_a_rule_sees_what_the_tasks_before_it_wrote(runner):
    workflows.define(
        "w",
        ("a", workflows.writes("go", True), {}),
        ("yes", workflows.writes("yes", 1),
         {"dependencies": ["a"], "trigger_rules": context_value("go", "Equals", True)}),
        ("no", workflows.writes("no", 1),
         {"dependencies": ["a"], "trigger_rules": context_value("go", "Equals", False)}),
    )  # fmt: skip
    assert run(runner, go=False).final_context.to_dict() == {"go": True, "yes": 1}


def test_a_rule_may_repair_a_failure_but_the_run_has_still_failed(runner):
    workflows.define(
        "w",
        ("a", workflows.boom, ONCE),
        ("mend", workflows.writes("mended", 1),
         {"dependencies": ["a"], "trigger_rules": task_failed("a")}),
        ("then", workflows.writes("then", 1), {"dependencies": ["mend"]}),
    )  # fmt: skip
    result = run(runner)
    assert result.status == "Failed"
    assert statuses(result) == {"a": "Failed", "mend": "Completed", "then": "Completed"}
    assert result.final_context.to_dict() == {"mended": 1, "then": 1}


def test_always_runs_once_every_dependency_ended(runner):
    workflows.define(
        "w",
        ("a", workflows.boom, ONCE),
        ("b", workflows.boom, {"dependencies": ["a"]}),
        ("tidy", workflows.writes("tidy", 1),
         {"dependencies": ["a", "b"], "trigger_rules": always()}),
    )  # fmt: skip
    result = run(runner)
    assert statuses(result) == {"a": "Failed", "b": "Skipped", "tidy": "Completed"}


def test_a_hundred_leaves_are_joined(runner):
    def leaf(context):
        context["done"] = [*context.get("done", []), "x"]

    workflows.fan("w", 100, leaf, join=lambda context: context.set("n", len(context["done"])))
    result = run(runner)
    assert (result.status, result.final_context["n"]) == ("Completed", 1)
