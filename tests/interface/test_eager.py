"""EAGER: a site's own tests run workflows at once, on their own connection."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import TestCase

from cloaca_django import Context, DefaultRunner, clock
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.errors import WouldDeadlock
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution, Worker
from tests import workflows


@pytest.fixture(autouse=True)
def _eager(settings, workflows_of_test):
    settings.CLOACA = {"EAGER": True}


class SiteTests(TestCase):
    """As the author of a site writes tests: inside TestCase's transaction."""

    def setUp(self) -> None:
        self.runner = DefaultRunner()
        self.addCleanup(self.runner.shutdown)

    def test_execute_runs_at_once(self):
        workflows.chain("w", workflows.writes("a", 1), workflows.writes("b", 2))
        result = self.runner.execute("w", Context({"i": 0}))
        assert result.status == "Completed"
        assert result.final_context.to_dict() == {"i": 0, "a": 1, "b": 2}

    def test_enqueue_runs_when_the_callbacks_of_the_commit_do(self):
        workflows.single("w", workflows.writes("x", 1))
        with self.captureOnCommitCallbacks(execute=True):
            handle = self.runner.enqueue("w")
            assert handle.status == RunStatus.PENDING
        assert handle.result().final_context.to_dict() == {"x": 1}

    def test_without_the_commit_nothing_runs(self):
        workflows.single("w", workflows.writes("x", 1))
        with self.captureOnCommitCallbacks() as callbacks:
            handle = self.runner.enqueue("w")
        assert handle.status == RunStatus.PENDING
        assert len(callbacks) == 1

    def test_wait_drains(self):
        workflows.single("w", workflows.writes("x", 1))
        handle = self.runner.enqueue("w")
        assert handle.wait().status == "Completed"

    def test_what_a_task_writes_is_gone_after_the_test(self):
        workflows.single("w", lambda context: User.objects.create(username="ann") and None)
        self.runner.execute("w", Context())
        assert User.objects.count() == 1

    def test_and_the_next_test_does_not_see_it(self):
        assert User.objects.count() == 0
        assert PipelineExecution.objects.count() == 0


@pytest.fixture
def runner(db):
    with DefaultRunner() as runner:
        yield runner


def test_everything_runs_on_the_callers_thread_and_connection(runner):
    seen = []

    def body(context):
        seen.append((threading.current_thread(), connection.connection))

    workflows.single("w", body)
    before = set(threading.enumerate())
    runner.execute("w", Context())
    assert seen == [(threading.current_thread(), connection.connection)]
    assert set(threading.enumerate()) <= before
    assert not Worker.objects.exists()


def test_retries_move_a_virtual_clock_instead_of_sleeping(runner):
    calls = []

    def body(context):
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("boom")

    workflows.single("w", body, retry_delay_ms=3_600_000, retry_max_delay_ms=7_200_000)
    started = time.monotonic()
    assert runner.execute("w", Context()).status == "Completed"
    assert time.monotonic() - started < 5
    assert TaskAttempt.objects.count() == 2


def test_a_deferral_moves_it_too(runner):
    looks = []
    workflows.single(
        "w", lambda context, handle: handle.defer_until(lambda: looks.append(1) or len(looks) > 9)
    )
    started = time.monotonic()
    assert runner.execute("w", Context()).status == "Completed"
    assert time.monotonic() - started < 5


def test_a_delayed_start_does_not_wait(runner, django_capture_on_commit_callbacks):
    workflows.single("w", workflows.writes("x", 1))
    with django_capture_on_commit_callbacks(execute=True):
        handle = runner.enqueue("w", start_at=clock.utc_now() + timedelta(days=3))
    assert handle.result().status == "Completed"


def test_a_failed_body_is_rolled_back_and_the_test_goes_on(runner):
    def body(context):
        User.objects.create(username="ann")
        raise ValueError("boom")

    def broken(context):
        User.objects.create(username="bob")
        User.objects.create(username="bob")

    workflows.single("w", body, retry_attempts=1)
    workflows.single("broken", broken, retry_attempts=1)
    assert runner.execute("w", Context()).status == "Failed"
    assert "IntegrityError" in runner.execute("broken", Context()).error_message
    assert User.objects.count() == 0
    workflows.single("next", workflows.writes("x", 1))
    assert runner.execute("next", Context()).status == "Completed"


def test_a_body_may_roll_its_own_block_back(runner):
    def body(context):
        with transaction.atomic():
            User.objects.create(username="ann")
            transaction.set_rollback(True)
        context["users"] = User.objects.count()

    workflows.single("w", body)
    assert runner.execute("w", Context()).final_context["users"] == 0


def test_atomic_tasks_and_completing_blocks_keep_their_promises(runner):
    calls = []

    def atomic(context):
        calls.append(1)
        User.objects.create(username="ann")
        if len(calls) == 1:
            raise ValueError("boom")

    def completes(context, handle):
        context["x"] = 1
        with handle.completing():
            User.objects.create(username="bob")
        context["late"] = 2

    workflows.define(
        "w", ("a", atomic, {"atomic": True}), ("b", completes, {"dependencies": ["a"]})
    )
    result = runner.execute("w", Context())
    assert (result.status, result.final_context.to_dict()) == ("Completed", {"x": 1})
    assert sorted(User.objects.values_list("username", flat=True)) == ["ann", "bob"]


def test_async_tasks_run(runner):
    async def body(context):
        context["x"] = 1

    workflows.single("w", body)
    assert runner.execute("w", Context()).final_context.to_dict() == {"x": 1}


