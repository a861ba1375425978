"""cloaca_prune, and the same as a worker does it beside its heartbeats."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest

from cloaca_django import Context, DefaultRunner, ids
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect import open_session
from cloaca_django.engine.retention import Keeper, Pruner
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    TaskLog,
)
from tests import workflows
from tests.interface.commands import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(transactional_db, workflows_of_test):
    workflows.chain("two", workflows.nothing, workflows.nothing)
    workflows.single("bad", workflows.boom, retry_attempts=1)
    with DefaultRunner(using="default") as runner:
        yield runner


@pytest.fixture
def session():
    opened = open_session("default")
    yield opened
    opened.close()


def aged(run_id: UUID | str, days: float) -> UUID:
    """Move a run into the past, its id too: ids carry the moment of the submission."""
    row = PipelineExecution.objects.get(pk=run_id)
    past = timedelta(days=days)
    created = row.created_at - past
    old = ids.run_id_at(int(created.timestamp() * 1000), UUID(str(run_id)).int)
    moments = {
        name: getattr(row, name) and getattr(row, name) - past
        for name in ("created_at", "started_at", "finished_at")
    }
    tasks = list(TaskExecution.objects.filter(run=row).values_list("pk", flat=True))
    PipelineExecution.objects.create(
        **{f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}
        | {"id": old, "idempotency_key": None}
        | moments
    )
    TaskExecution.objects.filter(pk__in=tasks).update(run=old)
    row.delete()
    return old


def ended(site: DefaultRunner, name: str = "two", *, days: float) -> UUID:
    return aged(site.execute(name, Context()).execution_id, days)


def left() -> set[UUID]:
    return set(PipelineExecution.objects.values_list("pk", flat=True))


def test_runs_that_ended_before_the_limit_go_with_all_their_rows(site):
    ended(site, days=100)
    failed = ended(site, "bad", days=100)
    TaskLog.objects.create(task=TaskExecution.objects.get(run=failed), attempt=1, text="x")
    assert TaskAttempt.objects.exists()
    young = ended(site, days=89)
    ran = run("cloaca_prune")
    assert ran.code == 0
    assert ran.out == "Deleted 2 runs with 3 tasks\n"
    assert left() == {young}
    assert TaskExecution.objects.count() == 2
    assert not TaskAttempt.objects.exists()
    assert not TaskLog.objects.exists()


def test_open_runs_stay_however_old(site):
    waiting = aged(site.enqueue("two").id, 1000)
    paused = site.enqueue("two")
    site.pause(paused.id)
    old = aged(paused.id, 1000)
    assert run("cloaca_prune", "--older-than", "0").out == "Deleted 0 runs with 0 tasks\n"
    assert left() == {waiting, old}


def test_older_than_overrides_the_setting(site):
    ended(site, days=3)
    run("cloaca_prune", "--older-than", "4")
    assert len(left()) == 1
    run("cloaca_prune", "--older-than", "2.5")
    assert left() == set()


def test_a_setting_of_none_needs_an_age(site, settings):
    settings.CLOACA = {"RETENTION_DAYS": None}
    ran = run("cloaca_prune")
    assert ran.code == 2
    assert "--older-than is needed" in ran.err


def test_only_runs_of_the_given_statuses_go(site):
    done, failed = ended(site, days=9), ended(site, "bad", days=9)
    cancelled = site.enqueue("two")
    cancelled.cancel()
    gone = aged(cancelled.id, 9)
    run("cloaca_prune", "--older-than", "1", "--status", "failed", "--status", "cancelled")
    assert left() == {done}
    assert failed not in left()
    assert gone not in left()


def test_a_dry_run_counts_and_deletes_nothing(site):
    ended(site, days=9)
    ended(site, days=9)
    ended(site, "bad", days=9)
    ran = run("cloaca_prune", "--older-than", "1", "--dry-run")
    assert ran.out == "Would delete 2 Completed, 1 Failed\n"
    assert len(left()) == 3
    assert run("cloaca_prune", "--dry-run").out == "Would delete nothing\n"


def test_batches_are_as_large_as_asked(site):
    for _ in range(5):
        ended(site, days=9)
    ran = run("cloaca_prune", "--older-than", "1", "--batch-size", "2", "--verbosity", "2")
    assert ran.out.splitlines() == [
        "... 2 runs", "... 4 runs", "... 5 runs", "Deleted 5 runs with 10 tasks",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["--older-than", "-1"],
        ["--older-than", "nan"],
        ["--older-than", "1e9"],
        ["--batch-size", "0"],
        ["--batch-size", "10001"],
        ["--status", "running"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_refused_and_nothing_goes(site, arguments):
    ended(site, days=1000)
    name, value = arguments
    ran = run("cloaca_prune", f"{name}={value}")
    assert ran.code in (1, 2)  # argparse's own refusals have no code when called from Python
    assert name in ran.err
    assert len(left()) == 1


def test_children_outlive_a_deleted_run_and_fires_go_with_it(site):
    parent = ended(site, days=9)
    again = site.replay(parent)
    at = PipelineExecution.objects.get(pk=parent).created_at
    schedule = CronSchedule.objects.create(
        workflow_name="two", cron_expression="* * * * *", created_at=at, updated_at=at
    )
    CronExecution.objects.create(schedule=schedule, run_id=parent, scheduled_time=at, claimed_at=at)
    run("cloaca_prune", "--older-than", "1")
    assert left() == {again.id}
    assert PipelineExecution.objects.get().parent_id is None
    assert not CronExecution.objects.exists()
    assert CronSchedule.objects.exists()


def test_a_child_run_is_found_by_its_age_as_well(site):
    """Its id is not random but made from its parent's, so it carries a moment too."""

    def body(context):
        site.execute("two", Context())

    workflows.single("parent", body)
    site.execute("parent", Context())
    child = PipelineExecution.objects.get(workflow_name="two")
    parent = PipelineExecution.objects.get(workflow_name="parent")
    assert child.pk.version == 7
    assert child.pk.int >> 80 == parent.pk.int >> 80


