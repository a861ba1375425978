"""What callers give to whole calls by mistake: contexts, lengths of time, a runner's database.

And what holds for every refusal: it is an error of ours, and the next call works.
"""

from __future__ import annotations

import math
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig, clock
from cloaca_django.core.states import RunStatus
from cloaca_django.errors import (
    CloacaError,
    ContextTooLarge,
    InvalidConfig,
    InvalidContextType,
    InvalidOption,
    InvalidOptionType,
    InvalidParams,
    OptionOutOfRange,
    UnknownChoice,
    UnreadableContext,
    WouldDeadlock,
)
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from tests import workflows
from tests.interface.conftest import until
from tests.interface.refusals import assert_all_refused

LATER = datetime(9000, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(make_runner):
    """A runner that starts no thread as long as nothing is executed."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


@pytest.fixture
def waiting(site):
    """A run that nobody will start."""
    return site.enqueue("w")


WHOLE = {
    "execute": lambda runner, given: runner.execute("w", given),
    "enqueue": lambda runner, given: runner.enqueue("w", given),
    "enqueue_many": lambda runner, given: runner.enqueue_many("w", [Context(), given]),
}


def test_a_context_that_is_none(site):
    kinds = [({"secret": 1}, "dict"), ([1], "list"), ("{}", "str"), (7, "int"), (b"{}", "bytes")]
    assert_all_refused(
        (
            (way, given),
            lambda call=call, given=given: call(site, given),
            InvalidContextType,
            f"context must be a Context, not {kind}; write Context({{...}})",
        )
        for way, call in WHOLE.items()
        for given, kind in kinds
    )
    with pytest.raises(InvalidContextType, match="not NoneType"):
        site.execute("w", None)


def test_a_context_that_is_too_large_or_does_not_fit(site, settings):
    settings.CLOACA = {"MAX_CONTEXT_BYTES": 1024}
    workflows.single("strict", builder={"params": {"count": int}})
    large = Context({"a": "é" * 512})
    assert_all_refused(
        (way, lambda call=call: call(site, large), ContextTooLarge, "1032 bytes, limit 1024; store")
        for way, call in WHOLE.items()
    )
    fitting = Context({"secret": "hunter2", "count": "many"})
    assert_all_refused(
        [
            ("enqueue", lambda: site.enqueue("strict"), InvalidParams, "count: is required"),
            ("execute", lambda: site.execute("strict", fitting), InvalidParams, "count: "),
        ]
    )
    assert site.enqueue("w", Context({"a": "é" * 508})).status == RunStatus.PENDING


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (User(username="hunter2"), "User is not JSON; use value.pk and load it again in the task"),
        (User.objects.all(), "is not JSON; use list(value.values())"),
        (gettext_lazy("hunter2"), "is not JSON; use str(value)"),
    ],
    ids=["model", "queryset", "lazy"],
)
def test_a_value_of_djangos_is_told_how_to_become_json(value, words):
    with pytest.raises(InvalidContextType) as caught:
        Context({"a": {"b": [value]}})
    assert "$.a.b[0]: unsupported type: " in str(caught.value)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "", '{"a": NaN}'])
def test_a_stored_context_edited_by_hand_fails_its_run_and_is_never_taken_for_empty(
    runner, site, text
):
    handle, other = site.enqueue("w", Context({"a": 1}), start_at=LATER), site.enqueue("w")
    PipelineExecution.objects.filter(pk=handle.id).update(context=text)
    TaskExecution.objects.filter(run_id=handle.id).update(due_at=clock.utc_now())
    until(lambda: handle.status == RunStatus.FAILED)
    assert other.wait(20).status == "Completed"
    with pytest.raises(UnreadableContext, match="stored context is not valid"):
        handle.result()
    assert TaskAttempt.objects.get().error_type.endswith("UnreadableContext")


def test_stored_changes_edited_by_hand_are_never_taken_for_none(runner, site):
    handle = site.enqueue("w")
    handle.wait(20)
    TaskExecution.objects.filter(run_id=handle.id).update(changes="[1]")
    with pytest.raises(UnreadableContext, match="stored changes of a task is not valid"):
        handle.result()


def test_many_contexts_that_are_no_list_of_contexts(site):
    kinds = [None, 7, Context({"a": 1}), Context(), "ab", "", b"", {"a": 1}, {}]
    assert_all_refused(
        (
            given,
            lambda given=given: site.enqueue_many("w", given),
            InvalidContextType,
            f"contexts must be a list of Contexts, not {type(given).__name__}",
        )
        for given in kinds
    )


BAD_SECONDS = [
    ("5", InvalidOptionType, "must be a number 0-31536000, not '5'"),
    (True, InvalidOptionType, "must be a number 0-31536000, not True"),
    (timedelta(seconds=5), InvalidOptionType, "must be a number"),
    (-1, OptionOutOfRange, "must be a number 0-31536000, not -1"),
    (-0.001, OptionOutOfRange, "must be a number"),
    (math.nan, OptionOutOfRange, "must be a number 0-31536000, not nan"),
    (math.inf, OptionOutOfRange, "must be a number 0-31536000, not inf"),
    (10**400, OptionOutOfRange, "..."),
]


def test_a_bad_wait(site, waiting):
    assert_all_refused(
        (given, lambda given=given: waiting.wait(given), kind, words)
        for given, kind, words in BAD_SECONDS
    )
    with pytest.raises(InvalidOption, match=r"wait\(\): timeout must be"):
        waiting.wait(-1)


def test_a_bad_grace_and_the_runner_goes_on(runner):
    workflows.single("w", workflows.writes("x", 1))
    before = set(threading.enumerate())
    for given, kind, words in BAD_SECONDS:
        with pytest.raises(kind) as caught:
            runner.shutdown(grace=given)
        assert type(caught.value) is kind, given
        assert words in str(caught.value)
        assert str(caught.value).startswith("shutdown(): grace must be"), given
    assert set(threading.enumerate()) == before
    assert runner.execute("w", Context()).status == "Completed"
    runner.shutdown(grace=0)
    with pytest.raises(InvalidOption):
        runner.shutdown(grace=-1)


CONTRADICTION = {"task_timeout_seconds": 600, "pipeline_timeout_seconds": 599}


def test_a_bad_constructor(database_url, workflows_of_test):
    config = DefaultRunnerConfig(**CONTRADICTION)
    before = set(threading.enumerate())
    assert_all_refused(
        [
            ("nope", lambda: DefaultRunner(using="nope"), UnknownChoice, "unknown using 'nope'"),
            ("nope", lambda: DefaultRunner(using="defalt"), UnknownChoice, "mean 'default'"),
            ("", lambda: DefaultRunner(using=""), UnknownChoice, "expected one of"),
            (7, lambda: DefaultRunner(using=7), InvalidOptionType, "using must be one of"),
            (7, lambda: DefaultRunner(7), TypeError, "a database URL is a str, not int"),
            (
                CONTRADICTION,
                lambda: DefaultRunner.with_config(database_url, config),
                InvalidConfig,
                "pipeline_timeout_seconds must be at least task_timeout_seconds, which is 600",
            ),
            (
                CONTRADICTION,
                lambda: DefaultRunner(using="default", config=config),
                InvalidConfig,
                "not 599",
            ),
        ]
    )
    assert set(threading.enumerate()) == before


def test_an_execute_that_would_wait_for_the_callers_own_commit(site, django_user_model):
    with transaction.atomic():
        assert_all_refused(
            (
                words,
                lambda: site.execute("w", Context({"a": 1})),
                WouldDeadlock,
                words,
            )
            for words in (
                "execute() inside an open transaction on the same database",
                "use enqueue()",
            )
        )
        # Nothing is broken: the same block may go on, and enqueue.
        django_user_model.objects.create(username="ann")
        handle = site.enqueue("w")
    assert django_user_model.objects.exists()
    assert handle.status == RunStatus.PENDING


def test_every_error_of_ours_is_a_cloaca_error_and_a_value_error(site):
    for call in (
        lambda: site.enqueue("nope"),
        lambda: site.enqueue(7),
        lambda: site.enqueue("w", {}),
        lambda: site.enqueue("w", priority=10**9),
        lambda: site.enqueue("w", queue=7),
        lambda: site.cancel("x"),
        lambda: site.cancel(7),
        lambda: site.cancel(uuid.uuid4()),
        lambda: site.shutdown(grace=-1),
    ):
        with pytest.raises(CloacaError) as caught:
            call()
        assert isinstance(caught.value, ValueError)


def test_a_refused_call_does_not_spoil_the_next(site, django_user_model):
    """Neither the runner nor the connection it uses is left in a state of its own."""
    for call in (
        lambda: site.enqueue("w", reason="\x00"),
        lambda: site.pause_workflow("w", by="\x00"),
        lambda: site.resume_workflow("\x00"),
        lambda: site.status_of("\x00"),
    ):
        with pytest.raises(CloacaError):
            call()
        assert not django_user_model.objects.exists()
    assert site.execute("w", Context()).status == "Completed"
