"""What an operator may do to a run or a workflow, through the runner."""

from __future__ import annotations

import pytest

from cloaca_django import Context
from cloaca_django.core import registry
from cloaca_django.core.states import Origin, RunStatus, TaskStatus
from cloaca_django.errors import InvalidTransition, RunNotFound, WorkflowNotFound
from cloaca_django.models import PipelineExecution, TaskExecution, WorkflowControl
from tests import workflows
from tests.interface.conftest import never, until


def statuses(run_id):
    rows = TaskExecution.objects.filter(run_id=run_id).order_by("position")
    return {row.name: row.status for row in rows}


def test_a_paused_run_finishes_what_runs_and_starts_nothing_more(runner, gate):
    workflows.chain("w", lambda context: gate.pass_through(), workflows.writes("b", 1))
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.pause(handle.id, by="ann", reason="look first")
    run = PipelineExecution.objects.get(pk=handle.id)
    assert (run.status, run.paused_by, run.pause_reason) == (
        RunStatus.PAUSED,
        "ann",
        "look first",
    )
    gate.open()
    until(lambda: statuses(handle.id)["a"] == TaskStatus.COMPLETED)
    assert statuses(handle.id)["b"] == TaskStatus.HELD
    assert handle.status == RunStatus.PAUSED
    never(lambda: handle.status != RunStatus.PAUSED, 0.2)
    runner.resume(handle.id)
    result = handle.wait(20)
    assert (result.status, result.final_context.to_dict()) == ("Completed", {"b": 1})
    run.refresh_from_db()
    assert (run.paused_at, run.paused_by, run.pause_reason) == (None, "", "")