def test_the_newest_runs_are_never_looked_at(site, session):
    """Cost grows with what is old, not with what is kept: ids bound the walk."""
    ended(site, days=9)
    for _ in range(3):
        site.execute("two", Context())
    pruner = Pruner(days=1)
    assert pruner.step(session) is not None
    assert pruner.step(session) is None


def test_two_pruners_at_once_share_the_work(site, together):
    old = {ended(site, days=9) for _ in range(12)}
    counts = []
    lock = threading.Lock()

    def prune():
        opened = open_session("default")
        try:
            pruner = Pruner(days=1, batch_size=1)
            while (step := pruner.step(opened)) is not None:
                with lock:
                    counts.append(step.runs)
        finally:
            opened.close()

    assert together(prune, prune) == [None, None]
    assert sum(counts) == len(old)
    assert left() == set()


@pytest.mark.parametrize("statuses", [set(RunStatus), {RunStatus.RUNNING, RunStatus.PENDING}])
def test_a_pruner_never_takes_a_status_that_is_not_final(site, session, statuses):
    waiting = aged(site.enqueue("two").id, 100)
    pruner = Pruner(days=1, statuses=statuses)
    assert pruner.step(session) is None
    assert left() == {waiting}


# Beside the heartbeats


def test_a_worker_deletes_what_the_setting_says(site, session):
    ended(site, days=91)
    young = ended(site, days=89)
    assert Keeper().tend(session) == 1
    assert left() == {young}


def test_a_worker_keeps_everything_when_told_to(site, session, settings):
    settings.CLOACA = {"RETENTION_DAYS": None}
    ended(site, days=1000)
    assert Keeper().tend(session) == 0
    assert len(left()) == 1


def test_a_worker_begins_a_walk_once_an_hour(site, session, monkeypatch):
    from cloaca_django import clock

    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    keeper = Keeper()
    keeper.tend(session)
    ended_id = PipelineExecution.objects.create(
        id=ids.run_id_at(0, 1), workflow_name="two", workflow_version="1", status="Completed",
        created_at=session.clock() - timedelta(days=200),
        finished_at=session.clock() - timedelta(days=200),
    ).pk  # fmt: skip
    now[0] += 3599
    assert keeper.tend(session) == 0
    assert left() == {ended_id}
    now[0] += 2
    assert keeper.tend(session) == 1


def test_a_long_walk_is_spread_over_the_heartbeats(site, session, monkeypatch):
    from cloaca_django import clock
    from cloaca_django.engine import retention

    for _ in range(3):
        ended(site, days=100)
    ticks = iter(range(10_000))
    # Every look at the clock takes half the time that a heartbeat can spare.
    monkeypatch.setattr(clock, "monotonic", lambda: next(ticks) * retention.BEAT_SECONDS / 2)
    keeper = Keeper(batch_size=1)
    counts = [keeper.tend(session) for _ in range(6)]
    assert sum(counts) == 3
    assert max(counts) < 3


def test_a_running_worker_prunes(site, make_runner, settings):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.05, "LEASE_SECONDS": 5}
    ended(site, days=100)
    make_runner()
    deadline = threading.Event()
    for _ in range(200):
        if not left():
            break
        deadline.wait(0.05)
    assert left() == set()


def test_times_that_schedules_passed_over_go_too_and_are_told(site):
    schedule = CronSchedule.objects.get(pk=site.register_cron_workflow("two", "@daily"))
    moment = schedule.created_at - timedelta(days=100)
    for at in range(3):
        CronExecution.objects.create(
            schedule=schedule,
            scheduled_time=moment - timedelta(days=at),
            claimed_at=moment,
            reason="passed over",
        )
    ended(site, days=100)
    assert run("cloaca_prune", "--dry-run").out == (
        "Would delete 1 Completed, 3 fires without a run\n"
    )
    assert CronExecution.objects.count() == 3
    assert run("cloaca_prune", "--status", "failed").out == "Deleted 0 runs with 0 tasks\n"
    assert run("cloaca_prune", "--batch-size", "2").out == (
        "Deleted 1 run with 2 tasks, 3 fires without a run\n"
    )
    assert not CronExecution.objects.exists()
    assert run("cloaca_prune").out == "Deleted 0 runs with 0 tasks\n"
