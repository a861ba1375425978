"""Runners of several schemas of one database: each sees its own, and ``public`` has nothing."""

from __future__ import annotations

import itertools
import json
import logging
import threading

import psycopg
import pytest
from django.db import connections

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig, clock
from cloaca_django.conf import settings as cloaca_settings
from cloaca_django.dialect import open_session, postgresql, urls
from cloaca_django.dialect.session import LOOK
from cloaca_django.dialect.wakeups import open_watcher
from cloaca_django.errors import (
    NotInTenant,
    RunNotFound,
    ScheduleNotFound,
    SchemaUnusable,
)
from cloaca_django.models import CronSchedule, PipelineExecution
from tests import workflows
from tests.engine.test_wakeups import Bell
from tests.interface.conftest import until
from tests.tenancy.conftest import needs_server, schemas_of, tables_by_schema

pytestmark = needs_server

SECRET = "S3CR3T-CANARY"
TENANTS = ["tenant_a", "tenant_b", "Tenant_C", "a" * 63]


def markers(runner):
    """Return the markers of all runs in a runner's schema."""
    found = PipelineExecution.objects.using(runner.alias)
    return {json.loads(run.context)["marker"] for run in found}


def test_schemas_of_one_database_never_mix(server, open_tenant, marking, together):
    runners = {name: open_tenant(name) for name in TENANTS}

    def caller(name, at):
        def call():
            runner, marker = runners[name], f"{name}/{at}"
            if at % 2:
                result = runner.execute(marking, Context({"marker": marker}))
            else:
                result = runner.enqueue(marking, Context({"marker": marker})).wait(20)
            return result.final_context["seen"] == marker

        return call

    calls = [caller(name, at) for name, at in itertools.product(TENANTS, range(4))]
    assert together(*calls) == [True] * len(calls)
    for name, runner in runners.items():
        assert markers(runner) == {f"{name}/{at}" for at in range(4)}
    counts = tables_by_schema(server)
    assert set(counts) == set(TENANTS)
    assert len(set(counts.values())) == 1


def test_what_one_tenant_has_is_unknown_to_the_other(open_tenant, marking):
    a, b = open_tenant("tenant_a"), open_tenant("tenant_b")
    run = a.enqueue(marking, Context({"marker": "a"}))
    run.wait(20)
    schedule = a.register_cron_workflow(marking, "0 3 * * *", "UTC", name="nightly")
    for call in (b.status_of, b.result_of, b.cancel, b.pause, b.resume, b.replay, b.wait_for):
        with pytest.raises(RunNotFound):
            call(run.id)
    for call in (
        b.get_cron_schedule,
        b.delete_cron_schedule,
        b.get_cron_execution_history,
        b.trigger_cron_schedule,
        lambda id: b.set_cron_schedule_enabled(id, False),
        lambda id: b.update_cron_schedule(id, "0 4 * * *", "UTC"),
    ):
        with pytest.raises(ScheduleNotFound):
            call(schedule)
    assert b.list_cron_schedules() == []
    assert a.get_cron_schedule(schedule)["enabled"] is True
    assert a.status_of(run.id) == "Completed"
    # A name and a key are a tenant's own, too.
    b.register_cron_workflow(marking, "0 5 * * *", "UTC", name="nightly")
    first, second = (
        runner.enqueue(marking, Context({"marker": runner.alias}), idempotency_key="k")
        for runner in (a, b)
    )
    assert first.id != second.id


def test_schedules_of_two_schemas_each_fire_their_own(open_tenant, marking):
    options = {"enable_cron_scheduling": True, "cron_poll_interval_seconds": 1}
    runners = [open_tenant(name, **options) for name in ("tenant_a", "tenant_b")]
    hour = clock.utc_now().replace(minute=0, second=0, microsecond=0)
    for runner in runners:
        marker = Context({"marker": runner.alias})
        id = runner.register_cron_workflow(
            marking, "0 * * * *", "UTC", context=marker, catchup_policy="all"
        )
        CronSchedule.objects.using(runner.alias).filter(pk=id).update(next_run_at=hour)
        runner._look_at_schedules()
        until(lambda runner=runner, id=id: runner.get_cron_execution_history(id))
        fired = runner.get_cron_execution_history(id)
        runner.wait_for(fired[0]["pipeline_execution_id"], timeout=20)
    for runner in runners:
        assert markers(runner) == {runner.alias}
        assert len(runner.list_cron_schedules()) == 1


