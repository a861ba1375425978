"""What the body of a task may do, how often it is tried, and what its callbacks hear."""

from __future__ import annotations

import itertools
import time
from unittest import mock

import pytest

from cloaca_django import Context, RetryPolicy, WorkflowBuilder, task
from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.engine import execution
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from tests import workflows
from tests.interface.conftest import until

QUICK = {"retry_delay_ms": 1, "retry_jitter": False}


def run(runner, name="w", **data):
    return runner.execute(name, Context(data))


RETURNS = {
    "nothing": (lambda context: context.set("x", 1), {"i": 1, "x": 1}),
    "the context itself": (lambda context: context, {"i": 1}),
    "another context": (lambda context: Context({"only": 1}), {"only": 1}),
    "an empty context": (lambda context: Context(), {}),
    "a dict, whose items are set": (lambda context: {"x": 1, "i": 2}, {"i": 2, "x": 1}),
}


@pytest.mark.parametrize("kind", sorted(RETURNS))
def test_a_task_may_return(runner, kind):
    body, expected = RETURNS[kind]
    seen = []
    workflows.chain("w", body, lambda context: seen.append(context.to_dict()))
    assert run(runner, i=1).final_context.to_dict() == expected
    assert seen == [expected]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (lambda context: 7, "int"),
        (lambda context: [], "list"),
        (lambda context: "text", "str"),
        (lambda context: True, "bool"),
        (lambda context: (one for one in "x"), "generator"),
        (lambda context: (1, 2), "tuple"),
    ],
)
def test_a_task_that_returns_something_else_fails_and_says_what_is_allowed(runner, body, kind):
    workflows.single("w", body, retry_attempts=1)
    result = run(runner)
    assert result.status == "Failed"
    assert f"of type {kind}; return a Context, a dict of changes, or None" in result.error_message
    assert TaskAttempt.objects.get().error_type.endswith("UnexpectedResult")


@pytest.mark.parametrize(
    "value", [float("nan"), {1, 2}, b"x", object(), "nul \x00", "surrogate \ud800", {1: 2}]
)
def test_what_json_cannot_hold_fails_the_task_and_names_the_key(runner, value):
    workflows.single("w", workflows.writes("bad", value), retry_attempts=1)
    result = run(runner, i=1)
    assert (result.status, result.final_context.to_dict()) == ("Failed", {"i": 1})
    assert "$.bad" in result.error_message


def test_changes_that_repeat_one_list_without_end_fail_their_task_and_nothing_else(runner):
    laughs = 0
    for _ in range(10):
        laughs = [laughs] * 10

    def in_place(context):
        context["rows"].append(laughs)

    bodies = {"set": workflows.writes("x", laughs), "returned": lambda context: {"x": laughs}}
    tasks = [
        (id, body, {"retry_attempts": 1})
        for id, body in {**bodies, "in_place": in_place, "fine": workflows.writes("y", 1)}.items()
    ]
    workflows.define("w", *tasks)
    result = run(runner, rows=[])
    assert result.status == "Failed"
    assert result.final_context.to_dict() == {"rows": [], "y": 1}
    errors = {task.task_name: task.error or "" for task in result.task_results}
    refused = {name for name, text in errors.items() if "it has the same values many" in text}
    assert refused == {"set", "returned", "in_place"}


def test_a_task_that_fails_twice_is_tried_three_times(runner):
    calls = []

    def body(context):
        calls.append(context.to_dict())
        context["half"] = True
        if len(calls) < 3:
            raise ValueError(f"no {len(calls)}")

    workflows.single("w", body, retry_attempts=3, **QUICK)
    result = run(runner, i=1)
    assert (result.status, result.task_results[0].attempts) == ("Completed", 3)
    # An attempt that failed leaves nothing in the context of the next.
    assert calls == [{"i": 1}] * 3
    kept = TaskAttempt.objects.order_by("attempt").values_list(
        "attempt", "outcome", "error_message"
    )
    assert list(kept) == [
        (1, AttemptOutcome.FAILED, "ValueError: no 1"),
        (2, AttemptOutcome.FAILED, "ValueError: no 2"),
    ]


