"""Workflow: order, levels and versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.decorator import task
from cloaca_django.core.fingerprint import siphash_1_3
from cloaca_django.core.rules import always
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import TaskNotFound


def build(edges: dict[str, list[str]], name: str = "w", **options: Any) -> Workflow:
    description, tags = options.pop("description", None), options.pop("tags", {})
    task_options = options.pop("task_options", {})
    with registry.isolated():
        with WorkflowBuilder(name, **options) as builder:
            if description is not None:
                builder.description(description)
            for key, value in tags.items():
                builder.tag(key, value)
            for task_id, dependencies in edges.items():
                task(id=task_id, dependencies=dependencies, **task_options)(lambda context: None)
        return registry.find(name)


DIAMOND = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}


def at(*names: str) -> list[str]:
    return [f"public::embedded::w::{name}" for name in names]


def test_a_diamond() -> None:
    workflow = build(DIAMOND)
    assert workflow.topological_sort() == at("a", "b", "c", "d")
    assert workflow.get_execution_levels() == [at("a"), at("b", "c"), at("d")]
    assert workflow.get_roots() == at("a")
    assert workflow.get_leaves() == at("d")
    assert workflow.validate() is None  # type: ignore[func-returns-value]


def test_ties_are_in_the_order_of_declaration() -> None:
    workflow = build({"z": [], "end": ["m", "z", "a"], "a": [], "m": []})
    assert [one.name for one in workflow.tasks] == ["z", "a", "m", "end"]
    assert workflow.dependencies["end"] == ("m", "z", "a")


def test_tasks_are_found_by_name() -> None:
    workflow = build(DIAMOND)
    assert workflow.task("b").name == "b"
    assert workflow.has_task("b")
    assert workflow.task_or_none("nosuch") is None
    with pytest.raises(TaskNotFound, match="'nosuch' not found in registry"):
        workflow.task("nosuch")


@pytest.mark.parametrize(
    ("edges", "options", "version"),
    [
        ({"a": []}, {"name": "w"}, "11d827b3cee239bd"),
        ({"x1": []}, {"name": "n3"}, "85424a858605a84b"),
        (
            {"x1": []},
            {"name": "n3", "description": "desc", "tags": {"a": "b"}},
            "71badd32de62e164",
        ),
        ({"t": []}, {"name": "a1"}, "f4f9564b14d52b28"),
        (
            {"t": [], "u": ["t"], "b": ["u", "t"]},
            {"name": "a2", "description": "é desc", "tags": {"z": "1", "a": "2"}},
            "da5714ea676899b8",
        ),
        (
            {"t": [], "u": ["t"]},
            {"name": "a3", "tenant": "acme", "description": ""},
            "c0aa3c199c889c33",
        ),
    ],
)
def test_versions_are_upstreams(
    edges: dict[str, list[str]], options: dict[str, Any], version: str
) -> None:
    assert build(edges, **options).version == version


def test_siphash_agrees_with_published_vectors() -> None:
    # With a zero key, as the hasher of Rust's standard library has it.
    assert siphash_1_3(b"") == 0xD1FBA762150C532C


def test_rules_and_policies_count_in_the_version_when_they_are_not_the_default() -> None:
    plain = build({"a": []}).version
    versions = {
        build({"a": []}, task_options=options).version
        for options in (
            {"retry_attempts": 3},
            {"retry_attempts": 4},
            {"timeout_seconds": 5},
            {"atomic": True},
            {"trigger_rules": always()},
        )
    }
    assert plain in versions
    assert len(versions) == 5


def test_the_graph_is_json_that_can_be_drawn() -> None:
    workflow = build({"a": [], "b": ["a"]}, task_options={"trigger_rules": always()})
    assert json.loads(workflow.graph_text()) == {
        "tasks": [
            {"name": "a", "dependencies": [], "rule": {"type": "Always"}},
            {"name": "b", "dependencies": ["a"], "rule": {"type": "Always"}},
        ]
    }
    policy = json.loads(build({"a": []}, task_options={"atomic": True}).graph_text())
    assert json.loads(policy["tasks"][0]["policy"]) == {"atomic": True}


def test_a_thousand_tasks_in_a_row_are_built() -> None:
    edges = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(1000)}
    workflow = build(dict(reversed(edges.items())))
    assert [one.name for one in workflow.tasks] == list(edges)
    assert len(workflow.get_execution_levels()) == 1000