def test_runners_of_two_schemas_share_no_alias_and_those_of_one_do(url, open_tenant):
    a, b, again = open_tenant("tenant_a"), open_tenant("tenant_b"), open_tenant("tenant_a")
    plain = DefaultRunner(url)
    assert a.alias == again.alias
    assert len({a.alias, b.alias, plain.alias}) == 3
    plain.shutdown()


def test_the_repr_shows_the_schema_and_no_password(url, open_tenant):
    runner = open_tenant("tenant_a", url.replace("postgres:@", f"postgres:{SECRET}@"))
    assert "schema='tenant_a'" in repr(runner)
    assert SECRET not in repr(runner)


@pytest.mark.parametrize(
    "path", ["", "-c search_path=other", '-c search_path="tenant_a"', "--search_path=other"]
)
def test_a_sites_alias_of_the_same_database_is_not_taken_instead(
    url, server, open_tenant, monkeypatch, path
):
    entry = urls.parse(url).settings()
    entry["OPTIONS"] |= {"options": path} if path else {}
    monkeypatch.setitem(connections.databases, "site", entry)
    runner = open_tenant("tenant_a")
    assert runner.alias != "site"
    assert set(tables_by_schema(server)) == {"tenant_a"}
    connections["site"].close()
    del connections["site"]


def test_a_plain_url_is_not_swapped_for_an_alias_in_another_schema(url, monkeypatch):
    entry = urls.parse(url).settings()
    assert urls.parse(url).same_database_as(entry)
    assert not urls.parse(url).in_schema("tenant_a").same_database_as(entry)
    entry["OPTIONS"]["options"] = "-c lock_timeout=1s -c search_path=other"
    assert not urls.parse(url).same_database_as(entry)
    joint = "&" if "?" in url else "?"
    same = f"{url}{joint}options=-c%20search_path%3Dother"
    assert urls.parse(same).same_database_as(entry)


@pytest.mark.parametrize(
    "options",
    [
        "-c statement_timeout=7s",
        "-c search_path=public",
        "-c search_path=public,tenant_b -c jit=on",
    ],
)
def test_options_of_the_url_are_kept_and_the_schema_wins(
    url, server, open_tenant, marking, options
):
    joint = "&" if "?" in url else "?"
    runner = open_tenant("tenant_a", f"{url}{joint}options={options.replace(' ', '%20')}")
    runner.execute(marking, Context({"marker": 1}))
    with connections[runner.alias].cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('search_path'), current_setting('statement_timeout')"
        )
        path, timeout = cursor.fetchone()
    assert path == '"tenant_a"'
    assert timeout == ("7s" if "statement" in options else "0")
    assert set(tables_by_schema(server)) == {"tenant_a"}


def test_options_that_would_swallow_the_schema_are_an_error(url, server):
    joint = "&" if "?" in url else "?"
    with pytest.raises(SchemaUnusable, match="search_path"):
        DefaultRunner.with_schema(f"{url}{joint}options=-c%20application_name=x%5C", "tenant_a")
    assert schemas_of(server) == {"public"}


# Connections


def test_every_connection_is_born_in_its_schema(open_tenant, server, workflows_of_test, gate):
    seen = []

    def body(context):
        alias = context["alias"]
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_schemas(false)")
            seen.extend(cursor.fetchone()[0])
        gate.pass_through()

    workflows.single("w", body)
    runner = open_tenant("Tenant_A")
    run = runner.enqueue("w", Context({"alias": runner.alias}))
    gate.await_arrival()
    gate.open()
    run.wait(20)
    session = open_session(runner.alias)
    assert session.transport.execute("SELECT current_schemas(false)", {}) == [(["Tenant_A"],)]
    session.close()
    assert seen == ["Tenant_A"]


def test_a_task_that_changes_the_path_harms_nobody_who_borrows_its_connection(
    open_tenant, server, marking
):
    def strays(context):
        with connections[context["alias"]].cursor() as cursor:
            cursor.execute("SET search_path = tenant_b")

    workflows.single("strays", strays)
    a, b = open_tenant("tenant_a", db_pool_size=1), open_tenant("tenant_b")
    for at in range(5):
        a.execute("strays", Context({"alias": a.alias, "marker": at}))
        a.enqueue(marking, Context({"marker": f"a{at}"})).wait(20)
    assert markers(b) == set()
    assert {"a0", "a4"} <= markers(a)


