"""What is to be drawn: nodes, what they wait for, and what is said about each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloaca_django.core.rules import Rule
from cloaca_django.core.task import Policy

_USUAL = Policy()
_COMPARISONS = {
    "Equals": "is",
    "NotEquals": "is not",
    "GreaterThan": "is greater than",
    "LessThan": "is less than",
    "Contains": "contains",
    "NotContains": "does not contain",
    "Exists": "exists",
    "NotExists": "does not exist",
}
_OUTCOMES = {"TaskSuccess": "completed", "TaskFailed": "failed", "TaskSkipped": "was skipped"}


@dataclass(frozen=True, slots=True)
class Node:
    """One task. ``state`` is empty outside a run; ``detail`` is a few words, ``link`` a URL."""

    name: str
    dependencies: tuple[str, ...] = ()
    detail: str = ""
    state: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph to draw. Nodes are in topological order, and name only nodes as dependencies."""

    title: str
    nodes: tuple[Node, ...]
    subtitle: str = ""

    @property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """Map each node to those it waits for."""
        return {node.name: node.dependencies for node in self.nodes}


def of_definition(name: str, version: str, graph_text: str) -> Picture:
    """Return the picture of a definition as ``Workflow.graph_text`` wrote it."""
    tasks = json.loads(graph_text)["tasks"]
    return Picture(name, tuple(_node(task) for task in tasks), f"version {version}")


def _node(task: Mapping[str, Any]) -> Node:
    return Node(
        str(task["name"]),
        tuple(task["dependencies"]),
        detail=described(task.get("policy") or "", task.get("rule")),
    )


def described(policy: str | Mapping[str, Any], rule: Any = None) -> str:
    """Return in words what a task's policy and rule say beyond the usual."""
    text = policy if isinstance(policy, str) else json.dumps(policy)
    found = Policy.from_text(text)
    words = []
    if rule:
        words.append(f"if {in_words(Rule.from_text(json.dumps(rule)))}")
    if found.retry.max_attempts != _USUAL.retry.max_attempts:
        words.append(f"{max(1, found.retry.max_attempts)} attempts")
    if found.timeout_seconds is not None:
        words.append(f"at most {found.timeout_seconds:g} s")
    if found.atomic:
        words.append("atomic")
    return ", ".join(words)


def in_words(rule: Rule) -> str:
    """Return a rule as an English condition."""
    match rule.type:
        case "Always":
            return "all have ended"
        case "All" | "Any" | "None":
            return _group(rule)
        case "ContextValue":
            value = "" if rule.operator.endswith("Exists") else f" {json.dumps(rule.value)}"
            return f"{rule.key} {_COMPARISONS[rule.operator]}{value}"
        case _:
            return f"{rule.task_name} {_OUTCOMES[rule.type]}"


def _group(rule: Rule) -> str:
    parts = [in_words(one) for one in rule.conditions]
    if not parts:
        return "never" if rule.type == "Any" else "always"
    if rule.type == "None":
        return f"not ({' or '.join(parts)})"
    text = (" and " if rule.type == "All" else " or ").join(parts)
    return text if len(parts) == 1 or rule.type == "All" else f"({text})"
