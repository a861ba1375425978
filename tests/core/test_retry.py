"""Delays, conditions and the value objects of retries."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core.conditions import RetryCondition, type_names
from cloaca_django.core.retry import BackoffStrategy, RetryPolicy
from cloaca_django.core.task import Policy
from cloaca_django.errors import InvalidDefinition

strategies = (
    st.just(BackoffStrategy.fixed())
    | st.floats(0, 1e6).map(BackoffStrategy.linear)
    | st.builds(BackoffStrategy.exponential, st.floats(0, 1e6), st.none() | st.floats(0, 1e6))
)
conditions = st.sampled_from(
    [
        RetryCondition.never(),
        RetryCondition.all_errors(),
        RetryCondition.transient_only(),
        RetryCondition.error_pattern(["a", 'b"é']),
        RetryCondition.exceptions(OSError, sqlite3.Error),
    ]
)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(0, 1000),
    initial_delay=st.floats(0, 604_800),
    max_delay=st.floats(0, 604_800),
    with_jitter=st.booleans(),
    backoff=strategies,
    condition=conditions,
)


def quiet(**facts: Any) -> RetryPolicy:
    return RetryPolicy(with_jitter=False, **facts)


def retries(policy: RetryPolicy, error: Exception, attempt: int = 1) -> bool:
    return policy.should_retry_error(
        attempt, error_types=type_names(type(error)), message=str(error)
    )


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (quiet(initial_delay=0.5, max_delay=3), [0.5, 1, 2, 3, 3]),
        (quiet(backoff=BackoffStrategy.linear(2.0)), [2, 4, 6]),
        (quiet(backoff=BackoffStrategy.fixed(), initial_delay=7), [7, 7, 7]),
        (quiet(backoff=BackoffStrategy.exponential(3, 2)), [2, 6, 18, 54, 60]),
        (quiet(initial_delay=0), [0, 0]),
    ],
)
def test_delays_without_jitter(policy: RetryPolicy, delays: list[float]) -> None:
    found = [policy.delay_seconds(attempt, random.Random(1)) for attempt in range(1, 9)]
    assert found[: len(delays)] == delays
    assert found == [policy.calculate_delay(attempt) for attempt in range(1, 9)]


@given(policies, st.integers(1, 1000), st.randoms(use_true_random=False))
def test_a_delay_is_within_jitter_and_never_over_the_cap(
    policy: RetryPolicy, attempt: int, dice: random.Random
) -> None:
    delay = policy.delay_seconds(attempt, dice)
    plain = policy.backoff.delay(attempt, policy.initial_delay)
    assert 0 <= delay <= policy.max_delay
    assert delay >= min(policy.max_delay, plain * 0.75)
    assert delay <= plain * 1.25


@given(st.integers(1, 999))
def test_delays_never_shrink_before_jitter(attempt: int) -> None:
    policy = RetryPolicy()
    assert policy.calculate_delay(attempt) <= policy.calculate_delay(attempt + 1)


@given(policies, st.none() | st.floats(1, 604_800), st.booleans())
def test_a_policy_survives_its_text(
    retry: RetryPolicy, timeout: float | None, atomic: bool
) -> None:
    policy = Policy(retry, timeout, atomic)
    assert Policy.from_text(policy.to_text()) == policy


def test_the_default_policy_is_short_text() -> None:
    assert Policy().to_text() == "{}"
    assert Policy.from_text("") == Policy.from_text("{}") == Policy()


@pytest.mark.parametrize(("attempts", "runs"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_attempts_count_the_first_one(attempts: int, runs: int) -> None:
    policy = RetryPolicy(max_attempts=attempts)
    attempt = 1
    while retries(policy, ValueError(), attempt):
        attempt += 1
    assert attempt == runs == policy.attempts
    assert policy.should_retry(1, "whatever") is (attempts > 1)


class ConnectTimeout(Exception):  # noqa: N818 - a name that others chose
    pass


def error_named(module: str, name: str) -> Exception:
    kind: type[Exception] = type(name, (Exception,), {"__module__": module})
    return kind("x")


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (TimeoutError("x"), True),
        (ConnectionRefusedError("x"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (error_named("django.db.utils", "OperationalError"), True),
        (error_named("psycopg", "OperationalError"), True),
        (ConnectTimeout("x"), True),
        (ValueError("service UNAVAILABLE"), True),
        (ValueError("bad"), False),
        (ValueError("timed out"), False),
        (sqlite3.IntegrityError("UNIQUE"), False),
        (error_named("my.network.errors", "Broken"), False),
    ],
)
def test_transient_is_by_class_or_by_word(error: Exception, is_transient: bool) -> None:
    policy = RetryPolicy(condition=RetryCondition.transient_only())
    assert retries(policy, error) is is_transient


def test_patterns_match_class_and_text_in_any_case() -> None:
    policy = RetryPolicy(condition=RetryCondition.error_pattern(["RATE limit", "keyerr"]))
    assert retries(policy, ValueError("Rate Limit hit"))
    assert retries(policy, KeyError("x"))
    assert not retries(policy, ValueError("x"))


def test_exception_classes_match_subclasses_by_name() -> None:
    policy = RetryPolicy(condition=RetryCondition.exceptions(OSError, KeyError))
    assert retries(policy, FileNotFoundError())
    assert retries(policy, KeyError())
    assert not retries(policy, ValueError())


def test_never_is_never() -> None:
    assert not retries(RetryPolicy(condition=RetryCondition.never()), TimeoutError())


def test_builders_are_values() -> None:
    first = RetryPolicy.builder()
    second = (
        first.max_attempts(5)
        .initial_delay(0.5)
        .max_delay(3)
        .backoff_strategy(BackoffStrategy.exponential(2))
        .retry_condition(RetryCondition.never())
        .with_jitter(False)
    )
    assert first.build() == RetryPolicy.default() == RetryPolicy()
    policy = second.build()
    assert (policy.max_attempts, policy.initial_delay, policy.max_delay) == (5, 0.5, 3.0)
    assert policy.with_jitter is False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            RetryPolicy(),
            "RetryPolicy(max_attempts=3, initial_delay=1s, max_delay=60s, jitter=true)",
        ),
        (
            quiet(initial_delay=0.5),
            "RetryPolicy(max_attempts=3, initial_delay=0.5s, max_delay=60s, jitter=false)",
        ),
        (BackoffStrategy.fixed(), "BackoffStrategy.Fixed"),
        (BackoffStrategy.linear(2.0), "BackoffStrategy.Linear(multiplier=2)"),
        (BackoffStrategy.exponential(2), "BackoffStrategy.Exponential(base=2, multiplier=1)"),
        (RetryCondition.never(), "RetryCondition.Never"),
        (RetryCondition.transient_only(), "RetryCondition.TransientOnly"),
        (RetryCondition.all_errors(), "RetryCondition.AllErrors"),
        (
            RetryCondition.error_pattern(["a", "b"]),
            'RetryCondition.ErrorPattern(patterns=["a", "b"])',
        ),
        (RetryCondition.exceptions(OSError), "RetryCondition.Exceptions(builtins.OSError)"),
    ],
)
def test_reprs_are_upstreams(value: object, text: str) -> None:
    assert repr(value) == text


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(max_attempts=-1),
        lambda: RetryPolicy(max_attempts=True),
        lambda: RetryPolicy(initial_delay=-1),
        lambda: RetryPolicy(max_delay=float("nan")),
        lambda: RetryPolicy(max_delay=float("inf")),
        lambda: RetryPolicy(max_delay="1"),  # type: ignore[arg-type]
        lambda: RetryPolicy(with_jitter="yes"),  # type: ignore[arg-type]
        lambda: RetryPolicy(backoff="fixed"),  # type: ignore[arg-type]
        lambda: RetryPolicy(condition="all"),  # type: ignore[arg-type]
        lambda: BackoffStrategy.linear(-1),
        lambda: BackoffStrategy.exponential(2, float("nan")),
        lambda: RetryCondition.error_pattern("abc"),
        lambda: RetryCondition.error_pattern([1]),  # type: ignore[list-item]
        lambda: RetryCondition.exceptions(int),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies_are_value_errors(make: Any) -> None:
    with pytest.raises(InvalidDefinition):
        make()