def without_startup_options(params):
    return postgresql_connect({k: v for k, v in params.items() if k != "options"})


postgresql_connect = postgresql.connect


# The mark lets it run by itself: who drops roles does so on the site's own database.
@pytest.mark.django_db(transaction=True)
def test_a_pooler_that_drops_the_startup_options_is_found_out(
    url, server, open_tenant, marking, monkeypatch
):
    runner = open_tenant("tenant_a")
    monkeypatch.setattr(postgresql, "connect", without_startup_options)
    with pytest.raises(NotInTenant, match="connection is in 'public': a pooler drops"):
        open_session(runner.alias)
    assert set(tables_by_schema(server)) == {"tenant_a"}


def test_a_site_behind_a_transaction_pooler_is_refused(url, server, settings, workflows_of_test):
    settings.CLOACA = {"NOTIFY": False}
    assert cloaca_settings.NOTIFY is False
    with pytest.raises(SchemaUnusable, match="behind a transaction pooler"):
        DefaultRunner.with_schema(url, "tenant_a")
    assert schemas_of(server) == {"public"}


# Announcements


def test_news_of_one_schema_wake_nobody_in_another(open_tenant):
    a, b = open_tenant("tenant_a"), open_tenant("Tenant_B")
    rings = {}
    for runner in (a, b):
        wake, hint = rings[runner.alias] = Bell(), Bell()
        watcher = open_watcher(runner.alias, wake=wake, hint=hint)
        rings[runner.alias] = wake, hint, watcher
        assert wake.heard(), "a listener begins by saying so"
        wake.drain()
    session = open_session(a.alias)
    session.announce()
    assert rings[a.alias][0].heard()
    session.announce(LOOK)
    assert rings[a.alias][1].heard()
    for bell in rings[b.alias][:2]:
        assert not bell.heard(0.3)
    session.close()
    for *_, watcher in rings.values():
        watcher.close()


def test_work_of_its_own_schema_wakes_a_worker_at_once(open_tenant, marking):
    slow = {"scheduler_poll_interval_ms": 10_000}
    worker = open_tenant("tenant_a", **slow)
    submits = open_tenant("tenant_a", **slow)
    submits._lease.worker.drain()
    started = clock.monotonic()
    submits.enqueue(marking, Context({"marker": 1})).wait(20)
    assert clock.monotonic() - started < 5
    assert worker.alias == submits.alias


# What happens to a schema


def test_a_schema_dropped_under_a_live_runner_is_an_error_and_nothing_else(
    server, open_tenant, marking, gate, caplog
):
    workflows.single("waits", lambda context: gate.pass_through())
    a, b = open_tenant("tenant_a"), open_tenant("tenant_b")
    run = a.execute(marking, Context({"marker": "a"})).pipeline_execution_id
    waiting = []

    def call():
        try:
            a.execute("waits", Context({"marker": "a"}))
        except NotInTenant as error:
            waiting.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    gate.await_arrival()
    with caplog.at_level(logging.CRITICAL):
        server.execute("DROP SCHEMA tenant_a CASCADE")
        gate.open()
        for ask in (
            lambda: a.execute(marking, Context({"marker": "a"})),
            lambda: a.enqueue(marking, Context({"marker": "a"})),
            lambda: a.status_of(run),
            lambda: a.result_of(run),
            lambda: a.wait_for(run, timeout=5),
            lambda: a.cancel(run),
            a.list_cron_schedules,
            lambda: a.register_cron_workflow(marking, "0 3 * * *", "UTC"),
        ):
            with pytest.raises(NotInTenant, match="bound to schema 'tenant_a', but"):
                ask()
        thread.join(20)
        assert len(waiting) == 1, "who waited for a run is told, too"
        assert b.execute(marking, Context({"marker": "b"})).status == "Completed"
    assert markers(b) == {"b"}
    assert set(tables_by_schema(server)) == {"tenant_b"}
    assert schemas_of(server) == {"public", "tenant_b"}


def test_a_schema_that_was_dropped_can_be_made_again(server, open_tenant, marking):
    open_tenant("tenant_a").shutdown()
    server.execute("DROP SCHEMA tenant_a CASCADE")
    again = open_tenant("tenant_a")
    assert again.execute(marking, Context({"marker": 1})).status == "Completed"


