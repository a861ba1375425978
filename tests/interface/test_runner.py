"""``execute`` and its result, in a program as a user writes it."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig, PipelineResult
from cloaca_django.errors import RunnerClosed, WorkflowNotFound
from cloaca_django.models import PipelineExecution
from tests import workflows


def test_a_run_ends_completed_with_what_its_tasks_wrote(runner):
    workflows.single("w", workflows.writes("x", 1))
    result = runner.execute("w", Context({"i": 1}))
    assert isinstance(result, PipelineResult)
    assert (result.status, result.error_message) == ("Completed", None)
    assert result.final_context.to_dict() == {"i": 1, "x": 1}


def test_a_task_may_return_the_context_it_changed(runner):
    def body(context):
        context.set("x", 1)
        return context

    workflows.single("w", body)
    assert runner.execute("w", Context({"i": 1})).final_context.to_dict() == {"i": 1, "x": 1}


def test_the_argument_is_copied_when_it_is_given(runner, gate):
    def body(context):
        gate.pass_through()
        context["seen"] = context.get("late", "nothing")

    workflows.single("w", body)
    given = Context({"i": 1})
    handle = runner.enqueue("w", given)
    gate.await_arrival()
    given["late"] = "too late"
    gate.open()
    assert handle.wait(20).final_context.to_dict() == {"i": 1, "seen": "nothing"}
    assert given.to_dict() == {"i": 1, "late": "too late"}


def test_an_unknown_workflow_is_refused_and_close_names_are_listed(runner):
    workflows.single("nightly_report")
    with pytest.raises(WorkflowNotFound, match="Workflow not found in registry: nope") as caught:
        runner.execute("nope", Context())
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match="did you mean 'nightly_report'"):
        runner.execute("nightly_reprot", Context())
    assert not PipelineExecution.objects.exists()


@pytest.mark.parametrize("given", [{"i": 1}, None, "{}", [("i", 1)], 7])
def test_the_context_must_be_a_context(runner, given):
    workflows.single("w")
    with pytest.raises(TypeError, match="context must be a Context"):
        runner.execute("w", given)
    assert not PipelineExecution.objects.exists()


@pytest.mark.parametrize("given", [None, b"w", 7, ["w"]])
def test_the_workflow_name_must_be_text(runner, given):
    with pytest.raises(TypeError, match="workflow_name must be a str"):
        runner.execute(given, Context())


def test_a_failed_run_is_a_result_and_not_an_exception(runner):
    workflows.single("w", workflows.boom, retry_attempts=1)
    result = runner.execute("w", Context({"i": 1}))
    assert result.status == "Failed"
    assert result.error_message == "Task 'a' failed: ValueError: boom"
    assert result.final_context.to_dict() == {"i": 1}
    assert [(task.name, task.status, task.attempts) for task in result.task_results] == [
        ("a", "Failed", 1)
    ]


def test_a_failed_run_keeps_what_completed(runner):
    workflows.define(
        "w",
        ("good", workflows.writes("good", 1), {}),
        ("bad", workflows.boom, {"retry_attempts": 1, "dependencies": ["good"]}),
        ("after", workflows.writes("after", 1), {"dependencies": ["bad"]}),
    )
    result = runner.execute("w", Context())
    assert (result.status, result.final_context.to_dict()) == ("Failed", {"good": 1})
    assert {task.name: task.status for task in result.task_results} == {
        "good": "Completed",
        "bad": "Failed",
        "after": "Skipped",
    }


def test_the_first_failure_is_named_when_several_tasks_fail(runner):
    def say(word):
        def body(context):
            raise ValueError(word)

        return body

    workflows.define(
        "w",
        ("one", say("first"), {"retry_attempts": 1}),
        ("two", say("second"), {"retry_attempts": 1, "dependencies": ["one"],
                                "trigger_rules": {"type": "Always"}}),
    )  # fmt: skip
    result = runner.execute("w", Context())
    assert result.error_message == "Task 'one' failed: ValueError: first"


def test_a_result_tells_when_and_for_how_long(runner):
    workflows.single("w")
    result = runner.execute("w", Context())
    start, end = map(datetime.fromisoformat, (result.start_time, result.end_time))
    assert start <= end
    assert start.utcoffset() is not None
    assert end.utcoffset() is not None
    assert result.duration == (end - start).total_seconds()
    assert result.workflow_name == "w"
    assert result.pipeline_execution_id == str(PipelineExecution.objects.get().pk)


def test_a_result_gives_a_new_context_at_each_access_and_cannot_be_changed(runner):
    workflows.single("w", workflows.writes("list", [1]))
    result = runner.execute("w", Context())
    first = result.final_context
    first["list"] = "changed"
    assert result.final_context is not first
    assert result.final_context.to_dict() == {"list": [1]}
    with pytest.raises(AttributeError):
        result.status = "Failed"
    assert repr(result) == "PipelineResult(status=Completed, error=None)"


def test_four_threads_share_a_runner(runner, together):
    workflows.single("w", lambda context: context.set("out", context["n"]))

    def caller(thread):
        return lambda: [
            runner.execute("w", Context({"n": [thread, n]})).final_context["out"] for n in range(10)
        ]

    found = together(*(caller(thread) for thread in range(4)))
    assert found == [[[thread, n] for n in range(10)] for thread in range(4)]


def test_tasks_run_beside_each_other_up_to_the_limit(make_runner, gate):
    workflows.fan("w", 8, lambda context: gate.pass_through())
    runner = make_runner(max_concurrent_tasks=4)
    handle = runner.enqueue("w")
    gate.await_arrival(4)
    assert not gate.has_arrivals(0.3)
    gate.open()
    assert handle.wait(20).status == "Completed"


def test_two_runners_on_one_database_see_the_same_runs(runner, make_runner):
    workflows.single("w", workflows.writes("x", 1))
    other = make_runner()
    handle = runner.enqueue("w")
    assert other.handle(handle.id).wait(20).final_context.to_dict() == {"x": 1}
    assert other.handle(str(handle.id)) == handle


def test_a_body_runs_on_a_thread_of_the_engine(runner):
    workflows.single("w", lambda context: context.set("t", threading.current_thread().name))
    name = runner.execute("w", Context()).final_context["t"]
    assert name.startswith("cloaca-")
    assert name != threading.current_thread().name


def test_code_that_exits_fails_its_task_and_not_the_program(runner):
    def leave(context):
        raise SystemExit(3)

    workflows.single("w", leave, retry_attempts=1)
    result = runner.execute("w", Context())
    assert (result.status, result.error_message) == ("Failed", "Task 'a' failed: SystemExit: 3")
    workflows.single("next")
    assert runner.execute("next", Context()).status == "Completed"


def test_a_run_whose_every_task_is_skipped_is_completed_at_once(runner):
    never = {"type": "Any", "conditions": []}
    workflows.define(
        "w", ("a", workflows.boom, {"trigger_rules": never}), ("b", workflows.boom,
                                                              {"dependencies": ["a"]})
    )  # fmt: skip
    result = runner.execute("w", Context({"i": 1}))
    assert (result.status, result.error_message) == ("Completed", None)
    assert result.final_context.to_dict() == {"i": 1}
    assert {task.status for task in result.task_results} == {"Skipped"}


def test_the_arguments_of_the_constructor_are_checked(database_url):
    with pytest.raises(TypeError, match="not both"):
        DefaultRunner(database_url, using="default")
    with pytest.raises(TypeError, match="config must be a DefaultRunnerConfig, not dict"):
        DefaultRunner.with_config(database_url, {"max_concurrent_tasks": 8})
    with pytest.raises(TypeError):
        DefaultRunner(7)


def test_a_configuration_is_read_once(database_url, workflows_of_test, gate):
    config = DefaultRunnerConfig(max_concurrent_tasks=1)
    workflows.fan("w", 2, lambda context: gate.pass_through())
    with DefaultRunner.with_config(database_url, config) as runner:
        config.max_concurrent_tasks = 8
        handle = runner.enqueue("w")
        gate.await_arrival()
        assert not gate.has_arrivals(0.2)
        gate.open()
        assert handle.wait(20).status == "Completed"


CLOSED = {
    "execute": lambda runner, handle: runner.execute("w", Context()),
    "enqueue": lambda runner, handle: runner.enqueue("w"),
    "enqueue_many": lambda runner, handle: runner.enqueue_many("w", [None]),
    "handle": lambda runner, handle: runner.handle(handle.id),
    "status": lambda runner, handle: handle.status,
    "wait": lambda runner, handle: handle.wait(1),
    "result": lambda runner, handle: handle.result(),
    "cancel": lambda runner, handle: runner.cancel(handle.id),
    "pause": lambda runner, handle: runner.pause(handle.id),
    "resume": lambda runner, handle: runner.resume(handle.id),
    "replay": lambda runner, handle: runner.replay(handle.id),
    "pause_workflow": lambda runner, handle: runner.pause_workflow("w"),
    "resume_workflow": lambda runner, handle: runner.resume_workflow("w"),
}


@pytest.mark.parametrize("call", sorted(CLOSED))
def test_every_call_after_shutdown_says_that_the_runner_is_closed(call, own_databases):
    workflows.single("w")
    runner = DefaultRunner("sqlite:///:memory:")
    handle = runner.enqueue("w")
    handle.wait(20)
    runner.shutdown()
    with pytest.raises(RunnerClosed) as caught:
        CLOSED[call](runner, handle)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
