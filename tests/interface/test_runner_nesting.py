"""Tasks that start runs: with ``execute``, which waits for them, and with ``enqueue``."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from cloaca_django import Context, DefaultRunner
from cloaca_django.core.states import Origin, RunStatus
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.conftest import until


def executes(runner, name, into="child"):
    def body(context):
        context[into] = runner.execute(name, Context({"from": "parent"})).final_context.to_dict()

    return body


def test_a_task_may_execute_and_wait_though_every_slot_is_taken(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner", workflows.writes("x", 1))
    workflows.single("middle", executes(runner, "inner"))
    workflows.single("outer", executes(runner, "middle"))
    result = runner.execute("outer", Context())
    assert result.status == "Completed"
    assert result.final_context["child"]["child"] == {"from": "parent", "x": 1}


def test_many_parents_wait_at_once_without_a_deadlock(make_runner):
    runner = make_runner(max_concurrent_tasks=2)
    workflows.single("inner", workflows.writes("x", 1))
    workflows.fan("outer", 6, executes(runner, "inner"))
    assert runner.execute("outer", Context()).status == "Completed"
    assert PipelineExecution.objects.filter(workflow_name="inner").count() == 6


def test_a_child_knows_its_parent(runner):
    workflows.single("inner")
    workflows.single("outer", executes(runner, "inner"))
    result = runner.execute("outer", Context())
    child = PipelineExecution.objects.get(workflow_name="inner")
    assert str(child.parent_id) == result.execution_id
    assert (child.origin, child.parent_task_id) == (
        Origin.TASK,
        PipelineExecution.objects.get(pk=result.execution_id).tasks.get().pk,
    )


def test_a_repeated_body_finds_the_children_of_its_first_attempt(runner):
    inner_calls, attempts = [], []

    def outer(context):
        attempts.append(1)
        context["one"] = runner.execute("inner", Context({"n": 1})).execution_id
        context["two"] = runner.execute("inner", Context({"n": 2})).execution_id
        if len(attempts) < 3:
            raise ValueError("again")

    workflows.single("inner", lambda context: inner_calls.append(context["n"]))
    workflows.single("outer", outer, retry_delay_ms=1)
    found = runner.execute("outer", Context()).final_context
    assert found["one"] != found["two"]
    assert sorted(inner_calls) == [1, 2]
    assert len(attempts) == 3
    assert PipelineExecution.objects.filter(workflow_name="inner").count() == 2


def test_a_failed_child_is_a_result_too(runner):
    def outer(context):
        result = runner.execute("inner", Context())
        context["child"] = [result.status, result.error_message]

    workflows.single("inner", workflows.boom, retry_attempts=1)
    workflows.single("outer", outer)
    found = runner.execute("outer", Context()).final_context
    assert found["child"] == ["Failed", "Task 'a' failed: ValueError: boom"]


def test_cancelling_a_parent_cancels_the_child_it_waits_for(runner, gate, new_gate):
    after = new_gate()
    seen = []

    def outer(context):
        try:
            runner.execute("inner", Context())
        finally:
            after.pass_through()

    def inner(context, handle):
        gate.pass_through()
        seen.append(handle.cancelled)

    workflows.single("inner", inner)
    workflows.single("outer", outer)
    parent = runner.enqueue("outer")
    gate.await_arrival()
    parent.cancel(reason="enough")
    child = PipelineExecution.objects.get(workflow_name="inner")
    assert (child.status, parent.status) == (RunStatus.CANCELLED, RunStatus.CANCELLED)
    gate.open()
    after.await_arrival()
    after.open()


def test_a_parent_out_of_time_takes_its_child_with_it(runner, gate):
    workflows.single("inner", lambda context: gate.pass_through())
    workflows.single("outer", executes(runner, "inner"), timeout_seconds=1, retry_attempts=1)
    result = runner.execute("outer", Context())
    assert result.status == "Failed"
    assert "timeout after 1s" in result.error_message
    child = runner.handle(PipelineExecution.objects.get(workflow_name="inner").pk)
    assert child.wait(10).status == "Cancelled"


def test_a_parent_that_waited_keeps_its_slot_count_after_the_child_was_cancelled(make_runner, gate):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner", lambda context: gate.pass_through())
    workflows.single(
        "outer", executes(runner, "inner"), timeout_seconds=1, retry_attempts=2, retry_delay_ms=1
    )
    workflows.single("next", workflows.writes("x", 1))
    runner.execute("outer", Context())
    gate.open()
    for _ in range(3):
        assert runner.enqueue("next").wait(10).status == "Completed"


def test_a_task_may_execute_on_a_runner_of_another_database(own_databases):
    with (
        DefaultRunner("sqlite:///:memory:") as here,
        DefaultRunner("sqlite:///:memory:") as there,
    ):
        workflows.single("inner", workflows.writes("x", 1))
        workflows.single("outer", executes(there, "inner"), retry_attempts=1)
        result = here.execute("outer", Context())
        assert (result.status, result.error_message) == ("Completed", None)
        assert result.final_context["child"] == {"from": "parent", "x": 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_execute_is_refused_in_an_atomic_or_async_task(runner, is_async):
    async def body(context):
        runner.execute("inner", Context())

    workflows.single("inner")
    if is_async:
        workflows.single("outer", body, retry_attempts=1)
    else:
        workflows.single("outer", executes(runner, "inner"), atomic=True, retry_attempts=1)
    result = runner.execute("outer", Context())
    assert result.status == "Failed"
    assert "WouldDeadlock: execute() inside the" in result.error_message
    assert "use enqueue(), or aexecute() in an async task" in result.error_message
    assert not PipelineExecution.objects.filter(workflow_name="inner").exists()


def test_enqueue_in_an_atomic_task_commits_with_the_task(runner):
    attempts = []

    def outer(context):
        attempts.append(1)
        context["child"] = str(runner.enqueue("inner", Context({"n": len(attempts)})).id)
        if len(attempts) == 1:
            raise ValueError("the first attempt's child must not be")

    workflows.single("inner", workflows.writes("x", 1))
    workflows.single("outer", outer, atomic=True, retry_delay_ms=1)
    result = runner.execute("outer", Context())
    assert result.status == "Completed"
    child = PipelineExecution.objects.get(workflow_name="inner")
    assert (str(child.pk), child.context) == (result.final_context["child"], '{"n":2}')
    assert runner.handle(child.pk).wait(10).status == "Completed"


def test_a_plain_task_may_enqueue(runner):
    workflows.single("inner", workflows.writes("x", 1))
    workflows.single("outer", lambda context: context.set("c", str(runner.enqueue("inner").id)))
    child = runner.execute("outer", Context()).final_context["c"]
    assert runner.handle(child).wait(10).final_context.to_dict() == {"x": 1}


def test_an_async_task_may_await_a_child_and_enqueue_another(make_runner):
    runner = make_runner(max_concurrent_tasks=1)

    async def outer(context):
        result = await runner.aexecute("inner", Context())
        context["child"] = result.final_context.to_dict()
        handle = await runner.aenqueue("inner")
        context["queued"] = str(handle.id)

    workflows.single("inner", workflows.writes("x", 1))
    workflows.single("outer", outer, retry_attempts=1, timeout_seconds=15)
    result = runner.execute("outer", Context())
    assert (result.status, result.error_message) == ("Completed", None)
    assert result.final_context["child"] == {"x": 1}
    assert runner.handle(result.final_context["queued"]).wait(10).status == "Completed"


def test_a_task_may_wait_for_a_run_it_enqueued_though_every_slot_is_taken(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner", workflows.writes("x", 1))
    workflows.single(
        "outer",
        lambda context: context.set("x", runner.enqueue("inner").wait(10).final_context["x"]),
        retry_attempts=1,
        timeout_seconds=15,
    )
    result = runner.execute("outer", Context())
    assert (result.status, result.error_message) == ("Completed", None)


async def gathers(runner, count):
    return await asyncio.gather(*[runner.aexecute("inner", Context()) for _ in range(count)])


def test_an_async_task_may_await_several_children_at_once_though_every_slot_is_taken(make_runner):
    runner = make_runner(max_concurrent_tasks=2)
    workflows.single("inner", workflows.rests(0.02))

    async def outer(context):
        context["ids"] = [result.execution_id for result in await gathers(runner, 5)]
        await asyncio.gather(gathers(runner, 2), gathers(runner, 1))

    workflows.single("outer", outer)
    for _ in range(4):  # a slot that is not given back would be missed
        assert len(set(runner.execute("outer", Context()).final_context["ids"])) == 5
    at_once, most = [], []

    def counts(context):
        at_once.append(1)
        most.append(len(at_once))
        workflows.rests(0.05)(context)
        at_once.pop()

    workflows.fan("many", 6, counts)
    assert runner.execute("many", Context()).status == "Completed"
    assert max(most) == 2


def test_an_async_parent_out_of_time_takes_all_its_children_with_it(runner, gate):
    workflows.single("inner", lambda context: gate.pass_through())

    async def outer(context):
        await gathers(runner, 3)

    workflows.single("outer", outer, timeout_seconds=1, retry_attempts=1)
    assert "timeout" in runner.execute("outer", Context()).error_message
    children = PipelineExecution.objects.filter(workflow_name="inner")
    until(lambda: children.filter(status=RunStatus.CANCELLED).count() == 3)


# Threads that a body starts


def in_thread(function):
    """Run a function on a thread of its own and return what it returned."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_thread_that_knows_its_task_gives_the_slot_back(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner", workflows.writes("x", 1))

    def outer(context):
        known = contextvars.copy_context()
        in_thread(lambda: known.run(runner.execute, "inner", Context()))

    workflows.single("outer", outer)
    result = runner.execute("outer", Context())
    assert result.status == "Completed"
    child = PipelineExecution.objects.get(workflow_name="inner")
    assert (str(child.parent_id), child.origin) == (result.execution_id, Origin.TASK)


