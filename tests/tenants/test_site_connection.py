"""The connection of a task's body: in its tenant, whatever it or another does to it, or nowhere."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections
from django_tenants.utils import schema_context

from cloaca_django import Context, DefaultRunner, TaskHandle, WorkflowBuilder, task, tenancy
from cloaca_django.dialect import site_session
from cloaca_django.errors import NotInTenant
from tests.interface.conftest import until, workflows_of_test
from tests.tenants.conftest import in_tenant, marks_of
from tests.tenants.ledger.models import Mark
from tests.tenants.workers import (
    context_of,
    enqueue,
    execute,
    is_done,
    make_worker,
    statuses,
    task_rows,
)

__all__ = ["make_worker", "workflows_of_test"]


def where():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        return cursor.fetchone()[0]


def break_set(monkeypatch, times=1):
    """Let the next statements that set a path fail; django-tenants passes over it."""
    left = [times]

    def quote(name):
        if left[0]:
            left[0] -= 1
            raise DatabaseError("canceling statement due to user request")
        return f'"{name}"'

    monkeypatch.setattr("django_tenants.postgresql_backend.base.quote_schema_name", quote)
    return left


def test_a_tenant_is_entered_and_left(make_tenants):
    make_tenants(2)
    with tenancy.entered("default", "t1"):
        assert where() == "t1"
        with tenancy.entered("default", "t2"):
            assert where() == "t2"
        assert where() == "t1"
    assert where() == "public"


def test_a_path_that_could_not_be_set_is_an_error_and_not_the_tenant_before(
    make_tenants, monkeypatch
):
    make_tenants(2)
    with tenancy.entered("default", "t1"):
        assert where() == "t1"
    left = break_set(monkeypatch)
    with (
        pytest.raises(NotInTenant, match="its connection is in 't1'"),
        tenancy.entered("default", "t2"),
    ):
        pytest.fail("the block was entered")
    assert left == [0]
    assert connection.connection is None, "what put it there is not found by the next"
    with tenancy.entered("default", "t2"):
        assert where() == "t2"


def test_a_schema_that_is_missing_is_an_error_and_not_public(make_tenants):
    make_tenants(1)
    with pytest.raises(NotInTenant, match="no such schema"), tenancy.entered("default", "nobody"):
        pytest.fail("the block was entered")
    assert connection.schema_name == "public"
    with tenancy.entered("default", "t1"):
        assert where() == "t1"


def test_who_asks_the_database_nothing_is_given_no_connection(make_tenants):
    make_tenants(1)
    connection.close()
    with tenancy.expected("default", "t1"):
        assert connection.schema_name == "t1"
    assert connection.connection is None
    assert where() == "public"


def test_a_connection_is_checked_before_its_first_statement_each_time_one_is_opened(
    make_tenants, monkeypatch
):
    make_tenants(1)
    left = break_set(monkeypatch, times=0)
    connection.close()
    with tenancy.expected("default", "t1"):
        for _ in range(2):
            left[0] = 1
            with pytest.raises(tenancy.NotReached, match="its connection is in 'public'"):
                where()
            assert connection.connection is None, "what is elsewhere is not found by the next"
            assert where() == "t1"
            connection.close()


def test_a_connection_that_is_open_is_entered_before_it_can_be_used_past_django(make_tenants):
    make_tenants(2)
    with tenancy.entered("default", "t2"):
        assert where() == "t2"
    with tenancy.expected("default", "t1"):
        raw = connection.connection.execute("SELECT current_schema()")
        assert raw.fetchone()[0] == "t1"


def test_who_goes_to_another_tenant_before_it_asks_anything_is_there(make_tenants):
    make_tenants(2)
    connection.close()
    with tenancy.expected("default", "t1"), schema_context("t2"):
        assert where() == "t2"
        with tenancy.entered("default", "t1"):
            assert where() == "t1"


def test_a_statement_of_ours_is_refused_when_the_thread_is_in_another_tenant_by_then(make_tenants):
    a, b = make_tenants(2)
    with in_tenant(a):
        session = site_session("default")
        assert session.clock()
        with in_tenant(b), pytest.raises(NotInTenant, match="was brought to 't2' meanwhile"):
            session.clock()
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = t2")
        # The backend sets it anew for every cursor.
        assert session.clock()


def test_a_statement_of_ours_is_refused_where_the_backend_sets_the_path_only_once(
    make_tenants, settings
):
    settings.TENANT_LIMIT_SET_CALLS = True
    a, _ = make_tenants(2)
    with in_tenant(a):
        session = site_session("default")
        assert session.clock()
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = t2")
        with pytest.raises(NotInTenant, match="its connection is in 't2'"):
            session.clock()
    connection.close()


# -- bodies


def run_in(tenants, name="w", *, make_worker, concurrency=1):
    """Run a workflow in each tenant, one after the other, on as few threads as possible."""
    make_worker(concurrency=concurrency)
    for tenant in tenants:
        enqueue(tenant, name)
    until(lambda: all(statuses(tenant).keys() <= {"Completed", "Failed"} for tenant in tenants))


def writes(context):
    Mark.objects.create(tenant=context["tenant"], text=context.get("text", "x"))


def test_a_thread_that_is_used_again_is_in_the_next_tenant(
    make_tenants, make_worker, workflows_of_test
):
    threads = set()
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context) -> None:
            threads.add(threading.get_ident())
            writes(context)
            context["schema"] = where()

    tenants = make_tenants(5)
    run_in(tenants, make_worker=make_worker)
    assert len(threads) < len(tenants)
    assert [marks_of(tenant) for tenant in tenants] == [
        {(tenant.schema_name, "x")} for tenant in tenants
    ]


@pytest.mark.parametrize("is_atomic", [False, True])
@pytest.mark.parametrize("way", ["SET", "set_schema", "set_tenant", "context", "public"])
def test_what_a_body_does_to_its_connection_does_not_reach_the_next_task(
    make_tenants, make_worker, workflows_of_test, way, is_atomic
):
    tenants = make_tenants(3)

    ways = {
        "SET": lambda: connection.cursor().execute("SET search_path = t3"),
        "set_schema": lambda: connection.set_schema("t3"),
        "set_tenant": lambda: connection.set_tenant(tenants[2]),
        "public": lambda: connection.set_schema_to_public(),  # noqa: PLW0108 - of that thread
        "context": lambda: kept.enter_context(schema_context("t3")),
    }
    kept = ExitStack()

    with WorkflowBuilder("w"):

        @task(id="w", atomic=is_atomic, retry_attempts=1)
        def w(context: Context) -> None:
            writes(context)
            if context["tenant"] == "t1":
                ways[way]()

    run_in(tenants, make_worker=make_worker)
    leaves = is_atomic and way != "SET"
    # What left its tenant cannot be completed there; it is rolled back.
    assert statuses(tenants[0]) == {"Failed" if leaves else "Completed": 1}
    assert marks_of(tenants[0]) == (set() if leaves else {("t1", "x")})
    if leaves:
        assert "NotInTenant" in task_rows(tenants[0])[0].error_message
    for tenant in tenants[1:]:
        assert is_done(tenant)
        assert marks_of(tenant) == {(tenant.schema_name, "x")}
    kept.pop_all()


def test_a_completing_block_that_leaves_its_tenant_is_taken_back(
    make_tenants, make_worker, workflows_of_test
):
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context, handle: TaskHandle) -> None:
            with handle.completing():
                writes(context)
                if context["tenant"] == "t1":
                    connection.set_schema("t2")
                    writes(context)

    tenants = make_tenants(2)
    run_in(tenants, make_worker=make_worker)
    assert statuses(tenants[0]) == {"Failed": 1}
    assert marks_of(tenants[0]) == set()
    assert marks_of(tenants[1]) == {("t2", "x")}


def test_a_thread_that_a_body_starts_is_in_no_tenant(make_tenants, make_worker, workflows_of_test):
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context) -> None:
            seen = []

            def look():
                seen.append(where())
                try:
                    writes(context)
                except Exception as error:
                    seen.append(type(error).__name__)
                finally:
                    connections.close_all()

            thread = threading.Thread(target=look)
            thread.start()
            thread.join(10)
            context["seen"] = seen

    (tenant,) = make_tenants(1)
    make_worker()
    run = enqueue(tenant, "w")
    until(lambda: is_done(tenant))
    assert context_of(tenant, run)["seen"] == ["public", "ProgrammingError"]
    assert marks_of(tenant) == set()


def test_a_task_whose_tenant_could_not_be_entered_is_tried_again_and_nothing_is_charged(
    make_tenants, make_worker, workflows_of_test, monkeypatch
):
    calls = []
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context) -> None:
            calls.append(where())
            writes(context)

    failed = []
    original = tenancy._check

    def check(wrapper):
        if threading.current_thread().name.startswith("cloaca-task") and len(failed) < 2:
            failed.append(wrapper.schema_name)
            raise NotInTenant(wrapper.schema_name, "its SET was cancelled")
        original(wrapper)

    monkeypatch.setattr(tenancy, "_check", check)
    (tenant,) = make_tenants(1)
    make_worker()
    enqueue(tenant, "w")
    until(lambda: is_done(tenant))
    assert failed == ["t1", "t1"]
    assert calls == ["t1"]
    assert task_rows(tenant)[0].attempt == 1


def test_a_backend_that_is_killed_under_a_body_is_a_failed_attempt_and_hurts_no_other(
    make_tenants, make_worker, workflows_of_test
):
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context) -> None:
            if context["tenant"] == "t1":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            writes(context)

    tenants = make_tenants(3)
    run_in(tenants, make_worker=make_worker)
    assert statuses(tenants[0]) == {"Failed": 1}
    for tenant in tenants[1:]:
        assert marks_of(tenant) == {(tenant.schema_name, "x")}


# -- async bodies


def test_async_bodies_of_two_tenants_that_are_open_at_once_stay_in_theirs(
    make_tenants, make_worker, workflows_of_test
):
    together = {"t1": threading.Event(), "t2": threading.Event()}

    async def meet(name):
        together[name].set()
        for event in together.values():
            assert await asyncio.to_thread(event.wait, 10)

    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        async def w(context: Context) -> None:
            name = context["tenant"]
            seen = [await sync_to_async(where)()]
            await meet(name)
            for number in range(5):
                await sync_to_async(writes)({"tenant": name, "text": str(number)})
                await asyncio.sleep(0)
                seen.append(await sync_to_async(where)())
                seen += [mark.tenant async for mark in Mark.objects.all()]
            context["seen"] = sorted(set(seen))

    tenants = make_tenants(2)
    make_worker(concurrency=2)
    runs = [enqueue(tenant, "w") for tenant in tenants]
    until(lambda: all(is_done(tenant) for tenant in tenants))
    for tenant, run in zip(tenants, runs, strict=True):
        assert context_of(tenant, run)["seen"] == [tenant.schema_name]
        assert len(marks_of(tenant)) == 5


def test_an_async_body_that_leaves_its_tenant_does_not_take_another_along(
    make_tenants, make_worker, workflows_of_test
):
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        async def w(context: Context) -> None:
            await sync_to_async(writes)(context)
            if context["tenant"] == "t1":
                await sync_to_async(connection.set_schema)("t3")

    tenants = make_tenants(3)
    run_in(tenants, make_worker=make_worker)
    for tenant in tenants:
        assert is_done(tenant)
        assert marks_of(tenant) == {(tenant.schema_name, "x")}


def test_a_runner_that_an_async_body_makes_is_of_its_tenant(
    make_tenants, make_worker, workflows_of_test
):
    with WorkflowBuilder("child"):

        @task(id="child", retry_attempts=1)
        async def child(context: Context) -> None:
            await sync_to_async(writes)(context)

    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        async def w(context: Context) -> None:
            runner = DefaultRunner()
            context["schema"] = runner.schema
            data = Context({"tenant": context["tenant"]})
            context["child"] = (await runner.aexecute("child", data)).status

    tenants = make_tenants(2)
    make_worker(concurrency=2)
    runs = [enqueue(tenant, "w") for tenant in tenants]
    until(lambda: all(is_done(tenant) for tenant in tenants))
    for tenant, run in zip(tenants, runs, strict=True):
        found = context_of(tenant, run)
        assert (found["schema"], found["child"]) == (tenant.schema_name, "Completed")
        assert marks_of(tenant) == {(tenant.schema_name, "x")}


# -- EAGER


def test_an_eager_run_is_settled_in_its_tenant_wherever_its_body_leaves_the_connection(
    make_tenants, workflows_of_test, settings
):
    settings.CLOACA = {"EAGER": True}

    with WorkflowBuilder("w"):

        @task(id="first", retry_attempts=1)
        def first(context: Context) -> None:
            writes(context)
            connection.set_schema("t2")

        @task(id="second", dependencies=[first], retry_attempts=1)
        async def second(context: Context) -> None:
            context["schema"] = await sync_to_async(lambda: connection.schema_name)()

    a, b = make_tenants(2)
    with in_tenant(a):
        result = DefaultRunner().execute("w", Context({"tenant": "t1"}))
        assert (result.status, result.final_context["schema"]) == ("Completed", "t1")
        assert connection.schema_name == "t1"
    assert marks_of(a) == {("t1", "x")}
    assert statuses(b) == {}
    assert execute("SELECT count(*) FROM t2.cloaca_task") == [(0,)]
