"""Errors about tasks and workflows as their author wrote them."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloaca_django.errors.tree import InvalidDefinition, listed, nearest, shown


class InvalidName(InvalidDefinition):
    """A name of a ``kind`` of thing, such as ``task``, that breaks the rule."""

    def __init__(self, kind: str, name: object, rule: str) -> None:
        super().__init__(f"Invalid {kind} name {shown(name)}: {rule}")


class InvalidNameType(InvalidName, TypeError):
    """A name that is not text."""


class InvalidNamespace(InvalidDefinition):
    """Text that is not the full address of a task."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"Invalid namespace format: Invalid namespace format {shown(text)}. "
            "Expected 'tenant::package::workflow::task'"
        )


class InvalidOption(InvalidDefinition):
    """An option of a task, a workflow or a policy with a value that is not allowed."""

    def __init__(self, owner: str, option: str, value: object, *, rule: str) -> None:
        super().__init__(f"{owner}: {option} {rule}, not {shown(value)}")
        self.option = option


class InvalidOptionType(InvalidOption, TypeError):
    """An option of the wrong Python type."""


class OptionOutOfRange(InvalidOption, OverflowError):
    """A number that is too small or too large for its option."""


class UnknownChoice(InvalidOption):
    """A word that is not one of the words an option takes."""

    def __init__(self, owner: str, option: str, value: object, *, accepted: Sequence[str]) -> None:
        hint = nearest(value, accepted) if isinstance(value, str) else ""
        words = ", ".join(f'"{word}"' for word in accepted)
        InvalidDefinition.__init__(
            self,
            f"{owner}: unknown {option} {shown(value)}: expected one of {words}{hint}",
        )
        self.option = option


class UnknownOption(InvalidDefinition, TypeError):
    """A keyword that ``owner`` does not take. ``meant`` is what its users look for, if we know."""

    def __init__(self, owner: str, option: str, known: Iterable[str], *, meant: str = "") -> None:
        hint = f"; did you mean {shown(meant)}?" if meant else nearest(option, known)
        super().__init__(f"{owner}: unexpected argument {shown(option)}{hint}")


class ConflictingOptions(InvalidDefinition):
    """``retry=`` together with the single retry keywords."""

    def __init__(self, owner: str, options: Iterable[str]) -> None:
        super().__init__(
            f"{owner}: @task(retry=RetryPolicy(...)) cannot be combined with the retry_* keyword "
            f"arguments (got: {', '.join(options)}); give one or the other, not both"
        )


class InvalidReference(InvalidDefinition):
    """Something that names no task. ``what`` is its place, such as ``Dependency 0``."""

    def __init__(self, owner: str, what: str, reference: object, *, name: str = "a string") -> None:
        super().__init__(
            f"{owner}: {what} must be either {name} or a function object with "
            f"__name__ attribute, not {shown(reference)}"
        )


class InvalidBody(InvalidDefinition, TypeError):
    """A function that cannot be called as the engine calls it, or of which a call runs nothing."""

    def __init__(self, owner: str, problem: str) -> None:
        super().__init__(
            f"{owner}: the function must take the context, as in `def body(context)`, and return"
            f" when its work is done: {problem}"
        )


class InvalidTriggerRule(InvalidDefinition):
    """A trigger rule that is not one of the known shapes."""

    def __init__(self, owner: str, problem: str) -> None:
        super().__init__(f"{owner}: invalid trigger rule: {problem}")


class UnknownOperator(InvalidDefinition):
    """An operator that ``context_value`` does not have."""

    def __init__(self, operator: object, accepted: Sequence[str]) -> None:
        hint = nearest(operator, accepted) if isinstance(operator, str) else ""
        super().__init__(
            f"trigger rule: unknown operator {shown(operator)}. "
            f"Use one of: {', '.join(accepted)}{hint}"
        )


class NoOpenBuilder(InvalidDefinition):
    """``@task`` outside a ``with WorkflowBuilder(...)`` block."""

    def __init__(self, task: object) -> None:
        super().__init__(
            "No workflow context available. Tasks must be defined within a WorkflowBuilder "
            f"context manager; put {shown(task)} into a `with WorkflowBuilder(...)` block "
            "of this thread."
        )


class BuilderClosed(InvalidDefinition):
    """A builder used after its block ended or its workflow was built."""

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"The builder of workflow {shown(workflow)} is finished; "
            "open a new WorkflowBuilder to define it again"
        )


