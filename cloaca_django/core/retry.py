"""How often and when a task is tried again. Times are in seconds; randomness is an argument."""

from __future__ import annotations

import random as random_module
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cloaca_django.core import options
from cloaca_django.core.conditions import RetryCondition
from cloaca_django.errors import InvalidOptionType

MAX_ATTEMPTS = 1_000
WEEK = 7 * 24 * 3600.0
JITTER = (0.75, 1.25)


@dataclass(frozen=True, slots=True, repr=False)
class BackoffStrategy:
    """How the delay grows from one attempt to the next."""

    kind: str = "exponential"
    multiplier: float = 1.0
    base: float = 2.0

    @staticmethod
    def fixed() -> BackoffStrategy:
        """Always the initial delay."""
        return BackoffStrategy("fixed")

    @staticmethod
    def linear(multiplier: float) -> BackoffStrategy:
        """The initial delay times the number of the attempt times ``multiplier``."""
        return BackoffStrategy("linear", _factor("linear", "multiplier", multiplier))

    @staticmethod
    def exponential(base: float, multiplier: float | None = None) -> BackoffStrategy:
        """The initial delay times ``multiplier`` times ``base`` to the attempts before."""
        return BackoffStrategy(
            "exponential",
            1.0 if multiplier is None else _factor("exponential", "multiplier", multiplier),
            _factor("exponential", "base", base),
        )

    def delay(self, attempt: int, initial: float) -> float:
        """Return the seconds after failed attempt ``attempt``, 1 being the first."""
        if self.kind == "fixed":
            return initial
        if self.kind == "linear":
            return initial * attempt * self.multiplier
        try:
            return initial * self.multiplier * self.base ** (attempt - 1)
        except OverflowError:  # the caller caps it
            return float("inf")

    def __repr__(self) -> str:
        if self.kind == "fixed":
            return "BackoffStrategy.Fixed"
        if self.kind == "linear":
            return f"BackoffStrategy.Linear(multiplier={self.multiplier:g})"
        return f"BackoffStrategy.Exponential(base={self.base:g}, multiplier={self.multiplier:g})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RetryPolicy:
    """How often and when a task is tried. ``max_attempts`` counts the first one too."""

    max_attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    with_jitter: bool = True
    backoff: BackoffStrategy = field(default_factory=BackoffStrategy)
    condition: RetryCondition = field(default_factory=RetryCondition)

    def __post_init__(self) -> None:
        owner = "RetryPolicy"
        options.integer(owner, "max_attempts", self.max_attempts, low=0, high=MAX_ATTEMPTS)
        for name in ("initial_delay", "max_delay"):
            delay = options.number(owner, name, getattr(self, name), low=0, high=WEEK)
            object.__setattr__(self, name, delay)
        options.boolean(owner, "with_jitter", self.with_jitter)
        _instance(owner, "backoff", self.backoff, of=BackoffStrategy)
        _instance(owner, "condition", self.condition, of=RetryCondition)

    @staticmethod
    def default() -> RetryPolicy:
        """Three attempts, exponential from 1 s, at most 60 s, with jitter, for all errors."""
        return RetryPolicy()

    @staticmethod
    def builder() -> RetryPolicyBuilder:
        """Start from the default policy."""
        return RetryPolicyBuilder(RetryPolicy())

    @property
    def attempts(self) -> int:
        """How often a task that always fails runs; 0 and 1 attempts both mean once."""
        return max(1, self.max_attempts)

    def should_retry(self, attempt: int, error_type: str = "") -> bool:
        """Whether attempts are left after number ``attempt``; ``error_type`` is not looked at."""
        return attempt < self.max_attempts

    def should_retry_error(self, attempt: int, *, error_types: Sequence[str], message: str) -> bool:
        """Whether to try again after ``attempt`` failed so. ``error_types``: see type_names."""
        return attempt < self.max_attempts and self.condition.accepts(error_types, message)

    def calculate_delay(self, attempt: int, random: random_module.Random | None = None) -> float:
        """Return the seconds after failed attempt ``attempt``; without ``random``, no jitter."""
        delay = self.backoff.delay(attempt, self.initial_delay)
        if self.with_jitter and random is not None:
            delay *= random.uniform(*JITTER)
        return min(delay, self.max_delay)

    def delay_seconds(self, attempt: int, random: random_module.Random) -> float:
        """Return the seconds to wait after failed attempt ``attempt``, 1 being the first.

        Jitter comes before the cap, so ``max_delay`` is never exceeded.
        """
        return self.calculate_delay(attempt, random)

    def to_data(self) -> dict[str, Any]:
        """Return what differs from the default, as JSON values."""
        facts = _facts(self)
        return {name: value for name, value in facts.items() if value != _DEFAULTS[name]}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> RetryPolicy:
        """Read what ``to_data`` gave."""
        facts = {**_DEFAULTS, **data}
        return RetryPolicy(
            max_attempts=facts["max_attempts"],
            initial_delay=facts["initial_delay"],
            max_delay=facts["max_delay"],
            with_jitter=facts["jitter"],
            backoff=BackoffStrategy(*facts["backoff"]),
            condition=RetryCondition(
                facts["condition"], tuple(facts["patterns"]), tuple(facts["types"])
            ),
        )

    def __repr__(self) -> str:
        return (
            f"RetryPolicy(max_attempts={self.max_attempts}, "
            f"initial_delay={self.initial_delay:g}s, max_delay={self.max_delay:g}s, "
            f"jitter={str(self.with_jitter).lower()})"
        )


