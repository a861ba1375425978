"""Every call of a runner with whatever people have at hand: what is refused writes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig
from cloaca_django.core import schedule_facts
from cloaca_django.models import CronSchedule, PipelineExecution, WorkflowControl
from tests import workflows
from tests.fuzz.hostile import letters, mixed, on_one_site, refused_without_a_trace, things
from tests.interface.schedules import NIGHTLY

KEPT = UUID(int=7)
UUID_TEXT = "01234567-89ab-7cde-8f01-23456789abcd"
ids = mixed([UUID_TEXT, "-", "{", "urn:uuid:", "\n", "' OR 1=1", "\x00", "0" * 32], most=3) | things
FACTS = sorted(schedule_facts._CHECKS)
BY_ID = (
    "handle", "status_of", "result_of", "wait_for", "cancel", "pause", "resume", "replay",
    "get_cron_schedule", "delete_cron_schedule", "get_cron_execution_history",
    "trigger_cron_schedule",
)  # fmt: skip
# These need a second argument, are tried by themselves, or wait for what nobody runs.
APART = (
    "execute", "aexecute", "aenqueue", "enqueue", "enqueue_many", "backfill", "shutdown",
    "update_cron_schedule", "set_cron_schedule_enabled", "register_cron_workflow",
    "register_workflow_instance", "list_cron_schedules", "get_cron_execution_stats",
    "pause_workflow", "resume_workflow", "with_config", "with_schema", "for_tenant",
)  # fmt: skip


@pytest.fixture
def site(make_runner):
    """A runner that starts no thread as long as nothing is executed."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


@pytest.fixture
def schedule(site):
    """The id of a schedule that ``tried`` leaves alone."""
    id = site.register_cron_workflow("w", NIGHTLY)
    CronSchedule.objects.filter(pk=id).update(id=KEPT)
    return str(KEPT)


def tried(call: Callable[[], Any]) -> None:
    """Call; whatever is made is removed again, so that the next one is as quick."""
    if not refused_without_a_trace(call):
        PipelineExecution.objects.all().delete()
        CronSchedule.objects.exclude(pk=KEPT).delete()
        WorkflowControl.objects.all().delete()


def test_every_call_of_a_runner_is_tried_here():
    public = [name for name in dir(DefaultRunner) if not name.startswith("_")]
    calls = [name for name in public if inspect.isroutine(getattr(DefaultRunner, name))]
    assert sorted(calls) == sorted((*BY_ID, *APART))


@on_one_site
@given(ids, st.sampled_from(BY_ID))
def test_any_id(site, thing, name):
    options = {"timeout": 0} if name == "wait_for" else {}
    tried(lambda: getattr(site, name)(thing, **options))


@on_one_site
@given(things, st.booleans())
def test_any_context(site, thing, is_known):
    contexts: list[Any] = [thing]
    if is_known:
        tried(lambda: contexts.append(Context({"a": thing})))
    given_one = contexts[-1]
    tried(lambda: site.enqueue("w", given_one))
    tried(lambda: site.enqueue_many("w", [Context(), given_one]))
    tried(lambda: site.enqueue_many("w", given_one))
    tried(lambda: site.register_workflow_instance("w", "i", NIGHTLY, "UTC", given_one))


@on_one_site
@given(
    st.sampled_from(["start_at", "priority", "queue", "idempotency_key", "created_by", "reason"]),
    letters | things,
)
def test_any_option_of_a_run(site, name, thing):
    tried(lambda: site.enqueue("w", **{name: thing}))
    if name != "idempotency_key":
        tried(lambda: site.enqueue_many("w", [Context()], **{name: thing}))


@on_one_site
@given(letters | things)
def test_any_workflow(site, thing):
    tried(lambda: site.enqueue(thing))
    tried(lambda: site.pause_workflow(thing))
    tried(lambda: site.resume_workflow(thing))
    tried(lambda: site.register_cron_workflow(thing, NIGHTLY))
    tried(lambda: site.register_workflow_instance(thing, "i", NIGHTLY, "UTC", Context()))
    tried(lambda: site.register_workflow_instance("w", thing, NIGHTLY, "UTC", Context()))


@on_one_site
@given(letters | things)
def test_any_words_of_an_operator(site, thing):
    tried(lambda: site.pause_workflow("w", by=thing))
    tried(lambda: site.pause_workflow("w", reason=thing))
    waiting = site.enqueue("w")
    tried(lambda: waiting.cancel(reason=thing))
    tried(lambda: site.shutdown(grace=thing if thing is not None else "never"))


@on_one_site
@given(st.sampled_from(FACTS), letters | things)
def test_any_fact_of_a_schedule(site, schedule, name, thing):
    facts = {"cron_expression": NIGHTLY, name: thing}
    tried(lambda: site.register_cron_workflow("w", **facts))
    tried(lambda: site.update_cron_schedule(schedule, **{name: thing}))
    site.update_cron_schedule(schedule, NIGHTLY, "UTC", context=None)


@on_one_site
@given(things, things)
def test_any_page_and_moment(site, schedule, first, second):
    tried(lambda: site.list_cron_schedules(first))
    tried(lambda: site.list_cron_schedules(limit=first, offset=second))
    tried(lambda: site.get_cron_execution_history(schedule, first, second))
    tried(lambda: site.get_cron_execution_stats(first))
    tried(lambda: site.backfill(schedule, first, second))
    tried(lambda: site.backfill(schedule, "2026-01-01", first))
    tried(lambda: site.set_cron_schedule_enabled(schedule, first, by=second))


@on_one_site
@given(letters | things, letters | things)
def test_any_runner(workflows_of_test, database_url, first, second):
    def open_and_close(make: Callable[[], DefaultRunner]) -> Callable[[], None]:
        return lambda: make().shutdown()

    if first is not None and not isinstance(first, str):
        tried(open_and_close(lambda: DefaultRunner(first)))
    tried(open_and_close(lambda: DefaultRunner(using=first)))
    if not isinstance(first, DefaultRunnerConfig | None):
        tried(open_and_close(lambda: DefaultRunner.with_config(database_url, first)))
    if not (isinstance(second, str) and second.isidentifier()):
        tried(open_and_close(lambda: DefaultRunner.with_schema(database_url, second)))
    tried(open_and_close(lambda: DefaultRunner.for_tenant(first)))