def test_an_async_deferral_moves_the_virtual_clock_too(runner):
    looks = []

    async def body(context, handle):
        await handle.defer_until(lambda: looks.append(1) or len(looks) > 9, 60_000)

    workflows.single("w", body)
    started = time.monotonic()
    assert runner.execute("w", Context()).status == "Completed"
    assert time.monotonic() - started < 5


def _twice_async(name):
    async def body(context):
        await User.objects.acreate(username=name)
        await User.objects.acreate(username=name)

    return body


def _leaves_open(context):
    transaction.atomic().__enter__()
    User.objects.create(username="ann")


async def _leaves_open_async(context):
    await sync_to_async(_leaves_open)(context)


def _raises_inside(context):
    _leaves_open(context)
    raise ValueError("boom")


def _leaves_open_in_the_block(context, handle):
    with handle.completing():
        _leaves_open(context)


BROKEN = {
    "an async body with a database error": (_twice_async("ann"), "IntegrityError"),
    "an open transaction": (_leaves_open, "ended inside a transaction"),
    "an open transaction of an async body": (_leaves_open_async, "ended inside a transaction"),
    "an open transaction in a completing block": (
        _leaves_open_in_the_block, "ended inside a transaction",
    ),
    "an error inside an open transaction": (_raises_inside, "boom"),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_the_callers_transaction_survives(runner, kind):
    body, message = BROKEN[kind]
    workflows.single("w", body, retry_attempts=1)
    User.objects.create(username="mine")
    depth = len(connection.atomic_blocks)
    assert message in runner.execute("w", Context()).error_message
    assert len(connection.atomic_blocks) == depth
    assert [user.username for user in User.objects.all()] == ["mine"]
    workflows.single("next", workflows.writes("x", 1))
    assert runner.execute("next", Context()).status == "Completed"


def test_a_task_may_execute_and_enqueue(runner, django_capture_on_commit_callbacks):
    def outer(context):
        context["child"] = runner.execute("inner", Context()).final_context.to_dict()
        context["queued"] = str(runner.enqueue("inner").id)

    workflows.single("inner", workflows.writes("x", 1))
    workflows.single("outer", outer)
    with django_capture_on_commit_callbacks(execute=True):
        result = runner.execute("outer", Context())
    assert result.status == "Completed"
    assert result.final_context["child"] == {"x": 1}
    assert runner.handle(result.final_context["queued"]).status == "Completed"


def test_rules_skips_and_failures_are_those_of_production(runner):
    workflows.define(
        "w",
        ("a", workflows.boom, {"retry_attempts": 1}),
        ("b", workflows.boom, {"dependencies": ["a"]}),
        ("mend", workflows.writes("mended", 1),
         {"dependencies": ["a"], "trigger_rules": {"type": "TaskFailed", "task_name": "a"}}),
    )  # fmt: skip
    result = runner.execute("w", Context())
    assert {task.name: task.status for task in result.task_results} == {
        "a": "Failed",
        "b": "Skipped",
        "mend": "Completed",
    }
    assert result.error_message == "Task 'a' failed: ValueError: boom"


def test_time_limits_are_not_enforced(runner):
    workflows.single("w", workflows.rests(1.1), timeout_seconds=1, retry_attempts=1)
    assert runner.execute("w", Context()).status == "Completed"


def test_a_limited_workflow_runs_one_after_the_other(runner, django_capture_on_commit_callbacks):
    workflows.single("w", workflows.writes("x", 1), builder={"max_running": 1})
    with django_capture_on_commit_callbacks(execute=True):
        handles = runner.enqueue_many("w", [None] * 4)
    assert [handle.status for handle in handles] == ["Completed"] * 4


def test_a_paused_workflow_says_that_nothing_will_move_it(runner):
    workflows.single("w")
    runner.pause_workflow("w")
    with pytest.raises(WouldDeadlock, match="in EAGER mode nothing else will move it"):
        runner.execute("w", Context())
    assert TaskExecution.objects.get().status == TaskStatus.HELD
    runner.resume_workflow("w")
    handle = runner.handle(PipelineExecution.objects.get().pk)
    assert handle.wait().status == "Completed"


def test_operations_work_inside_the_tests_transaction(runner):
    workflows.chain("w", workflows.boom, workflows.nothing, retry_attempts=1)
    failed = runner.handle(runner.execute("w", Context()).execution_id)
    again = runner.replay(failed.id)
    assert again.wait().status == "Failed"
    waiting = runner.enqueue("w")
    waiting.cancel(reason="no")
    assert waiting.result().error_message == "Cancelled: no"


def test_a_schedule_is_run_by_a_trigger_or_a_backfill_that_is_waited_for(runner):
    workflows.single("w", lambda context: {"at": context["scheduled_time"]})
    id = runner.register_cron_workflow("w", "0 2 * * *")
    assert runner.trigger_cron_schedule(id).wait().status == "Completed"
    start, end = "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z"
    results = [handle.wait() for handle in runner.backfill(id, start, end)]
    assert [result.final_context["at"] for result in results] == [
        "2026-01-01T02:00:00+00:00",
        "2026-01-02T02:00:00+00:00",
    ]


def test_a_hundred_tasks_run_in_one_test(runner):
    workflows.fan("w", 100, lambda context: context.set("seen", [1]))
    assert runner.execute("w", Context()).status == "Completed"


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_commit_is_at_once():
    workflows.single("w", workflows.writes("x", 1))
    with DefaultRunner() as runner:
        assert runner.enqueue("w").status == "Completed"
        with transaction.atomic():
            handle = runner.enqueue("w")
            assert handle.status == RunStatus.PENDING
        assert handle.status == RunStatus.COMPLETED
