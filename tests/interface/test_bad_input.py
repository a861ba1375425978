"""What callers say of runs and workflows by mistake: ids, options, an operator's words, names.

One line each, its error and the words that matter. Nothing is written for any of them, and no
driver's error comes through.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum

import pytest

from cloaca_django import Context, clock
from cloaca_django.core.states import RunStatus
from cloaca_django.errors import (
    InvalidIdentifier,
    InvalidIdentifierType,
    InvalidNameType,
    InvalidOption,
    InvalidOptionType,
    OptionOutOfRange,
    RunNotFound,
    UnknownOption,
    WorkflowNotFound,
)
from cloaca_django.models import PipelineExecution, WorkflowControl
from tests import workflows
from tests.interface.refusals import assert_all_refused

SURROGATE = "a\ud800"


@pytest.fixture
def site(make_runner):
    """A runner that starts no thread as long as nothing is executed."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


@pytest.fixture
def waiting(site):
    """A run that nobody will start."""
    return site.enqueue("w")


UUID_TEXT = "01234567-89ab-7cde-8f01-23456789abcd"
BAD_IDS = [
    ("", InvalidIdentifier, "Invalid run ID: ''; give the UUID as text"),
    ("not-a-uuid", InvalidIdentifier, "Invalid run ID: 'not-a-uuid'"),
    ("0" * 31, InvalidIdentifier, "give the UUID"),
    ("0" * 35, InvalidIdentifier, "give the UUID"),
    (f"{UUID_TEXT}\n", InvalidIdentifier, "\\n"),
    (f" {UUID_TEXT[1:]}", InvalidIdentifier, "give the UUID"),
    (f"{UUID_TEXT}' OR 1=1", InvalidIdentifier, "OR 1=1"),
    (f"{{{UUID_TEXT}}}", InvalidIdentifier, "give the UUID"),
    (f"urn:uuid:{UUID_TEXT}", InvalidIdentifier, "give the UUID"),
    (UUID_TEXT.replace("0", "_"), InvalidIdentifier, "give the UUID"),
    (UUID_TEXT.replace("1", "\u0661"), InvalidIdentifier, "give the UUID"),
    (UUID_TEXT.replace("a", "g"), InvalidIdentifier, "give the UUID"),
    ("-" * 4 + "0" * 32, InvalidIdentifier, "give the UUID"),
    ("x" * 10_000, InvalidIdentifier, "..."),
    ("\x00" * 32, InvalidIdentifier, "\\x00"),
    (SURROGATE, InvalidIdentifier, "\\ud800"),
    (None, InvalidIdentifierType, "Invalid run ID: None"),
    (123, InvalidIdentifierType, "Invalid run ID: 123"),
    (UUID_TEXT.encode(), InvalidIdentifierType, "Invalid run ID: b'"),
    ([UUID_TEXT], InvalidIdentifierType, "give the UUID"),
]
BY_ID = {
    "handle": lambda runner, id: runner.handle(id),
    "status_of": lambda runner, id: runner.status_of(id),
    "result_of": lambda runner, id: runner.result_of(id),
    "wait_for": lambda runner, id: runner.wait_for(id, timeout=0),
    "cancel": lambda runner, id: runner.cancel(id),
    "pause": lambda runner, id: runner.pause(id),
    "resume": lambda runner, id: runner.resume(id),
    "replay": lambda runner, id: runner.replay(id),
}


def test_a_bad_run_id(site):
    assert_all_refused(
        ((name, given), lambda ask=ask, given=given: ask(site, given), kind, words)
        for name, ask in BY_ID.items()
        for given, kind, words in BAD_IDS
    )


def test_a_run_id_that_nobody_has(site):
    nobody = uuid.uuid4()
    assert_all_refused(
        (
            (name, given),
            lambda ask=ask, given=given: ask(site, given),
            RunNotFound,
            f"There is no run {nobody}",
        )
        for name, ask in BY_ID.items()
        if name != "handle"
        for given in (nobody, str(nobody), str(nobody).upper(), nobody.hex)
    )


@pytest.mark.parametrize("spelling", [str, lambda id: id.hex.upper(), lambda id: id])
def test_a_run_id_in_any_spelling_of_it(site, waiting, spelling):
    id = spelling(waiting.id)
    assert site.handle(id) == waiting
    assert site.status_of(id) == RunStatus.PENDING
    assert site.result_of(id) is None
    with pytest.raises(TimeoutError):
        site.wait_for(id, timeout=0)


