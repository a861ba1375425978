"""Workflow, a checked graph of tasks, and what makes a graph valid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from cloaca_django.core import graph
from cloaca_django.core.fingerprint import Part, fingerprint
from cloaca_django.core.namespace import WorkflowContext
from cloaca_django.core.params import Params
from cloaca_django.core.schedule_facts import Declared
from cloaca_django.core.task import Policy, Task
from cloaca_django.core.values import text_of
from cloaca_django.errors import (
    CircularDependency,
    EmptyWorkflow,
    TaskNotFound,
    UnknownDependency,
    UnrelatedRule,
)


@dataclass(frozen=True, eq=False, repr=False)
class Workflow:
    """A named graph of tasks. ``tasks`` is in topological order, ties as declared.

    ``max_running`` None: any number of its runs at once. ``params`` None: any context will do.
    ``schedules`` are those that code declares; they are no part of its version. ``durability``
    None: as whoever runs it is configured.
    """

    name: str
    namespace: WorkflowContext
    tasks: tuple[Task, ...]
    version: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    max_running: int | None = None
    params: Params | None = None
    schedules: tuple[Declared, ...] = ()
    durability: str | None = None
    _by_name: dict[str, Task] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {task.name: task for task in self.tasks})

    def task(self, name: str) -> Task:
        """Return a task by its id. Raises TaskNotFound."""
        found = self._by_name.get(name)
        if found is None:
            raise TaskNotFound(self.name, name, self._by_name)
        return found

    def task_or_none(self, name: str) -> Task | None:
        """Return a task by its id; None if there is none."""
        return self._by_name.get(name)

    def has_task(self, name: str) -> bool:
        """Whether there is a task of this id."""
        return name in self._by_name

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """Map each task to those it depends on, in the order of ``tasks``."""
        return {task.name: task.dependencies for task in self.tasks}

    def topological_sort(self) -> list[str]:
        """Return the namespaces of all tasks, each after its dependencies."""
        return self._namespaces(self._by_name)

    def get_execution_levels(self) -> list[list[str]]:
        """Return namespaces of tasks that may run together, level by level."""
        return [self._namespaces(level) for level in graph.levels(self.dependencies)]

    def get_roots(self) -> list[str]:
        """Return the namespaces of the tasks that start first."""
        return self._namespaces(graph.roots(self.dependencies))

    def get_leaves(self) -> list[str]:
        """Return the namespaces of the tasks that nothing waits for."""
        return self._namespaces(graph.leaves(self.dependencies))

    def validate(self) -> None:
        """Check the graph again. Raises InvalidTaskGraph."""
        check_graph(self.name, self.tasks)

    def graph_text(self) -> str:
        """Return the definition as JSON: ``{"tasks": [{"name", "dependencies", ...}]}``."""
        return text_of({"tasks": [_described(task) for task in self.tasks]})

    def renamed(self, name: str) -> Workflow:
        """Return the same workflow under another name, of the same version."""
        return replace(self, name=name)

    def _namespaces(self, names: Iterable[str]) -> list[str]:
        return [str(self.namespace.task_namespace(name)) for name in names]

    def __repr__(self) -> str:
        return f"Workflow(name={self.name!r}, tasks={len(self.tasks)})"


def check_graph(workflow: str, tasks: Sequence[Task]) -> None:
    """Raise InvalidTaskGraph unless the tasks, in any order, make a workflow."""
    if not tasks:
        raise EmptyWorkflow(workflow)
    edges = {task.name: task.dependencies for task in tasks}
    for name, dependency in graph.missing_edges(edges):
        raise UnknownDependency(workflow, name, dependency, known=edges)
    cycle = graph.find_cycle(edges)
    if cycle:
        raise CircularDependency(workflow, cycle)
    for task in tasks:
        if task.rule is not None:
            ancestors = graph.ancestors_of(edges, task.name)
            for named in sorted(task.rule.task_names() - ancestors):
                raise UnrelatedRule(workflow, task.name, named, known=sorted(ancestors))


def version_of(
    namespace: WorkflowContext,
    tasks: Iterable[Task],
    *,
    name: str,
    description: str | None,
    tags: Mapping[str, str],
) -> str:
    """Return the fingerprint of a definition; no description is not the empty one."""
    scope = (namespace.tenant_id, namespace.package_name, namespace.workflow_id)
    parts = [_fingerprinted(task) for task in tasks]
    return fingerprint(scope, parts, name=name, description=description, tags=tags)


def _fingerprinted(task: Task) -> Part:
    policy = task.policy.to_text()
    extra = "" if policy == _DEFAULT_POLICY else policy
    return Part(task.name, task.dependencies, extra + (task.rule.to_text() if task.rule else ""))


def _described(task: Task) -> dict[str, Any]:
    result: dict[str, Any] = {"name": task.name, "dependencies": list(task.dependencies)}
    if task.rule is not None:
        result["rule"] = task.rule.to_data()
    policy = task.policy.to_text()
    if policy != _DEFAULT_POLICY:
        result["policy"] = policy
    return result


# Only what is not the default counts, and so versions stay when a default is added.
_DEFAULT_POLICY = Policy().to_text()
