"""Signals on real worker processes: one lets tasks finish, two hand them back, nothing is lost."""

from __future__ import annotations

import os
import signal

import pytest

from cloaca_django.core.states import WorkerState
from cloaca_django.models import Worker
from tests.worksite.process import status_of, task_of, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_first_signal_lets_a_task_finish_and_claims_nothing_more(worksite, number):
    worker = worksite.worker()
    first = worksite.enqueue("gated")
    worksite.await_told("began")
    worker.signal(number)
    until(lambda: worker.says("Finishing 1 task, for 30 s at most; a second signal hands"))
    second = worksite.enqueue("quick")
    worksite.open()
    assert worker.wait() == 0
    assert worker.says("Stopped after 1 task\n")
    assert status_of(first) == "Completed"
    assert task_of(second, "first").status == "Ready"


def test_the_first_signal_starts_no_successor(worksite):
    worker = worksite.worker()
    run_id = worksite.enqueue("gated_chain")
    worksite.await_told("began")
    worker.signal(signal.SIGTERM)
    until(lambda: worker.says("Finishing"))
    worksite.open()
    assert worker.wait() == 0
    assert worksite.told("after") == []
    assert task_of(run_id, "after").status == "Ready"


def test_what_takes_longer_than_the_grace_is_handed_back_and_nobody_is_charged(worksite):
    worker = worksite.worker("--shutdown-timeout", "0.3")
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    task = task_of(run_id)
    assert (task.status, task.attempt, task.crashes) == ("Ready", 1, 0)
    assert (task.claim_token, task.worker_id) == (None, None)
    assert "1 handed back" in worker.output


def test_the_second_signal_hands_back_at_once(worksite):
    worker = worksite.worker("--shutdown-timeout", "600")
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    worker.signal(signal.SIGTERM)
    until(lambda: worker.says("Finishing"))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert task_of(run_id).status == "Ready"
    assert task_of(run_id).crashes == 0


def test_a_task_that_is_handed_back_is_told(worksite):
    worker = worksite.worker("--shutdown-timeout", "0")
    worksite.enqueue("gated_handle")
    worksite.await_told("began")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worksite.told("ended") == []


def test_another_worker_takes_up_at_once_what_was_handed_back(worksite):
    worker = worksite.worker("--shutdown-timeout", "0")
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    other = worksite.worker()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worksite.await_told("began", 2)[1] == other.pid
    worksite.open()
    until(lambda: status_of(run_id) == "Completed")


def test_a_pool_that_a_body_left_behind_does_not_keep_the_process(worksite):
    worker = worksite.worker("--shutdown-timeout", "0")
    run_id = worksite.enqueue("pooled")
    worksite.await_told("began")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.says("1 handed back")
    assert task_of(run_id).status == "Ready"


def test_an_idle_worker_stops_at_the_first_signal_and_says_so_in_its_row(worksite):
    worker = worksite.worker()
    until(lambda: Worker.objects.filter(state=WorkerState.ALIVE).exists())
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert [row.state for row in Worker.objects.all()] == [WorkerState.STOPPED]


def test_a_burst_of_signals_ends_cleanly(worksite):
    """The system may deliver it as one signal, so the grace is short."""
    worker = worksite.worker("--shutdown-timeout", "1")
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    for _ in range(20):
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert task_of(run_id).status == "Ready"


def test_a_killed_workers_task_comes_back_when_its_lease_lapses(worksite):
    short = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 1.0, "SWEEP_SECONDS": 0.2}
    worker = worksite.worker(settings=short)
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    other = worksite.worker(settings=short)
    worker.signal(signal.SIGKILL)
    assert worksite.await_told("began", 2)[1] == other.pid
    worksite.open()
    until(lambda: status_of(run_id) == "Completed")
    task = task_of(run_id)
    assert (task.attempt, task.crashes) == (1, 1)
    assert task.attempts.get().outcome == "Lost"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_wait_of_cloaca_run_and_hands_back_what_it_ran(worksite, number):
    command = worksite.start(
        "cloaca_run", "gated", "--wait", "--context", f'{{"folder": "{worksite.folder}"}}'
    )
    worksite.await_told("began")
    command.signal(number)
    assert command.wait() == 130
    assert "is not waited for any longer; it goes on" in command.output
    assert task_of(run_id_in(command.output)).status == "Ready"


def run_id_in(output):
    return output.split()[1]


def test_a_worker_whose_row_was_given_up_registers_anew_and_goes_on(worksite):
    worker = worksite.worker()
    until(lambda: Worker.objects.filter(state=WorkerState.ALIVE).exists())
    Worker.objects.update(state=WorkerState.DEAD)
    until(lambda: Worker.objects.filter(state=WorkerState.ALIVE).exists())
    run_id = worksite.enqueue("quick")
    until(lambda: status_of(run_id) == "Completed")
    assert {row.pid for row in Worker.objects.all()} == {worker.pid}
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0