FAR = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
EARLY = datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))
START = "start_at must be an aware datetime of the years 1970 to 9997"
PRIORITY = "priority must be an integer from -32768 to 32767"
QUEUE = "queue must be 1 to 64 letters, digits, '.', '_' and '-'"
STORABLE = "must not contain NUL or surrogates"
BAD_OPTIONS = [
    ({"start_at": "2026-01-31T12:00:00Z"}, InvalidOptionType, START),
    ({"start_at": 1_700_000_000}, InvalidOptionType, f"{START}, such as timezone.now(), not 17"),
    ({"start_at": datetime(2026, 1, 31).date()}, InvalidOptionType, START),  # noqa: DTZ001
    ({"start_at": datetime(2026, 1, 31)}, InvalidOption, START),  # noqa: DTZ001
    ({"start_at": datetime.max.replace(tzinfo=UTC)}, InvalidOption, START),
    ({"start_at": datetime.min.replace(tzinfo=UTC)}, InvalidOption, START),
    ({"start_at": FAR}, InvalidOption, START),
    ({"start_at": EARLY}, InvalidOption, START),
    ({"priority": "high"}, InvalidOptionType, f"{PRIORITY}, not 'high'"),
    ({"priority": True}, InvalidOptionType, f"{PRIORITY}, not True"),
    ({"priority": 1.5}, InvalidOptionType, PRIORITY),
    ({"priority": None}, InvalidOptionType, PRIORITY),
    ({"priority": 32_768}, OptionOutOfRange, f"{PRIORITY}, not 32768"),
    ({"priority": -32_769}, OptionOutOfRange, PRIORITY),
    ({"priority": 10**30}, OptionOutOfRange, PRIORITY),
    ({"queue": ""}, InvalidOption, f"{QUEUE}, not ''"),
    ({"queue": "x" * 65}, InvalidOption, QUEUE),
    ({"queue": "two words"}, InvalidOption, QUEUE),
    ({"queue": "reports\n"}, InvalidOption, QUEUE),
    ({"queue": "a,b"}, InvalidOption, QUEUE),
    ({"queue": "naïve"}, InvalidOption, QUEUE),
    ({"queue": "\x00"}, InvalidOption, QUEUE),
    ({"queue": None}, InvalidOptionType, f"{QUEUE}, not None"),
    ({"queue": ["default"]}, InvalidOptionType, QUEUE),
    ({"idempotency_key": ""}, InvalidOption, "idempotency_key must have 1 to 255 characters"),
    ({"idempotency_key": "x" * 256}, InvalidOption, "must have 1 to 255 characters"),
    ({"idempotency_key": "a\x00b"}, InvalidOption, f"idempotency_key {STORABLE}"),
    ({"idempotency_key": SURROGATE}, InvalidOption, f"idempotency_key {STORABLE}"),
    ({"idempotency_key": 7}, InvalidOptionType, "idempotency_key must be a str, not 7"),
    ({"created_by": "x" * 256}, InvalidOption, "created_by must have at most 255 characters"),
    ({"created_by": "a\x00b"}, InvalidOption, f"created_by {STORABLE}"),
    ({"created_by": SURROGATE}, InvalidOption, f"created_by {STORABLE}"),
    ({"created_by": 7}, InvalidOptionType, "created_by must be a str, not 7"),
    ({"created_by": None}, InvalidOptionType, "created_by must be a str, not None"),
    ({"reason": "x" * 10_001}, InvalidOption, "reason must have at most 10000 characters"),
    ({"reason": "a\x00b"}, InvalidOption, f"reason {STORABLE}"),
    ({"reason": SURROGATE}, InvalidOption, f"reason {STORABLE}"),
    ({"reason": None}, InvalidOptionType, "reason must be a str, not None"),
]
WAYS = {
    "enqueue()": lambda runner, options: runner.enqueue("w", Context(), **options),
    "enqueue_many()": lambda runner, options: runner.enqueue_many("w", [Context()], **options),
}


def test_a_bad_option(site):
    assert_all_refused(
        (
            (way, options),
            lambda call=call, options=options: call(site, options),
            kind,
            f"{way}: {words}" if words.startswith(tuple(options)) else words,
        )
        for way, call in WAYS.items()
        for options, kind, words in BAD_OPTIONS
        if way == "enqueue()" or "idempotency_key" not in options
    )


# The last four are facts that the engine itself says of a run.
UNKNOWN = ["prioritty", "timeout_seconds", "origin", "parent_id", "parent_task_id", "schedule_id"]


def test_an_unknown_option(site):
    assert_all_refused(
        (name, lambda name=name: site.enqueue("w", **{name: None}), TypeError, name)
        for name in UNKNOWN
    )
    assert_all_refused(
        (
            name,
            lambda name=name: site.enqueue_many("w", [None], **{name: None}),
            UnknownOption,
            f"enqueue_many(): unexpected argument '{name}'",
        )
        for name in UNKNOWN
    )
    with pytest.raises(UnknownOption, match="did you mean 'priority'"):
        site.enqueue_many("w", [None], prioritty=1)
    with pytest.raises(TypeError, match="a key names one run"):
        site.enqueue_many("w", [None], idempotency_key="k")


class Urgency(IntEnum):
    HIGH = 10


