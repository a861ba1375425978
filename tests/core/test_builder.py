"""WorkflowBuilder: what a block registers and what it refuses."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.decorator import task
from cloaca_django.core.rules import task_success
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import (
    AmbiguousDependency,
    BuilderClosed,
    CircularDependency,
    DuplicateTask,
    EmptyWorkflow,
    ForeignDependency,
    InvalidTaskGraph,
    TaskNotFound,
    UnknownDependency,
    UnrelatedRule,
    WorkflowReplaced,
)


def body(context: Any) -> None:
    pass


def declare(tasks: list[tuple[str, list[Any]]], name: str = "w", **rules: Any) -> Workflow:
    """Register a workflow of tasks with their dependencies and, by name, their rules."""
    with WorkflowBuilder(name):
        for task_id, dependencies in tasks:
            rule = rules.get(task_id)
            task(id=task_id, dependencies=dependencies, trigger_rules=rule)(lambda context: None)
    return registry.find(name)


def build(name: str = "w", **edges: Any) -> Workflow:
    return declare(list(edges.items()), name)


@pytest.mark.parametrize(
    ("edges", "kind", "fragments"),
    [
        ({}, EmptyWorkflow, ["Workflow cannot be empty", "'w' has no tasks"]),
        (
            {"a": [], "b": ["nosuch"]},
            UnknownDependency,
            ["Missing dependency", "task 'b' depends on unknown task 'nosuch'", "known: a, b"],
        ),
        ({"load": [], "b": ["laod"]}, UnknownDependency, ["did you mean 'load'?"]),
        ({"a": ["a"]}, CircularDependency, ["Circular dependency detected", "a -> a"]),
        ({"a": ["b"], "b": ["a"]}, CircularDependency, ["workflow 'w': a -> b -> a"]),
        (
            {"s": [], "a": ["s", "c"], "b": ["a"], "c": ["b"], "t": ["c"]},
            CircularDependency,
            ["a -> c -> b -> a"],
        ),
        ({"a": [body]}, UnknownDependency, ["unknown task 'body'"]),
    ],
)
def test_a_bad_graph_is_refused_and_names_the_edge(
    edges: dict[str, Any], kind: type[InvalidTaskGraph], fragments: list[str]
) -> None:
    with pytest.raises(ValueError, match="Workflow validation failed: ") as caught:
        build(**edges)
    assert type(caught.value) is kind
    assert all(fragment in str(caught.value) for fragment in fragments)
    assert registry.names() == []


def test_two_tasks_of_one_name_are_refused_with_both_places() -> None:
    with WorkflowBuilder("other"):
        task(id="a")(body)
        with pytest.raises(DuplicateTask, match=r"'a' .*test_builder\.py:\d+ and /.*:\d+"):
            task(id="a")(lambda context: None)


def test_a_refused_task_ends_the_block() -> None:
    with pytest.raises(DuplicateTask):
        declare([("a", []), ("a", [])])
    assert registry.names() == []


def test_a_function_of_another_workflow_is_no_dependency() -> None:
    with WorkflowBuilder("first"):
        task()(body)
    with pytest.raises(ForeignDependency, match="'body', which belongs to workflow 'first'"):
        build(a=[body])


def declare_one_function_twice() -> None:
    with WorkflowBuilder("w"):
        task(id="a")(body)
        task(id="b")(body)
        task(id="c", dependencies=[body])(lambda context: None)


def test_a_function_that_is_two_tasks_is_no_dependency() -> None:
    with pytest.raises(AmbiguousDependency, match="is the tasks a, b; name the one"):
        declare_one_function_twice()


@pytest.mark.parametrize("named", ["later", "nosuch", "sibling"])
def test_a_rule_may_name_ancestors_only(named: str) -> None:
    tasks = [("a", []), ("sibling", []), ("b", ["a"]), ("c", ["b"]), ("later", ["c"])]
    with pytest.raises(UnrelatedRule, match=f"name '{named}', which the task does not depend on"):
        declare(tasks, c=task_success(named))


def test_a_rule_may_name_a_distant_ancestor() -> None:
    declare([("a", []), ("b", ["a"]), ("c", ["b"])], c=task_success("a"))
    assert registry.find("w").task("c").rule is not None


def declare_and_raise() -> None:
    with WorkflowBuilder("w"):
        task(id="b")(body)
        raise KeyError


def test_a_block_that_raises_registers_nothing_and_its_error_passes() -> None:
    build(a=[])
    with pytest.raises(KeyError):
        declare_and_raise()
    assert [one.name for one in registry.find("w").tasks] == ["a"]
    with pytest.raises(KeyError), WorkflowBuilder("empty"):
        raise KeyError
    with pytest.raises(ValueError, match="No workflow context"):
        task(id="c")(body)


def test_opening_a_name_again_starts_clean_and_warns_when_the_graph_differs() -> None:
    build(a=[])
    with pytest.warns(WorkflowReplaced, match=r"'w': the definition at .* replaces") as caught:
        build(b=[])
    assert caught[0].filename == __file__
    assert [one.name for one in registry.find("w").tasks] == ["b"]


def test_the_same_graph_again_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    build(a=[], b=["a"])
    build(a=[], b=["a"])
    assert not recwarn.list


def test_tasks_go_to_the_innermost_builder() -> None:
    with WorkflowBuilder("outer"):
        task(id="before")(body)
        with WorkflowBuilder("inner"):
            task(id="inside")(body)
        task(id="after")(body)
    assert [one.name for one in registry.find("outer").tasks] == ["before", "after"]
    assert [one.name for one in registry.find("inner").tasks] == ["inside"]


def test_coroutines_have_builders_of_their_own() -> None:
    async def declare(name: str) -> None:
        with WorkflowBuilder(name):
            await asyncio.sleep(0)
            task(id=f"of_{name}")(body)
            await asyncio.sleep(0)

    async def declare_both() -> None:
        await asyncio.gather(declare("one"), declare("two"))

    asyncio.run(declare_both())
    assert [one.name for one in registry.find("one").tasks] == ["of_one"]
    assert [one.name for one in registry.find("two").tasks] == ["of_two"]


def test_add_task_takes_what_an_earlier_block_declared() -> None:
    with WorkflowBuilder("w"):
        task()(body)
        task(id="b", dependencies=[body])(lambda context: None)
    builder = WorkflowBuilder("w")
    builder.add_task(body)
    builder.add_task("b")
    workflow = builder.build()
    assert [one.name for one in workflow.tasks] == ["body", "b"]
    assert workflow.version == registry.find("w").version


def test_add_task_knows_a_wrapped_function_by_its_name() -> None:
    with WorkflowBuilder("w"):
        task()(body)
    builder = WorkflowBuilder("w")
    builder.add_task(functools.wraps(body)(lambda context: None))
    assert [one.function for one in builder.build().tasks] == [body]


def test_add_task_inside_of_its_block_changes_nothing() -> None:
    with WorkflowBuilder("w") as builder:
        task()(body)
        builder.add_task("body")
        with pytest.raises(DuplicateTask, match="Duplicate task"):
            builder.add_task(body)
    assert [one.name for one in registry.find("w").tasks] == ["body"]


@pytest.mark.parametrize(
    ("given_task", "kind", "fragment"),
    [
        ("ghost", TaskNotFound, "Task 'ghost' not found in registry. Make sure it was decorated"),
        ("boby", TaskNotFound, "did you mean 'body'?"),
        (len, TaskNotFound, "Task 'len' not found in registry"),
        (1, ValueError, "Task must be either a string task ID or a function object with __name__"),
    ],
)
def test_add_task_refuses_what_it_does_not_know(
    given_task: Any, kind: type[Exception], fragment: str
) -> None:
    with WorkflowBuilder("w"):
        task()(body)
    with pytest.raises(kind) as caught:
        WorkflowBuilder("w").add_task(given_task)
    assert fragment in str(caught.value)


def test_a_missing_dependency_of_an_added_task_is_found_at_build() -> None:
    with WorkflowBuilder("w"):
        task()(body)
        task(id="b", dependencies=[body])(lambda context: None)
    builder = WorkflowBuilder("w")
    builder.add_task("b")
    with pytest.raises(UnknownDependency, match="depends on unknown task 'body'"):
        builder.build()
    builder.add_task("body")
    assert len(builder.build().tasks) == 2


def test_a_finished_builder_is_finished() -> None:
    with WorkflowBuilder("w") as builder:
        task()(body)
        with pytest.raises(BuilderClosed), builder:
            pass
    assert builder.build().name == "w"
    built = WorkflowBuilder("w")
    built.add_task("body")
    built.build()
    for finished in (builder, built):
        for use in (
            lambda one: one.add_task("body"),
            lambda one: one.description("x"),
            lambda one: one.tag("a", "b"),
            WorkflowBuilder.__enter__,
        ):
            with pytest.raises(BuilderClosed, match="open a new WorkflowBuilder"):
                use(finished)


def test_description_and_tags_are_kept_from_inside_the_block() -> None:
    with WorkflowBuilder("w", max_running=3) as builder:
        assert builder.description("what it does") is None  # type: ignore[func-returns-value]
        builder.tag("a", "1")
        builder.tag("a", "2")
        task()(body)
    workflow = registry.find("w")
    assert (workflow.description, dict(workflow.tags)) == ("what it does", {"a": "2"})
    assert workflow.max_running == 3
    with pytest.raises(TypeError):
        workflow.tags["a"] = "3"  # type: ignore[index]


def test_the_workflow_keyword_is_the_name_it_is_registered_under() -> None:
    with WorkflowBuilder("n", tenant="t", package="p", workflow="known_as"):
        task()(body)
    workflow = registry.find("known_as")
    assert workflow.name == "known_as"
    assert workflow.topological_sort() == ["t::p::known_as::body"]
    builder = WorkflowBuilder("n", tenant="t", package="p", workflow="known_as")
    builder.add_task("body")
    assert builder.build().version == workflow.version


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"name": None}, TypeError),
        ({"name": 1}, TypeError),
        ({"name": ""}, ValueError),
        ({"name": "a::b"}, ValueError),
        ({"name": "a\n"}, ValueError),
        ({"name": "a/b"}, ValueError),
        ({"name": "x" * 256}, ValueError),
        ({"name": "w", "tenant": ""}, ValueError),
        ({"name": "w", "package": "a::b"}, ValueError),
        ({"name": "w", "workflow": "\x00"}, ValueError),
        ({"name": "w", "max_running": 0}, ValueError),
        ({"name": "w", "max_running": True}, TypeError),
        ({"name": "w", "params": 1}, TypeError),
    ],
)
def test_names_and_limits_are_checked_at_once(
    arguments: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        WorkflowBuilder(**arguments)


@pytest.mark.parametrize("name", ["my workflow", "etl-v1.2", "ärger", "team:job", "1st"])
def test_ordinary_names_are_fine(name: str) -> None:
    assert build(name, a=[]).name == name


@pytest.mark.parametrize(("key", "value"), [(1, "a"), ("a", 1), ("a", None), ("a", "\x00")])
def test_tags_are_text(key: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="workflow 'w': tag"):
        WorkflowBuilder("w").tag(key, value)


def test_reprs() -> None:
    assert repr(WorkflowBuilder("zz")) == "WorkflowBuilder(name='zz')"
    assert repr(build("n", a=[], b=[])) == "Workflow(name='n', tasks=2)"