@dataclass(frozen=True, slots=True)
class RetryPolicyBuilder:
    """A policy under construction; every method returns a new builder."""

    policy: RetryPolicy

    def max_attempts(self, attempts: int) -> RetryPolicyBuilder:
        """All attempts, the first included."""
        return self._with(max_attempts=attempts)

    def initial_delay(self, delay_seconds: float) -> RetryPolicyBuilder:
        """Seconds after the first failed attempt."""
        return self._with(initial_delay=delay_seconds)

    def max_delay(self, delay_seconds: float) -> RetryPolicyBuilder:
        """Seconds that no delay exceeds."""
        return self._with(max_delay=delay_seconds)

    def backoff_strategy(self, strategy: BackoffStrategy) -> RetryPolicyBuilder:
        """How the delay grows."""
        return self._with(backoff=strategy)

    def retry_condition(self, condition: RetryCondition) -> RetryPolicyBuilder:
        """Which errors count."""
        return self._with(condition=condition)

    def with_jitter(self, jitter: bool) -> RetryPolicyBuilder:
        """Whether delays vary by a quarter."""
        return self._with(with_jitter=jitter)

    def build(self) -> RetryPolicy:
        """Return the policy."""
        return self.policy

    def _with(self, **changes: Any) -> RetryPolicyBuilder:
        return RetryPolicyBuilder(replace(self.policy, **changes))


def backoff_from(owner: str, value: Any) -> BackoffStrategy:
    """Read ``retry_backoff=``: a word or a BackoffStrategy."""
    if isinstance(value, BackoffStrategy):
        return value
    return BackoffStrategy(
        options.choice(owner, "retry_backoff", value, accepted=("fixed", "linear", "exponential"))
    )


def _factor(strategy: str, name: str, value: float) -> float:
    return options.number(f"BackoffStrategy.{strategy}", name, value, low=0, high=1e6)


def _instance(owner: str, option: str, value: Any, *, of: type) -> None:
    if not isinstance(value, of):
        raise InvalidOptionType(owner, option, value, rule=f"must be a {of.__name__}")


def _facts(policy: RetryPolicy) -> dict[str, Any]:
    backoff, condition = policy.backoff, policy.condition
    return {
        "max_attempts": policy.max_attempts,
        "initial_delay": policy.initial_delay,
        "max_delay": policy.max_delay,
        "jitter": policy.with_jitter,
        "backoff": [backoff.kind, backoff.multiplier, backoff.base],
        "condition": condition.kind,
        "patterns": list(condition.patterns),
        "types": list(condition.types),
    }


_DEFAULTS = _facts(RetryPolicy())