GOOD_OPTIONS = [
    {"start_at": datetime(1970, 1, 1, tzinfo=UTC)},
    {"start_at": datetime(9997, 12, 31, tzinfo=UTC)},
    {"priority": 32_767},
    {"priority": -32_768},
    {"priority": Urgency.HIGH},
    {"queue": "Reports-2.eu_west"},
    {"idempotency_key": "ключ " + "x" * 250},
    {"created_by": "Ünïcödé 😀"},
    {"created_by": "x" * 255, "reason": "x" * 10_000},
    {"reason": "line\nline\ttab"},
]


def test_an_unusual_option_that_is_fine(site):
    for options in GOOD_OPTIONS:
        handle = site.enqueue("w", **options)
        run = PipelineExecution.objects.get(pk=handle.id)
        assert {name: getattr(run, name) for name in options} == options


TEXT_ACTS = {
    ("cancel()", "by"): lambda runner, run, text: runner.cancel(run.id, by=text),
    ("cancel()", "reason"): lambda runner, run, text: run.cancel(reason=text),
    ("pause()", "by"): lambda runner, run, text: runner.pause(run.id, by=text),
    ("pause()", "reason"): lambda runner, run, text: runner.pause(run.id, reason=text),
    ("resume()", "by"): lambda runner, run, text: runner.resume(run.id, by=text),
    ("pause_workflow()", "by"): lambda runner, run, text: runner.pause_workflow("w", by=text),
    ("pause_workflow()", "reason"): lambda runner, run, text: runner.pause_workflow(
        "w", reason=text
    ),
    ("resume_workflow()", "by"): lambda runner, run, text: runner.resume_workflow("w", by=text),
}
TEXT_LIMITS = {"by": 255, "reason": 10_000}


def test_a_bad_word_of_an_operator(site, waiting):
    assert_all_refused(
        (
            (call, name, text),
            lambda act=act, text=text: act(site, waiting, text),
            kind,
            f"{call}: {name} {words}",
        )
        for (call, name), act in TEXT_ACTS.items()
        for text, kind, words in (
            ("a\x00b", InvalidOption, STORABLE),
            (SURROGATE, InvalidOption, STORABLE),
            (
                "x" * (TEXT_LIMITS[name] + 1),
                InvalidOption,
                f"must have at most {TEXT_LIMITS[name]} characters",
            ),
            (7, InvalidOptionType, "must be a str, not 7"),
            (None, InvalidOptionType, "must be a str, not None"),
        )
    )
    assert waiting.status == RunStatus.PENDING
    assert not WorkflowControl.objects.paused().exists()


def test_the_longest_words_of_an_operator_are_kept(site, waiting):
    by, reason = "é" * 255, "é" * 10_000
    site.pause(waiting.id, by=by, reason=reason)
    run = PipelineExecution.objects.get()
    assert (run.paused_by, run.pause_reason) == (by, reason)
    site.cancel(waiting.id, by=by, reason=reason)
    assert waiting.result().error_message == f"Cancelled by {by}: {reason}"


def test_a_switch_that_is_none(site, waiting):
    waiting.cancel()
    assert_all_refused(
        (
            given,
            lambda given=given: site.replay(waiting.id, from_start=given),
            InvalidOptionType,
            "replay(): from_start must be a bool",
        )
        for given in ("no", "", 0, None)
    )


BAD_WORKFLOWS = [
    ("nope", WorkflowNotFound, "Workflow not found in registry: nope; import the module"),
    ("W", WorkflowNotFound, "Registered: w"),
    ("", WorkflowNotFound, "Workflow not found in registry: ''"),
    ("w\x00", WorkflowNotFound, "'w\\x00'"),
    ("w\n", WorkflowNotFound, "'w\\n'"),
    ("x" * 100_000, WorkflowNotFound, "..."),
    (SURROGATE, WorkflowNotFound, "'a\\ud800'"),
    (None, InvalidNameType, "workflow_name must be a str"),
    (b"w", InvalidNameType, "Invalid workflow name b'w'"),
    (7, InvalidNameType, "Invalid workflow name 7"),
    (["w"], InvalidNameType, "Invalid workflow name ['w']"),
]
BY_NAME = {
    "execute": lambda runner, name: runner.execute(name, Context()),
    "enqueue": lambda runner, name: runner.enqueue(name),
    "enqueue_many": lambda runner, name: runner.enqueue_many(name, [None]),
    "enqueue_many of none": lambda runner, name: runner.enqueue_many(name, []),
    "pause_workflow": lambda runner, name: runner.pause_workflow(name),
    "resume_workflow": lambda runner, name: runner.resume_workflow(name),
}


def test_a_bad_workflow_name(site):
    assert_all_refused(
        ((way, name), lambda call=call, name=name: call(site, name), kind, words)
        for way, call in BY_NAME.items()
        for name, kind, words in BAD_WORKFLOWS
    )


def test_a_workflow_whose_code_is_elsewhere_can_be_resumed(site):
    WorkflowControl.objects.create(name="elsewhere", paused_at=clock.utc_now())
    site.resume_workflow("elsewhere")
    assert not WorkflowControl.objects.paused().exists()
