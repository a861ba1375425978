"""What a task is: values only. Declaring one is ``decorator``'s work, running it the engine's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias

from cloaca_django.core.retry import RetryPolicy
from cloaca_django.core.rules import Rule
from cloaca_django.core.values import text_of

Body: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a task is run; stored with each run's task, so that a deploy does not change it."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float | None = None
    atomic: bool = False

    def to_text(self) -> str:
        """Return compact JSON of what differs from the default."""
        data = self.retry.to_data()
        if self.timeout_seconds is not None:
            data["timeout"] = self.timeout_seconds
        if self.atomic:
            data["atomic"] = True
        return text_of(data)

    @staticmethod
    def from_text(text: str) -> Policy:
        """Read what ``to_text`` wrote; the empty text is the default policy."""
        return _policy_from_text(text)


@lru_cache(maxsize=4096)
def _policy_from_text(text: str) -> Policy:
    data = json.loads(text) if text else {}
    timeout, atomic = data.pop("timeout", None), data.pop("atomic", False)
    return Policy(RetryPolicy.from_data(data), timeout, atomic)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One task of one workflow. ``rule`` None is the default rule."""

    name: str
    function: Body
    dependencies: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    rule: Rule | None = None
    on_success: Body | None = None
    on_failure: Body | None = None
    is_async: bool = False
    wants_handle: bool = False

    @property
    def place(self) -> str:
        """Return ``file:line`` of the body as far as Python knows it."""
        function: Any = self.function
        while isinstance(function, partial):
            function = function.func
        code = getattr(function, "__code__", None) or getattr(
            type(function).__call__, "__code__", None
        )
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)[:80]
