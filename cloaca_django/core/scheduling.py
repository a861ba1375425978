"""``@schedule``: a function that runs at times, as a workflow of one task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.decorator import innermost_scope, task
from cloaca_django.core.schedule_facts import declared, extended
from cloaca_django.core.task import Body

F = TypeVar("F", bound=Body)


def schedule(
    cron_expression: str, *, timezone: str = "UTC", name: str | None = None, **facts: Any
) -> Callable[[F], F]:
    """Declare when a function runs: it becomes a workflow of one task that has its name.

    Above a ``@task`` inside of a builder's block it is a schedule of that workflow. It may be
    given more than once, with a ``name`` each. ``facts`` as for
    ``DefaultRunner.register_cron_workflow``. The function is returned unchanged.
    """
    given = {"cron_expression": cron_expression, "timezone": timezone, "name": name, **facts}

    def applied(function: F) -> F:
        scope = innermost_scope()
        if scope is not None:
            scope.declare(declared(scope.namespace.workflow_id, given))
            return function
        owner = registry.owner_of(function)
        if owner is None:
            with WorkflowBuilder(getattr(function, "__name__", "")) as builder:
                builder.schedule(**given)
                task()(function)
        else:
            _add(owner.name, given)
        return function

    return applied


def _add(workflow_name: str, given: dict[str, Any]) -> None:
    """Declare one more schedule of a registered workflow."""
    workflow = registry.find(workflow_name)
    another = declared(workflow_name, given)
    schedules = extended(workflow_name, workflow.schedules, another)
    registry.register(replace(workflow, schedules=schedules))
