"""Many schedulers and many schedules that are due in the same second."""

from __future__ import annotations

import threading
import time
from collections import Counter

from django.db.models import Count

from cloaca_django.core.states import RunStatus
from cloaca_django.engine import timetable
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.crash.account import NOTES
from tests.crash.schedule_scenarios import make
from tests.crash.world import ALIAS

SCHEDULERS = 8
SCHEDULES = 1000


def _many_due(site, count):
    """Schedules as they are made, but by one statement."""
    template = CronSchedule.objects.get(pk=make(site))
    timetable.delete(ALIAS, template.pk)
    CronSchedule.objects.bulk_create(
        CronSchedule(
            workflow_name="tick", cron_expression="0 * * * *", next_run_at=template.next_run_at,
            created_at=site.now, updated_at=site.now,
        )
        for _ in range(count)
    )  # fmt: skip
    site.advance(3600.0)


def test_eight_schedulers_fire_a_thousand_due_schedules_once_each(site, together):
    _many_due(site, SCHEDULES)
    workers = [site.worker(concurrency=50) for _ in range(SCHEDULERS)]
    fired_by: Counter[int] = Counter()
    noting = threading.Lock()

    def work(at, worker):
        def publish(effects):
            with noting:
                fired_by[at] += len(effects.submitted.states) if effects.submitted else 0

        worker.turn.publish = publish
        worker.work()

    begun = time.monotonic()
    found = together(*(lambda pair=pair: work(*pair) for pair in enumerate(workers)), timeout=240.0)
    assert found == [None] * SCHEDULERS
    site.drain()
    seconds = time.monotonic() - begun
    assert site.loop_errors == []
    assert CronExecution.objects.count() == SCHEDULES
    runs = PipelineExecution.objects.filter(status=RunStatus.COMPLETED)
    assert runs.count() == PipelineExecution.objects.count() == SCHEDULES
    twice = CronSchedule.objects.annotate(runs_made=Count("runs")).exclude(runs_made=1)
    assert not twice.exists()
    assert len(site.started) == SCHEDULES
    assert site.violations() == []
    NOTES["schedulers"] = (
        f"{SCHEDULES} schedules, {SCHEDULERS} schedulers, {seconds:.1f} s until all had run;"
        f" fired by each: {sorted(fired_by.values(), reverse=True)}"
    )
