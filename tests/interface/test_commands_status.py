"""cloaca_status and cloaca_health: what they see, and what they say about it."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.db.migrations.recorder import MigrationRecorder

from cloaca_django import Context, DefaultRunner, databases
from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import site_session
from cloaca_django.models import CronSchedule, PipelineExecution, TaskExecution
from tests import workflows
from tests.interface.commands import a_worker, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(transactional_db, workflows_of_test):
    """The site's runner: it writes runs and runs none of them."""
    workflows.chain("two", workflows.nothing, workflows.nothing)
    workflows.single("one")
    with DefaultRunner(using="default") as runner:
        yield runner


def older(run_id: UUID, seconds: float) -> None:
    """Let a run have been submitted earlier."""
    runs = PipelineExecution.objects.filter(pk=run_id)
    runs.update(created_at=runs.get().created_at - timedelta(seconds=seconds))


def test_status_of_an_empty_database_names_the_command_that_starts_a_worker(transactional_db):
    ran = run("cloaca_status")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "Runs     none",
        "Tasks    none",
        "Workers  none is alive; start one: manage.py cloaca_worker",
    ]


def test_status_counts_runs_and_tasks_by_state(site):
    site.enqueue("two")
    site.execute("one", Context())
    ran = run("cloaca_status")
    assert "Runs     1 Pending, 1 Completed" in ran.out
    assert "Tasks    1 Pending, 1 Ready, 1 Completed" in ran.out


def test_status_calls_a_run_running_once_a_task_was_claimed(site):
    run_id = site.enqueue("two").id
    tasks = TaskExecution.objects.filter(run=run_id, name="a")
    tasks.update(claimed_at=PipelineExecution.objects.get().created_at)
    assert run("cloaca_status", "--format", "json").data["runs"]["Running"] == 1


def test_status_lists_workers_with_the_age_of_their_heartbeat(transactional_db):
    a_worker(heard=7, queues=["default", "mail"])
    a_worker(heard=700, state=WorkerState.DEAD)
    lines = run("cloaca_status").out.splitlines()
    assert lines[2] == "Workers  1"
    assert lines[3].startswith("  host:1  worker, alive, 0 of 4 slots busy, heard of 7.")
    assert lines[3].endswith(" ago, queues default, mail")


def test_status_names_ready_tasks_that_no_live_worker_has_code_for(site):
    a_worker(workflows=["one"])
    site.enqueue("one")
    older(site.enqueue("two").id, 90)
    ran = run("cloaca_status")
    assert "Ready    2 ready tasks, the first since 90 s" in ran.out
    assert "Stuck    1 ready task of 'two' in queue 'default', since 90 s" in ran.out
    assert "'one'" not in ran.out


@pytest.mark.parametrize(
    "facts",
    [
        {"workflows": ["two"]},
        {"workflows": ["one"], "queues": ["mail"]},
        {"workflows": ["one"], "heard": 60},
        {"workflows": ["one"], "state": WorkerState.DRAINING},
        {"workflows": ["one"], "state": WorkerState.STOPPED},
        {"workflows": ["one"], "kind": WorkerKind.EMBEDDED},
    ],
    ids=["other code", "other queue", "lapsed", "draining", "stopped", "embedded"],
)
def test_a_worker_that_would_not_claim_a_task_does_not_serve_it(site, facts):
    a_worker(**facts)
    site.enqueue("one")
    assert [lane["workflow"] for lane in stuck()] == ["one"]


@pytest.mark.parametrize("kind", [WorkerKind.WORKER, WorkerKind.RUNNER])
def test_a_live_worker_with_the_code_serves_a_task(site, kind):
    a_worker(workflows=["one"], kind=kind)
    site.enqueue("one")
    assert stuck() == []


def test_tasks_of_a_paused_workflow_are_not_stuck(site):
    site.enqueue("one")
    site.pause_workflow("one")
    ran = run("cloaca_status")
    assert "Stuck" not in ran.out
    assert "Paused   one" in ran.out


def stuck():
    return run("cloaca_status", "--format", "json").data["stuck"]


def test_status_as_json_has_every_state_and_every_worker(site):
    worker = a_worker(workflows=["one"])
    site.enqueue("two")
    data = run("cloaca_status", "--format", "json").data
    assert data["runs"] == {
        "Pending": 1, "Running": 0, "Paused": 0, "Completed": 0, "Failed": 0, "Cancelled": 0,
    }  # fmt: skip
    assert data["tasks"]["Ready"] == 1
    assert [(w["id"], w["is_claiming"]) for w in data["workers"]] == [(str(worker.id), True)]
    assert data["oldest_ready_seconds"] >= 0
    assert data["ready"][0]["workflow"] == "two"


