"""Tasks that leave a transaction open: they hear of it, and nobody after them does."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction

from cloaca_django import Context
from cloaca_django.models import TaskAttempt
from tests import workflows

ONCE = {"retry_attempts": 1}
LEFT_OPEN = "ended inside a transaction on database"


def begin(name):
    """Begin a transaction, write in it, and do not end it."""
    transaction.atomic().__enter__()
    User.objects.create(username=name)


def leaves_it(context):
    begin("culprit")


def leaves_two(context):
    begin("culprit")
    begin("accomplice")


def leaves_a_closed_one(context):
    begin("culprit")
    connection.close()


async def leaves_it_async(context):
    await sync_to_async(begin)("culprit")


def leaves_it_in_the_block(context, handle):
    with handle.completing():
        begin("culprit")


def raises_inside(context):
    begin("culprit")
    raise ValueError("boom")


async def raises_inside_async(context):
    await sync_to_async(begin)("culprit")
    raise ValueError("boom")


def innocent(context):
    with transaction.atomic(durable=True):
        User.objects.create(username="innocent")


async def innocent_async(context):
    await User.objects.acreate(username="innocent async")


def innocent_atomic(context):
    User.objects.create(username="innocent atomic")


@pytest.fixture
def narrow(make_runner):
    """A runner whose tasks run one after the other, on the same threads."""
    return make_runner(max_concurrent_tasks=1)


def run(runner, body, **facts):
    workflows.single("w", body, **ONCE, **facts)
    return runner.execute("w", Context())


def check_innocents(runner):
    """Run bodies of each kind where the culprit ran: each keeps its own writes, and no others."""
    workflows.single("plain", innocent, **ONCE)
    workflows.single("async", innocent_async, **ONCE)
    workflows.single("atomic", innocent_atomic, **ONCE, atomic=True)
    for name in ("plain", "async", "atomic"):
        assert runner.execute(name, Context()).error_message is None
    names = User.objects.order_by("username").values_list("username", flat=True)
    assert list(names) == ["innocent", "innocent async", "innocent atomic"]


CULPRITS = {
    "a plain body": (leaves_it, {}),
    "two": (leaves_two, {}),
    "on a closed connection": (leaves_a_closed_one, {}),
    "an atomic body": (leaves_it, {"atomic": True}),
    "a completing block": (leaves_it_in_the_block, {}),
    "an async body": (leaves_it_async, {}),
}


@pytest.mark.parametrize("kind", sorted(CULPRITS))
def test_who_leaves_a_transaction_open_fails_and_the_next_are_unharmed(narrow, kind):
    body, facts = CULPRITS[kind]
    result = run(narrow, body, **facts)
    assert result.status == "Failed"
    assert LEFT_OPEN in result.error_message
    assert TaskAttempt.objects.get().error_type.endswith("TransactionLeftOpen")
    check_innocents(narrow)


@pytest.mark.parametrize("body", [raises_inside, raises_inside_async])
def test_who_raises_inside_one_fails_as_it_says(narrow, body):
    assert run(narrow, body).error_message == "Task 'a' failed: ValueError: boom"
    check_innocents(narrow)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_callback_that_leaves_one_open_changes_nothing(narrow, caplog, atomic):
    body = workflows.writes("x", 1)
    result = run(narrow, body, atomic=atomic, on_success=lambda name, context: begin("culprit"))
    assert (result.status, result.final_context["x"]) == ("Completed", 1)
    assert "callback of task a failed" in caplog.text
    check_innocents(narrow)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="the open block holds the file's lock")
def test_an_async_body_is_not_blamed_for_what_another_has_open(make_runner, new_gate):
    """They share one connection; the other may yet end its transaction."""
    block, begun, done = transaction.atomic(), new_gate(), new_gate()

    async def slow(context):
        await sync_to_async(block.__enter__)()
        await sync_to_async(begun.open, thread_sensitive=False)()
        await sync_to_async(done.pass_through, thread_sensitive=False)()
        await sync_to_async(block.__exit__)(None, None, None)

    runner = make_runner(max_concurrent_tasks=2)
    workflows.single("slow", slow, **ONCE)
    waiting = runner.enqueue("slow")
    begun.pass_through()
    assert run(runner, innocent_async).error_message is None
    done.open()
    assert waiting.wait(20).status == "Completed"
    assert User.objects.count() == 1
