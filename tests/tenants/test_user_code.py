"""Where code of the user's finds itself: what the page on tenants promises, in a real worker."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django_tenants.utils import tenant_context

from cloaca_django import Context, DefaultRunner, WorkflowBuilder, signals, task
from tests import workflows
from tests.interface.commands import run
from tests.tenants.ledger.models import Mark


@pytest.fixture
def tenants(make_tenants, workflows_of_test):
    """Three tenants with a row each that names its tenant."""
    made = make_tenants(3)
    for tenant in made:
        with tenant_context(tenant):
            Mark.objects.create(tenant=tenant.schema_name, text="there before")
    return made


def here():
    """Return where this thread is: what Django says, what the server says, whose rows are seen."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        schema = cursor.fetchone()[0]
    return connection.tenant.schema_name, schema, *Mark.objects.values_list("tenant", flat=True)


def start(tenants, name="w"):
    """Run a workflow in each tenant, each with its schema in the context; return what came out."""
    handles = {}
    for tenant in tenants:
        schema = tenant.schema_name
        handles[schema] = DefaultRunner.for_tenant(tenant).enqueue(name, Context({"mine": schema}))
    assert run("cloaca_worker", "--burst").code == 0
    results = {schema: handle.result() for schema, handle in handles.items()}
    assert {result.status for result in results.values()} == {"Completed"}
    return {schema: result.final_context for schema, result in results.items()}


def as_expected(schema):
    return [schema, schema, schema]


def test_a_body_its_callbacks_and_its_tenants_row_are_of_one_tenant(tenants):
    heard = []

    def body(context):
        context["here"] = here()
        # The row itself, read when asked for.
        context["name"] = connection.tenant.name

    with WorkflowBuilder("w"):
        task(id="t", on_success=lambda task_id, context: heard.append((context["mine"], here())))(
            body
        )

    for schema, context in start(tenants).items():
        assert context["here"] == as_expected(schema)
        assert context["name"] == schema.title()
    assert sorted(heard) == [(f"t{at}", (f"t{at}",) * 3) for at in (1, 2, 3)]


def test_signals_arrive_in_the_tenant_of_their_run(tenants):
    heard = {}
    names = {}

    def receiver(sender, run_id, **facts):
        heard[run_id] = here()

    def body(context, handle):
        names[handle.run_id] = context["mine"]

    workflows.single("w", body)
    signals.run_finished.connect(receiver)
    try:
        start(tenants)
    finally:
        signals.run_finished.disconnect(receiver)
    assert len(heard) == 3
    assert {run_id: list(where) for run_id, where in heard.items()} == {
        run_id: as_expected(schema) for run_id, schema in names.items()
    }


def test_async_bodies_and_what_they_start_are_in_their_tenant(tenants):
    async def body(context):
        first = await sync_to_async(here)()
        later = asyncio.create_task(sync_to_async(here)())
        rows = [mark.tenant async for mark in Mark.objects.all()]
        context["here"] = [first, await later]
        context["rows"] = rows

    workflows.single("w", body)
    for schema, context in start(tenants).items():
        assert context["here"] == [as_expected(schema)] * 2
        assert context["rows"] == [schema]


def test_a_thread_of_the_users_begins_in_public_and_may_enter_its_tenant(tenants):
    def body(context):
        seen, tenant = [], connection.tenant

        def work():
            seen.append(connection.schema_name)
            with tenant_context(tenant):
                seen.append(here())
            connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
        context["seen"] = seen

    workflows.single("w", body)
    for schema, context in start(tenants).items():
        assert context["seen"] == ["public", as_expected(schema)]


def test_a_body_that_strays_into_another_tenant_harms_no_task_after_it(tenants):
    def strays(context):
        # Without a block that would lead back.
        connection.set_schema("t1")
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = t1")

    def body(context):
        context["here"] = here()

    with WorkflowBuilder("w"):
        first = task(id="strays")(strays)
        task(id="looks", dependencies=[first])(body)
    for schema, context in start(tenants).items():
        assert context["here"] == as_expected(schema)
