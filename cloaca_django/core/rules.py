"""Trigger rules: built as plain dicts, checked once, evaluated to run or skip."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from cloaca_django.core.namespace import WorkflowContext
from cloaca_django.core.states import TaskStatus
from cloaca_django.core.values import checked, checked_key, same, text_of
from cloaca_django.errors import InvalidTriggerRule, UnknownOperator, shown

logger = logging.getLogger("cloaca_django")

RawRule: TypeAlias = dict[str, Any]

MAX_DEPTH = 32
MAX_CONDITIONS = 1_000

_OPERATORS = (
    "Equals",
    "NotEquals",
    "GreaterThan",
    "LessThan",
    "Contains",
    "NotContains",
    "Exists",
    "NotExists",
)
# Canonical names in lower case, and upstream's shorter spellings.
_SPELLINGS = {
    **{name.lower(): name for name in _OPERATORS},
    "==": "Equals",
    "eq": "Equals",
    "!=": "NotEquals",
    "ne": "NotEquals",
    ">": "GreaterThan",
    "gt": "GreaterThan",
    "<": "LessThan",
    "lt": "LessThan",
}
_GROUPS = ("All", "Any", "None")
_OUTCOMES = {
    "TaskSuccess": TaskStatus.COMPLETED,
    "TaskFailed": TaskStatus.FAILED,
    "TaskSkipped": TaskStatus.SKIPPED,
}
_TYPES = ("Always", *_GROUPS, *_OUTCOMES, "ContextValue")
_ABSENT = object()


def always() -> RawRule:
    """Run once all dependencies have ended, however."""
    return {"type": "Always"}


def all_of(*conditions: RawRule) -> RawRule:
    """Run if every condition holds; also without any condition."""
    return {"type": "All", "conditions": list(conditions)}


def any_of(*conditions: RawRule) -> RawRule:
    """Run if at least one condition holds."""
    return {"type": "Any", "conditions": list(conditions)}


def none_of(*conditions: RawRule) -> RawRule:
    """Run if no condition holds; also without any condition."""
    return {"type": "None", "conditions": list(conditions)}


def task_success(task_name: str) -> RawRule:
    """Hold if the task completed. The name is a task id or a full namespace."""
    return {"type": "TaskSuccess", "task_name": task_name}


def task_failed(task_name: str) -> RawRule:
    """Hold if the task failed for good."""
    return {"type": "TaskFailed", "task_name": task_name}


def task_skipped(task_name: str) -> RawRule:
    """Hold if the task was skipped."""
    return {"type": "TaskSkipped", "task_name": task_name}


def context_value(key: str, operator: str, value: Any = None) -> RawRule:
    """Hold if the value at a top-level key compares so. ``Exists`` needs no value."""
    return {
        "type": "ContextValue",
        "key": key,
        "operator": _operator(operator),
        "value": value,
    }


@dataclass(frozen=True, slots=True)
class Rule:
    """One node of a checked rule; which of the fields count depends on ``type``."""

    type: str
    conditions: tuple[Rule, ...] = ()
    task_name: str = ""
    key: str = ""
    operator: str = ""
    value: Any = None

    def allows(self, statuses: Mapping[str, TaskStatus], context: Mapping[str, object]) -> bool:
        """Whether the task runs. ``statuses`` maps the names of ended tasks to how they ended."""
        match self.type:
            case "Always":
                return True
            case "All":
                return all(one.allows(statuses, context) for one in self.conditions)
            case "Any":
                return any(one.allows(statuses, context) for one in self.conditions)
            case "None":
                return not any(one.allows(statuses, context) for one in self.conditions)
            case "ContextValue":
                return self._holds(context.get(self.key, _ABSENT))
            case _:
                return statuses.get(self.task_name) == _OUTCOMES[self.type]

    def _holds(self, found: Any) -> bool:
        match self.operator:
            case "Exists":
                return found is not _ABSENT
            case "NotExists":
                return found is _ABSENT
            case "Equals":
                return same(found, self.value)
            case "NotEquals":
                return not same(found, self.value)
            case "Contains":
                return self._is_in(found)
            case "NotContains":
                return not self._is_in(found)
            case _:
                return self._compares(found)

    def _is_in(self, found: Any) -> bool:
        if isinstance(found, str) and isinstance(self.value, str):
            return self.value in found
        if isinstance(found, list):
            return any(same(item, self.value) for item in found)
        self._log_mismatch(found)
        return False

    def _compares(self, found: Any) -> bool:
        if not _is_number(found):
            self._log_mismatch(found)
            return False
        return bool(found > self.value if self.operator == "GreaterThan" else found < self.value)

    def _log_mismatch(self, found: Any) -> None:
        kind = "missing" if found is _ABSENT else type(found).__name__
        logger.info("trigger rule: %s of %r is False: it is %s", self.operator, self.key, kind)

    @property
    def reads_context(self) -> bool:
        """Whether ``allows`` looks at the context at all."""
        return any(node.type == "ContextValue" for node in self.nodes())

    def task_names(self) -> set[str]:
        """Return the tasks that the rule asks about."""
        return {node.task_name for node in self.nodes() if node.task_name}

    def nodes(self) -> Iterator[Rule]:
        """Yield this node and all below it."""
        yield self
        for one in self.conditions:
            yield from one.nodes()

    def to_data(self) -> RawRule:
        """Return the rule as the builders write it."""
        if self.type in _GROUPS:
            return {"type": self.type, "conditions": [one.to_data() for one in self.conditions]}
        if self.type in _OUTCOMES:
            return {"type": self.type, "task_name": self.task_name}
        if self.type == "ContextValue":
            return context_value(self.key, self.operator, self.value)
        return {"type": self.type}

    def to_text(self) -> str:
        """Return compact JSON for a task's row."""
        return text_of(self.to_data())

    @staticmethod
    def from_text(text: str) -> Rule:
        """Read what ``to_text`` wrote."""
        return _rule_from_text(text)