@pytest.mark.parametrize(("attempts", "calls"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_retry_attempts_counts_the_first_one(runner, attempts, calls):
    made = []

    def body(context):
        made.append(1)
        raise ValueError("boom")

    workflows.single("w", body, retry_attempts=attempts, **QUICK)
    assert run(runner).status == "Failed"
    assert len(made) == calls


CONDITIONS = [
    ("never", ValueError("bad"), 1),
    ("transient", ConnectionError("x"), 3),
    ("transient", TimeoutError("x"), 3),
    ("transient", ValueError("bad"), 1),
    ("transient", ValueError("connection timeout, try later"), 3),
    (KeyError, KeyError("x"), 3),
    (LookupError, KeyError("x"), 3),
    (OSError, KeyError("x"), 1),
]


@pytest.mark.parametrize(("condition", "error", "calls"), CONDITIONS)
def test_the_condition_decides_which_errors_are_tried_again(runner, condition, error, calls):
    made = []

    def body(context):
        made.append(1)
        if len(made) < 3:
            raise error

    workflows.single("w", body, retry_condition=condition, **QUICK)
    assert run(runner).status == ("Completed" if calls == 3 else "Failed")
    assert len(made) == calls


def test_a_fixed_delay_is_kept_between_attempts(runner):
    moments = []

    def body(context):
        moments.append(time.monotonic())
        raise ValueError("boom")

    workflows.single("w", body, retry_backoff="fixed", retry_delay_ms=200, retry_jitter=False)
    run(runner)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert len(gaps) == 2
    assert all(0.19 <= gap < 0.6 for gap in gaps)


def test_a_policy_object_says_the_same_as_the_keywords(runner):
    made = []

    def body(context):
        made.append(1)
        raise ValueError("boom")

    policy = RetryPolicy.builder().max_attempts(2).initial_delay(0.001).with_jitter(False).build()
    workflows.single("w", body, retry=policy)
    assert run(runner).status == "Failed"
    assert len(made) == 2


def test_the_traceback_and_the_error_are_kept_with_the_attempt(runner):
    workflows.single("w", workflows.boom, retry_attempts=1)
    run(runner)
    attempt = TaskAttempt.objects.get()
    assert attempt.error_type == "ValueError"
    assert attempt.error_message == "ValueError: boom"
    assert 'raise ValueError("boom")' in attempt.traceback
    assert attempt.started_at <= attempt.finished_at
    assert TaskExecution.objects.get().error_message == "ValueError: boom"


NASTY = [
    ("nul \x00 here", "nul ␀ here"),
    ("surrogate \ud800", "surrogate \\ud800"),
    ("long " + "x" * 100_000, "[... cut here]"),
    ("", "ValueError"),
]


@pytest.mark.parametrize(("text", "kept"), NASTY)
def test_an_error_that_no_database_stores_is_made_storable(runner, text, kept):
    def body(context):
        raise ValueError(text)

    workflows.single("w", body, retry_attempts=1)
    result = run(runner)
    assert result.status == "Failed"
    assert kept in TaskAttempt.objects.get().error_message
    assert len(TaskAttempt.objects.get().error_message) <= 4_000


def test_an_error_that_cannot_be_printed_fails_its_task_like_any_other(runner):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def body(context):
        raise MuteError

    workflows.single("w", body, retry_attempts=1)
    assert "MuteError" in run(runner).error_message


def test_callbacks_hear_of_each_failure_and_of_the_success(runner):
    heard, calls = [], []

    def body(context):
        calls.append(1)
        context["x"] = len(calls)
        if len(calls) == 1:
            raise ValueError("boom")

    workflows.single(
        "w",
        body,
        retry_attempts=2,
        on_success=lambda name, context: heard.append(("success", name, context.to_dict())),
        on_failure=lambda name, error, context: heard.append(("failure", name, error)),
        **QUICK,
    )
    run(runner)
    assert heard == [("failure", "a", "ValueError: boom"), ("success", "a", {"x": 2})]


def test_a_callback_that_raises_changes_nothing_and_is_logged(runner, caplog):
    def broken(*arguments):
        raise RuntimeError("callback")

    workflows.chain("w", workflows.writes("x", 1), workflows.nothing, on_success=broken)
    workflows.single("f", workflows.boom, on_failure=broken, retry_attempts=1)
    assert run(runner).final_context.to_dict() == {"x": 1}
    assert run(runner, "f").error_message == "Task 'a' failed: ValueError: boom"
    said = [record for record in caplog.records if "callback of task" in record.getMessage()]
    assert len(said) == 3
    assert all(record.run_id for record in said)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_nothing_that_a_callback_raises_loses_or_changes_an_outcome(make_runner, caplog, kind):
    def leaves(*arguments):
        raise kind

    async def fails(context):
        raise ValueError("boom")

    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("w", workflows.writes("x", 1), on_success=leaves, atomic=True)
    workflows.single("f", workflows.boom, on_failure=leaves, retry_attempts=1)
    workflows.single("a", fails, on_failure=leaves, retry_attempts=1)
    for _ in range(2):
        assert run(runner).final_context.to_dict() == {"x": 1}
        assert run(runner, "f").error_message == "Task 'a' failed: ValueError: boom"
        assert run(runner, "a").error_message == "Task 'a' failed: ValueError: boom"
    assert caplog.text.count("callback of task a failed") == 6


class MuteError(Exception):
    """An error whose every word raises, and nothing that ``except Exception`` catches."""

    def __str__(self):
        raise SystemExit

    @property
    def __notes__(self):
        raise SystemExit


def mute(context):
    raise MuteError


async def mute_async(context):
    raise MuteError


@pytest.mark.parametrize("body", [mute, mute_async])
def test_an_error_whose_words_end_the_thread_fails_its_task_like_any_other(make_runner, body):
    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("w", body, retry_attempts=1)
    for _ in range(2):
        assert run(runner).error_message == "Task 'a' failed: MuteError: <unprintable>"


@pytest.mark.parametrize("is_async", [False, True])
def test_what_breaks_beside_a_body_costs_its_task_an_attempt(make_runner, is_async, caplog):
    """The last resort: no job is lost, and no slot, whatever breaks in the engine's own code."""

    name, calls = "perform_async" if is_async else "perform", []
    intact = getattr(execution, name)

    def broken(job, *arguments):
        calls.append(job)
        if len(calls) == 1:
            raise SystemExit
        return intact(job, *arguments)

    async def body(context):
        context["x"] = 1

    runner = make_runner(max_concurrent_tasks=1)
    workflows.single("w", body if is_async else workflows.writes("x", 1), **QUICK)
    with mock.patch.object(execution, name, broken):
        result = run(runner)
    assert (result.status, result.task_results[0].attempts) == ("Completed", 2)
    assert "raised beside the task's body" in TaskAttempt.objects.get().error_message
    assert "broke beside its body" in caplog.text


def test_a_change_in_a_callback_changes_nothing(runner):
    workflows.single("w", on_success=lambda name, context: context.set("late", 1))
    assert run(runner).final_context.to_dict() == {}


def test_dependencies_may_be_given_as_functions(runner):
    with WorkflowBuilder("w"):

        @task()
        def first(context):
            context["order"] = ["first"]

        @task(id="renamed", dependencies=[first])
        def second(context):
            context["order"] = [*context["order"], "second"]

        @task(dependencies=[second])
        def third(context):
            context["order"] = [*context["order"], "third"]

    assert run(runner).final_context["order"] == ["first", "second", "third"]


def test_a_run_keeps_the_definition_it_started_with(runner, gate):
    def slow(context):
        gate.pass_through()

    workflows.chain("w", slow, workflows.nothing, retry_attempts=1)
    handle = runner.enqueue("w")
    gate.await_arrival()
    with pytest.warns(UserWarning, match="replaces a different one"):
        workflows.chain("w", slow, workflows.boom, workflows.nothing, retry_attempts=1)
    gate.open()
    # The code is the newest, the graph is the run's own.
    assert [task.name for task in handle.wait(20).task_results] == ["a", "b"]


def test_a_task_whose_code_is_gone_waits_for_a_worker_that_has_it(runner, gate):
    workflows.chain("w", lambda context: gate.pass_through(), workflows.nothing)
    handle = runner.enqueue("w")
    gate.await_arrival()
    with pytest.warns(UserWarning, match="replaces a different one"):
        workflows.single("w", workflows.nothing)
    gate.open()
    left = TaskExecution.objects.filter(run_id=handle.id, name="b")
    until(lambda: left.get().status == TaskStatus.READY)
    other = workflows.single("other", workflows.writes("x", 1))
    assert runner.execute(other.name, Context()).status == "Completed"
    assert (left.get().status, left.get().worker_id) == (TaskStatus.READY, None)


def test_a_megabyte_goes_through_and_more_is_refused_with_its_size(runner):
    workflows.chain("w", workflows.nothing, lambda context: context.set("n", len(context["big"])))
    assert run(runner, big="x" * 1_000_000).final_context["n"] == 1_000_000
    with pytest.raises(ValueError, match="limit 1048576; store the data elsewhere"):
        run(runner, big="x" * 1_048_577)
    workflows.single("grow", workflows.writes("big", "x" * 1_048_577), retry_attempts=1)
    assert "limit 1048576" in run(runner, "grow").error_message
    assert PipelineExecution.objects.count() == 2
