"""What needs somebody: tags on runs, the filter of the list, the lines of the first page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cloaca_django.admin import attention, run_list
from cloaca_django.core.states import Origin, RunStatus, TaskStatus, WorkerState
from cloaca_django.dialect import history
from cloaca_django.models import PipelineExecution, WorkflowControl
from tests.interface.admin import scenes

LIST = "admin:cloaca_django_pipelineexecution_changelist"
DAY = 24 * 3600


def shown(client, query="?attention=yes"):
    answer = client.get(f"{reverse(LIST)}{query}")
    assert answer.status_code == 200
    return {row.workflow_name for row in answer.context["cl"].result_list}


def tags(client, run):
    """Return the tags of a run in the list, as words."""
    answer = client.get(f"{reverse(LIST)}?q={run.pk}")
    (row,) = answer.context["cl"].result_list
    return [str(tag.word) for tag in row.admin_facts.tags]


def begun(name, *, worker, **facts):
    run = scenes.run(name, RunStatus.RUNNING, **facts)
    scenes.task(run, "a", TaskStatus.RUNNING, worker_id=worker.pk)
    return run


def waiting(name, **facts):
    run = scenes.run(name, RunStatus.PENDING, **facts)
    scenes.task(run, "a", TaskStatus.READY)
    return run


def test_failed_runs_wait_for_somebody_until_they_are_repeated_or_old(operator):
    scenes.run("failed", RunStatus.FAILED)
    scenes.run("again", parent=scenes.run("repeated", RunStatus.FAILED))
    scenes.run("old", RunStatus.FAILED, age=8 * DAY)
    scenes.run("late in the end", RunStatus.FAILED, age=9 * DAY, took=8 * DAY)
    scenes.run("cancelled", RunStatus.CANCELLED)
    scenes.run("fine")
    assert shown(operator) == {"failed", "late in the end"}


def test_of_the_failures_of_a_bad_day_the_newest_are_shown(operator, monkeypatch):
    monkeypatch.setattr(attention, "MAX_FAILED", 2)
    for at in range(4):
        scenes.run(f"failed{at}", RunStatus.FAILED, age=900 - at)
    assert shown(operator) == {"failed2", "failed3"}


def test_runs_are_stalled_whose_worker_is_not_heard_of(operator):
    silent = scenes.worker(age=40)
    fine = begun("fine", worker=scenes.worker())
    draining = begun("draining", worker=scenes.worker(WorkerState.DRAINING))
    lapsed = begun("lapsed", worker=silent)
    dead = begun("dead", worker=scenes.worker(WorkerState.DEAD))
    assert shown(operator) == {"lapsed", "dead"}
    assert tags(operator, fine) == tags(operator, draining) == []
    assert tags(operator, lapsed) == tags(operator, dead) == ["stalled"]


def test_runs_are_late_that_nobody_took_a_minute_after_their_time(operator):
    late = waiting("late", age=120)
    fresh = waiting("fresh", age=5)
    started_later = waiting("started later", age=600, start_at=scenes.moment(5))
    due = waiting("due", age=600, start_at=scenes.moment(90))
    scenes.task(scenes.run("held", RunStatus.PENDING), "a", TaskStatus.HELD)
    WorkflowControl.objects.create(name="paused", paused_at=scenes.moment(500))
    waiting("paused", age=600)
    half = waiting("half way", age=600)
    scenes.task(half, "b", TaskStatus.COMPLETED)
    assert shown(operator) == {"late", "due"}
    assert tags(operator, late) == tags(operator, due) == ["late"]
    assert tags(operator, fresh) == tags(operator, started_later) == tags(operator, half) == []


def test_a_run_says_that_it_was_recovered_or_started_by_hand(operator):
    run = scenes.run(origin=Origin.ADMIN)
    scenes.task(run, "a", crashes=2)
    assert tags(operator, run) == ["recovered", "by hand"]
    text = operator.get(f"{reverse(LIST)}?q={run.pk}").content.decode()
    assert 'title="recovered from a lost worker"' in text


def test_what_needs_attention_can_be_narrowed_down(operator):
    scenes.run("a", RunStatus.FAILED)
    scenes.run("b", RunStatus.FAILED)
    waiting("c", age=120)
    assert shown(operator, "?attention=yes&workflow=b") == {"b"}
    assert shown(operator, f"?attention=yes&status={RunStatus.PENDING}") == {"c"}
    assert shown(operator, "?attention=nonsense") == {"a", "b", "c"}


def test_the_first_page_tells_what_is_stalled_and_late(operator):
    silent = scenes.worker(age=40)
    begun("stalled_one", worker=silent)
    waiting("late_one", age=120)
    for at in range(9):
        scenes.run(f"failed{at}", RunStatus.FAILED, age=1000 + at)
    text = operator.get(reverse("admin:app_list", args=["cloaca_django"])).content.decode()
    for words in (" Stalled", "its worker is not heard of", " Late", "no worker has taken it"):
        assert words in text, words
    assert "?attention=yes" in text
    assert "failed0" in text
    assert "failed8" not in text


def test_a_glance_counts_what_waits_and_what_was_lost(transactional_db):
    empty = history.glance("default", most=10)
    assert (empty.waiting, empty.waited_since, empty.stalled, empty.lost) == (0, None, 0, 0)
    assert (empty.counted_since, empty.paused) == (None, [])
    assert (empty.median, empty.has_runs) == (None, False)
    first = waiting("a", age=300)
    done = scenes.task(first, "before", TaskStatus.COMPLETED, start=100, took=20)
    waiting("b", age=60)
    lost = scenes.task(scenes.run(), "c", TaskStatus.FAILED)
    scenes.attempt(lost, 1, outcome="Lost")
    scenes.attempt(lost, 2)
    scenes.attempt(scenes.task(scenes.run(age=3 * DAY), "d"), 1, outcome="Lost")
    begun("e", worker=scenes.worker(age=40))
    for name in ("w", "v"):
        WorkflowControl.objects.create(
            name=name, paused_at=scenes.moment(1), paused_by="ana", pause_reason="why"
        )
    found = history.glance("default", most=10)
    assert (found.waiting, found.waited_since) == (2, done.finished_at)
    assert (found.stalled, found.lost, found.has_runs) == (1, 1, True)
    assert [(one.name, one.by, one.reason) for one in found.paused] == [
        ("v", "ana", "why"), ("w", "ana", "why"),
    ]  # fmt: skip
    assert found.paused[0].at == WorkflowControl.objects.get(name="v").paused_at
    assert history.glance("default", most=1).waiting == 1
    ended = PipelineExecution.objects.exclude(finished_at=None).order_by("-finished_at")
    assert history.glance("default", most=1).counted_since == ended[1].finished_at


def test_the_names_of_workflows_with_runs_are_found(transactional_db):
    assert history.workflow_names("default") == []
    for name in ("b", "a", "b", "ünïcode", "", "A"):
        scenes.run(name)
    assert set(history.workflow_names("default")) == {"", "A", "a", "b", "ünïcode"}
    assert len(history.workflow_names("default")) == 5


@pytest.mark.parametrize("query", ["?origin=retry", "?status=Completed&workflow=w", "?q=a"])
def test_looking_through_a_long_history_stops_and_may_be_continued(operator, monkeypatch, query):
    monkeypatch.setattr(run_list, "MAX_WALKED", 3)
    old = scenes.run("a", age=900, origin=Origin.RETRY)
    PipelineExecution.objects.filter(pk=old.pk).update(workflow_name="w")
    scenes.run("aa", age=890)
    for at in range(4):
        scenes.run("ab", RunStatus.FAILED, age=800 - at)
    answer = operator.get(f"{reverse(LIST)}{query}")
    found = answer.context["cl"]
    assert "The newest 3 runs were looked through." in answer.content.decode()
    assert "w" not in {row.workflow_name for row in found.result_list}
    assert len(found.result_list) <= 3
    names = []
    while found.further:
        found = operator.get(f"{reverse(LIST)}{found.further}").context["cl"]
        names += [row.workflow_name for row in found.result_list]
    assert ("w" in names) == (query != "?q=a")
    assert ("aa" in names) == (query == "?q=a")
