"""The workflows this process has code for, by name. Nothing here is stored.

Reads take no lock: every change puts a new mapping in the place of the old one.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from cloaca_django.core import options
from cloaca_django.core.namespace import WorkflowContext
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import (
    ConstructorFailed,
    DuplicateWorkflow,
    InvalidNameType,
    WorkflowNotFound,
    WorkflowReplaced,
)

# Keeps two registrations at once from losing one of them.
_lock = threading.Lock()
_workflows: Mapping[str, Workflow] = MappingProxyType({})


def register(
    workflow: Workflow, *, name: str | None = None, replace: bool = True, stacklevel: int = 2
) -> None:
    """Make a workflow known under its name or another one.

    A workflow of that name is replaced, with a warning if its graph differs; with ``replace``
    False that is a DuplicateWorkflow.
    """
    global _workflows  # noqa: PLW0603 - the one registry of the process
    if name is not None and name != workflow.name:
        workflow = workflow.renamed(name)
    with _lock:
        present = _workflows.get(workflow.name)
        if present is not None and not replace:
            raise DuplicateWorkflow(workflow.name, (_place(present), _place(workflow)))
        _workflows = MappingProxyType({**_workflows, workflow.name: workflow})
    if present is not None and present.graph_text() != workflow.graph_text():
        warnings.warn(
            f"workflow {workflow.name!r}: the definition at {_place(workflow)} replaces a "
            f"different one at {_place(present)}",
            WorkflowReplaced,
            stacklevel=stacklevel + 1,
        )


def register_workflow_constructor(name: str, constructor: Callable[[], Workflow]) -> None:
    """Call ``constructor`` now and register what it returns under ``name``."""
    options.scope_name("workflow", name)
    try:
        workflow: Any = constructor()
    except Exception as error:  # the caller's own code; its error is named and chained
        problem = f"Failed to call workflow constructor: {type(error).__name__}: {error}"
        raise ConstructorFailed(name, problem) from error
    if not isinstance(workflow, Workflow):
        kind = type(workflow).__name__
        problem = f"Failed to extract workflow from constructor: it returned {kind}, no Workflow"
        raise ConstructorFailed(name, problem)
    register(workflow, name=name, stacklevel=3)


def find(name: str) -> Workflow:
    """Return a workflow. Raises WorkflowNotFound, which lists close matches, InvalidNameType."""
    if not isinstance(name, str):
        raise InvalidNameType("workflow", name, "workflow_name must be a str")
    workflow = _workflows.get(name)
    if workflow is None:
        raise WorkflowNotFound(name, _workflows)
    return workflow


def names() -> list[str]:
    """Return the names of all workflows, sorted."""
    return sorted(_workflows)


def snapshot() -> Mapping[str, Workflow]:
    """Return all workflows by name, as of now."""
    return _workflows


def in_namespace(namespace: WorkflowContext) -> Workflow | None:
    """Return the workflow that was declared in a scope; None if there is none."""
    for workflow in _workflows.values():
        if workflow.namespace == namespace:
            return workflow
    return None


def owner_of(function: object) -> Workflow | None:
    """Return a workflow that has ``function`` as a task; None if there is none."""
    for workflow in _workflows.values():
        if any(task.function is function for task in workflow.tasks):
            return workflow
    return None


@contextmanager
def isolated() -> Iterator[None]:
    """Have an empty registry for the block, and the old one again after it. For tests."""
    global _workflows  # noqa: PLW0603 - as above
    before, _workflows = _workflows, MappingProxyType({})
    try:
        yield
    finally:
        _workflows = before


def _place(workflow: Workflow) -> str:
    return workflow.tasks[0].place
