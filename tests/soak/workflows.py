"""What the workers of a soak run: one workflow for each way in which a task can end.

Every body notes that it started, and leaves a mark by which the checker knows what it saw.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

import cloaca_django as cloaca
from cloaca_django.engine.capture import current_job
from tests.crash.graphs import Node, define, diamond, leave_mark

# Passing errors of the database are no reason to give up; each costs an attempt.
PATIENT = {"retry_attempts": 40, "retry_delay_ms": 200}
# A task whose name starts so has exactly one effect if it completes, though it is not atomic.
COMPLETING = "completes"
# What an attempt says that found itself with another tenant.
LEAK = "LEAK"


def _enter(context: Any) -> None:
    """Note the start; refuse to work for one tenant where another one is."""
    _check_tenant(context)
    _note("crash_started")


def _check_tenant(context: Any) -> None:
    wanted = context["tenant"]
    if not wanted:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        (here,) = cursor.fetchone()
    if here != wanted:
        raise LookupError(f"{LEAK}: a task of {wanted!r} is in {here!r}")


def _note(table: str) -> None:
    job = current_job.get()
    assert job is not None
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (task_id, token) VALUES (%s, %s)", [job.task_id, job.token.hex]
        )


def _take(least: float, most: float) -> None:
    """Take some time, as work does."""
    threading.Event().wait(random.uniform(least, most))


def _plain(task: str, context: Any, handle: Any) -> None:
    _enter(context)
    _take(0.0, 0.03)
    leave_mark(task, context)


def _long(task: str, context: Any, handle: Any) -> None:
    """Be found at work by whatever happens."""
    _enter(context)
    _take(1.0, 6.0)
    leave_mark(task, context)


def _atomic(task: str, context: Any, handle: Any) -> None:
    _check_tenant(context)
    _note("crash_effect")
    _take(0.0, 0.03)
    leave_mark(task, context)


def _completing(task: str, context: Any, handle: Any) -> None:
    _enter(context)
    _take(0.0, 0.03)
    leave_mark(task, context)
    with handle.completing():
        _note("crash_effect")


def _stumbling(task: str, context: Any, handle: Any) -> None:
    """Fail at the first attempt, after everything that it could leave behind."""
    _enter(context)
    leave_mark(task, context)
    if handle.attempt == 1:
        raise ValueError("the first attempt fails")


def _atomic_stumbling(task: str, context: Any, handle: Any) -> None:
    """The same in a transaction: of the first attempt nothing stays."""
    _atomic(task, context, handle)
    if handle.attempt == 1:
        raise ValueError("the first attempt fails")


def _failing(task: str, context: Any, handle: Any) -> None:
    _enter(context)
    leave_mark(task, context)
    if task == "breaks":
        raise ValueError("every attempt fails")


def _deferring(task: str, context: Any, handle: Any) -> None:
    """Give the slot away, and take it back when the third look says so."""
    _enter(context)
    looks = iter((False, False, True))
    handle.defer_until(lambda: next(looks), poll_interval_ms=300)
    leave_mark(task, context)


def _nesting(task: str, context: Any, handle: Any) -> None:
    """Run another workflow, and wait for its end."""
    _enter(context)
    if task == "parent":
        child = cloaca.Context({"tenant": context["tenant"], "given": "child"})
        cloaca.DefaultRunner(using="default").execute("soak plain", child)
    leave_mark(task, context)


def _define_async() -> None:
    with cloaca.WorkflowBuilder("soak async"):
        for task, node in diamond().items():

            @cloaca.task(id=task, dependencies=list(node.after), retry_jitter=False, **PATIENT)
            async def run(context: Any, task: str = task) -> None:
                await sync_to_async(_enter)(context)
                leave_mark(task, context)


def _broad(leaf: str, **options: Any) -> dict[str, Node]:
    """Return a diamond with a task after it."""
    return diamond(**options) | {leaf: Node(("join",), options)}


define("soak plain", _broad("leaf", **PATIENT), _plain)
define("soak long", _broad("leaf", **PATIENT), _long)
define("soak atomic", _broad("leaf", atomic=True, **PATIENT), _atomic)
define(
    "soak completing",
    {
        f"{COMPLETING}{at}": Node((f"{COMPLETING}{at - 1}",) if at else (), PATIENT)
        for at in range(5)
    },
    _completing,
)
define("soak stumbling", _broad("leaf", **PATIENT), _stumbling)
define("soak rollback", _broad("leaf", atomic=True, **PATIENT), _atomic_stumbling)
define(
    "soak failing",
    {
        "root": Node((), PATIENT),
        "breaks": Node(("root",), {"retry_attempts": 2, "retry_delay_ms": 200}),
        "beside": Node(("root",), PATIENT),
        "skipped": Node(("breaks",), PATIENT),
        "after": Node(("beside",), PATIENT),
    },
    _failing,
)
define("soak deferring", _broad("leaf", **PATIENT), _deferring)
define("soak nested", {"parent": Node((), PATIENT), "after": Node(("parent",), PATIENT)}, _nesting)
_define_async()
define("soak schedule", diamond(**PATIENT), _plain)

# How often each is submitted.
WEIGHTS = {
    "soak plain": 30, "soak atomic": 20, "soak completing": 12, "soak stumbling": 8,
    "soak rollback": 6, "soak failing": 6, "soak deferring": 4, "soak nested": 4, "soak async": 6,
    "soak long": 1,
}  # fmt: skip
OF_SCHEDULES = "soak schedule"