def test_the_age_of_a_ready_task_counts_from_the_end_of_its_dependencies(site):
    run_id = site.enqueue("two").id
    older(run_id, 500)
    created = PipelineExecution.objects.get().created_at
    first = TaskExecution.objects.filter(run=run_id, name="a")
    first.update(status="Completed", finished_at=created + timedelta(seconds=400))
    TaskExecution.objects.filter(run=run_id, name="b").update(status="Ready")
    age = run("cloaca_status", "--format", "json").data["oldest_ready_seconds"]
    assert 99 < age < 110


def test_the_age_of_a_delayed_run_counts_from_its_start(site):
    run_id = site.enqueue("one").id
    older(run_id, 500)
    created = PipelineExecution.objects.get().created_at
    PipelineExecution.objects.update(start_at=created + timedelta(seconds=490))
    assert run("cloaca_status", "--format", "json").data["oldest_ready_seconds"] < 20


def test_status_asks_as_often_for_many_lanes_as_for_one(site, django_assert_num_queries):
    from tests.interface.commands import queries_of

    site.enqueue("one")
    _, few = queries_of("cloaca_status")
    for at in range(5):
        workflows.single(f"more{at}")
        site.enqueue(f"more{at}")
        a_worker(workflows=[f"more{at}"])
    _, many = queries_of("cloaca_status")
    assert len(many) == len(few)


@pytest.fixture
def nightly(site):
    """A schedule of ``one``."""
    id = site.register_cron_workflow("one", "30 2 * * *", "Europe/Berlin", name="nightly")
    return CronSchedule.objects.filter(pk=id)


def due(schedules, seconds: float) -> None:
    """Let schedules be due since some seconds, or in some when it is negative."""
    at = site_session("default").clock() - timedelta(seconds=seconds)
    schedules.update(next_run_at=at)


def park(schedules, error: str) -> None:
    schedules.update(parked_at=site_session("default").clock(), error_message=error)


def cron_lines() -> list[str]:
    return run("cloaca_status").out.splitlines()[3:]


def test_status_says_how_many_schedules_there_are_and_which_runs_next(site, nightly):
    site.register_cron_workflow("one", "0 0 29 2 *", enabled=False)
    due(nightly, -7200.5)
    assert cron_lines() == ["Cron     1 schedule enabled, 1 disabled; next 'nightly' in 2.0 h"]


def test_status_says_when_no_schedule_will_run(nightly):
    nightly.update(next_run_at=None)
    assert cron_lines() == ["Cron     1 schedule enabled, 0 disabled; none is to run"]


def test_status_names_a_schedule_that_no_worker_fires(nightly):
    due(nightly, 30)
    assert cron_lines() == ["Cron     1 schedule enabled, 0 disabled; next 'nightly' now"]
    due(nightly, 600)
    assert cron_lines()[1:] == ["Late     'nightly' since 10 min: no worker fires it"]


def test_status_names_parked_schedules_with_their_error(site, nightly):
    park(nightly, "the zone is gone")
    assert cron_lines()[1:] == ["Parked   'nightly': the zone is gone"]
    for at in range(25):
        site.register_cron_workflow("one", "0 2 * * *", name=f"more{at}")
    park(CronSchedule.objects.all(), "x")
    assert cron_lines()[-1] == "         and 6 more"


def test_status_as_json_has_the_schedules(nightly):
    due(nightly, 600)
    data = run("cloaca_status", "--format", "json").data["schedules"]
    assert (data["enabled"], data["disabled"], data["parked"]) == (1, 0, 0)
    assert data["next_name"] == "nightly"
    assert 599 < data["late_seconds"] < 660


def test_health_fails_when_a_schedule_is_late(nightly):
    due(nightly, 60)
    assert run("cloaca_health", "--probe", "schedules").code == 0
    ran = run("cloaca_health", "--probe", "schedules", "--max-late", "30")
    assert ran.code == 1
    assert re.search("FAILED  schedules: 'nightly' should have run 6. s ago", ran.out)


def test_health_fails_when_a_schedule_is_parked(nightly):
    park(nightly, "the zone is gone")
    ran = run("cloaca_health", "--probe", "schedules")
    assert ran.code == 1
    assert "1 schedule parked, first 'nightly': the zone is gone" in ran.out


def test_health_does_not_miss_schedules_that_somebody_disabled(nightly):
    due(nightly, 6000)
    nightly.update(enabled=False)
    assert run("cloaca_health", "--probe", "schedules").code == 0


