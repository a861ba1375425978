"""The life of a runner: context manager, shutdown at every moment, forks, what it leaves behind."""

from __future__ import annotations

import os
import threading
import time

import pytest

from cloaca_django import Context, DefaultRunner
from cloaca_django.core.states import TaskStatus, WorkerState
from cloaca_django.errors import RunnerClosed
from cloaca_django.models import PipelineExecution, TaskExecution, Worker
from tests import workflows
from tests.interface.conftest import PATIENCE


def test_the_block_of_a_runner_ends_with_its_shutdown(database_url, workflows_of_test):
    workflows.single("w")
    with DefaultRunner(database_url) as runner:
        assert runner.execute("w", Context()).status == "Completed"
    with pytest.raises(RunnerClosed):
        runner.execute("w", Context())


def test_an_exception_leaves_the_block_after_the_shutdown(database_url, workflows_of_test):
    with pytest.raises(KeyError, match="mine"), DefaultRunner(database_url) as runner:
        raise KeyError("mine")
    with pytest.raises(RunnerClosed):
        runner.enqueue("w")


def test_a_second_shutdown_does_nothing(runner):
    runner.shutdown()
    runner.shutdown()
    with runner:
        pass


def test_shutdown_of_an_idle_runner_is_prompt(make_runner):
    runner = make_runner()
    started = time.monotonic()
    runner.shutdown()
    assert time.monotonic() - started < 3


def test_shutdown_waits_for_tasks_within_the_grace(runner, gate):
    def body(context):
        gate.pass_through()
        context["x"] = 1

    workflows.single("w", body)
    handle = runner.enqueue("w")
    gate.await_arrival()
    threading.Timer(0.2, gate.open).start()
    runner.shutdown(grace=PATIENCE)
    run = PipelineExecution.objects.get(pk=handle.id)
    assert run.status == "Completed"


def test_shutdown_hands_back_what_does_not_end_in_time(runner, make_runner, gate):
    calls = []

    def body(context):
        calls.append(1)
        if len(calls) == 1:
            gate.pass_through()
        context["call"] = len(calls)

    workflows.single("w", body)
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.shutdown(grace=0.1)
    task = TaskExecution.objects.get(run_id=handle.id)
    assert (task.status, task.attempt, task.crashes) == (TaskStatus.READY, 1, 0)
    assert task.worker_id is None
    gate.open()
    result = make_runner().handle(handle.id).wait(20)
    assert (result.status, result.final_context["call"]) == ("Completed", 2)


def test_the_late_end_of_a_body_that_was_handed_back_counts_for_nothing(runner, make_runner, gate):
    def body(context):
        gate.pass_through()
        context["x"] = 1

    workflows.single("w", body)
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.shutdown(grace=0)
    gate.open()
    task = TaskExecution.objects.get(run_id=handle.id)
    assert (task.status, task.changes) == (TaskStatus.READY, None)


def test_a_body_sees_that_it_was_handed_back(runner, gate, new_gate):
    seen = []
    after = new_gate()

    def body(context, handle):
        gate.pass_through()
        seen.append(handle.cancelled)
        after.pass_through()

    workflows.single("w", body)
    runner.enqueue("w")
    gate.await_arrival()
    runner.shutdown(grace=0)
    gate.open()
    after.await_arrival()
    assert seen == [True]


def test_who_waits_while_the_runner_shuts_down_is_told(runner, gate, together):
    workflows.single("w", lambda context: gate.pass_through())

    def stop():
        gate.await_arrival()
        runner.shutdown(grace=0.1)

    outcome, _ = together(lambda: runner.execute("w", Context()), stop)
    assert isinstance(outcome, RunnerClosed)


def test_a_task_cannot_shut_its_own_runner_down(runner):
    workflows.single("w", lambda context: runner.shutdown(), retry_attempts=1)
    result = runner.execute("w", Context())
    assert result.status == "Failed"
    assert "WouldDeadlock" in result.error_message
    assert "shutdown() inside a task" in result.error_message
    assert runner.execute("w", Context()).status == "Failed"


@pytest.mark.parametrize("is_atomic", [False, True])
def test_an_async_or_atomic_task_cannot_either(runner, is_atomic):
    if is_atomic:
        workflows.single("w", lambda context: runner.shutdown(), retry_attempts=1, atomic=True)
    else:

        async def body(context):
            runner.shutdown()

        workflows.single("w", body, retry_attempts=1)
    result = runner.execute("w", Context())
    assert "shutdown() inside a task" in result.error_message


def test_the_workers_row_tells_its_life(runner):
    row = Worker.objects.get()
    assert (row.state, row.kind, row.pid) == (WorkerState.ALIVE, "runner", os.getpid())
    runner.shutdown()
    row.refresh_from_db()
    assert row.state == WorkerState.STOPPED


def test_a_runner_leaves_no_thread_and_no_logging_behind(database_url, workflows_of_test):
    import logging

    workflows.fan("w", 4)
    before, handlers = set(threading.enumerate()), list(logging.getLogger().handlers)
    with DefaultRunner(database_url) as runner:
        runner.execute("w", Context())
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before
    assert logging.getLogger().handlers == handlers


def test_shutdown_inside_an_open_transaction_leaves_it_alone(runner, transactional_db):
    from django.db import transaction

    workflows.single("w")
    started = time.monotonic()
    with transaction.atomic():
        handle = runner.enqueue("w")
        runner.shutdown()
        assert time.monotonic() - started < 10
        assert PipelineExecution.objects.filter(pk=handle.id).exists()
    assert PipelineExecution.objects.get(pk=handle.id).status == "Pending"


EVERYWHERE = """
import atexit, os, signal, sys
import cloaca_django as cloaca

with cloaca.WorkflowBuilder("w"):
    @cloaca.task()
    def a(context):
        pass

runner = cloaca.DefaultRunner(sys.argv[1])
atexit.register(lambda: print("atexit", runner.shutdown()))
signal.signal(signal.SIGTERM, lambda *_: print("signal", runner.shutdown()))
assert runner.execute("w", cloaca.Context()).status == "Completed"
os.kill(os.getpid(), signal.SIGTERM)
print("again", runner.shutdown())
"""


def test_shutdown_in_a_signal_handler_and_at_exit(run_script):
    assert run_script(EVERYWHERE) == "signal None\nagain None\natexit None\n"


FORK = """
import os, sys
import cloaca_django as cloaca

with cloaca.WorkflowBuilder("w"):
    @cloaca.task()
    def a(context):
        context["pid"] = os.getpid()

runner = cloaca.DefaultRunner(sys.argv[1])
assert runner.execute("w", cloaca.Context()).final_context["pid"] == os.getpid()
child = os.fork()
if child == 0:
    result = runner.execute("w", cloaca.Context())
    runner.shutdown()
    os._exit(0 if result.final_context["pid"] == os.getpid() else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert runner.execute("w", cloaca.Context()).final_context["pid"] == os.getpid()
runner.shutdown()
print("both ran their own")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_starts_a_worker_of_its_own(run_script):
    assert run_script(FORK) == "both ran their own\n"
