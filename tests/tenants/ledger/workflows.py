"""What the tests' tenants run: bodies that write rows of their tenant's, by the path alone."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from cloaca_django import Context, DefaultRunner, TaskHandle, WorkflowBuilder, task
from tests.tenants.ledger.models import Mark

with WorkflowBuilder("mark", params={"tenant": str, "text": str}):

    @task(id="write", atomic=True)
    def write(context: Context) -> None:
        """Write the row that the context asks for, wherever the engine has put this thread."""
        Mark.objects.create(tenant=context["tenant"], text=context["text"])

    @task(id="look", dependencies=[write])
    def look(context: Context) -> None:
        """Tell where this thread is, and whose rows it sees."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            context["schema"] = cursor.fetchone()[0]
        context["sees"] = sorted(set(Mark.objects.values_list("tenant", flat=True)))


def leave_mark(context: Context, step: str) -> None:
    """Write a row as often as the step is tried, and break if another tenant is seen from here.

    What a run carries must be its tenant's as well.
    """
    tenant = context["tenant"]
    Mark.objects.get_or_create(tenant=tenant, text=f"{context['text']}:{step}")
    seen = set(Mark.objects.values_list("tenant", flat=True).distinct())
    if seen != {tenant} or connection.schema_name != tenant:
        raise LookupError(f"LEAK: in {connection.schema_name!r}, {tenant!r} sees {sorted(seen)}")
    marks = [*context.get("marks", []), f"{tenant}:{step}"]
    if any(not mark.startswith(f"{tenant}:") for mark in marks):
        raise LookupError(f"LEAK: {tenant!r} carries {marks}")
    context["marks"] = marks


POLICY: dict[str, Any] = {"retry_attempts": 20, "retry_delay_ms": 10}

with WorkflowBuilder("chain", params={"tenant": str, "text": str}):

    @task(id="first", **POLICY)
    def chain_first(context: Context) -> None:
        leave_mark(context, "first")

    @task(id="second", dependencies=[chain_first], **POLICY)
    def chain_second(context: Context) -> None:
        leave_mark(context, "second")

    @task(id="third", dependencies=[chain_second], atomic=True, **POLICY)
    def chain_third(context: Context) -> None:
        leave_mark(context, "third")


with WorkflowBuilder("fan", params={"tenant": str, "text": str}):

    @task(id="root", **POLICY)
    def fan_root(context: Context) -> None:
        leave_mark(context, "root")

    @task(id="left", dependencies=[fan_root], atomic=True, **POLICY)
    def fan_left(context: Context) -> None:
        leave_mark(context, "left")

    @task(id="right", dependencies=[fan_root], **POLICY)
    def fan_right(context: Context, handle: TaskHandle) -> None:
        with handle.completing():
            leave_mark(context, "right")

    @task(id="join", dependencies=[fan_left, fan_right], **POLICY)
    def fan_join(context: Context) -> None:
        leave_mark(context, "join")


with WorkflowBuilder("loop", params={"tenant": str, "text": str}):

    @task(id="before", **POLICY)
    async def loop_before(context: Context) -> None:
        """Give way between two looks, so that bodies of several tenants are open at once."""
        await sync_to_async(leave_mark)(context, "before")
        await asyncio.sleep(0.005)
        await sync_to_async(leave_mark)(context, "between")

    @task(id="after", dependencies=[loop_before], **POLICY)
    async def loop_after(context: Context) -> None:
        await sync_to_async(leave_mark)(context, "after")


with WorkflowBuilder("stumble", params={"tenant": str, "text": str}):

    @task(id="stumble", **POLICY)
    def stumble(context: Context, handle: TaskHandle) -> None:
        """Fail once, after a write that stays, and then pass."""
        leave_mark(context, "stumble")
        if handle.attempt == 1:
            raise ValueError("once")


with WorkflowBuilder("nest", params={"tenant": str, "text": str}):

    @task(id="parent", **POLICY)
    def nest_parent(context: Context, handle: TaskHandle) -> None:
        """Run a workflow of the same tenant and wait for it."""
        leave_mark(context, "parent")
        data = {"tenant": context["tenant"], "text": f"{context['text']}:child"}
        result = DefaultRunner().execute("chain", Context(data))
        if result.status != "Completed":
            raise ValueError(f"the child is {result.status}: {result.error_message}")
        for mark in result.final_context["marks"]:
            if not mark.startswith(f"{context['tenant']}:"):
                raise LookupError(f"LEAK: {context['tenant']!r} got {mark!r} of its child")
