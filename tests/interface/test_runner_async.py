"""``async def`` tasks, and the runner in asynchronous programs."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from cloaca_django import Context
from cloaca_django.errors import RunnerClosed, WouldDeadlock
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.conftest import PATIENCE, until


def test_an_async_body_runs_and_its_changes_are_kept(runner):
    async def body(context):
        await asyncio.sleep(0.01)
        context["x"] = 1

    workflows.single("w", body)
    assert runner.execute("w", Context({"i": 1})).final_context.to_dict() == {"i": 1, "x": 1}


def test_async_bodies_share_one_loop_and_wait_beside_each_other(make_runner):
    loops, at_once, most = set(), [], []

    async def body(context):
        loops.add(asyncio.get_running_loop())
        at_once.append(1)
        most.append(len(at_once))
        await asyncio.sleep(0.05)
        at_once.pop()

    workflows.fan("w", 8, body)
    assert make_runner(max_concurrent_tasks=8).execute("w", Context()).status == "Completed"
    assert len(loops) == 1
    assert max(most) == 8


def test_async_bodies_count_against_the_concurrency_limit(make_runner):
    at_once, most = [], []

    async def body(context):
        at_once.append(1)
        most.append(len(at_once))
        await asyncio.sleep(0.02)
        at_once.pop()

    workflows.fan("w", 6, body)
    assert make_runner(max_concurrent_tasks=2).execute("w", Context()).status == "Completed"
    assert max(most) == 2


def test_an_async_body_that_fails_is_tried_again(runner):
    calls = []

    async def body(context):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("boom")

    workflows.single("w", body, retry_delay_ms=1)
    result = runner.execute("w", Context())
    assert (result.status, len(calls)) == ("Completed", 2)


def test_an_async_body_may_use_the_orm(runner):
    async def body(context):
        await User.objects.acreate(username="ann")
        context["users"] = await User.objects.acount()

    workflows.single("w", body)
    assert runner.execute("w", Context()).final_context["users"] == 1


def test_an_async_deferral_gives_its_slot_back(make_runner):
    runner = make_runner(max_concurrent_tasks=1)
    looks = []

    async def slow_condition():
        looks.append("async")
        return len(looks) >= 4

    async def body(context, handle):
        await handle.defer_until(lambda: len(looks) >= 2 or looks.append("sync"), 10)
        await handle.defer_until(slow_condition, 10)
        context["looks"] = len(looks)

    workflows.single("w", body)
    assert runner.execute("w", Context()).final_context["looks"] == 4


def test_shutdown_after_an_async_task_is_prompt(make_runner):
    async def body(context):
        context["x"] = 1

    workflows.single("w", body)
    runner = make_runner()
    runner.execute("w", Context())
    started = time.monotonic()
    runner.shutdown()
    assert time.monotonic() - started < 3


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_plain_callable_that_returns_a_coroutine_fails(runner):
    async def inner():
        return None

    workflows.single("w", lambda context: inner(), retry_attempts=1)
    result = runner.execute("w", Context())
    assert result.status == "Failed"
    assert "of type coroutine" in result.error_message


def test_aexecute_and_aenqueue_leave_the_loop_free(runner):
    workflows.single("w", lambda context: context.set("out", context["n"]))

    async def program():
        runs = [runner.aexecute("w", Context({"n": n})) for n in range(5)]
        handle = await runner.aenqueue("w", Context({"n": 9}), priority=2, created_by="ann")
        results = await asyncio.gather(*runs)
        found = await sync_to_async(handle.wait)(20)
        return [result.final_context["out"] for result in (*results, found)]

    assert async_to_sync(program)() == [0, 1, 2, 3, 4, 9]


def test_aexecute_checks_its_input_as_execute_does(runner):
    workflows.single("w")

    async def program():
        for name, context, error, text in (
            ("nope", Context(), ValueError, "Workflow not found"),
            ("w", {}, TypeError, "context must be a Context"),
        ):
            with pytest.raises(error, match=text):
                await runner.aexecute(name, context)
            with pytest.raises(error, match=text):
                await runner.aenqueue(name, context)
        runner.shutdown()
        with pytest.raises(RunnerClosed):
            await runner.aexecute("w", Context())

    async_to_sync(program)()


@pytest.mark.parametrize("using", [None, "default"])
def test_who_awaits_a_run_that_shutdown_hands_back_hears_of_it(make_runner, gate, using):
    runner = make_runner(using=using)
    workflows.single("w", lambda context: gate.pass_through())

    async def program():
        waiting = asyncio.create_task(runner.aexecute("w", Context()))
        await asyncio.to_thread(gate.await_arrival)
        await asyncio.to_thread(runner.shutdown, grace=0)
        with pytest.raises(RunnerClosed):
            await asyncio.wait_for(waiting, PATIENCE)

    asyncio.run(program())


def test_who_waits_in_a_thread_hears_of_it_at_once_too(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(runner.execute, "w", Context())
        gate.await_arrival()
        runner.shutdown(grace=0)
        with pytest.raises(RunnerClosed):
            waiting.result(PATIENCE)


def test_execute_inside_a_running_loop_names_aexecute(runner):
    workflows.single("w")

    async def program():
        with pytest.raises(WouldDeadlock, match="await aexecute"):
            runner.execute("w", Context())

    asyncio.run(program())


def test_who_gives_up_an_aexecute_does_not_disturb_the_run(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())

    async def program():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runner.aexecute("w", Context()), 0.3)

    asyncio.run(program())
    gate.open()
    handle = runner.handle(PipelineExecution.objects.get().pk)
    assert handle.wait(20).status == "Completed"
    assert runner.execute("w", Context()).status == "Completed"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no server to lose")
def test_an_async_task_survives_the_loss_of_the_connection_of_an_earlier_one(runner):
    def backend():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()[0]

    async def body(context):
        context["pid"] = await sync_to_async(backend)()

    workflows.single("w", body, retry_attempts=1)
    first = runner.execute("w", Context()).final_context["pid"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [first])
    second = runner.execute("w", Context())
    assert second.status == "Completed"
    assert second.final_context["pid"] != first


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file counts no connections")
def test_async_tasks_leave_no_connection_behind(make_runner):
    def sessions():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            return cursor.fetchone()[0]

    async def body(context):
        await User.objects.acount()

    workflows.single("w", body)
    before = sessions()
    runner = make_runner()
    runner.execute("w", Context())
    runner.shutdown()
    until(lambda: sessions() <= before, 3)