class TaskNotFound(InvalidDefinition):
    """``add_task`` named a task that was not decorated under this workflow."""

    def __init__(self, workflow: str, task: object, known: Iterable[str]) -> None:
        known = list(known)
        hint = nearest(task, known) if isinstance(task, str) else ""
        super().__init__(
            f"Task {shown(task)} not found in registry. Make sure it was decorated with @task. "
            f"Known in workflow {shown(workflow)}: {listed(known)}{hint}"
        )


class DuplicateWorkflow(InvalidDefinition):
    """A name that is taken, where replacing was not asked for."""

    def __init__(self, workflow: str, places: Sequence[str]) -> None:
        super().__init__(f"Duplicate workflow {shown(workflow)}: {' and '.join(places)}")


class ConstructorFailed(InvalidDefinition):
    """A workflow constructor raised or gave something else."""

    def __init__(self, workflow: str, problem: str) -> None:
        super().__init__(f"{problem} (workflow {shown(workflow)})")


class InvalidTaskGraph(InvalidDefinition):
    """Tasks that together make no workflow."""

    def __init__(self, workflow: str, problem: str) -> None:
        super().__init__(f"Workflow validation failed: {problem}")
        self.workflow = workflow


class EmptyWorkflow(InvalidTaskGraph):
    """A workflow without tasks."""

    def __init__(self, workflow: str) -> None:
        super().__init__(
            workflow,
            f"Workflow cannot be empty: {shown(workflow)} has no tasks; "
            "decorate at least one function with @task() inside its block",
        )


class DuplicateTask(InvalidTaskGraph):
    """Two tasks of one name. ``places`` are ``file:line``."""

    def __init__(self, workflow: str, task: str, places: Sequence[str] = ()) -> None:
        where = f" ({' and '.join(places)})" if places else ""
        super().__init__(
            workflow,
            f"Duplicate task: duplicate task name {shown(task)} in workflow "
            f"{shown(workflow)}{where}; give one of them another id=",
        )


class UnknownDependency(InvalidTaskGraph):
    """A dependency that no task of the workflow has as its name."""

    def __init__(self, workflow: str, task: str, dependency: str, *, known: Iterable[str]) -> None:
        known = list(known)
        super().__init__(
            workflow,
            f"Missing dependency: task {shown(task)} depends on unknown task "
            f"{shown(dependency)}, which is not registered in workflow {shown(workflow)}; "
            f"known: {listed(known)}{nearest(dependency, known)}",
        )


class ForeignDependency(InvalidTaskGraph):
    """A dependency on a function that is a task of another workflow."""

    def __init__(self, workflow: str, task: str, dependency: str, *, owner: str) -> None:
        super().__init__(
            workflow,
            f"Missing dependency: task {shown(task)} of workflow {shown(workflow)} depends on "
            f"{shown(dependency)}, which belongs to workflow {shown(owner)}; "
            "decorate the function in this block too",
        )


class AmbiguousDependency(InvalidTaskGraph):
    """A dependency on a function that is several tasks of the workflow."""

    def __init__(self, workflow: str, task: str, names: Sequence[str]) -> None:
        super().__init__(
            workflow,
            f"Missing dependency: task {shown(task)} of workflow {shown(workflow)} depends on a "
            f"function that is the tasks {', '.join(names)}; name the one that is meant",
        )


class DuplicateSchedule(InvalidDefinition):
    """A name that two workflows declare a schedule by."""

    def __init__(self, name: str, workflows: Sequence[str]) -> None:
        super().__init__(
            f"The schedule name {shown(name)} is declared by the workflows "
            f"{', '.join(workflows)}; give each schedule a name of its own"
        )


class CircularDependency(InvalidTaskGraph):
    """Tasks that wait for each other. ``cycle`` repeats its first task at its end."""

    def __init__(self, workflow: str, cycle: Sequence[str]) -> None:
        super().__init__(
            workflow,
            f"Circular dependency detected in workflow {shown(workflow)}: {' -> '.join(cycle)}; "
            "remove one of these edges",
        )
        self.cycle = tuple(cycle)


class UnrelatedRule(InvalidTaskGraph):
    """A trigger rule about a task that need not have ended when the rule is evaluated."""

    def __init__(self, workflow: str, task: str, named: str, *, known: Iterable[str]) -> None:
        known = list(known)
        super().__init__(
            workflow,
            f"trigger_rules of task {shown(task)} in workflow {shown(workflow)} name "
            f"{shown(named)}, which the task does not depend on; "
            f"its ancestors: {listed(known)}{nearest(named, known)}",
        )


class WorkflowReplaced(UserWarning):
    """A workflow of the same name but another graph took a definition's place."""
