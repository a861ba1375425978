"""``cloaca_worker`` in a site with tenants, as processes: ends, signals and deaths."""

from __future__ import annotations

import os
import signal

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.tenants.conftest import in_tenant
from tests.tenants.workers import enqueue, is_done, statuses, task_rows, workers_in
from tests.worksite.process import until

SHORT = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 1.0, "SWEEP_SECONDS": 0.2}


def gated(worksite, tenants):
    """Let one task of each tenant run; returns their processes."""
    for tenant in tenants:
        enqueue(tenant, "gated", folder=str(worksite.folder))
    return worksite.await_told("began", len(tenants))


def row_of(tenant):
    (row,) = task_rows(tenant)
    return row


def states(tenants):
    return [sorted(workers_in(tenant).values()) for tenant in tenants]


def test_a_burst_serves_every_tenant_but_the_excluded_and_ends(make_tenants, worksite):
    tenants = make_tenants(3)
    for tenant in tenants:
        enqueue(tenant, "quick")
    command = worksite.start("cloaca_worker", "--burst", "--exclude-schema", "t2")
    assert command.wait() == 0
    assert "; tenants: all but t2" in command.output
    assert "Stopped after 4 tasks" in command.output
    assert [is_done(tenant) for tenant in tenants] == [True, False, True]
    assert states(tenants) == [["Stopped"], [], ["Stopped"]]


def test_once_gives_every_tenant_its_turn_and_ends(make_tenants, worksite):
    tenants = make_tenants(3)
    for tenant in tenants:
        enqueue(tenant, "quick")
    command = worksite.start("cloaca_worker", "--once", "--schema", "t1", "--schema", "t3")
    assert command.wait() == 0
    assert "; tenants: t1, t3" in command.output
    done = [[row.status for row in task_rows(tenant)] for tenant in tenants]
    assert done == [["Completed", "Ready"], ["Ready", "Pending"], ["Completed", "Ready"]]


@pytest.mark.parametrize("option", ["--schema", "--exclude-schema"])
@pytest.mark.parametrize("name", ["public", "nobody", "t1; DROP SCHEMA t1", "é" * 40, ""])
def test_a_tenant_that_nobody_is_cannot_be_asked_for(make_tenants, option, name):
    (tenant,) = make_tenants(1)
    with pytest.raises(CommandError, match=option):
        call_command("cloaca_worker", option, name, "--burst")
    assert statuses(tenant) == {}


def test_a_first_signal_lets_the_tasks_of_all_tenants_finish(make_tenants, worksite):
    tenants = make_tenants(2)
    command = worksite.worker("--concurrency", "4")
    gated(worksite, tenants)
    command.signal(signal.SIGTERM)
    until(lambda: command.says("Finishing 2 tasks"))
    until(lambda: states(tenants) == [["Draining"]] * 2)
    worksite.open()
    assert command.wait() == 0
    assert all(map(is_done, tenants))
    assert states(tenants) == [["Stopped"], ["Stopped"]]
    assert "Stopped after 2 tasks" in command.output


def test_a_second_signal_hands_the_tasks_of_all_tenants_back(make_tenants, worksite):
    tenants = make_tenants(2)
    command = worksite.worker("--concurrency", "4")
    gated(worksite, tenants)
    command.signal(signal.SIGTERM)
    until(lambda: command.says("Finishing 2 tasks"))
    command.signal(signal.SIGTERM)
    assert command.wait() == 0
    assert [row_of(tenant).status for tenant in tenants] == ["Ready", "Ready"]
    assert [row_of(tenant).crashes for tenant in tenants] == [0, 0]
    assert states(tenants) == [["Stopped"], ["Stopped"]]


def test_the_tasks_of_a_killed_process_come_back_in_every_tenant(make_tenants, worksite):
    tenants = make_tenants(3)
    first = worksite.worker("--concurrency", "4", settings=SHORT)
    assert set(gated(worksite, tenants)) == {first.pid}
    second = worksite.worker("--concurrency", "4", settings=SHORT)
    os.kill(first.pid, signal.SIGKILL)
    assert worksite.await_told("began", 6)[3:] == [second.pid] * 3
    worksite.open()
    until(lambda: all(map(is_done, tenants)))
    for tenant in tenants:
        assert row_of(tenant).crashes == 1
        with in_tenant(tenant):
            assert sorted(workers_in(tenant).values()) == ["Alive", "Dead"]


def test_a_supervisor_takes_the_tasks_of_a_killed_process_back_at_once_in_every_tenant(
    make_tenants, worksite
):
    """Nobody beats for 20 s, so it has heard of each claim before there was one."""
    slow = {"HEARTBEAT_SECONDS": 20, "LEASE_SECONDS": 60, "SWEEP_SECONDS": 60}
    tenants = make_tenants(3)
    pair = worksite.worker("--processes", "2", "--concurrency", "3", settings=slow)
    began = gated(worksite, tenants)
    (killed,) = {began[0]}
    count = began.count(killed)
    os.kill(killed, signal.SIGKILL)
    again = worksite.await_told("began", 3 + count)[3:]
    assert killed not in again
    worksite.open()
    until(lambda: all(map(is_done, tenants)))
    assert sorted(row_of(tenant).crashes for tenant in tenants) == [0] * (3 - count) + [1] * count
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