def test_several_threads_that_know_their_task_have_one_slot_together(make_runner):
    runner = make_runner(max_concurrent_tasks=2)
    workflows.single("inner", workflows.rests(0.02))

    def outer(context):
        threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(runner.execute, "inner", Context())
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    workflows.single("outer", outer)
    for _ in range(4):
        assert runner.execute("outer", Context()).status == "Completed"
    children = PipelineExecution.objects.filter(workflow_name="inner")
    assert children.filter(parent__isnull=False).count() == 16


def test_any_other_thread_has_no_task_and_the_body_keeps_its_slot(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner")
    threads = []

    def outer(context):
        thread = threading.Thread(target=runner.execute, args=("inner", Context()))
        threads.append(thread)
        thread.start()
        thread.join(0.5)
        context["ended"] = not thread.is_alive()

    workflows.single("outer", outer)
    assert runner.execute("outer", Context()).final_context["ended"] is False
    threads[0].join(20)
    child = PipelineExecution.objects.get(workflow_name="inner")
    assert (child.status, child.parent_id) == (RunStatus.COMPLETED, None)


def test_a_thread_may_enqueue_what_the_body_waits_for(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("inner", workflows.writes("x", 1))

    def enqueues():
        try:
            return runner.enqueue("inner")
        finally:
            connections.close_all()

    def outer(context):
        context["x"] = in_thread(enqueues).wait(20).final_context["x"]

    workflows.single("outer", outer)
    assert runner.execute("outer", Context()).final_context["x"] == 1
