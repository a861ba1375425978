"""The handle of a task: deferral, its identity, and the block that completes it."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from cloaca_django import Context
from cloaca_django.core.states import TaskStatus
from cloaca_django.errors import HandleConsumed
from cloaca_django.models import TaskExecution
from tests import workflows
from tests.interface.conftest import until

ONCE = {"retry_attempts": 1}


def run(runner, name="w", **data):
    return runner.execute(name, Context(data))


def test_a_deferred_task_goes_on_when_its_condition_holds(runner):
    looks, held = [], []

    def body(context, handle):
        def condition():
            looks.append(handle.is_slot_held())
            return len(looks) == 3

        held.append(handle.is_slot_held())
        handle.defer_until(condition, 20)
        held.append(handle.is_slot_held())
        context["looks"] = len(looks)

    workflows.single("w", body)
    assert run(runner).final_context["looks"] == 3
    assert (held, looks) == ([True, True], [False] * 3)


def test_a_deferred_task_gives_its_slot_to_others(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    done = threading.Event()

    def waits(context, handle):
        handle.defer_until(done.is_set, 10)

    workflows.single("waits", waits)
    workflows.single("other", lambda context: done.set())
    waiting = [runner.enqueue("waits") for _ in range(3)]
    rows = TaskExecution.objects.filter(is_deferred=True, status=TaskStatus.RUNNING)
    until(lambda: rows.count() == 3)
    assert run(runner, "other").status == "Completed"
    for handle in waiting:
        assert handle.wait(20).status == "Completed"
    assert not TaskExecution.objects.filter(is_deferred=True).exists()


def test_more_tasks_may_wait_than_threads_may_park(make_runner, settings):
    settings.CLOACA = {"MAX_PARKED_THREADS": 1}
    runner = make_runner(max_concurrent_tasks=2)
    done = threading.Event()
    workflows.fan("w", 3, lambda context: None)
    workflows.single("waits", waits_for(done))
    handles = [runner.enqueue("waits") for _ in range(2)]
    until(lambda: TaskExecution.objects.filter(status=TaskStatus.RUNNING).count() == 2)
    done.set()
    assert {handle.wait(20).status for handle in handles} == {"Completed"}


def waits_for(event):
    def body(context, handle):
        handle.defer_until(event.is_set, 10)

    return body


def test_only_true_itself_ends_a_deferral_and_an_error_counts_as_not_yet(runner, caplog):
    answers = [1, "yes", None, ValueError("down"), True]

    def condition():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    workflows.single("w", lambda context: None)
    workflows.single("d", lambda context, handle: handle.defer_until(condition, 5))
    assert run(runner, "d").status == "Completed"
    assert answers == []
    assert "condition of deferred task a raised" in caplog.text


def test_a_deferral_counts_against_the_timeout(runner):
    workflows.single("w", waits_for(threading.Event()), timeout_seconds=1, **ONCE)
    result = run(runner)
    assert "Task execution timeout after 1s" in result.error_message


def test_a_deferred_task_ends_when_its_run_is_cancelled(runner):
    ended = threading.Event()

    def body(context, handle):
        try:
            handle.defer_until(lambda: False, 10)
        finally:
            ended.set()

    workflows.single("w", body)
    handle = runner.enqueue("w")
    until(lambda: TaskExecution.objects.filter(is_deferred=True).exists())
    handle.cancel()
    assert ended.wait(10)
    assert handle.wait(5).status == "Cancelled"


@pytest.mark.parametrize(
    ("milliseconds", "error"),
    [
        (0, "OptionOutOfRange"),
        (-5, "OptionOutOfRange"),
        (10**30, "OptionOutOfRange"),
        (True, "InvalidOptionType"),
        (1.5, "InvalidOptionType"),
        ("50", "InvalidOptionType"),
        (None, "InvalidOptionType"),
    ],
)
def test_the_interval_of_a_deferral_is_checked(runner, milliseconds, error):
    workflows.single("w", lambda context, handle: handle.defer_until(bool, milliseconds), **ONCE)
    message = run(runner).error_message
    assert f"{error}: defer_until(): poll_interval_ms must be an integer 1-86400000" in message


def test_a_handle_is_no_use_after_its_task(runner):
    kept = []
    workflows.single("w", lambda context, handle: kept.append(handle))
    run(runner)
    for use in (kept[0].is_slot_held, lambda: kept[0].defer_until(bool, 10)):
        with pytest.raises(HandleConsumed, match="has already been consumed"):
            use()


def test_an_attempt_knows_itself_and_its_key_stays_the_same(runner):
    keys, attempts = [], []

    def body(context, handle):
        keys.append(handle.idempotency_key)
        attempts.append(handle.attempt)
        context["ids"] = [str(handle.run_id), handle.task_id]
        if len(keys) < 3:
            raise ValueError("again")

    workflows.single("w", body, retry_delay_ms=1)
    result = run(runner)
    assert attempts == [1, 2, 3]
    assert keys == [f"{result.execution_id}:a"] * 3
    assert result.final_context["ids"] == [result.execution_id, TaskExecution.objects.get().pk]


def test_the_second_parameter_may_be_called_task_handle(runner):
    def body(context, task_handle):
        context["attempt"] = task_handle.attempt

    workflows.single("w", body)
    assert run(runner).final_context["attempt"] == 1


def user(name):
    return User.objects.create(username=name)


def names():
    return set(User.objects.values_list("username", flat=True))


def test_an_atomic_tasks_writes_commit_with_its_outcome(runner):
    def body(context):
        user("ann")
        assert connection.in_atomic_block
        context["x"] = 1

    workflows.chain("w", body, workflows.writes("b", 1), atomic=True)
    result = run(runner)
    assert result.final_context.to_dict() == {"x": 1, "b": 1}
    assert names() == {"ann"}


def test_a_failed_atomic_attempt_leaves_no_writes(runner):
    calls = []

    def body(context):
        calls.append(1)
        user("ann")
        if len(calls) == 1:
            raise ValueError("no")

    workflows.single("w", body, atomic=True, retry_delay_ms=1)
    assert run(runner).status == "Completed"
    # The name is unique: had the first attempt left it, the second would have failed.
    assert names() == {"ann"}


def test_a_database_error_in_an_atomic_task_is_its_own_failure(runner):
    def body(context):
        user("ann")
        user("ann")

    workflows.single("w", body, atomic=True, **ONCE)
    result = run(runner)
    assert "IntegrityError" in result.error_message
    assert names() == set()


def test_a_cancelled_atomic_task_writes_nothing(runner, gate, new_gate):
    after = new_gate()

    def body(context):
        if connection.vendor == "postgresql":
            user("ann")
        gate.pass_through()
        try:
            user("bob")
        finally:
            after.pass_through()

    workflows.single("w", body, atomic=True, **ONCE)
    handle = runner.enqueue("w")
    gate.await_arrival()
    if connection.vendor == "sqlite":  # the file has one writer: the cancel waits for the task
        gate.open()
        after.open()
        handle.wait(20)
        return
    handle.cancel()
    gate.open()
    after.await_arrival()
    after.open()
    assert handle.wait(20).status == "Cancelled"
    assert names() == set()


def test_the_completing_block_commits_its_writes_with_the_outcome(runner):
    def body(context, handle):
        context["slow"] = 1
        with handle.completing():
            user("ann")
            context["x"] = 2

    workflows.chain("w", body, workflows.writes("b", 3))
    assert run(runner).final_context.to_dict() == {"slow": 1, "x": 2, "b": 3}
    assert names() == {"ann"}


def test_a_completing_block_that_raises_rolls_back_and_is_tried_again(runner):
    calls = []

    def body(context, handle):
        calls.append(1)
        with handle.completing():
            user("ann")
            if len(calls) == 1:
                raise ValueError("no")

    workflows.single("w", body, retry_delay_ms=1)
    assert run(runner).status == "Completed"
    assert names() == {"ann"}


def test_what_comes_after_the_completing_block_is_too_late_and_logged(runner, caplog):
    def body(context, handle):
        with handle.completing():
            context["x"] = 1
        context["late"] = 2
        raise ValueError("too late")

    workflows.single("w", body)
    result = run(runner)
    assert (result.status, result.final_context.to_dict()) == ("Completed", {"x": 1})
    # The run is over as soon as the block is; its body may still be at it.
    until(lambda: "after it had completed; that is lost" in caplog.text)


@pytest.mark.parametrize("nested", [True, False])
def test_a_second_completing_block_is_refused(runner, nested):
    def body(context, handle):
        with handle.completing():
            if nested:
                with handle.completing():
                    pass
        with handle.completing():
            pass

    workflows.single("w", body, **ONCE)
    result = run(runner)
    if nested:
        assert "stands once in a task" in result.error_message
    else:
        assert result.status == "Completed"


def test_completing_is_refused_inside_an_open_transaction_and_in_atomic_tasks(runner):
    def inside(context, handle):
        with transaction.atomic(), handle.completing():
            user("ann")

    def atomic(context, handle):
        with handle.completing():
            user("bob")

    workflows.single("w", inside, **ONCE)
    workflows.single("atomic", atomic, atomic=True, **ONCE)
    assert run(runner).status == "Failed"
    assert "WouldDeadlock" in run(runner, "atomic").error_message
    assert names() == set()


@pytest.mark.parametrize("atomic", [True, False])
def test_a_deferral_that_would_keep_a_transaction_open_is_refused(runner, atomic):
    def body(context, handle):
        if atomic:
            handle.defer_until(bool, 10)
        with handle.completing():
            handle.defer_until(bool, 10)

    workflows.single("w", body, atomic=atomic, **ONCE)
    assert "would keep a database transaction open" in run(runner).error_message


def test_successors_of_a_task_that_completed_itself_start(make_runner):
    runner = make_runner(scheduler_poll_interval_ms=3_600_000)

    def body(context, handle):
        with handle.completing():
            context["x"] = 1

    workflows.define(
        "w",
        ("a", body, {}),
        ("b", workflows.writes("b", 1), {"dependencies": ["a"], "atomic": True}),
        ("c", workflows.writes("c", 1), {"dependencies": ["b"]}),
    )
    assert run(runner).final_context.to_dict() == {"x": 1, "b": 1, "c": 1}
