"""``enqueue``: the run exists if and only if its caller commits. And what a handle answers."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from cloaca_django import Context, RunHandle, clock
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import bulk
from cloaca_django.errors import (
    IdempotencyConflict,
    InvalidTransition,
    RunNotFinished,
    RunNotFound,
    WaitTimeout,
    WouldDeadlock,
)
from cloaca_django.models import PipelineExecution, TaskExecution
from tests import workflows
from tests.interface.conftest import never, until


@pytest.fixture
def site(make_runner):
    """The runner of a site whose worker is somewhere else: what is enqueued stays."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


def test_enqueue_returns_at_once_and_the_run_goes_on(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    handle = runner.enqueue("w", Context({"i": 1}))
    assert isinstance(handle, RunHandle)
    assert isinstance(handle.id, UUID)
    gate.await_arrival()
    with pytest.raises(RunNotFinished, match="has not ended"):
        handle.result()
    gate.open()
    assert handle.wait(20).status == "Completed"
    assert handle.result().final_context.to_dict() == {"i": 1}
    assert handle.status == "Completed"


def test_a_committed_block_leaves_the_run(site):
    with transaction.atomic():
        handle = site.enqueue("w")
        assert handle.status == RunStatus.PENDING
    assert PipelineExecution.objects.get().pk == handle.id


def test_a_block_that_is_rolled_back_leaves_nothing(site):
    handle = _enqueued_and_rolled_back(site)
    assert not PipelineExecution.objects.exists()
    assert not TaskExecution.objects.exists()
    with pytest.raises(RunNotFound):
        assert handle.status


def _enqueued_and_rolled_back(site):
    with transaction.atomic():
        handle = site.enqueue("w")
        transaction.set_rollback(True)
    return handle


def test_a_savepoint_decides_about_its_own_runs(site):
    with transaction.atomic():
        kept = site.enqueue("w")
        _enqueued_and_rolled_back(site)
        also = site.enqueue("w")
    assert set(PipelineExecution.objects.values_list("pk", flat=True)) == {kept.id, also.id}


def test_a_run_of_an_open_transaction_is_not_started(runner):
    workflows.single("w", workflows.writes("x", 1))
    with transaction.atomic():
        handle = runner.enqueue("w")
        if connection.vendor != "sqlite":
            never(lambda: handle.status != RunStatus.PENDING, 0.3)
    assert handle.wait(20).status == "Completed"


def test_a_refused_submission_leaves_the_callers_transaction_usable(site):
    with transaction.atomic():
        with pytest.raises(ValueError, match="Workflow not found"):
            site.enqueue("nope")
        with pytest.raises(ValueError, match="priority"):
            site.enqueue("w", priority=10**6)
        handle = site.enqueue("w")
    assert handle.status == RunStatus.PENDING


def test_an_idempotency_conflict_leaves_the_callers_transaction_usable(site):
    site.enqueue("w", Context({"n": 1}), idempotency_key="k")
    with transaction.atomic():
        with pytest.raises(IdempotencyConflict):
            site.enqueue("w", Context({"n": 2}), idempotency_key="k")
        handle = site.enqueue("w")
    assert handle.status == RunStatus.PENDING


def test_many_runs_are_written_in_one_go(site):
    handles = site.enqueue_many("w", [Context({"n": n}) for n in range(200)], priority=3)
    rows = PipelineExecution.objects.in_bulk()
    assert [rows[handle.id].context for handle in handles] == [f'{{"n":{n}}}' for n in range(200)]
    assert {row.priority for row in rows.values()} == {3}
    assert site.enqueue_many("w", []) == []
    assert len(site.enqueue_many("w", (None for _ in range(2)))) == 2


def test_many_runs_are_all_written_or_none(site):
    contexts = [Context({"n": 1}), {"n": 2}]
    with pytest.raises(TypeError, match="context must be a Context"):
        site.enqueue_many("w", contexts)
    assert not PipelineExecution.objects.exists()
    with pytest.raises(TypeError, match="a key names one run"):
        site.enqueue_many("w", [None], idempotency_key="k")


def test_many_runs_of_several_chunks_are_all_written_or_none_too(site, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK_RUNS", 7)
    contexts = [Context({"n": n}) for n in range(30)]
    with pytest.raises(TypeError, match="context must be a Context"):
        site.enqueue_many("w", [*contexts, {"n": 30}])
    assert not PipelineExecution.objects.exists()
    handles = site.enqueue_many("w", contexts)
    rows = PipelineExecution.objects.in_bulk()
    assert [rows[handle.id].context for handle in handles] == [c.to_json() for c in contexts]
    # Claims go by the ids of tasks: first in, first out.
    owners = TaskExecution.objects.order_by("id").values_list("run_id", flat=True)
    assert list(owners) == [handle.id for handle in handles]


def test_a_chunk_ends_when_its_contexts_are_large(site, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 1_000)
    texts = iter(["x" * 400] * 5)
    assert [len(chunk) for chunk in bulk._chunks(texts)] == [3, 2]


AWKWARD = [
    {},
    {"float": 1e16, "negative zero": -0.0, "tiny": 5e-324, "integer": 2**70, "long": 10**400},
    {"text": 'quote " backslash \\ line\n tab\t\u2028 ünïcode \U0001f600'}
    | {"braces": "{},[]:", "null": None, "true": True},
    {"deep": [[[{"b": 1, "a": [1, 1.0, "1"]}]]], "z": 1, "a": 2},
]


def test_many_contexts_are_stored_as_one_would_be(site):
    contexts = [Context(data) for data in AWKWARD]
    ones = [site.enqueue("w", context).id for context in contexts]
    many = [handle.id for handle in site.enqueue_many("w", contexts)]
    rows = PipelineExecution.objects.in_bulk()
    assert [rows[id].context for id in many] == [rows[id].context for id in ones]
    assert [rows[id].context for id in many] == [context.to_json() for context in contexts]


OPTIONS = {
    "none": ({}, {}),
    "everything": (
        {},
        {"priority": -5, "queue": "slow", "created_by": "ann", "reason": "a, 'b' and \"c\""},
    ),
    "a delayed start": ({}, {"start_at": clock.utc_now() + timedelta(days=1)}),
    "a limited workflow": ({"max_running": 2}, {}),
}
OWN = {"id", "revision", "created_at", "deadline_at", "run_id"}


@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_many_runs_are_written_as_one_would_be(make_runner, kind, is_paused):
    builder, options = OPTIONS[kind]
    site = make_runner(using="default")
    workflows.define(
        "w",
        ("first", workflows.nothing, {"retry_attempts": 7}),
        ("second", workflows.nothing, {"dependencies": ["first"], "timeout_seconds": 9}),
        **builder,
    )
    if is_paused:
        site.pause_workflow("w")
    one = site.enqueue("w", Context({"n": 1}), **options).id
    many = [handle.id for handle in site.enqueue_many("w", [Context({"n": 1})] * 3, **options)]
    expected = written(one)
    assert len(expected["tasks"]) == 2
    for run_id in many:
        assert written(run_id) == expected
    revisions = PipelineExecution.objects.values_list("revision", flat=True)
    assert len(set(revisions)) == 4


def written(run_id):
    """Return the rows of a run, less what is a run's own."""
    (run,) = PipelineExecution.objects.filter(pk=run_id).values()
    tasks = TaskExecution.objects.filter(run_id=run_id).order_by("id").values()
    rows = [{k: v for k, v in row.items() if k not in OWN} for row in (run, *tasks)]
    return {"run": rows[0], "tasks": rows[1:]}


def test_a_root_that_looks_at_its_context_is_decided_for_each_of_many(make_runner):
    site = make_runner(using="default")
    rule = {"type": "ContextValue", "key": "n", "operator": "Equals", "value": 1}
    workflows.define("w", ("a", workflows.nothing, {"trigger_rules": rule}))
    handles = site.enqueue_many("w", [Context({"n": n}) for n in range(3)])
    statuses = dict(TaskExecution.objects.values_list("run_id", "status"))
    assert [statuses[handle.id] for handle in handles] == [
        TaskStatus.SKIPPED, TaskStatus.READY, TaskStatus.SKIPPED,
    ]  # fmt: skip


def test_many_runs_cost_as_many_statements_as_one(site):
    site.enqueue("w")
    with CaptureQueriesContext(connection) as one:
        site.enqueue("w")
    with CaptureQueriesContext(connection) as many:
        site.enqueue_many("w", [None] * 300)
    assert len(one) == len(many)


def test_a_run_starts_at_the_time_that_was_asked_for(runner):
    workflows.single("w", workflows.writes("x", 1))
    soon = clock.utc_now() + timedelta(seconds=0.6)
    handle = runner.enqueue("w", start_at=soon)
    assert TaskExecution.objects.get(run_id=handle.id).status == TaskStatus.SCHEDULED
    handle.wait(20)
    assert PipelineExecution.objects.get(pk=handle.id).finished_at >= soon - timedelta(seconds=0.01)


def test_a_start_in_the_past_is_now(runner):
    workflows.single("w", workflows.writes("x", 1))
    handle = runner.enqueue("w", start_at=clock.utc_now() - timedelta(days=3))
    assert handle.wait(20).status == "Completed"


def test_a_start_in_another_zone_is_the_same_moment(site):
    moment = clock.utc_now().replace(microsecond=0) + timedelta(days=1)
    handle = site.enqueue("w", start_at=moment.astimezone(ZoneInfo("Asia/Kathmandu")))
    assert PipelineExecution.objects.get(pk=handle.id).start_at == moment
    assert TaskExecution.objects.get(run_id=handle.id).due_at == moment


def test_the_most_urgent_runs_start_first(make_runner, gate):
    order = []
    workflows.single("first", lambda context: gate.pass_through())
    workflows.single("w", lambda context: order.append(context["n"]))
    runner = make_runner(max_concurrent_tasks=1)
    runner.enqueue("first")
    gate.await_arrival()
    handles = [
        runner.enqueue("w", Context({"n": n}), priority=priority)
        for n, priority in enumerate([0, -5, 10, 0, 32767, -32768, 10])
    ]
    gate.open()
    for handle in handles:
        handle.wait(20)
    assert order == [4, 2, 6, 0, 3, 1, 5]


def test_a_run_waits_in_its_queue_for_a_worker_that_serves_it(runner):
    workflows.single("w", workflows.writes("x", 1))
    elsewhere = runner.enqueue("w", queue="reports")
    here = runner.enqueue("w")
    here.wait(20)
    assert PipelineExecution.objects.get(pk=elsewhere.id).queue == "reports"
    assert elsewhere.status == RunStatus.PENDING


def test_a_key_that_a_run_holds_returns_that_run(runner):
    workflows.single("w", workflows.writes("x", 1))
    first = runner.enqueue("w", Context({"n": 1}), idempotency_key="order-7")
    first.wait(20)
    again = runner.enqueue("w", Context({"n": 1}), idempotency_key="order-7")
    assert again == first
    assert again.result().final_context.to_dict() == {"n": 1, "x": 1}
    assert PipelineExecution.objects.count() == 1


@pytest.mark.parametrize(("name", "n"), [("w", 2), ("other", 1)])
def test_a_key_used_for_something_else_is_a_conflict(site, name, n):
    workflows.single("other")
    site.enqueue("w", Context({"n": 1}), idempotency_key="order-7")
    with pytest.raises(IdempotencyConflict, match="'order-7' belongs to a run of workflow 'w'"):
        site.enqueue(name, Context({"n": n}), idempotency_key="order-7")
    assert PipelineExecution.objects.count() == 1


def test_two_callers_with_one_key_make_one_run(site, together):
    def submit():
        return site.enqueue("w", Context({"n": 1}), idempotency_key="once").id

    found = together(*[submit] * 6)
    assert len(set(found)) == 1
    assert PipelineExecution.objects.count() == 1


def test_who_and_why_are_kept(site):
    handle = site.enqueue("w", created_by="ann", reason="by hand")
    run = PipelineExecution.objects.get(pk=handle.id)
    assert (run.created_by, run.reason, run.origin) == ("ann", "by hand", "api")


def test_wait_gives_up_after_its_timeout_and_the_run_goes_on(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    handle = runner.enqueue("w")
    gate.await_arrival()
    with pytest.raises(WaitTimeout, match=r"timeout after 0\.2s") as caught:
        handle.wait(0.2)
    assert isinstance(caught.value, TimeoutError)
    gate.open()
    assert handle.wait(20).status == "Completed"


def test_wait_inside_the_transaction_that_submitted_is_refused(runner):
    workflows.single("w")
    with transaction.atomic():
        handle = runner.enqueue("w")
        with pytest.raises(WouldDeadlock, match="open transaction"):
            handle.wait(5)


def test_a_run_can_be_cancelled_before_it_starts(site):
    handle = site.enqueue("w")
    handle.cancel(reason="not needed")
    result = handle.result()
    assert (result.status, result.error_message) == ("Cancelled", "Cancelled: not needed")
    assert TaskExecution.objects.get(run_id=handle.id).status == TaskStatus.CANCELLED


def test_a_running_body_sees_that_its_run_was_cancelled(runner, gate, new_gate):
    seen, after = [], new_gate()

    def body(context, handle):
        seen.append(handle.cancelled)
        gate.pass_through()
        until(lambda: handle.cancelled, 5)
        seen.append(handle.cancelled)
        after.pass_through()

    workflows.single("w", body)
    handle = runner.enqueue("w")
    gate.await_arrival()
    handle.cancel()
    gate.open()
    after.await_arrival()
    after.open()
    assert seen == [False, True]
    assert handle.wait(5).status == "Cancelled"


def test_an_ended_run_cannot_be_cancelled(runner):
    workflows.single("w")
    handle = runner.enqueue("w")
    handle.wait(20)
    with pytest.raises(InvalidTransition, match="run is Completed and cannot become Cancelled"):
        handle.cancel()


def test_who_executes_a_run_that_is_cancelled_gets_its_result(runner, gate, together):
    workflows.single("w", lambda context: gate.pass_through())

    def cancel():
        gate.await_arrival()
        runner.cancel(PipelineExecution.objects.get().pk, by="ann", reason="enough")

    result, _ = together(lambda: runner.execute("w", Context()), cancel)
    assert (result.status, result.error_message) == ("Cancelled", "Cancelled by ann: enough")


def test_a_cancel_inside_a_transaction_commits_on_its_own(site):
    handle = site.enqueue("w")
    if connection.vendor == "sqlite":
        return  # the caller's transaction holds the only writer's place
    with transaction.atomic():
        handle.cancel()
        transaction.set_rollback(True)
    assert handle.status == RunStatus.CANCELLED


def test_handles_are_equal_by_run(site):
    handle = site.enqueue("w")
    assert handle == site.handle(str(handle.id))
    assert len({handle, site.handle(handle.id)}) == 1
    assert repr(handle) == f"RunHandle('{handle.id}')"
    assert handle != str(handle.id)


def test_the_status_is_running_once_a_task_was_claimed(runner, gate):
    workflows.chain("w", lambda context: gate.pass_through(), workflows.nothing)
    handle = runner.enqueue("w")
    gate.await_arrival()
    assert handle.status == RunStatus.RUNNING
    gate.open()
    handle.wait(20)


def test_a_run_that_is_gone_says_so(site):
    handle = site.enqueue("w")
    PipelineExecution.objects.all().delete()
    for question in (lambda: handle.status, handle.result, lambda: handle.wait(1), handle.cancel):
        with pytest.raises(RunNotFound, match="There is no run"):
            question()