def test_a_run_whose_last_task_runs_when_it_is_paused_ends(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.pause(handle.id)
    gate.open()
    assert handle.wait(20).status == "Completed"


def test_a_retry_of_a_paused_run_waits_until_it_is_resumed(runner, gate):
    calls = []

    def body(context):
        calls.append(1)
        if len(calls) == 1:
            gate.pass_through()
            raise ValueError("again")

    workflows.single("w", body, retry_delay_ms=1)
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.pause(handle.id)
    gate.open()
    until(lambda: statuses(handle.id)["a"] == TaskStatus.HELD)
    never(lambda: len(calls) > 1, 0.2)
    runner.resume(handle.id)
    assert handle.wait(20).status == "Completed"
    assert len(calls) == 2


def test_a_paused_run_can_be_cancelled(runner, gate):
    workflows.chain("w", lambda context: gate.pass_through(), workflows.nothing)
    handle = runner.enqueue("w")
    gate.await_arrival()
    runner.pause(handle.id)
    handle.cancel()
    gate.open()
    assert handle.wait(5).status == "Cancelled"
    assert statuses(handle.id) == {"a": TaskStatus.CANCELLED, "b": TaskStatus.CANCELLED}


ACTS = {
    "cancel": (lambda runner, id: runner.cancel(id), "cannot become Cancelled"),
    "pause": (lambda runner, id: runner.pause(id), "cannot become Paused"),
    "resume": (lambda runner, id: runner.resume(id), "cannot become Running"),
}


@pytest.mark.parametrize("act", sorted(ACTS))
def test_an_ended_run_cannot_be_moved(runner, act):
    workflows.single("w")
    handle = runner.enqueue("w")
    handle.wait(20)
    call, text = ACTS[act]
    with pytest.raises(InvalidTransition, match=f"run is Completed and {text}") as caught:
        call(runner, handle.id)
    assert isinstance(caught.value, RuntimeError)


def test_a_run_is_paused_once_and_resumed_once(make_runner):
    workflows.single("w")
    runner = make_runner(using="default")
    handle = runner.enqueue("w")
    with pytest.raises(InvalidTransition, match="run is Pending and cannot become Running"):
        runner.resume(handle.id)
    runner.pause(handle.id)
    with pytest.raises(InvalidTransition, match="run is Paused and cannot become Paused"):
        runner.pause(handle.id)
    runner.resume(handle.id)
    assert handle.status == RunStatus.PENDING


def test_a_run_that_does_not_exist_cannot_be_moved(runner):
    nobody = "01234567-89ab-7cde-8f01-23456789abcd"
    for call in (runner.cancel, runner.pause, runner.resume, runner.replay):
        with pytest.raises(RunNotFound, match=nobody):
            call(nobody)


def test_a_paused_workflow_accepts_runs_and_starts_none(runner):
    workflows.single("w", workflows.writes("x", 1))
    workflows.single("other")
    runner.pause_workflow("w", by="ann", reason="bad data")
    handle = runner.enqueue("w")
    assert runner.execute("other", Context()).status == "Completed"
    never(lambda: handle.status != RunStatus.PENDING, 0.2)
    assert statuses(handle.id) == {"a": TaskStatus.HELD}
    control = WorkflowControl.objects.get(name="w")
    assert (control.paused_by, control.pause_reason) == ("ann", "bad data")
    assert control.paused_at is not None
    runner.resume_workflow("w")
    assert handle.wait(20).status == "Completed"


def test_pausing_a_workflow_holds_what_had_not_started(make_runner, gate):
    workflows.chain("w", lambda context: gate.pass_through(), workflows.nothing)
    runner = make_runner(max_concurrent_tasks=1)
    running, waiting = runner.enqueue("w"), runner.enqueue("w")
    gate.await_arrival()
    runner.pause_workflow("w")
    gate.open()
    until(lambda: statuses(running.id)["a"] == TaskStatus.COMPLETED)
    assert statuses(running.id)["b"] == TaskStatus.HELD
    until(lambda: statuses(waiting.id)["a"] == TaskStatus.HELD)
    runner.resume_workflow("w")
    assert {running.wait(20).status, waiting.wait(20).status} == {"Completed"}


def test_a_run_paused_itself_stays_so_when_its_workflow_is_resumed(runner):
    workflows.single("w")
    runner.pause_workflow("w")
    handle, other = runner.enqueue("w"), runner.enqueue("w")
    runner.pause(handle.id)
    runner.resume_workflow("w")
    assert other.wait(20).status == "Completed"
    never(lambda: handle.status != RunStatus.PAUSED, 0.2)
    runner.resume(handle.id)
    assert handle.wait(20).status == "Completed"


def test_a_workflow_nobody_knows_cannot_be_paused(runner):
    with pytest.raises(WorkflowNotFound, match="nope"):
        runner.pause_workflow("nope")
    assert not WorkflowControl.objects.filter(name="nope").exists()


@pytest.mark.parametrize("limit", [1, 2])
def test_max_running_bounds_the_runs_of_a_workflow(make_runner, gate, limit):
    workflows.single("w", lambda context: gate.pass_through(), builder={"max_running": limit})
    runner = make_runner(max_concurrent_tasks=8)
    handles = runner.enqueue_many("w", [None] * 5)
    gate.await_arrival(limit)
    assert not gate.has_arrivals(0.3)
    assert PipelineExecution.objects.filter(is_waiting=True).count() == 5 - limit
    gate.open()
    assert {handle.wait(20).status for handle in handles} == {"Completed"}


def test_a_workflow_registered_after_the_runner_started_is_limited_too(runner, gate):
    workflows.single("w", lambda context: gate.pass_through(), builder={"max_running": 1})
    handles = runner.enqueue_many("w", [None] * 2)
    gate.await_arrival()
    assert not gate.has_arrivals(0.3)
    gate.open()
    assert {handle.wait(20).status for handle in handles} == {"Completed"}


def test_execute_of_a_limited_workflow_waits_for_its_place(runner, together):
    at_once, most = [], []

    def body(context):
        at_once.append(1)
        most.append(len(at_once))
        workflows.rests(0.02)(context)
        at_once.pop()

    workflows.single("w", body, builder={"max_running": 1})
    found = together(*[lambda: runner.execute("w", Context()).status] * 4)
    assert found == ["Completed"] * 4
    assert max(most) == 1


def test_a_place_is_given_on_however_its_run_ends(runner, gate):
    def body(context):
        if context.get("fail"):
            raise ValueError("boom")
        gate.pass_through()

    workflows.single("w", body, retry_attempts=1, builder={"max_running": 1})
    first = runner.enqueue("w")
    gate.await_arrival()
    second = runner.enqueue("w", Context({"fail": True}))
    third = runner.enqueue("w")
    first.cancel()
    assert second.wait(20).status == "Failed"
    gate.await_arrival()
    gate.open()
    assert third.wait(20).status == "Completed"


def test_a_place_goes_to_the_most_urgent_run(make_runner, gate):
    order = []

    def body(context):
        order.append(context["n"])
        gate.pass_through()

    workflows.single("w", body, builder={"max_running": 1})
    runner = make_runner()
    first = runner.enqueue("w", Context({"n": 0}))
    gate.await_arrival()
    rest = [runner.enqueue("w", Context({"n": n}), priority=n) for n in (1, 3, 2)]
    gate.open()
    for handle in (first, *rest):
        handle.wait(20)
    assert order == [0, 3, 2, 1]


class Flaky:
    """Fails as often as it is told."""

    def __init__(self, failures):
        self.failures = failures
        self.calls = 0

    def __call__(self, context):
        self.calls += 1
        if self.calls <= self.failures:
            raise ValueError("boom")
        context["b"] = self.calls


def test_a_replay_is_a_new_run_that_goes_on_where_the_old_one_failed(runner):
    first_calls, flaky = [], Flaky(1)

    def first(context):
        first_calls.append(1)
        context["a"] = len(first_calls)

    workflows.chain("w", first, flaky, workflows.writes("c", 3), retry_attempts=1)
    old = runner.enqueue("w", Context({"i": 1}))
    assert old.wait(20).status == "Failed"
    new = runner.replay(old.id)
    result = new.wait(20)
    assert new != old
    assert result.final_context.to_dict() == {"i": 1, "a": 1, "b": 2, "c": 3}
    assert len(first_calls) == 1
    row = PipelineExecution.objects.get(pk=new.id)
    assert (row.parent_id, row.origin) == (old.id, Origin.RETRY)
    assert old.result().status == "Failed"
    assert [task.status for task in old.result().task_results] == [
        "Completed",
        "Failed",
        "Skipped",
    ]


def test_a_replay_from_the_start_runs_everything_again(runner):
    calls = []
    workflows.chain("w", lambda context: calls.append(1), Flaky(1), retry_attempts=1)
    old = runner.enqueue("w")
    old.wait(20)
    assert runner.replay(old.id, from_start=True).wait(20).status == "Completed"
    assert len(calls) == 2


def test_a_replay_whose_key_a_run_holds_is_that_run(runner):
    workflows.single("w")
    old = runner.enqueue("w")
    old.wait(20)
    first = runner.replay(old.id, idempotency_key="once")
    assert runner.replay(old.id, idempotency_key="once") == first
    assert runner.replay(old.id, idempotency_key="twice") != first
    assert PipelineExecution.objects.filter(parent=old.id).count() == 2
    with pytest.raises(ValueError, match="idempotency_key"):
        runner.replay(old.id, idempotency_key="")


def test_a_cancelled_run_can_be_replayed(runner, gate):
    workflows.chain("w", workflows.writes("a", 1), lambda context: gate.pass_through())
    old = runner.enqueue("w")
    gate.await_arrival()
    old.cancel()
    gate.open()
    result = runner.replay(old.id).wait(20)
    assert (result.status, result.final_context.to_dict()) == ("Completed", {"a": 1})


def test_an_open_run_cannot_be_replayed(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    handle = runner.enqueue("w")
    gate.await_arrival()
    with pytest.raises(InvalidTransition):
        runner.replay(handle.id)
    assert PipelineExecution.objects.count() == 1


def test_a_replay_keeps_queue_and_priority(make_runner):
    workflows.single("w")
    runner = make_runner(using="default")
    old = runner.enqueue("w", queue="reports", priority=7)
    old.cancel()
    row = PipelineExecution.objects.get(pk=runner.replay(old.id).id)
    assert (row.queue, row.priority) == ("reports", 7)
    assert row.deadline_at is not None


def test_a_replay_does_not_take_the_key_of_the_run_it_repeats(make_runner):
    workflows.single("w")
    runner = make_runner(using="default")
    old = runner.enqueue("w", idempotency_key="once")
    old.cancel()
    new = runner.replay(old.id)
    assert runner.enqueue("w", idempotency_key="once") == old
    assert PipelineExecution.objects.get(pk=new.id).idempotency_key is None


def test_a_replay_of_a_workflow_that_is_gone_is_refused(runner):
    with registry.isolated():
        workflows.single("gone")
        handle = runner.enqueue("gone")
        handle.wait(20)
    with pytest.raises(WorkflowNotFound, match="gone"):
        runner.replay(handle.id)


def test_a_run_cancelled_between_two_tasks_starts_no_more(runner, gate):
    def body(context):
        gate.pass_through()

    workflows.fan("w", 3, body)
    handle = runner.enqueue("w")
    gate.await_arrival(3)
    handle.cancel()
    gate.open()
    assert set(statuses(handle.id).values()) == {TaskStatus.COMPLETED, TaskStatus.CANCELLED}
    assert statuses(handle.id)["join"] == TaskStatus.CANCELLED
