"""The process-wide registry: names, aliases, constructors, threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.decorator import task
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import (
    ConstructorFailed,
    DuplicateWorkflow,
    InvalidNameType,
    WorkflowNotFound,
)


def build(name: str) -> Workflow:
    with WorkflowBuilder(name):
        task(id="a")(lambda context: None)
    return registry.find(name)


def test_an_unknown_workflow_lists_close_matches() -> None:
    build("daily_report")
    with pytest.raises(WorkflowNotFound) as caught:
        registry.find("dayli_report")
    assert "Workflow not found in registry: dayli_report;" in str(caught.value)
    assert "Registered: daily_report; did you mean 'daily_report'?" in str(caught.value)


@pytest.mark.parametrize("name", ["nope", "", "x" * 1000, "\x1b[0m", "a\nb", "\ud800"])
def test_whatever_is_not_registered_is_not_found(name: Any) -> None:
    with pytest.raises(ValueError, match="Workflow not found in registry: ") as caught:
        registry.find(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", [None, 1, b"w", ["w"]])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(InvalidNameType, match="workflow_name must be a str") as caught:
        registry.find(name)
    assert isinstance(caught.value, TypeError)


def test_a_constructor_registers_under_the_name_given() -> None:
    workflow = build("w")
    registry.register_workflow_constructor("alias", lambda: workflow)
    alias = registry.find("alias")
    assert (alias.name, alias.version, alias.tasks) == ("alias", workflow.version, workflow.tasks)
    assert registry.names() == ["alias", "w"]


def failing() -> Any:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("constructor", "fragment"),
    [
        (failing, "Failed to call workflow constructor: KeyError: 'x'"),
        (lambda: None, "Failed to extract workflow from constructor"),
        (lambda: WorkflowBuilder("w"), "it returned WorkflowBuilder, no Workflow"),
    ],
)
def test_a_constructor_must_give_a_workflow(constructor: Any, fragment: str) -> None:
    with pytest.raises(ConstructorFailed) as caught:
        registry.register_workflow_constructor("w", constructor)
    assert fragment in str(caught.value)
    assert registry.names() == []


def test_an_alias_has_a_name_too() -> None:
    with pytest.raises(ValueError, match="Invalid workflow name"):
        registry.register_workflow_constructor("", lambda: build("w"))


def test_replacing_can_be_ruled_out() -> None:
    workflow = build("w")
    with pytest.raises(DuplicateWorkflow, match=r"'w': /.*test_registry\.py:\d+ and /.*:\d+"):
        registry.register(workflow, replace=False)


def test_a_snapshot_stays_as_it_is() -> None:
    build("first")
    before = registry.snapshot()
    build("second")
    assert list(before) == ["first"]
    assert set(registry.snapshot()) == {"first", "second"}


def test_isolated_forgets() -> None:
    with registry.isolated():
        build("w")
    assert registry.names() == []


def test_threads_lose_no_registration(together: Callable[..., list[object]]) -> None:
    def declare(at: int) -> Callable[[], object]:
        return lambda: [build(f"w{at}_{i}") for i in range(20)]

    outcomes = together(*(declare(at) for at in range(4)))
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes)
    assert len(registry.names()) == 80
