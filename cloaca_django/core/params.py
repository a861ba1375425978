"""Inputs that a workflow declares, and the check of what a caller gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from cloaca_django.core.decorator import innermost_scope
from cloaca_django.core.redaction import REDACTED
from cloaca_django.core.values import checked, checked_key
from cloaca_django.errors import (
    InvalidContextType,
    InvalidOption,
    InvalidOptionType,
    InvalidParams,
    shown,
)

if TYPE_CHECKING:
    from cloaca_django.core.workflow import Workflow

T = TypeVar("T")

_OWNER = "workflow_params"
_TYPES = (str, int, float, bool, list, dict)
_TYPE_RULE = f"must be one of the types {', '.join(one.__name__ for one in _TYPES)}"


class Required:
    """Stands for the default of an input that must be given."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required()


@dataclass(frozen=True, slots=True)
class Param:
    """One declared input."""

    name: str
    type: type
    default: Any = REQUIRED

    def problem_of(self, value: Any) -> str:
        """Return what is wrong with a value, without quoting it; empty if it fits."""
        accepted = (int, float) if self.type is float else (self.type,)
        if type(value) in accepted:
            return ""
        return f"must be {self.type.__name__}, not {type(value).__name__}"


# A tuple of declared inputs, or a form class: ``is_valid``, ``errors``, ``cleaned_data``.
Params: TypeAlias = "tuple[Param, ...] | type[Any]"


def workflow_params(form: type[Any] | None = None, **declared: Any) -> Callable[[T], T]:
    """Declare the inputs of the workflow whose builder is open where this is applied.

    Each is ``name=type`` (required) or ``name=(type, default)``; or give one Django form class.
    The decorated object is returned unchanged; outside of a builder nothing else happens.
    """
    params = read_params(form if form is not None else declared)

    def applied(target: T) -> T:
        scope = innermost_scope()
        if scope is not None:
            scope.params = params
        return target

    return applied


def read_params(given: Any) -> Params:
    """Check a declaration: a mapping as ``workflow_params`` takes it, or a form class."""
    if isinstance(given, Mapping):
        return tuple(_read_param(name, one) for name, one in given.items())
    if isinstance(given, type) and all(hasattr(given, name) for name in ("is_valid", "errors")):
        return given
    raise InvalidOptionType(_OWNER, "params", given, rule="must be a dict or a form class")


def validate(workflow: Workflow, data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` with defaults filled in; ``data`` itself if there is nothing to fill.

    Keys that are not declared pass. Raises InvalidParams, which names every problem at once.
    """
    params = workflow.params
    if params is None:
        return data
    if isinstance(params, tuple):
        return _validated(workflow.name, params, data)
    return _validated_by_form(workflow.name, params, data)


def _read_param(name: str, given: Any) -> Param:
    checked_key(name)
    option = name if name.isidentifier() else shown(name)
    kind, default = given if isinstance(given, tuple) and len(given) == 2 else (given, REQUIRED)
    if not any(kind is one for one in _TYPES):  # by identity: what is given may not compare
        raise InvalidOptionType(_OWNER, option, kind, rule=_TYPE_RULE)
    if default is REQUIRED:
        return Param(name, kind)
    param = Param(name, kind, checked(default, f"$.{name}"))
    problem = param.problem_of(default)
    if problem and default is not None:
        raise InvalidOption(_OWNER, f"the default of {option}", default, rule=problem)
    return param


def _validated(workflow: str, params: tuple[Param, ...], data: dict[str, Any]) -> dict[str, Any]:
    missing = {one.name: one.default for one in params if one.name not in data}
    problems = {name: "is required" for name, default in missing.items() if default is REQUIRED}
    for one in params:
        if one.name in data and (problem := one.problem_of(data[one.name])):
            problems[one.name] = problem
    if problems:
        raise InvalidParams(workflow, problems)
    return {**data, **missing} if missing else data


def _validated_by_form(
    workflow: str, form_class: type[Any], data: dict[str, Any]
) -> dict[str, Any]:
    fields = getattr(form_class, "base_fields", {})
    form = form_class({**_initial_values(fields, data), **data})
    if not form.is_valid():
        raise InvalidParams(
            workflow,
            {
                name: " ".join(one for error in found for one in _messages(error))
                for name, found in form.errors.as_data().items()
            },
        )
    cleaned = {
        name: _storable(value, form.data.get(name)) for name, value in form.cleaned_data.items()
    }
    return {**data, **cleaned}


def _messages(error: Any) -> Iterator[str]:
    """Yield what a form says is wrong, without the value that a choice field would quote."""
    if error.params and "value" in error.params:
        error.params = {**error.params, "value": REDACTED}
    yield from map(str, error)


def _initial_values(fields: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person would find filled in, for inputs that were not given."""
    initial = {name: getattr(field, "initial", None) for name, field in fields.items()}
    return {
        name: value() if callable(value) else value
        for name, value in initial.items()
        if name not in data and value is not None
    }


def _storable(cleaned: Any, given: Any) -> Any:
    try:
        return checked(cleaned)
    except InvalidContextType:  # a date or a model: what it was made from can be stored
        return checked(given)
