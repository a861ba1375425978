"""The page of a run, as the server makes it."""

from __future__ import annotations

import json
import re

import pytest
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from tests.interface.admin import scenes

MOST_QUERIES = 12


def page_of(client, run):
    answer = client.get(reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_run_under_way_says_what_each_task_does_and_waits_for(operator):
    text = page_of(operator, scenes.busy_run())
    assert "6 of 9 tasks done" not in text
    assert "5 of 9 tasks done" in text
    words = re.findall(r'class="cloaca-count[^>]*>([^<]+)<', text)
    assert words == ["1 failed", "1 running", "4 completed", "1 scheduled", "2 pending"]
    assert "waits for dedupe" in text
    assert "attempt 2 of 3 starts in" in text
    assert "gateway did not answer in 3 s" in text
    assert "line 41, in charge_card" in text
    assert "posting to hooks, attempt 3" in text
    # How many there are of each status leads to the first of them, and it began a second late.
    assert 'href="#task-5">1 failed</a>' in text
    assert "(+1.0 s)" in text


def test_secrets_are_not_on_the_page(operator):
    text = page_of(operator, scenes.busy_run())
    assert "hunter2" not in text
    assert "api_token" in text
    assert "nested.password" in text


def test_who_may_not_see_contexts_sees_keys_and_sizes(viewer):
    text = page_of(viewer, scenes.busy_run())
    assert "orders" in text
    assert "10433" not in text
    assert "5 letters" in text
    assert "posting to hooks" not in text


@pytest.mark.parametrize("count", [3, 300])
def test_a_page_costs_the_same_for_few_and_many_tasks(
    operator, count, django_assert_max_num_queries
):
    run = scenes.big_run(count)
    with django_assert_max_num_queries(MOST_QUERIES):
        page_of(operator, run)


def test_a_graph_is_turned_and_what_is_finished_is_left_out(operator):
    run = scenes.busy_run()
    place = reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])
    wide, down = (
        operator.get(f"{place}?tasks=1&graph={one}").context["graph"] for one in ("right", "down")
    )
    assert float(down.wide.height) > float(wide.wide.height)
    assert float(down.wide.width) < float(wide.wide.width)
    assert [one.is_chosen for one in down.directions] == [False, True]
    assert down.directions[0].query == "?tasks=1&graph=right"
    assert down.finished.query == "?tasks=1&graph=down&finished=hide"
    answer = operator.get(f"{place}?finished=hide")
    left = {shape.name for shape in answer.context["graph"].wide.shapes}
    assert left == {"dedupe", "notify", "load_warehouse", "refresh_views", "report"}
    assert "hide what is finished" in answer.content.decode()
    done = scenes.run()
    scenes.task(done, "a")
    place = reverse("admin:cloaca_django_pipelineexecution_change", args=[done.pk])
    assert operator.get(place).context["graph"].finished is None
    assert "All tasks have ended." in operator.get(f"{place}?finished=hide").content.decode()


def test_a_long_graph_is_drawn_from_top_to_bottom_for_narrow_pages(operator):
    run = scenes.run(status=RunStatus.RUNNING)
    for at in range(7):
        after = [f"t{at - 1}"] if at else []
        scenes.task(run, f"t{at}", TaskStatus.PENDING, after=after)
    place = reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])
    graph = operator.get(place).context["graph"]
    assert float(graph.narrow.height) > float(graph.wide.height)
    assert operator.get(f"{place}?graph=right").context["graph"].narrow is None


def test_a_live_page_that_did_not_change_is_not_sent_again(operator):
    run = scenes.failed_run()
    url = reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])
    first = operator.get(url)
    live = {"X-Cloaca-Live": "1", "If-None-Match": first["ETag"]}
    assert operator.get(url, headers=live).status_code == 304
    run.tasks.filter(name="find_orders").update(attempt=2)
    assert operator.get(url, headers=live).status_code == 200


def test_a_run_says_that_its_worker_is_silent_or_was_lost_or_that_it_was_started_by_hand(operator):
    run = scenes.run(status=RunStatus.RUNNING, origin="admin")
    scenes.task(run, "a", TaskStatus.RUNNING, crashes=1)
    text = page_of(operator, run)
    for words in ("stalled: its worker", "recovered from a lost worker", "started by hand"):
        assert words in text
    assert "stalled" not in page_of(operator, scenes.busy_run())


def test_junk_and_deleted_ids_lead_to_the_list_with_a_message(operator):
    place = reverse("admin:cloaca_django_pipelineexecution_changelist")
    for junk in ("nonsense", "00000000-0000-4000-8000-000000000000", "%00", "_2F"):
        answer = operator.get(f"{place}{junk}/change/", follow=True)
        assert answer.redirect_chain[-1][0] == place
        assert "There is no run with the id" in answer.content.decode()


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"status": TaskStatus.READY}, "no worker is running; start one"),
        ({"status": TaskStatus.HELD}, "held; a worker lets it go in a moment"),
        ({"status": TaskStatus.PENDING}, "about to be decided"),
        ({"status": TaskStatus.SCHEDULED, "due_at": scenes.moment(-9000)}, "starts in 2 h"),
        ({"status": TaskStatus.CANCELLED, "reason": "by ana"}, "by ana"),
        ({"status": TaskStatus.COMPLETED, "claimed_at": None}, "taken over from the run"),
        ({"status": TaskStatus.RUNNING, "is_deferred": True}, "waits in defer_until"),
    ],
)
def test_why_a_task_waits(operator, facts, says):
    run = scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", **facts)
    assert says in page_of(operator, run)


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        ({"queues": "mail"}, "no live worker serves the queue “default”"),
        ({"workflows": "[]"}, "no live worker has the code of “customer_etl”"),
        ({"concurrency": 0}, "every slot is taken: 0 of 0"),
        ({}, "a worker takes it in a moment"),
    ],
)
def test_why_a_ready_task_waits_beside_live_workers(operator, worker, says):
    scenes.worker(**worker)
    run = scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", TaskStatus.READY)
    assert says in page_of(operator, run)


