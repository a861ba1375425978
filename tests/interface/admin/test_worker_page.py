"""The page of workers, and a live worker that is asked to drain."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus, WorkerState
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker as LiveWorker
from cloaca_django.models import TaskExecution, Worker
from cloaca_django.runner import DefaultRunner
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import logged_in, person
from tests.interface.admin.test_run_page import MOST_QUERIES
from tests.interface.conftest import never, until


def url(name, *args):
    return reverse(f"admin:cloaca_django_worker_{name}", args=args)


def test_each_worker_says_how_it_is_and_what_it_runs(operator):
    run = scenes.busy_run()
    scenes.worker(WorkerState.DEAD, age=400, hostname="app-9")
    scenes.worker(age=20, hostname="app-2", version="9.9", lease_seconds=60)
    text = operator.get(url("changelist")).content.decode()
    for words in ("app-1:4711", "customer_etl/dedupe", "1/8", "Dead", "not the version"):
        assert words in text, words
    assert f"{run.pk}/change/#task-4" in text
    assert text.count("Drain…") == 2


@pytest.mark.parametrize("count", [1, 60])
def test_the_page_costs_the_same_for_few_and_many(operator, count, django_assert_max_num_queries):
    for at in range(count):
        owner = scenes.worker(pid=at)
        scenes.task(scenes.run(status=RunStatus.RUNNING), "a", TaskStatus.RUNNING,
                    worker_id=owner.pk)  # fmt: skip
    with django_assert_max_num_queries(MOST_QUERIES):
        operator.get(url("changelist"))


def test_only_who_may_drains(viewer, operator):
    owner = scenes.worker()
    assert "Drain…" not in viewer.get(url("changelist")).content.decode()
    assert viewer.get(url("drain", owner.pk)).status_code == 403
    assert viewer.post(url("drain", owner.pk)).status_code == 403
    assert operator.get(url("drain", owner.pk)).status_code == 200
    assert Worker.objects.get().state == WorkerState.ALIVE
    operator.post(url("drain", owner.pk), {"reason": "a new machine"})
    assert Worker.objects.get().state == WorkerState.DRAINING
    assert LogEntry.objects.get().get_change_message() == "Drained: a new machine"
    again = operator.post(url("drain", owner.pk), follow=True)
    assert "This worker is draining." in again.content.decode()


def test_a_worker_that_ended_is_forgotten_by_who_may(operator):
    keeper = logged_in(person("kim", "view_worker", "delete_worker"))
    dead, alive = scenes.worker(WorkerState.DEAD), scenes.worker()
    assert "Forget…" not in operator.get(url("changelist")).content.decode()
    assert operator.post(url("forget", dead.pk), {"reason": ""}).status_code == 403
    assert keeper.get(url("changelist")).content.decode().count("Forget…") == 1
    assert keeper.get(url("forget", dead.pk)).status_code == 200
    keeper.post(url("forget", dead.pk), {"reason": "the machine is gone"})
    refused = keeper.post(url("forget", alive.pk), {"reason": ""}, follow=True)
    assert "only those that ended are forgotten" in refused.content.decode()
    assert Worker.objects.get() == alive
    assert LogEntry.objects.get().get_change_message() == "Forgotten: the machine is gone"


def test_a_worker_whose_tasks_nobody_took_over_stays(boss):
    dead = scenes.worker(WorkerState.DEAD)
    scenes.task(scenes.run(status=RunStatus.RUNNING), "a", TaskStatus.RUNNING, worker_id=dead.pk)
    answer = boss.post(url("forget", dead.pk), {"reason": ""}, follow=True)
    assert "still the owner of tasks" in answer.content.decode()
    assert Worker.objects.exists()


def test_each_worker_says_what_it_did_and_what_it_is_for(operator):
    scenes.worker(kind="embedded", completed_count=1204, failed_count=31)
    scenes.worker(hostname="app-2")
    answer = operator.get(url("changelist"))
    rows = {str(row.worker): row for row in answer.context["rows"]}
    for words in (">1204<", ">31<"):
        assert words in answer.content.decode().replace(",", ""), words
    assert str(rows["app-1:4711"].role) == "only runs of its own"
    assert str(rows["app-2:4711"].role) == "tasks and schedules"


def test_workers_are_chosen_by_state_and_host(operator):
    scenes.worker()
    scenes.worker(hostname="app-2")
    scenes.worker(WorkerState.DEAD, hostname="app-2")

    def hosts(query):
        return sorted(
            (row.worker.hostname, row.worker.state)
            for row in operator.get(url("changelist") + query).context["rows"]
        )

    assert len(hosts("")) == 3
    assert hosts("?host=app-2") == [("app-2", "Alive"), ("app-2", "Dead")]
    assert hosts("?host=app-2&state=Dead") == [("app-2", "Dead")]
    assert hosts("?state=nonsense") == []
    text = operator.get(url("changelist") + "?host=app-2").content.decode()
    assert "?host=app-2&amp;state=Dead" in text
    assert "No worker matches." in operator.get(url("changelist") + "?host=x").content.decode()


def test_no_worker_at_all_shows_how_to_start_one(operator):
    text = operator.get(url("changelist")).content.decode()
    assert "No worker has run here lately" in text
    assert "python manage.py cloaca_worker" in text


def test_a_live_worker_obeys_at_its_next_heartbeat(
    operator, settings, workflows_of_test, gate, database_url
):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.1, "LEASE_SECONDS": 5}
    workflows.single("w", lambda context: gate.pass_through())
    live = LiveWorker(WorkerOptions(poll_seconds=0.05))
    live.start()
    try:
        with DefaultRunner(using="default") as runner:
            runner.enqueue("w")
            gate.await_arrival()
            operator.post(url("drain", live.claimer.worker), {"reason": ""})
            until(lambda: live.turn.is_draining)
            second = runner.enqueue("w")
            never(lambda: TaskExecution.objects.get(run=second.id).status != TaskStatus.READY, 0.5)
            gate.open()
            until(lambda: TaskExecution.objects.filter(status=TaskStatus.COMPLETED).count() == 1)
        assert Worker.objects.get(pk=live.claimer.worker).state == WorkerState.DRAINING
        # Its heartbeats say what it did.
        until(lambda: Worker.objects.get(pk=live.claimer.worker).completed_count == 1)
    finally:
        gate.open()
        live.stop(grace=5.0)