def test_health_is_good_when_a_worker_is_alive_and_nothing_waits(transactional_db):
    a_worker()
    ran = run("cloaca_health")
    assert ran.code == 0
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["ok", "database:"],
        ["ok", "migrations:"],
        ["ok", "worker:"],
        ["ok", "backlog:"],
        ["ok", "schedules:"],
    ]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (None, "no live worker; start one: manage.py cloaca_worker"),
        ({"heard": 31}, "no live worker"),
        ({"state": WorkerState.DRAINING}, "the only workers are draining"),
        ({"kind": WorkerKind.EMBEDDED}, "no live worker"),
    ],
)
def test_health_fails_without_a_worker_that_claims(transactional_db, facts, says):
    if facts is not None:
        a_worker(**facts)
    ran = run("cloaca_health")
    assert ran.code == 1
    assert f"FAILED  worker: {says}" in ran.out


def test_health_fails_when_a_ready_task_waits_too_long(site):
    a_worker(workflows=["one"])
    older(site.enqueue("one").id, 60)
    assert run("cloaca_health").code == 0
    ran = run("cloaca_health", "--max-ready-age", "30")
    assert ran.code == 1
    assert re.search("FAILED  backlog: 1 ready task, the first for 6. s .workflow 'one'", ran.out)


def test_health_says_that_nobody_serves_what_waits(site):
    a_worker(workflows=[])
    older(site.enqueue("one").id, 301)
    assert "; no live worker serves it" in run("cloaca_health").out


def test_health_forgives_what_is_paused(site):
    older(site.enqueue("one").id, 301)
    site.pause_workflow("one")
    assert run("cloaca_health", "--probe", "backlog").code == 0


def test_health_as_json_names_each_probe(transactional_db):
    ran = run("cloaca_health", "--format", "json")
    assert ran.code == 1
    assert ran.data["healthy"] is False
    assert {p["probe"]: p["is_healthy"] for p in ran.data["probes"]} == {
        "database": True, "migrations": True, "worker": False, "backlog": True,
        "schedules": True,
    }  # fmt: skip


def test_health_runs_the_probes_it_is_asked_for(transactional_db):
    ran = run("cloaca_health", "--probe", "database", "--probe", "migrations")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2


def test_health_names_unapplied_migrations_and_looks_no_further(transactional_db, unapplied):
    ran = run("cloaca_health")
    assert ran.code == 1
    assert f"FAILED  migrations: not applied: {unapplied}" in ran.out
    assert "--      worker: not checked: migrations failed" in ran.out
    only = run("cloaca_health", "--probe", "worker", "--format", "json").data["probes"]
    assert [p["probe"] for p in only] == ["migrations", "worker"]


@pytest.mark.parametrize("command", ["cloaca_status", "cloaca_health"])
def test_an_unknown_alias_is_a_usage_error_that_lists_those_of_the_site(command, make_database):
    with DefaultRunner(make_database(command)):
        ran = run(command, "--database", "nix")
    assert ran.code == 2
    assert ran.err.endswith("--database 'nix' is not in DATABASES, which has: default")


def test_bad_settings_are_a_usage_error(transactional_db, settings):
    settings.CLOACA = {"HEARTBEAT": 3}
    ran = run("cloaca_status")
    assert ran.code == 2
    assert "cloaca.E001" in ran.err
    assert "did you mean 'HEARTBEAT_SECONDS'" in ran.err


@pytest.mark.parametrize("age", ["0", "-1", "nan"])
@pytest.mark.parametrize("option", ["--max-ready-age", "--max-late"])
def test_health_refuses_an_age_that_is_none(transactional_db, option, age):
    assert run("cloaca_health", f"{option}={age}").code == 2


def test_status_of_unapplied_migrations_ends_with_3_and_names_them(transactional_db, unapplied):
    ran = run("cloaca_status")
    assert ran.code == 3
    assert unapplied in ran.err
    assert "manage.py migrate cloaca_django --database default" in ran.err


@pytest.fixture
def unapplied(transactional_db, monkeypatch):
    """Let the last migration count as not applied; returns its name."""
    applied = MigrationRecorder.Migration.objects.filter(app="cloaca_django")
    last = applied.order_by("-id")[0]
    last.delete()
    # What was found complete once is not asked again in the same process.
    monkeypatch.setattr(databases, "_checked", set())
    yield last.name
    MigrationRecorder.Migration.objects.create(app=last.app, name=last.name, applied=last.applied)