def test_a_paused_run_says_who_and_why(operator):
    run = scenes.run(
        status=RunStatus.PAUSED,
        paused_at=scenes.moment(60),
        paused_by="ana",
        pause_reason="the bank is closed",
    )
    scenes.task(run, "a", TaskStatus.HELD)
    text = page_of(operator, run)
    assert "the run is paused by ana: the bank is closed" in text


def test_a_run_whose_context_cannot_be_read_is_shown_all_the_same(operator):
    run = scenes.run(context="no json")
    scenes.task(run, "a")
    assert "cloaca-bad" in page_of(operator, run)


def test_nothing_that_code_or_people_wrote_becomes_markup(operator):
    nasty = scenes.NASTY
    run = scenes.run(
        nasty, RunStatus.FAILED, reason=nasty, created_by=nasty, error_message=nasty,
        pause_reason=nasty, paused_by=nasty, paused_at=scenes.moment(9),
        context=json.dumps({nasty: nasty}),
    )  # fmt: skip
    task = scenes.task(
        run, nasty, TaskStatus.FAILED, error_message=nasty, reason=nasty,
        writes=[scenes.Write((nasty, nasty), nasty)],
    )  # fmt: skip
    scenes.attempt(task, 1, message=nasty, kind=nasty, traceback=nasty, log=nasty)
    scenes.worker(hostname=nasty)
    pages = [
        page_of(operator, run),
        operator.get(reverse("admin:cloaca_django_pipelineexecution_changelist")).content.decode(),
        operator.get(
            reverse("admin:cloaca_django_pipelineexecution_task", args=[run.pk, task.pk])
        ).content.decode(),
        operator.get(
            reverse("admin:cloaca_django_pipelineexecution_rerun", args=[run.pk])
        ).content.decode(),
    ]
    for text in pages:
        assert "<script>document" not in text
        assert "<img src=x" not in text
        assert "49" not in text or "{{7*7}}" in text
        assert "&lt;script&gt;" in text


def test_the_page_of_a_task_has_every_attempt_with_its_log(operator, viewer):
    run = scenes.run(status=RunStatus.RUNNING)
    task = scenes.task(run, "a", TaskStatus.RUNNING, attempt=41, max_attempts=50)
    for number in range(1, 41):
        scenes.attempt(task, number, message=f"boom {number}", log=f"line of {number}")
    url = reverse("admin:cloaca_django_pipelineexecution_task", args=[run.pk, task.pk])
    text = operator.get(url).content.decode()
    assert text.count("Traceback</summary>") == 40
    assert "line of 17" in text
    assert "line of 17" not in viewer.get(url).content.decode()
    log = operator.get(f"{url}log/?attempt=17")
    assert (log["Content-Type"], log.content) == ("text/plain; charset=utf-8", b"line of 17")
    assert viewer.get(f"{url}log/?attempt=17").status_code == 403
    assert operator.get(f"{url}log/?attempt=99999999999999999999").status_code == 404
    other = scenes.run()
    foreign = reverse("admin:cloaca_django_pipelineexecution_task", args=[other.pk, task.pk])
    assert operator.get(foreign).status_code == 404


def test_the_context_comes_as_a_file_without_secrets_and_that_is_logged(operator, viewer):
    from django.contrib.admin.models import LogEntry

    run = scenes.busy_run()
    url = reverse("admin:cloaca_django_pipelineexecution_context", args=[run.pk])
    data = json.loads(operator.get(url).content)
    assert data["orders"] == 10433
    assert data["api_token"] == data["nested"]["password"] == "***"
    assert [entry.get_change_message() for entry in LogEntry.objects.all()] == [
        "Downloaded the context."
    ]
    assert viewer.get(url).status_code == 403


def test_a_megabyte_of_context_is_cut(operator):
    run = scenes.run(context=json.dumps({"text": "x" * 1_000_000, "list": list(range(20_000))}))
    scenes.task(run, "a")
    text = page_of(operator, run)
    assert len(text) < 200_000
    assert "1000002 letters" in text


@pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.COMPLETED, RunStatus.FAILED])
def test_a_run_without_any_task_row_says_so_and_has_all_its_pages(operator, boss, status):
    run = scenes.run(status=status, context=json.dumps({"limit": 500}))
    text = page_of(operator, run)
    assert "This run has no tasks" in text
    assert "limit" in text
    assert 'class="cloaca-timeline"' not in text
    assert ("It can only be cancelled" in text) == (status == RunStatus.PENDING)
    for name in ("cancel", "pause", "resume", "retry", "rerun", "context", "history"):
        place = reverse(f"admin:cloaca_django_pipelineexecution_{name}", args=[run.pk])
        assert boss.get(place).status_code == 200, name
    for name in ("retry", "rerun", "cancel"):
        place = reverse(f"admin:cloaca_django_pipelineexecution_{name}", args=[run.pk])
        assert boss.post(place, {"reason": "x"}, follow=True).status_code == 200, name
    assert (
        operator.get(reverse("admin:cloaca_django_pipelineexecution_changelist")).status_code == 200
    )
