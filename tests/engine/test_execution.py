"""Stage 3: what a body did becomes an outcome, and nothing it does escapes."""

from __future__ import annotations

import json

import pytest

from cloaca_django import Context, RetryPolicy
from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.engine import execution
from cloaca_django.engine.capture import current_job, storable
from tests import workflows


@pytest.fixture
def job_of(world):
    """Return a function that claims a one-task workflow and gives its job."""

    def make(body, data=None, **facts):
        workflows.single("w", body, **facts)
        world.enqueue("w", data)
        world.step()
        (job,) = world.take()
        return job

    return make


def outcome_of(job):
    return execution.perform(job, None)


def test_changes_are_what_differs_and_no_more(job_of):
    def body(context):
        context["same"] = 1
        context["new"] = {"x": 1}
        context["deep"] = {**context["deep"], "b": 2}
        context.remove("gone")

    outcome = outcome_of(job_of(body, {"same": 1, "gone": 1, "deep": {"a": 1}}))
    assert outcome.status is TaskStatus.COMPLETED
    assert sorted(json.loads(outcome.changes), key=str) == sorted(
        [[["new"], {"x": 1}], [["deep", "b"], 2], [["gone"]]], key=str
    )


def test_a_body_that_changed_nothing_stores_nothing(job_of):
    def body(context):
        context["x"] = context["x"]

    assert outcome_of(job_of(body, {"x": [1, {"y": 2}]})).changes is None


def test_a_failed_body_asks_for_another_attempt_after_a_delay(job_of):
    policy = RetryPolicy(max_attempts=2, initial_delay=5.0, with_jitter=False)
    outcome = outcome_of(job_of(workflows.boom, retry=policy))
    assert (outcome.status, outcome.delay_seconds) == (TaskStatus.SCHEDULED, 5.0)
    assert outcome.charges_attempt
    assert outcome.failure.message == "ValueError: boom"


def test_without_a_delay_the_next_attempt_is_ready_at_once(job_of):
    outcome = outcome_of(job_of(workflows.boom, retry_delay_ms=0))
    assert outcome.status is TaskStatus.READY
    assert outcome.charges_attempt


def test_the_last_attempt_fails_for_good(job_of):
    outcome = outcome_of(job_of(workflows.boom, retry_attempts=1))
    assert outcome.status is TaskStatus.FAILED
    assert not outcome.charges_attempt


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit(3), GeneratorExit, MemoryError])
def test_nothing_a_body_raises_escapes(job_of, error):
    def body(context):
        raise error

    outcome = outcome_of(job_of(body, retry_attempts=1))
    assert outcome.status is TaskStatus.FAILED


def test_a_recursion_without_end_is_a_failure(job_of):
    def body(context):
        body(context)

    outcome = outcome_of(job_of(body, retry_attempts=1))
    assert outcome.failure.error_type == "RecursionError"
    assert len(outcome.failure.traceback) <= execution.TRACEBACK_LIMIT


def test_the_current_job_is_known_only_while_its_body_runs(job_of):
    seen = []
    job = job_of(lambda context: seen.append(current_job.get()))
    outcome_of(job)
    assert seen == [job]
    assert current_job.get() is None


def test_a_timeout_is_an_attempt_of_its_own_kind(job_of):
    job = job_of(workflows.nothing, retry_attempts=2, retry_delay_ms=0)
    outcome = execution.timed_out(job, 7.0)
    assert outcome.failure.outcome is AttemptOutcome.TIMED_OUT
    assert outcome.failure.message == "TimeoutError: Task execution timeout after 7s"
    assert (outcome.status, outcome.charges_attempt) == (TaskStatus.READY, True)


def test_a_job_that_is_handed_back_is_not_charged(job_of):
    outcome = execution.handed_back(job_of(workflows.nothing, retry_attempts=1))
    assert (outcome.status, outcome.charges_attempt) == (TaskStatus.READY, False)
    assert outcome.failure is None


def test_a_body_cannot_change_what_others_see(world):
    """The views of a run share their values, so what comes out of a context is a copy."""

    def spoil(context):
        context["list"].append("spoiled")
        context.get("deep")["x"] = "spoiled"
        context.to_dict()["list"].append("spoiled")

    seen = []
    workflows.define("w", ("a", spoil, {}), ("b", lambda c: seen.append(c.to_dict()), {}))
    world.enqueue("w", {"list": [], "deep": {}})
    world.drain()
    assert seen == [{"list": [], "deep": {}}]


def test_a_callback_hears_a_copy(job_of):
    heard = []

    def on_success(name, context):
        heard.append(context.to_dict())
        context["late"] = 1

    job = job_of(workflows.writes("x", 1), on_success=on_success)
    assert json.loads(outcome_of(job).changes) == [[["x"], 1]]
    assert heard == [{"x": 1}]


def test_a_returned_context_of_another_type_is_taken_as_one(job_of):
    class Special(Context):
        pass

    outcome = outcome_of(job_of(lambda context: Special({"x": 1}), {"i": 1}))
    assert sorted(json.loads(outcome.changes), key=str) == [[["i"]], [["x"], 1]]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("nul\x00", "nul␀"),
        ("\ud800", "\\ud800"),
        ("x" * 101, "x" * 84 + "\n[... cut here]"),
    ],
)
def test_text_is_made_storable(text, kept):
    found = storable(text, 100)
    assert found.startswith(kept[:80])
    assert len(found.encode()) <= 100
    assert "\x00" not in found
