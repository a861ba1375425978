"""The four-part address of a task and the three-part scope it lies in. Values only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloaca_django.errors import InvalidNamespace

SEPARATOR = "::"
DEFAULT_TENANT = "public"
DEFAULT_PACKAGE = "embedded"


@dataclass(frozen=True, slots=True, repr=False)
class TaskNamespace:
    """Where a task lives. With an empty ``task_id`` it is the scope itself."""

    tenant_id: str
    package_name: str
    workflow_id: str
    task_id: str

    @staticmethod
    def from_string(text: str) -> TaskNamespace:
        """Read ``tenant::package::workflow::task``. Raises InvalidNamespace, TypeError."""
        if not isinstance(text, str):
            raise TypeError(f"the address of a task is a str, not {type(text).__name__}")
        parts = text.split(SEPARATOR)
        if len(parts) != 4:
            raise InvalidNamespace(text)
        return TaskNamespace(*parts)

    def parent(self) -> TaskNamespace:
        """Return the scope this task lies in."""
        return replace(self, task_id="")

    def is_child_of(self, other: TaskNamespace) -> bool:
        """Whether ``other`` is the scope of this task."""
        return bool(self.task_id) and self.parent() == other

    def is_sibling_of(self, other: TaskNamespace) -> bool:
        """Whether both are different tasks of one workflow."""
        return self.parent() == other.parent() and self.task_id != other.task_id

    def __str__(self) -> str:
        return SEPARATOR.join((self.tenant_id, self.package_name, self.workflow_id, self.task_id))

    def __repr__(self) -> str:
        return (
            f"TaskNamespace({self.tenant_id!r}, {self.package_name!r}, "
            f"{self.workflow_id!r}, {self.task_id!r})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class WorkflowContext:
    """The scope that a builder's tasks are named in."""

    tenant_id: str
    package_name: str
    workflow_id: str

    def task_namespace(self, task_id: str) -> TaskNamespace:
        """Return the address of one task."""
        return TaskNamespace(self.tenant_id, self.package_name, self.workflow_id, task_id)

    def resolve_dependency(self, task_name: str) -> TaskNamespace:
        """Return the address of a task named in ``dependencies=``."""
        return self.task_namespace(task_name)

    def workflow_namespace(self) -> TaskNamespace:
        """Return the address of the scope itself."""
        return self.task_namespace("")

    def contains_namespace(self, namespace: TaskNamespace) -> bool:
        """Whether the address lies in this scope."""
        return namespace.parent() == self.workflow_namespace()

    def task_id(self, name: str) -> str:
        """Return the plain id of a task of this scope, given as plain id or as full address."""
        prefix = f"{self}{SEPARATOR}"
        return name.removeprefix(prefix)

    def __str__(self) -> str:
        return SEPARATOR.join((self.tenant_id, self.package_name, self.workflow_id))

    def __repr__(self) -> str:
        return f"WorkflowContext({self.tenant_id!r}, {self.package_name!r}, {self.workflow_id!r})"
