"""Which errors are worth another attempt. An error is known by its class names and its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloaca_django.core import options
from cloaca_django.errors import InvalidOption, InvalidOptionType

# As upstream, by words in the error; and by class, because a text may say nothing.
_TRANSIENT_WORDS = ("timeout", "connection", "network", "temporary", "unavailable")
_TRANSIENT_TYPES = frozenset(
    {
        "builtins.TimeoutError",
        "builtins.ConnectionError",
        "django.db.utils.OperationalError",
        "django.db.utils.InterfaceError",
        "psycopg.OperationalError",
        "psycopg.InterfaceError",
        "sqlite3.OperationalError",
    }
)


def type_names(error_type: type[BaseException]) -> tuple[str, ...]:
    """Return the dotted names of an exception's class and its ancestors, its own first."""
    return tuple(f"{cls.__module__}.{cls.__qualname__}" for cls in error_type.__mro__)


@dataclass(frozen=True, slots=True, repr=False)
class RetryCondition:
    """Which errors are worth another attempt."""

    kind: str = "all"
    patterns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    @staticmethod
    def never() -> RetryCondition:
        """None of them, whatever the number of attempts."""
        return RetryCondition("never")

    @staticmethod
    def transient_only() -> RetryCondition:
        """Timeouts, connection and database errors, or upstream's words in the text."""
        return RetryCondition("transient")

    @staticmethod
    def all_errors() -> RetryCondition:
        """All of them."""
        return RetryCondition("all")

    @staticmethod
    def error_pattern(patterns: Sequence[str]) -> RetryCondition:
        """Those whose class and text contain one of the patterns, in whatever case."""
        owner = "RetryCondition.error_pattern"
        if isinstance(patterns, str) or not isinstance(patterns, (list, tuple)):
            raise InvalidOptionType(owner, "patterns", patterns, rule="must be a list of str")
        for pattern in patterns:
            options.text(owner, "patterns", pattern)
        return RetryCondition("pattern", patterns=tuple(patterns))

    @staticmethod
    def exceptions(*types: type[BaseException]) -> RetryCondition:
        """Those of the given classes and their subclasses."""
        for one in types:
            _check_exception_class(one)
        return RetryCondition("types", types=tuple(type_names(one)[0] for one in types))

    def accepts(self, error_types: Sequence[str], message: str) -> bool:
        """Whether to try again. ``error_types`` are ``type_names`` of the error."""
        if self.kind == "all":
            return True
        if self.kind == "never":
            return False
        if self.kind == "types":
            return not set(self.types).isdisjoint(error_types)
        own_name = error_types[0].rpartition(".")[2] if error_types else ""
        text = f"{own_name}: {message}".lower()
        if self.kind == "pattern":
            return any(pattern.lower() in text for pattern in self.patterns)
        return not _TRANSIENT_TYPES.isdisjoint(error_types) or any(
            word in text for word in _TRANSIENT_WORDS
        )

    def __repr__(self) -> str:
        if self.kind == "pattern":
            patterns = ", ".join(f'"{pattern}"' for pattern in self.patterns)
            return f"RetryCondition.ErrorPattern(patterns=[{patterns}])"
        if self.kind == "types":
            return f"RetryCondition.Exceptions({', '.join(self.types)})"
        names = {"never": "Never", "transient": "TransientOnly", "all": "AllErrors"}
        return f"RetryCondition.{names[self.kind]}"


def condition_from(owner: str, value: Any) -> RetryCondition:
    """Read ``retry_condition=``: a word, a RetryCondition, or exception classes."""
    if isinstance(value, RetryCondition):
        return value
    if isinstance(value, type) and issubclass(value, BaseException):
        return RetryCondition.exceptions(value)
    if isinstance(value, (list, tuple)):
        if not value:
            raise InvalidOption(owner, "retry_condition", value, rule="needs exception classes")
        return RetryCondition.exceptions(*value)
    return RetryCondition(
        options.choice(owner, "retry_condition", value, accepted=("never", "transient", "all"))
    )


def _check_exception_class(given: object) -> None:
    if not (isinstance(given, type) and issubclass(given, BaseException)):
        owner, rule = "RetryCondition.exceptions", "must be exception classes"
        raise InvalidOptionType(owner, "types", given, rule=rule)
