"""Real workers killed with SIGKILL at random, while schedules are due five times a second.

Five seconds of it in every run of the tests; ``CLOACA_KILL_SECONDS`` asks for more.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from datetime import timedelta

import pytest

from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.context import decode
from cloaca_django.core.states import RUN_FINAL, RunStatus
from cloaca_django.engine import timetable
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.crash.account import NOTES
from tests.crash.dense import walk
from tests.crash.fires import times_of
from tests.crash.world import ALIAS
from tests.worksite.process import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECONDS = float(os.environ.get("CLOACA_KILL_SECONDS", "5"))
WORKERS = 3
SCHEDULES = 3
SETTINGS = {
    "HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 2.0, "SWEEP_SECONDS": 0.4, "MAX_CRASHES": 1000,
    "CRON_MAX_CATCHUP_EXECUTIONS": 1_000, "CRON_POLL_INTERVAL_SECONDS": 1,
}  # fmt: skip
ENVIRONMENT = {"WORKSITE_APPS": "tests.crash.dense"}

with registry.isolated():
    from tests.crash.dense import workflows  # noqa: F401

    WORKFLOWS = list(registry.snapshot().values())


def _schedules():
    """Schedules whose first time is near."""
    first = walk.next_fires(None, clock.utc_now() + timedelta(seconds=1))[0]
    with registry.isolated():
        for workflow in WORKFLOWS:
            registry.register(workflow)
        made = [
            timetable.register(ALIAS, "dense", {"cron_expression": "* * * * *"}).pk
            for _ in range(SCHEDULES)
        ]
    CronSchedule.objects.update(next_run_at=first)
    return made, first


class _Pack:
    """Workers, of which some are always being killed and replaced."""

    def __init__(self, site):
        self.site = site
        self.deaths: Counter[str] = Counter()
        self.workers = [self._start() for _ in range(WORKERS)]

    def _start(self):
        return self.site.start("cloaca_worker", settings=SETTINGS, environment=ENVIRONMENT)

    def replace(self, *, kill):
        """Kill one, perhaps, and start anew whoever is dead."""
        if kill:
            victim = random.choice(self.workers)
            if victim.process.poll() is None:
                victim.signal(signal.SIGKILL)
                self.deaths["from outside"] += 1
                victim.wait()
                victim.was_killed = True
        for at, worker in enumerate(self.workers):
            if (code := worker.process.poll()) is not None:
                assert code == -signal.SIGKILL, worker.output
                self.deaths["while firing"] += not getattr(worker, "was_killed", False)
                self.workers[at] = self._start()


def test_no_time_is_lost_or_doubled_though_workers_are_killed_at_random(worksite):
    schedules, first = _schedules()
    pack, pauses = _Pack(worksite), threading.Event()
    until(PipelineExecution.objects.exists, what="the first run")
    end = clock.monotonic() + SECONDS
    while clock.monotonic() < end:
        pauses.wait(random.uniform(0.2, 1.0))
        pack.replace(kill=True)
    stopped = clock.utc_now()

    def is_caught_up():
        pack.replace(kill=False)
        return not CronSchedule.objects.filter(next_run_at__lte=stopped).exists()

    until(is_caught_up, seconds=60, what="the times until now")
    CronSchedule.objects.update(enabled=False)

    def is_drained():
        pack.replace(kill=False)
        return not PipelineExecution.objects.exclude(status__in=sorted(RUN_FINAL)).exists()

    until(is_drained, seconds=60, what="the end of every run")
    for schedule in schedules:
        assert times_of(schedule) == _expected(schedule, first)
    _check_runs()
    NOTES["schedules under kill -9"] = (
        f"{sum(pack.deaths.values())} kills ({dict(pack.deaths)}) in {SECONDS:g} s,"
        f" {CronExecution.objects.count()} times of {SCHEDULES} schedules, none lost, none twice"
    )


def _expected(schedule, first):
    """Every fifth of a second from the first time until the next one."""
    moment, found = first, []
    end = CronSchedule.objects.get(pk=schedule).next_run_at
    while moment < end:
        found.append(moment)
        moment += timedelta(milliseconds=200)
    return found


def _check_runs():
    """Each fire has a run of its own that ran for its time, and there is no other run."""
    fires = {fire.run_id: fire for fire in CronExecution.objects.all()}
    runs = {run.pk: run for run in PipelineExecution.objects.all()}
    assert len(fires) == CronExecution.objects.count()
    assert set(fires) == set(runs)
    assert {run.status for run in runs.values()} == {RunStatus.COMPLETED}
    for id, run in runs.items():
        assert decode(run.context)["scheduled_time"] == fires[id].scheduled_time.isoformat()
