"""``cloaca_worker --processes``: leases the supervisor keeps, deaths it sees, nothing it leaves."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest
from django.db import connection

from cloaca_django.core.states import TaskStatus, WorkerState
from cloaca_django.dialect import open_session
from cloaca_django.engine import operations
from cloaca_django.models import PipelineExecution, TaskExecution, Worker
from tests.worksite.process import status_of, task_of, until

pytestmark = pytest.mark.django_db(transaction=True)

SHORT = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 1.0, "SWEEP_SECONDS": 0.2}


def alive():
    return Worker.objects.filter(state=WorkerState.ALIVE)


@pytest.fixture
def pair(worksite):
    """A supervisor of two processes, both of them ready for work."""
    supervisor = worksite.worker("--processes", "2", "--concurrency", "2")
    until(lambda: alive().count() == 2, what="two workers")
    return supervisor


def holder(pair, run_id):
    """Return the process that runs a task, and the other one."""
    row = Worker.objects.get(pk=task_of(run_id).worker_id)
    (other,) = pair.children() - {row.pid}
    return row, other


def test_there_is_one_row_and_one_process_for_each_and_none_for_the_supervisor(pair):
    assert {row.pid for row in Worker.objects.all()} == pair.children()
    assert pair.pid not in pair.children()
    assert "tasks at once: 2 processes of 2" in pair.output
    assert pair.output.count("serves") == 1


def test_the_supervisor_renews_every_lease(pair):
    before = dict(alive().values_list("pk", "lease_until"))
    until(lambda: all(row.lease_until > before[row.pk] for row in alive()), what="new leases")


def await_heartbeat(worker):
    before = Worker.objects.get(pk=worker).lease_until
    until(lambda: Worker.objects.get(pk=worker).lease_until > before, what="a heartbeat")


def test_a_process_obeys_who_drains_it_and_the_other_takes_the_work(pair, worksite):
    drained = alive().first()
    with closing(open_session("default")) as session:
        assert operations.drain(session, drained.pk, by="ana")
        assert not operations.drain(session, drained.pk)
    # The order comes with the supervisor's next renewal.
    for _ in range(2):
        await_heartbeat(drained.pk)
    for _ in range(4):
        worksite.enqueue("gated")
    # Two slots, and both in the other process.
    assert drained.pid not in worksite.await_told("began", 2)
    ready = TaskExecution.objects.filter(status=TaskStatus.READY)
    assert ready.count() == 2
    worksite.open()
    assert drained.pid not in worksite.await_told("began", 4)
    assert Worker.objects.get(pk=drained.pk).state == WorkerState.DRAINING


def test_a_dead_processes_task_comes_back_at_once_and_is_charged_a_crash(pair, worksite):
    """The lease is a minute, so nothing but the supervisor can have found it so soon."""
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    row, other = holder(pair, run_id)
    os.kill(row.pid, signal.SIGKILL)
    second = worksite.await_told("began", 2)[1]
    assert second != row.pid
    row.refresh_from_db()
    assert row.state == WorkerState.DEAD
    until(lambda: alive().count() == 2, what="another process in its place")
    assert other in pair.children()
    assert row.pid not in pair.children()
    worksite.open()
    until(lambda: status_of(run_id) == "Completed")
    task = task_of(run_id)
    assert (task.attempt, task.crashes) == (1, 1)
    assert "was killed by signal 9; another one takes over" in pair.output


def test_a_dead_processes_neighbours_go_on(pair, worksite):
    ids = [worksite.enqueue("gated") for _ in range(4)]
    pids = worksite.await_told("began", 4)
    assert len(set(pids)) == 2
    os.kill(pids[0], signal.SIGKILL)
    worksite.await_told("began", 6)
    worksite.open()
    until(lambda: {status_of(run_id) for run_id in ids} == {"Completed"})
    assert sorted(task_of(run_id).crashes for run_id in ids) == [0, 0, 1, 1]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "_exit"])
def test_a_task_that_kills_its_process_fails_when_it_has_had_its_chances(worksite, how):
    supervisor = worksite.worker("--processes", "2", settings={"MAX_CRASHES": 2})
    run_id = worksite.enqueue("killer", how=how)
    until(lambda: status_of(run_id) == "Failed", what="the end of the run")
    assert len(worksite.told("began")) == 3
    assert "its worker was lost 3 times" in task_of(run_id).error_message
    until(lambda: len(supervisor.children()) == 2, what="two processes again")


def test_one_signal_lets_every_process_finish(pair, worksite):
    ids = [worksite.enqueue("gated") for _ in range(4)]
    worksite.await_told("began", 4)
    pair.signal(signal.SIGTERM)
    until(lambda: pair.says("Finishing, for 30 s at most"))
    later = worksite.enqueue("quick")
    worksite.open()
    assert pair.wait() == 0
    assert {status_of(run_id) for run_id in ids} == {"Completed"}
    assert status_of(later) == "Pending"
    assert sum(Worker.objects.values_list("completed_count", flat=True)) == len(ids)
    assert_all_gone(pair)


def test_two_signals_hand_back_what_every_process_runs(pair, worksite):
    ids = [worksite.enqueue("gated") for _ in range(4)]
    worksite.await_told("began", 4)
    pair.signal(signal.SIGTERM)
    until(lambda: pair.says("Finishing"))
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
    assert {(task_of(id).status, task_of(id).crashes) for id in ids} == {("Ready", 0)}
    assert_all_gone(pair)


def assert_all_gone(command):
    assert command.family() == set()
    assert {row.state for row in Worker.objects.all()} == {WorkerState.STOPPED}


def test_a_signal_to_the_whole_family_counts_once(pair, worksite):
    """A service manager signals every process of a group; that is no second signal."""
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    for pid in pair.family():
        os.kill(pid, signal.SIGTERM)
    until(lambda: alive().count() == 0, what="both to drain")
    worksite.open()
    assert pair.wait() == 0
    assert status_of(run_id) == "Completed"
    assert task_of(run_id).crashes == 0


def test_a_key_pressed_at_the_terminal_counts_once(worksite):
    supervisor = worksite.worker("--processes", "2", start_new_session=True)
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    os.killpg(supervisor.pid, signal.SIGINT)
    until(lambda: supervisor.says("Finishing"))
    worksite.open()
    assert supervisor.wait() == 0
    assert status_of(run_id) == "Completed"
    assert_all_gone(supervisor)


def test_when_the_supervisor_is_killed_its_processes_hand_back_and_end(pair, worksite):
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    pair.signal(signal.SIGKILL)
    until(lambda: pair.family() == set(), what="the end of every process")
    task = task_of(run_id)
    assert (task.status, task.crashes) == ("Ready", 0)
    assert {row.state for row in Worker.objects.all()} == {WorkerState.STOPPED}


def test_a_process_that_is_told_to_stop_finishes_and_is_replaced(pair, worksite):
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    row, _ = holder(pair, run_id)
    os.kill(row.pid, signal.SIGTERM)
    until(lambda: not alive().filter(pk=row.pk).exists(), what="it to drain")
    worksite.open()
    until(lambda: status_of(run_id) == "Completed")
    until(lambda: alive().count() == 2, what="another process in its place")
    assert row.pid not in pair.children()
    assert task_of(run_id).crashes == 0


def test_a_task_that_holds_the_interpreter_past_the_lease_keeps_its_claim(worksite):
    supervisor = worksite.worker("--processes", "2", settings=SHORT)
    run_id = worksite.enqueue("greedy", exponent=6_000_000)
    until(lambda: status_of(run_id) == "Completed", seconds=60)
    assert len(worksite.told("began")) == 1
    assert task_of(run_id).crashes == 0
    assert not Worker.objects.filter(state=WorkerState.DEAD).exists()
    assert "took back" not in supervisor.output


def test_a_process_that_cannot_end_its_overdue_task_is_killed(worksite):
    supervisor = worksite.worker(
        "--processes", "2", settings=SHORT | {"TASK_TIMEOUT_SECONDS": 1, "MAX_CRASHES": 0}
    )
    run_id = worksite.enqueue("greedy", exponent=90_000_000)
    until(lambda: status_of(run_id) == "Failed", seconds=60)
    assert "its worker was lost 1 times" in task_of(run_id).error_message
    assert "a task in it is out of time: it is killed" in supervisor.output


def test_each_process_is_replaced_after_its_share_of_tasks(worksite):
    supervisor = worksite.worker("--processes", "2", "--max-tasks", "2", "--concurrency", "1")
    ids = [worksite.enqueue("quick") for _ in range(4)]
    until(lambda: {status_of(run_id) for run_id in ids} == {"Completed"})
    shares = list(Worker.objects.values_list("pk", flat=True))
    assert len(shares) >= 4
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait() == 0
    assert_all_gone(supervisor)


def test_processes_end_with_the_burst(worksite):
    ids = [worksite.enqueue("quick") for _ in range(10)]
    supervisor = worksite.start("cloaca_worker", "--processes", "2", "--burst")
    assert supervisor.wait() == 0
    assert {status_of(run_id) for run_id in ids} == {"Completed"}
    assert_all_gone(supervisor)


def test_a_process_whose_row_was_given_up_registers_anew(pair, worksite):
    given_up = set(alive().values_list("pk", flat=True))
    Worker.objects.update(state=WorkerState.DEAD)
    until(lambda: alive().count() == 2, what="two new rows")
    assert not given_up & set(alive().values_list("pk", flat=True))
    ids = [worksite.enqueue("quick") for _ in range(4)]
    until(lambda: {status_of(run_id) for run_id in ids} == {"Completed"})
    assert {row.pid for row in alive()} == pair.children()


def test_a_claim_that_its_process_does_not_know_of_comes_back(pair, worksite):
    """Its reply was lost: the row says it runs there, and nobody runs it."""
    worker = alive().first()
    run_id = worksite.enqueue("quick")
    until(lambda: status_of(run_id) == "Completed")
    old = PipelineExecution.objects.get(pk=run_id).created_at.replace(year=2020)
    PipelineExecution.objects.filter(pk=run_id).update(status="Running", finished_at=None)
    TaskExecution.objects.filter(run=run_id, name="second").update(
        status="Running", finished_at=None, worker_id=worker.pk, claimed_at=old
    )
    until(lambda: status_of(run_id) == "Completed", what="the lost claim's second run")
    assert task_of(run_id, "second").crashes == 0


def test_a_process_that_cannot_start_is_tried_again_with_patience(worksite):
    supervisor = worksite.worker("--processes", "2", environment={"WORKSITE_BREAKS_CHILDREN": "1"})
    until(lambda: supervisor.output.count("ended with code 1; another one takes over") >= 4)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait() == 0
    assert supervisor.family() == set()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no connections to break")
def test_connections_that_break_are_made_anew(pair, worksite):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    before = dict(alive().values_list("pk", "lease_until"))
    assert len(before) == 2
    ids = [worksite.enqueue("quick") for _ in range(4)]
    until(lambda: {status_of(run_id) for run_id in ids} == {"Completed"})
    until(lambda: all(row.lease_until > before[row.pk] for row in alive()), what="new leases")
    assert set(alive().values_list("pk", flat=True)) == set(before)