def test_public_is_not_read_for_what_a_schema_lacks(url, server, open_tenant, marking):
    with DefaultRunner(url) as public:
        public.execute(marking, Context({"marker": "public"}))
        runner = open_tenant("tenant_a")
        assert markers(runner) == set()
        server.execute("DROP TABLE tenant_a.cloaca_run CASCADE")
        with pytest.raises(NotInTenant, match="cloaca_run"):
            runner.enqueue(marking, Context({"marker": "a"}))
        assert markers(public) == {"public"}


def test_a_schema_that_is_there_already_gets_the_tables(server, open_tenant, marking):
    server.execute("CREATE SCHEMA tenant_a CREATE TABLE theirs (id int)")
    runner = open_tenant("tenant_a")
    assert runner.execute(marking, Context({"marker": 1})).status == "Completed"
    assert server.execute("SELECT count(*) FROM tenant_a.theirs").fetchone() == (0,)


def test_a_half_migrated_schema_is_refused_and_left_as_it_is(url, server, workflows_of_test):
    server.execute("CREATE SCHEMA tenant_a CREATE TABLE cloaca_task (id int)")
    with pytest.raises(SchemaUnusable, match='relation "cloaca_task" already exists'):
        DefaultRunner.with_schema(url, "tenant_a")
    found = server.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'cloaca%'")
    assert found.fetchall() == [("cloaca_task",)]


def test_a_table_missing_against_the_records_is_named(url, server, open_tenant):
    open_tenant("tenant_a").shutdown()
    server.execute("DROP TABLE tenant_a.cloaca_worker CASCADE")
    with pytest.raises(SchemaUnusable, match="'cloaca_worker' is missing"):
        DefaultRunner.with_schema(url, "tenant_a")


def test_several_may_make_one_schema_at_once(url, server, marking, together):
    def program(name):
        def call():
            with DefaultRunner.with_schema(url, name) as runner:
                return runner.execute(marking, Context({"marker": name})).status

        return call

    found = together(*[program("tenant_a")] * 4, *[program("tenant_b")] * 2)
    assert found == ["Completed"] * 6
    assert set(tables_by_schema(server)) == {"tenant_a", "tenant_b"}


def test_of_two_names_that_differ_by_case_one_wins_a_race(url, server, marking, together):
    def program(name):
        def call():
            DefaultRunner.with_schema(url, name).shutdown()
            return "made"

        return call

    found = together(*map(program, ("tenant_a", "Tenant_A", "TENANT_A")))
    assert found.count("made") == 1
    assert len(schemas_of(server)) == 2


SCRIPT = """
import sys
import cloaca_django as cloaca

url, marker = sys.argv[1:]
with cloaca.WorkflowBuilder("w"):
    @cloaca.task()
    def body(context):
        context["seen"] = context["marker"]

with cloaca.DefaultRunner.with_schema(url, "tenant_a") as runner:
    print(runner.execute("w", cloaca.Context({"marker": marker})).final_context["seen"])
"""


def test_two_processes_may_make_one_schema_at_once(url, server, tmp_path, run_alone, together):
    def program(at):
        folder = tmp_path / str(at)
        folder.mkdir()
        return lambda: run_alone(SCRIPT, folder, url, str(at))

    assert together(program(0), program(1), timeout=60) == ["0\n", "1\n"]
    assert set(tables_by_schema(server)) == {"tenant_a"}


def test_a_runner_that_could_not_be_made_leaves_no_thread_and_no_connection(url, server):
    server.execute("CREATE SCHEMA tenant_a CREATE TABLE cloaca_task (id int)")
    for _ in range(2):
        with pytest.raises(SchemaUnusable):
            DefaultRunner.with_schema(url, "tenant_a", config=DefaultRunnerConfig())
    count = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    until(lambda: server.execute(count).fetchone() == (0,))


def test_many_schemas_cost_the_thread_that_opens_them_no_connection(server, open_tenant):
    for at in range(4):
        open_tenant(f"tenant_{at}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        server.execute("SELECT 1 FROM cloaca_run")
    held = [alias for alias in connections if connections[alias].connection is not None]
    assert [alias for alias in held if alias.startswith("cloaca-")] == []
