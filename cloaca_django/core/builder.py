"""The builder that collects the tasks of a workflow, checks it and registers it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any

from cloaca_django.core import graph, options, registry
from cloaca_django.core.decorator import Draft, Reference, TaskScope
from cloaca_django.core.namespace import DEFAULT_PACKAGE, DEFAULT_TENANT, WorkflowContext
from cloaca_django.core.params import read_params
from cloaca_django.core.schedule_facts import declared
from cloaca_django.core.task import Task
from cloaca_django.core.workflow import Workflow, check_graph, version_of
from cloaca_django.errors import (
    AmbiguousDependency,
    BuilderClosed,
    DuplicateTask,
    ForeignDependency,
    InvalidReference,
    TaskNotFound,
    shown,
)


class WorkflowBuilder:
    """Collects the tasks of one workflow.

    As a context manager it gathers every ``@task`` of its block and registers the workflow at
    the block's end; if the block raises, nothing is registered. Without a block, ``add_task``
    takes tasks that an earlier block of the same name declared, and ``build`` returns the
    workflow without registering it.
    """

    def __init__(
        self,
        name: str,
        *,
        tenant: str | None = None,
        package: str | None = None,
        workflow: str | None = None,
        max_running: int | None = None,
        params: Any = None,
        durability: str | None = None,
    ) -> None:
        self._name = options.scope_name("workflow", name)
        self._owner = f"workflow {name!r}"
        namespace = WorkflowContext(
            options.scope_name("tenant", DEFAULT_TENANT if tenant is None else tenant),
            options.scope_name("package", DEFAULT_PACKAGE if package is None else package),
            options.scope_name("workflow", name if workflow is None else workflow),
        )
        if max_running is not None:
            options.integer(self._owner, "max_running", max_running, low=1, high=1_000_000)
        self._max_running = max_running
        if durability is not None:
            options.durability(self._owner, "durability", durability)
        self._durability = durability
        self._scope = TaskScope(name, namespace)
        self._scope.params = None if params is None else read_params(params)
        self._description: str | None = None
        self._tags: dict[str, str] = {}
        self._added: set[str] = set()
        self._opened: AbstractContextManager[None] | None = None
        self._is_closed = False

    def description(self, description: str) -> None:
        """Say what the workflow does."""
        self._check_open()
        self._description = options.text(self._owner, "description", description)

    def tag(self, key: str, value: str) -> None:
        """Set a tag; a key given again is overwritten."""
        self._check_open()
        options.text(self._owner, "tag", key)
        self._tags[key] = options.text(self._owner, f"tag {shown(key)}", value)

    def schedule(
        self, cron_expression: str, *, timezone: str = "UTC", name: str | None = None, **facts: Any
    ) -> None:
        """Declare a schedule of this workflow, known by ``name`` or by the workflow's name.

        ``facts`` as for ``DefaultRunner.register_cron_workflow``. ``cloaca_schedules sync`` and
        starting workers write it to the database. Raises InvalidCronExpression, InvalidTimezone,
        InvalidOption.
        """
        self._check_open()
        given = {"cron_expression": cron_expression, "timezone": timezone, "name": name, **facts}
        self._scope.declare(declared(self._scope.namespace.workflow_id, given))

    def add_task(self, task: Reference) -> None:
        """Take in a task declared under this name, given by its id or as its function."""
        self._check_open()
        draft = self._known(task)
        name = draft.task.name
        if name in self._added:
            raise DuplicateTask(self._name, name)
        self._added.add(name)
        self._scope.drafts.setdefault(name, draft)

    def build(self) -> Workflow:
        """Check everything and return the workflow. Raises InvalidTaskGraph; registers nothing."""
        tasks = _ordered(self._name, _resolved(self._scope))
        workflow = Workflow(
            name=self._name,
            namespace=self._scope.namespace,
            tasks=tasks,
            version=version_of(
                self._scope.namespace,
                tasks,
                name=self._name,
                description=self._description,
                tags=self._tags,
            ),
            description=self._description or "",
            tags=MappingProxyType(dict(self._tags)),
            max_running=self._max_running,
            params=self._scope.params,
            schedules=self._scope.schedules,
            durability=self._durability,
        )
        # Inside of its block a builder goes on: the block's end builds again.
        self._is_closed |= self._opened is None
        return workflow

    def __enter__(self) -> WorkflowBuilder:
        self._check_open()
        if self._opened is not None:
            raise BuilderClosed(self._name)
        self._opened = self._scope.opened()
        self._opened.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
        self._is_closed = True
        if kind is None:
            registry.register(self.build(), name=self._scope.namespace.workflow_id, stacklevel=3)

    def _check_open(self) -> None:
        if self._is_closed:
            raise BuilderClosed(self._name)

    def _known(self, task: Reference) -> Draft:
        if not isinstance(task, str) and not callable(task):
            raise InvalidReference(self._owner, "Task", task, name="a string task ID")
        drafts = {
            **{one.name: Draft(one, one.dependencies) for one in self._registered()},
            **self._scope.drafts,
        }
        for name, draft in drafts.items():
            if draft.task.function is task or name == task:
                return draft
        name = task if isinstance(task, str) else getattr(task, "__name__", "")
        if name not in drafts:
            raise TaskNotFound(self._name, name or task, drafts)
        return drafts[name]

    def _registered(self) -> Sequence[Task]:
        earlier = registry.in_namespace(self._scope.namespace)
        return earlier.tasks if earlier else ()

    def __repr__(self) -> str:
        return f"WorkflowBuilder(name={self._name!r})"


def _resolved(scope: TaskScope) -> list[Task]:
    """Return the tasks as declared, with every dependency as the id of a task of this scope."""
    return [
        replace(
            draft.task,
            dependencies=tuple(
                dict.fromkeys(
                    _dependency(scope, draft.task.name, reference) for reference in draft.references
                )
            ),
        )
        for draft in scope.drafts.values()
    ]


def _dependency(scope: TaskScope, task: str, reference: Reference) -> str:
    if isinstance(reference, str):
        return scope.namespace.task_id(reference)
    names = scope.ids_of(reference)
    if len(names) > 1:
        raise AmbiguousDependency(scope.workflow, task, names)
    if names:
        return names[0]
    # A decorator around @task gives the function another identity, but not another name.
    name: str = getattr(reference, "__name__", None) or shown(reference)
    owner = None if name in scope.drafts else registry.owner_of(reference)
    if owner is not None:
        raise ForeignDependency(scope.workflow, task, name, owner=owner.name)
    return name


def _ordered(workflow: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    check_graph(workflow, tasks)
    by_name = {task.name: task for task in tasks}
    order = graph.topological_order({task.name: task.dependencies for task in tasks})
    return tuple(by_name[name] for name in order)
