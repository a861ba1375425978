"""``@task``: reads its options and adds a draft to the innermost open builder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from cloaca_django.core import options
from cloaca_django.core.conditions import condition_from
from cloaca_django.core.namespace import WorkflowContext
from cloaca_django.core.retry import MAX_ATTEMPTS, WEEK, RetryPolicy, backoff_from
from cloaca_django.core.rules import RawRule, Rule, parse
from cloaca_django.core.schedule_facts import Declared, extended
from cloaca_django.core.task import Body, Policy, Task
from cloaca_django.errors import (
    ConflictingOptions,
    DuplicateTask,
    InvalidBody,
    InvalidOption,
    InvalidOptionType,
    InvalidReference,
    NoOpenBuilder,
    UnknownOption,
    shown,
)

F = TypeVar("F", bound=Body)
Reference: TypeAlias = str | Body

# What users of other libraries write, where the spelling alone would lead astray.
_MEANT = {
    "depends_on": "dependencies",
    "max_attempts": "retry_attempts",
    "max_retries": "retry_attempts",
    "name": "id",
    "retries": "retry_attempts",
    "retry_delay": "retry_delay_ms",
    "retry_policy": "retry",
    "timeout": "timeout_seconds",
}
_HANDLE_NAMES = ("handle", "task_handle")


@dataclass(frozen=True, slots=True)
class Draft:
    """A declared task whose dependencies may still be functions."""

    task: Task
    references: tuple[Reference, ...]


class TaskScope:
    """What ``@task`` adds to: the drafts of one builder, in the order of declaration."""

    def __init__(self, workflow: str, namespace: WorkflowContext) -> None:
        self.workflow = workflow
        self.namespace = namespace
        self.drafts: dict[str, Draft] = {}
        self.params: Any = None
        self.schedules: tuple[Declared, ...] = ()

    def add(self, draft: Draft) -> None:
        """Take a draft in; another one of its name is refused."""
        name = draft.task.name
        if name in self.drafts:
            places = (self.drafts[name].task.place, draft.task.place)
            raise DuplicateTask(self.workflow, name, places)
        self.drafts[name] = draft

    def declare(self, declared: Declared) -> None:
        """Take a schedule in; another one of its name is refused."""
        self.schedules = extended(self.workflow, self.schedules, declared)

    def ids_of(self, function: Body) -> list[str]:
        """Return the ids that ``function`` was declared under here."""
        return [name for name, one in self.drafts.items() if one.task.function is function]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make this what ``@task`` finds, in this thread or coroutine."""
        token = _innermost.set(self)
        try:
            yield
        finally:
            _innermost.reset(token)


# A context variable: every thread, and every coroutine, has an innermost builder of its own.
_innermost: ContextVar[TaskScope | None] = ContextVar("cloaca_django_scope", default=None)


def innermost_scope() -> TaskScope | None:
    """Return the scope of the innermost open builder; None outside of any."""
    return _innermost.get()


def task(
    *misplaced: Any,
    id: str | None = None,
    dependencies: Sequence[Reference] | None = None,
    retry: RetryPolicy | None = None,
    retry_attempts: int | None = None,
    retry_backoff: Any = None,
    retry_delay_ms: int | None = None,
    retry_max_delay_ms: int | None = None,
    retry_condition: Any = None,
    retry_jitter: bool | None = None,
    on_success: Body | None = None,
    on_failure: Body | None = None,
    timeout_seconds: float | None = None,
    atomic: bool = False,
    trigger_rules: RawRule | None = None,
    **unknown: Any,
) -> Callable[[F], F]:
    """Declare a function as a task of the innermost open ``WorkflowBuilder``.

    The function is returned unchanged. It is called with the ``Context``, and with a
    ``TaskHandle`` too if its second parameter is named ``handle`` or ``task_handle``.
    ``retry_attempts`` counts the first attempt; ``timeout_seconds`` limits each one; ``atomic``
    commits the body's writes with its outcome. Errors are ValueErrors and name the option.
    """
    # The first statement, so these are the arguments and nothing else.
    given = {name: value for name, value in locals().items() if value is not None}
    return _Declaration.read(given.pop("misplaced"), given.pop("unknown"), given=given).applied


@dataclass(frozen=True, slots=True)
class _Declaration:
    """The options of one ``@task(...)``, checked, before it meets its function."""

    draft: Draft
    owner: str
    has_id: bool

    @staticmethod
    def read(
        misplaced: Sequence[Any], unknown: Mapping[str, Any], *, given: Mapping[str, Any]
    ) -> _Declaration:
        name = given.get("id")
        owner = f"task {shown(name)}" if name is not None else "@task"
        if misplaced:
            raise InvalidOptionType(
                owner, "options", misplaced[0], rule="must be given by keyword, as in @task(id=...)"
            )
        for option in unknown:
            raise UnknownOption(
                owner, option, task.__kwdefaults__ or (), meant=_MEANT.get(option, "")
            )
        blank = Task(
            name="" if name is None else options.task_name(name),
            function=_declared_only,
            policy=_policy(owner, given),
            rule=_rule(owner, given),
            on_success=_callback(owner, "on_success", given),
            on_failure=_callback(owner, "on_failure", given),
        )
        references = _references(owner, given.get("dependencies", ()))
        return _Declaration(Draft(blank, references), owner, name is not None)

    def applied(self, function: F) -> F:
        """Add the task to the innermost open builder and return ``function`` as it is."""
        options.function(self.owner, "the decorated object", function)
        name = self.draft.task.name or _own_name(self.owner, function)
        scope = innermost_scope()
        if scope is None:
            raise NoOpenBuilder(name)
        is_async, wants_handle = _is_async(function), _wants_handle(function)
        owner = f"task {shown(name)} of workflow {shown(scope.workflow)}"
        _check_runs(owner, function)
        _check_call(owner, function, arguments=1 + wants_handle)
        if is_async and self.draft.task.policy.atomic:
            raise InvalidOption(owner, "atomic", True, rule="must be False for an async function")
        complete = replace(
            self.draft.task,
            name=name,
            function=function,
            is_async=is_async,
            wants_handle=wants_handle,
        )
        scope.add(replace(self.draft, task=complete))
        return function


