"""Pages of the admin with whatever is sent to them: an answer, never a server error or a row."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.models import CronSchedule, WorkflowControl
from tests import workflows
from tests.fuzz.hostile import mixed, on_one_site
from tests.interface.admin import scenes
from tests.interface.refusals import counts

SECONDS = 2.0
PAGES = ("preview", "calendar", "inputs")
MODELS = ("pipelineexecution", "cronschedule", "workflowcontrol", "worker")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | mixed(
    [
        "0", "-1", "9" * 30, "%", "'", '"', "\x00", "\n", "../", "<script>", "{", "}", "[", "NaN",
        "yes", "open", "Failed", "a", "é", "\U0001f4a5", "1e999", "true", ",", "__", "x" * 3_000,
        "2026-01-31", "T25:00", "Europe/Berlin", "*/5 * * * *", "00000000-0000-0000-0000-",
    ],
    most=4,
)  # fmt: skip
filters = st.sampled_from(
    ["q", "p", "o", "e", "all", "status", "workflow", "origin", "finished", "attention", "before",
     "after", "state", "result", "zone", "_popup", "_to_field", "page", "hours", "day", "month"]
)  # fmt: skip
queries = st.dictionaries(filters | texts, texts, max_size=4)
fields = st.sampled_from(
    ["cron_expression", "timezone", "name", "context", "queue", "priority", "enabled", "once",
     "start_date_0", "start_date_1", "start_date", "end_date", "deadline_seconds", "catchup_policy",
     "overlap_policy", "workflow_name", "input-source", "start_at_0", "start_at", "reason",
     "revision", "ids", "action", "_selected_action", "select_across", "start", "end"]
)  # fmt: skip
contexts = mixed(
    ["{", "}", '"a"', ":", "1", ",", "[", "]", "NaN", '"\\ud800"', '"\\u0000"', "1" * 5_000, "null",
     "[" * 3_000, '{"a":1,"a":2}', "\x00", " "],
    most=8,
)  # fmt: skip


@pytest.fixture
def people(boss: Client, workflows_of_test: None) -> Client:
    """A superuser's client, on a site with one row of everything."""
    boss.raise_request_exception = True
    workflows.single("w", builder={"params": {"source": str, "count": (int, 1)}})
    scenes.failed_run()
    scenes.worker()
    WorkflowControl.objects.create(name="w")
    moment = scenes.moment(1)
    CronSchedule.objects.create(
        name="nightly", workflow_name="w", cron_expression="0 0 * * *", enabled=False,
        created_at=moment, updated_at=moment,
    )  # fmt: skip
    return boss


def answered(send: Any, place: str, data: Any) -> Any:
    """Send, and check the answer: no server error, no traceback, in a reasonable time."""
    begun = time.thread_time()
    answer = send(place, data)
    assert answer.status_code < 500, answer.content[:300]
    assert time.thread_time() - begun < SECONDS
    return answer


@on_one_site
@given(st.sampled_from(MODELS), queries)
def test_any_query_of_a_list(people, model, query):
    before = counts()
    answered(people.get, reverse(f"admin:cloaca_django_{model}_changelist"), query)
    assert counts() == before


@on_one_site
@given(st.sampled_from(PAGES), queries | st.dictionaries(fields, texts))
def test_any_question_of_a_page(people, page, query):
    before = counts()
    answered(people.get, reverse(f"admin:cloaca_django_cronschedule_{page}"), query)
    assert counts() == before


@on_one_site
@given(st.dictionaries(fields, texts | contexts, max_size=8))
def test_any_schedule(people, facts):
    place = reverse("admin:cloaca_django_cronschedule_add")
    before = counts()
    answer = answered(people.post, place, {"workflow_name": "w", **facts})
    # A page again is a form with its errors; a way on is a schedule.
    assert (counts() == before) is (answer.status_code != 302)
    row = CronSchedule.objects.get(name="nightly")
    there = reverse("admin:cloaca_django_cronschedule_change", args=[row.pk])
    answered(people.post, there, {"workflow_name": "w", **facts, "name": "nightly"})


@on_one_site
@given(st.dictionaries(fields, texts | contexts, max_size=6), contexts)
def test_any_run(people, facts, context):
    place = reverse("admin:cloaca_django_workflowcontrol_run", args=["w"])
    before = counts()
    sent = {"input-source": "x", "input-count": "1", "context": context, **facts}
    answer = answered(people.post, place, sent)
    assert (counts() == before) is (answer.status_code != 302)


@on_one_site
@given(st.sampled_from(["cancel", "retry", "pause", "resume"]), texts, texts)
def test_any_choice_of_many(people, act, ids, reason):
    place = reverse(f"admin:cloaca_django_pipelineexecution_bulk_{act}")
    before = counts()
    answered(people.post, place, {"ids": ids, "reason": reason, "once": ids})
    assert counts() == before


@on_one_site
@given(texts.filter(bool), st.sampled_from(MODELS))
def test_any_id(people, id, model):
    answered(people.get, reverse(f"admin:cloaca_django_{model}_change", args=[quote(id)]), {})


@on_one_site
@given(st.dictionaries(fields, texts, max_size=4))
def test_any_backfill(people, facts):
    row = CronSchedule.objects.get(name="nightly")
    place = reverse("admin:cloaca_django_cronschedule_backfill", args=[row.pk])
    before = counts()
    answered(people.get, place, facts)
    assert counts() == before
    answered(people.post, place, facts)
