"""Puts the points between the engine's steps; user code passes through the others itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import AppConfig


class DeadlyConfig(AppConfig):
    """Only in the settings of a process that shall die."""

    name = "tests.crash.deadly"

    def ready(self) -> None:
        from cloaca_django.dialect import Session
        from cloaca_django.engine import claiming, completing, express, settlement

        passed: set[str] = set()
        claiming.claim = _dying_of_claims(_noting(claiming.claim, passed, "claim", any), passed)
        settlement.settle = _noting(settlement.settle, passed, "settle", _has_outcome)
        express.settle = _dying_of_settles(express.settle)
        completing.settle = _noting(completing.settle, passed, "atomic", _has_outcome)
        Session.transaction = _watched(Session.transaction, passed)
        completing.completing = _watched_block(completing.completing, passed)


def _has_outcome(settled: Any) -> bool:
    return bool(settled.accepted)


def _noting(
    function: Callable[..., Any], passed: set[str], step: str, counts: Callable[[Any], bool]
) -> Callable[..., Any]:
    """Return a step of the engine that notes when it did something."""

    def noting(*arguments: Any, **options: Any) -> Any:
        found = function(*arguments, **options)
        if counts(found):
            passed.add(step)
        return found

    return noting


def _dying_of_claims(claim: Callable[..., Any], passed: set[str]) -> Callable[..., Any]:
    """Return a claim with a point after it, where it is a transaction by itself."""
    from tests.crash.deadly import points

    def dying(*arguments: Any, **options: Any) -> Any:
        found = claim(*arguments, **options)
        if "claim" in passed and "open" not in passed:
            points.pass_through(points.CLAIMED)
        return found

    return dying


def _dying_of_settles(settle: Callable[..., Any]) -> Callable[..., Any]:
    """Return a settle of one statement, which commits itself, with points before and after it."""
    from tests.crash.deadly import points

    def dying(*arguments: Any, **options: Any) -> Any:
        points.pass_through(points.BEFORE_COMMIT)
        found = settle(*arguments, **options)
        if found.accepted:
            points.pass_through(points.AFTER_COMMIT)
        return found

    return dying


def _watched(transaction: Callable[..., Any], passed: set[str]) -> Callable[..., Any]:
    """Return the engine's own transactions, with points before and after their COMMIT."""
    from tests.crash.deadly import points

    @contextmanager
    def watched(self: Any, *, durable: bool = True) -> Iterator[None]:
        with transaction(self, durable=durable):
            passed.add("open")
            yield
            passed.remove("open")
            if "settle" in passed:
                points.pass_through(points.BEFORE_COMMIT)
        if "settle" in passed:
            points.pass_through(points.AFTER_COMMIT)
        if "claim" in passed:
            points.pass_through(points.CLAIMED)

    return watched


def _watched_block(block: Callable[..., Any], passed: set[str]) -> Callable[..., Any]:
    """Return the block of an atomic task, with points before and after its COMMIT."""
    from tests.crash.deadly import points

    @contextmanager
    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        with block(*arguments, **options) as finish:
            yield finish
            if "atomic" in passed:
                points.pass_through(points.BEFORE_ATOMIC_COMMIT)
        if "atomic" in passed:
            points.pass_through(points.AFTER_ATOMIC_COMMIT)

    return watched
