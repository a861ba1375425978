"""A task out of time: its slot, its thread, its database connection, its late result."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from cloaca_django import Context
from cloaca_django.core.states import AttemptOutcome
from cloaca_django.models import TaskAttempt
from tests import workflows
from tests.interface.conftest import until

TWICE = {"timeout_seconds": 1, "retry_attempts": 2, "retry_delay_ms": 0}


def test_a_late_result_counts_for_nothing(runner, gate):
    calls = []

    def body(context):
        calls.append(1)
        if len(calls) == 1:
            gate.pass_through()
        context["call"] = len(calls) if len(calls) > 1 else "late"

    workflows.single("w", body, **TWICE)
    result = runner.execute("w", Context())
    gate.open()
    assert (result.status, result.final_context["call"]) == ("Completed", 2)
    attempt = TaskAttempt.objects.get()
    assert (attempt.outcome, attempt.attempt) == (AttemptOutcome.TIMED_OUT, 1)
    assert attempt.error_message == "TimeoutError: Task execution timeout after 1s"


def test_a_late_body_does_not_take_the_slot_of_its_own_retry(make_runner, new_gate):
    old, new = new_gate(), new_gate()
    calls = []

    def body(context):
        calls.append(1)
        (old if len(calls) == 1 else new).pass_through()

    workflows.single("w", body, **TWICE)
    workflows.single("next")
    runner = make_runner(max_concurrent_tasks=1)
    handle = runner.enqueue("w")
    old.await_arrival()
    new.await_arrival()
    old.open()
    threading.Event().wait(0.2)  # the old body comes to its end while the new one runs
    new.open()
    assert handle.wait(10).status == "Completed"
    for _ in range(3):
        assert runner.enqueue("next").wait(10).status == "Completed"


def test_the_slot_of_a_task_out_of_time_is_free_though_its_body_goes_on(make_runner, gate):
    workflows.single("w", lambda context: gate.pass_through(), timeout_seconds=1, retry_attempts=1)
    workflows.single("next")
    runner = make_runner(max_concurrent_tasks=1)
    assert runner.execute("w", Context()).status == "Failed"
    assert runner.execute("next", Context()).status == "Completed"


def test_a_handle_shows_a_late_body_that_nobody_waits_for(runner, gate, new_gate):
    seen, after = [], new_gate()

    def body(context, handle):
        gate.pass_through()
        seen.append(handle.cancelled)
        after.pass_through()

    workflows.single("w", body, timeout_seconds=1, retry_attempts=1)
    assert runner.execute("w", Context()).status == "Failed"
    gate.open()
    after.await_arrival()
    after.open()
    assert seen == [True]


@pytest.mark.parametrize("times", [1, 2])
def test_a_retry_does_not_wait_for_the_locks_of_the_body_it_replaces(make_runner, gate, times):
    """The connection of the timed-out body is cut, also the second time on the same thread."""
    User.objects.create(username="ann")
    calls = []

    def body(context):
        calls.append(1)
        with transaction.atomic():
            User.objects.filter(username="ann").update(first_name=f"call {len(calls)}")
            if len(calls) <= times:
                stay(gate)

    workflows.single("w", body, timeout_seconds=1, retry_attempts=3, retry_delay_ms=0)
    runner = make_runner(max_concurrent_tasks=2)
    handle = runner.enqueue("w")
    result = handle.wait(20)
    assert (result.status, len(calls)) == ("Completed", times + 1)
    assert User.objects.get().first_name == f"call {times + 1}"


def stay(gate):
    """Stay inside a statement of the database for long."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9)"
                " SELECT max(i) FROM n"
            )
        else:
            cursor.execute("SELECT pg_sleep(20)")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file's lock ends with its statement")
def test_the_locks_of_an_idle_transaction_are_freed_too(make_runner, gate):
    User.objects.create(username="ann")
    calls = []

    def body(context):
        calls.append(1)
        with transaction.atomic():
            User.objects.filter(username="ann").update(first_name=f"call {len(calls)}")
            if len(calls) == 1:
                gate.pass_through()

    workflows.single("w", body, **TWICE)
    result = make_runner().enqueue("w").wait(15)
    assert (result.status, len(calls)) == ("Completed", 2)
    gate.open()


def test_an_atomic_task_out_of_time_leaves_no_writes(runner):
    calls = []

    def body(context):
        calls.append(1)
        User.objects.create(username=f"call {len(calls)}")
        if len(calls) == 1:
            stay(None)

    workflows.single("w", body, atomic=True, **TWICE)
    assert runner.execute("w", Context()).status == "Completed"
    assert [user.username for user in User.objects.all()] == ["call 2"]


def test_a_timeout_is_transient_and_follows_the_retry_condition(runner, gate):
    facts = {"timeout_seconds": 1, "retry_attempts": 2, "retry_delay_ms": 0}
    calls = []

    def body(context):
        calls.append(1)
        gate.pass_through()

    workflows.single("never", body, retry_condition="never", **facts)
    assert runner.execute("never", Context()).status == "Failed"
    assert len(calls) == 1


def test_an_async_task_out_of_time_is_cancelled(runner):
    ended = threading.Event()

    async def body(context):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    workflows.single("w", body, timeout_seconds=1, retry_attempts=1)
    assert "timeout after 1s" in runner.execute("w", Context()).error_message
    assert ended.wait(5)


def hearer(heard):
    """Return an ``on_failure`` that keeps what it hears, and on which thread."""

    def on_failure(name, error, context):
        heard.append((name, error, context.to_dict(), threading.current_thread().name))

    return on_failure


def late_body(kind, gate, ended):
    """Return a body that outlives its limit, and then ends in some way."""

    def returns(context):
        gate.pass_through()
        ended.set()

    def raises(context):
        try:
            gate.pass_through()
            raise ValueError("late")
        finally:
            ended.set()

    def is_cut(context):
        try:
            stay(gate)
        finally:
            ended.set()

    async def is_cancelled(context):
        try:
            gate.arrive()
            await asyncio.sleep(60)
        finally:
            ended.set()

    return {"returns": returns, "raises": raises, "is cut": is_cut, "async": is_cancelled}[kind]


@pytest.mark.parametrize("kind", ["returns", "raises", "is cut", "async"])
def test_on_failure_hears_of_a_timeout_once_and_of_nothing_after(make_runner, gate, kind):
    heard, successes, ended = [], [], threading.Event()
    workflows.single(
        "w", late_body(kind, gate, ended), timeout_seconds=1, retry_attempts=1,
        on_failure=hearer(heard), on_success=lambda *arguments: successes.append(arguments),
    )  # fmt: skip
    runner = make_runner()
    assert runner.execute("w", Context({"i": 1})).status == "Failed"
    until(lambda: heard)
    gate.open()
    assert ended.wait(10)
    runner.shutdown()
    message = "TimeoutError: Task execution timeout after 1s"
    assert heard == [("a", message, {"i": 1}, "cloaca-signals")]
    assert successes == []


@pytest.mark.parametrize("kind", ["returns", "raises", "async"])
def test_no_callback_hears_of_a_run_that_was_cancelled(make_runner, gate, kind):
    heard, ended = [], threading.Event()
    workflows.single(
        "w", late_body(kind, gate, ended), retry_attempts=1,
        on_failure=hearer(heard), on_success=lambda *arguments: heard.append(arguments),
    )  # fmt: skip
    runner = make_runner()
    handle = runner.enqueue("w")
    gate.await_arrival()
    handle.cancel()
    until(lambda: runner._started_turn().live() == {})
    gate.open()
    assert ended.wait(10)
    runner.shutdown()
    assert heard == []