def _declared_only(context: Any) -> Any:
    """Stand for the body until the decorator is applied."""
    raise NotImplementedError


def _policy(owner: str, given: Mapping[str, Any]) -> Policy:
    timeout = given.get("timeout_seconds")
    if timeout is not None:
        timeout = options.number(owner, "timeout_seconds", timeout, low=1, high=WEEK)
    return Policy(
        _retry_policy(owner, given),
        timeout,
        options.boolean(owner, "atomic", given.get("atomic", False)),
    )


def _retry_policy(owner: str, given: Mapping[str, Any]) -> RetryPolicy:
    single = [name for name in given if name.startswith("retry_")]
    policy = given.get("retry")
    if policy is None:
        return RetryPolicy(**dict(_retry_facts(owner, given, single)))
    if not isinstance(policy, RetryPolicy):
        raise InvalidOptionType(owner, "retry", policy, rule="must be a RetryPolicy")
    if single:
        raise ConflictingOptions(owner, single)
    return policy


def _retry_facts(
    owner: str, given: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    for option in names:
        value = given[option]
        match option:
            case "retry_attempts":
                yield (
                    "max_attempts",
                    options.integer(owner, option, value, low=0, high=MAX_ATTEMPTS),
                )
            case "retry_delay_ms":
                yield "initial_delay", _seconds(owner, option, value)
            case "retry_max_delay_ms":
                yield "max_delay", _seconds(owner, option, value)
            case "retry_jitter":
                yield "with_jitter", options.boolean(owner, option, value)
            case "retry_backoff":
                yield "backoff", backoff_from(owner, value)
            case "retry_condition":
                yield "condition", condition_from(owner, value)


def _seconds(owner: str, option: str, value: Any) -> float:
    return options.integer(owner, option, value, low=0, high=int(WEEK * 1000)) / 1000


def _rule(owner: str, given: Mapping[str, Any]) -> Rule | None:
    raw, scope = given.get("trigger_rules"), innermost_scope()
    if raw is None:
        return None
    return parse(raw, owner=owner, namespace=scope.namespace if scope else None)


def _callback(owner: str, option: str, given: Mapping[str, Any]) -> Body | None:
    callback: Body | None = given.get(option)
    return None if callback is None else options.function(owner, option, callback)


def _references(owner: str, given: Any) -> tuple[Reference, ...]:
    if not isinstance(given, (list, tuple)):
        remedy = f"[{shown(given)}]" if isinstance(given, str) else "a list"
        raise InvalidOptionType(
            owner,
            "dependencies",
            given,
            rule=f"must be a list of task ids or functions; use {remedy}",
        )
    for index, reference in enumerate(given):
        if not isinstance(reference, str) and not callable(reference):
            raise InvalidReference(owner, f"Dependency {index}", reference)
    return tuple(given)


def _own_name(owner: str, function: Any) -> str:
    if not inspect.isfunction(function) or not function.__name__.isidentifier():
        rule = f"must be given for {shown(function)}: it is no function with a name of its own"
        raise InvalidOptionType(owner, "id", None, rule=rule)
    return options.task_name(function.__name__)


def _is_async(function: Any) -> bool:
    return any(map(inspect.iscoroutinefunction, _called(function)))


def _called(function: Any) -> tuple[Any, ...]:
    """Return what a call of ``function`` may run: itself, or the method of an object."""
    # The method, not whether there is one.
    return function, getattr(function, "__call__", None)  # noqa: B004


def _check_runs(owner: str, function: Any) -> None:
    """Refuse a body whose call would return at once, with nothing of it run."""
    for called in _called(function):
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise InvalidBody(owner, "it has a yield, so a call makes a generator and runs nothing")


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except Exception:  # built-in functions may have none to show, and some objects never answer
        return None


def _wants_handle(function: Any) -> bool:
    signature = _signature(function)
    if signature is None:
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [one.name for one in signature.parameters.values() if one.kind in kinds]
    return len(names) > 1 and names[1] in _HANDLE_NAMES


def _check_call(owner: str, function: Any, *, arguments: int) -> None:
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*range(arguments))
    except TypeError as error:  # the engine's call would fail in the same way, but at run time
        raise InvalidBody(owner, str(error)) from None