@lru_cache(maxsize=4096)
def _rule_from_text(text: str) -> Rule:
    return _Reader("stored rule", namespace=None).node(json.loads(text), depth=1)


def parse(raw: Any, *, owner: str, namespace: WorkflowContext | None = None) -> Rule:
    """Check a rule as the builders write it. ``owner`` names the task in errors.

    A single condition is accepted for a rule. Addresses in ``namespace`` become task ids; that
    the tasks exist is checked when the workflow is built.
    """
    return _Reader(owner, namespace=namespace).node(raw, depth=1)


class _Reader:
    """Reads one rule, counting its nodes."""

    def __init__(self, owner: str, *, namespace: WorkflowContext | None) -> None:
        self.owner = owner
        self.namespace = namespace
        self.count = 0

    def node(self, raw: Any, *, depth: int) -> Rule:
        self._check_size(depth)
        if not isinstance(raw, Mapping):
            raise self._error(
                f"{shown(raw)} is not a rule; use all_of(), task_success(), context_value(), ..."
            )
        kind = raw.get("type")
        if kind not in _TYPES:
            raise self._error(f"unknown type {shown(kind)}; accepted: {', '.join(_TYPES)}")
        if kind in _GROUPS:
            return Rule(kind, conditions=self._conditions(raw, depth=depth))
        if kind in _OUTCOMES:
            return Rule(kind, task_name=self._task_name(raw))
        return self._comparison(raw) if kind == "ContextValue" else Rule(kind)

    def _check_size(self, depth: int) -> None:
        self.count += 1
        if depth > MAX_DEPTH:
            raise self._error(f"nested over {MAX_DEPTH} deep")
        if self.count > MAX_CONDITIONS:
            raise self._error(f"over {MAX_CONDITIONS:,} conditions")

    def _conditions(self, raw: Mapping[Any, Any], *, depth: int) -> tuple[Rule, ...]:
        conditions = raw.get("conditions")
        if not isinstance(conditions, (list, tuple)):
            raise self._error(f"{raw['type']} needs a list of conditions")
        return tuple(self.node(one, depth=depth + 1) for one in conditions)

    def _task_name(self, raw: Mapping[Any, Any]) -> str:
        name = raw.get("task_name")
        if not isinstance(name, str) or not name:
            raise self._error(f"{raw['type']} needs the name of a task, not {shown(name)}")
        return self.namespace.task_id(name) if self.namespace else name

    def _comparison(self, raw: Mapping[Any, Any]) -> Rule:
        key, value = raw.get("key"), raw.get("value")
        if not isinstance(key, str) or not key:
            raise self._error(f"ContextValue needs the name of a key, not {shown(key)}")
        checked_key(key)
        operator = _operator(raw.get("operator"))
        if operator in {"GreaterThan", "LessThan"} and not _is_number(value):
            raise self._error(f"{operator} of key {shown(key)} needs a number, not {shown(value)}")
        return Rule("ContextValue", key=key, operator=operator, value=checked(value, "$.value"))

    def _error(self, problem: str) -> InvalidTriggerRule:
        return InvalidTriggerRule(self.owner, problem)


def _operator(given: Any) -> str:
    spelling = given.replace("_", "").lower() if isinstance(given, str) else ""
    if spelling not in _SPELLINGS:
        raise UnknownOperator(given, _OPERATORS)
    return _SPELLINGS[spelling]


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}
