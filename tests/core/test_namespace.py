"""Addresses of tasks, as upstream has them."""

from __future__ import annotations

import pytest

from cloaca_django.core.namespace import TaskNamespace, WorkflowContext

ADDRESS = TaskNamespace("t", "p", "w", "k")
SCOPE = WorkflowContext("t", "p", "w")


def test_an_address_is_four_parts() -> None:
    assert (ADDRESS.tenant_id, ADDRESS.package_name) == ("t", "p")
    assert (ADDRESS.workflow_id, ADDRESS.task_id) == ("w", "k")
    assert str(ADDRESS) == "t::p::w::k"
    assert repr(ADDRESS) == "TaskNamespace('t', 'p', 'w', 'k')"
    assert TaskNamespace.from_string("t::p::w::k") == ADDRESS
    assert {ADDRESS: 1}[TaskNamespace("t", "p", "w", "k")] == 1


@pytest.mark.parametrize("text", ["", "a::b::c", "a::b::c::d::e", "a:b:c:d"])
def test_other_text_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid namespace format .*Expected 'tenant::package"):
        TaskNamespace.from_string(text)


@pytest.mark.parametrize("given", [None, 7, b"a::b::c::d", ["a"]])
def test_an_address_is_text(given: object) -> None:
    with pytest.raises(TypeError, match="the address of a task is a str, not"):
        TaskNamespace.from_string(given)  # type: ignore[arg-type]


def test_family() -> None:
    sibling, stranger = TaskNamespace("t", "p", "w", "o"), TaskNamespace("t", "p", "x", "k")
    assert ADDRESS.parent() == TaskNamespace("t", "p", "w", "")
    assert ADDRESS.is_child_of(ADDRESS.parent())
    assert not ADDRESS.is_child_of(stranger.parent())
    assert not ADDRESS.parent().is_child_of(ADDRESS.parent())
    assert ADDRESS.is_sibling_of(sibling)
    assert not ADDRESS.is_sibling_of(ADDRESS)
    assert not ADDRESS.is_sibling_of(stranger)


def test_a_scope_names_its_tasks() -> None:
    assert SCOPE.task_namespace("k") == SCOPE.resolve_dependency("k") == ADDRESS
    assert SCOPE.workflow_namespace() == ADDRESS.parent()
    assert SCOPE.contains_namespace(ADDRESS)
    assert not SCOPE.contains_namespace(TaskNamespace("t", "p", "x", "k"))
    assert str(SCOPE) == "t::p::w"
    assert repr(SCOPE) == "WorkflowContext('t', 'p', 'w')"
    assert WorkflowContext("t", "p", "w") == SCOPE


@pytest.mark.parametrize(("given", "plain"), [("k", "k"), ("t::p::w::k", "k"), ("t::p::x::k",) * 2])
def test_full_addresses_of_the_scope_become_ids(given: str, plain: str) -> None:
    assert SCOPE.task_id(given) == plain
