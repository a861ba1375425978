"""How a runner comes to its database, and what it says when it cannot."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading

import pytest
from django.db import connection, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from cloaca_django import Context, DefaultRunner
from cloaca_django.dialect import facts
from cloaca_django.engine import declarations
from cloaca_django.errors import (
    DatabaseUnreachable,
    InvalidDatabaseURL,
    NotMigrated,
)
from cloaca_django.models import PipelineExecution
from tests import workflows

SECRET = "S3CR3T-CANARY"
is_file = connection.vendor == "sqlite"


def test_a_runner_makes_its_own_tables(make_database):
    workflows.single("w", workflows.writes("x", 1))
    url = make_database("fresh")
    with DefaultRunner(url) as runner:
        assert runner.execute("w", Context()).status == "Completed"
        assert "auth_user" not in connections[runner.alias].introspection.table_names()
    with DefaultRunner(url) as runner:
        assert PipelineExecution.objects.using(runner.alias).count() == 1


def test_several_runners_may_make_the_tables_at_once(make_database, together):
    url = make_database("busy")
    workflows.single("w", workflows.writes("x", 1))

    def program():
        with DefaultRunner(url) as runner:
            return runner.execute("w", Context()).status

    assert together(*[program] * 4) == ["Completed"] * 4


def test_two_runners_on_one_url_share_an_alias_and_outlive_each_other(make_database):
    url = make_database("shared")
    workflows.single("w")
    first, second = DefaultRunner(url), DefaultRunner(url)
    assert first.alias == second.alias
    first.shutdown()
    assert second.execute("w", Context()).status == "Completed"
    second.shutdown()


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite://:memory:"])
def test_a_database_in_memory_is_private_and_shared_by_the_threads_of_its_runner(
    own_databases, together, url
):
    workflows.single("w", lambda context: context.set("out", context["n"]))
    with DefaultRunner(url) as one, DefaultRunner(url) as other:
        assert one.alias != other.alias

        def caller(n):
            return lambda: one.execute("w", Context({"n": n})).final_context["out"]

        assert together(*map(caller, range(4))) == [0, 1, 2, 3]
        assert PipelineExecution.objects.using(one.alias).count() == 4
        assert PipelineExecution.objects.using(other.alias).count() == 0


def test_a_database_in_memory_is_gone_after_shutdown(own_databases):
    runner = DefaultRunner("sqlite:///:memory:")
    file = connections[runner.alias].settings_dict["NAME"]
    folder = os.path.dirname(file)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    runner.shutdown()
    assert not os.path.exists(folder)


def test_runners_leave_no_alias_behind(make_database, together):
    workflows.single("w")
    before = set(connections)

    def program(url):
        with DefaultRunner(url) as runner:
            runner.execute("w", Context())
            return runner.alias

    for url in (":memory:", make_database("own")):
        for _ in range(2):
            alias = program(url)
            assert set(connections) == before
            # Neither in the settings nor among this thread's connections.
            with pytest.raises(ConnectionDoesNotExist):
                connections[alias]
    url = make_database("shared")
    together(*[lambda: program(url)] * 4)
    together(*[lambda: program(":memory:")] * 4)
    assert set(connections) == before


def test_a_thread_closes_its_connection_to_a_database_that_is_gone(own_databases):
    runner = DefaultRunner(":memory:")
    opened, gone, ended = threading.Event(), threading.Event(), []

    def visitor():
        PipelineExecution.objects.using(runner.alias).count()
        ended.append(connections[runner.alias].connection)
        opened.set()
        gone.wait(20)

    thread = threading.Thread(target=visitor)
    thread.start()
    assert opened.wait(20)
    runner.shutdown()
    gone.set()
    thread.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        ended[0].execute("SELECT 1")


def test_shutdown_inside_an_open_transaction_lets_the_block_end(own_databases):
    before = set(connections)
    runner = DefaultRunner(":memory:")
    with transaction.atomic(using=runner.alias):
        runner.shutdown()
    DefaultRunner(":memory:").shutdown()
    assert set(connections) == before
    with pytest.raises(ConnectionDoesNotExist):
        connections[runner.alias]


def test_the_url_of_the_sites_database_means_the_sites_alias(runner, database_url):
    assert runner.alias == "default"
    with DefaultRunner(using="default") as site:
        assert site.alias == "default"
    with DefaultRunner() as site:
        assert site.alias == "default"


def test_a_site_without_our_tables_is_told_to_migrate(
    make_database, monkeypatch, settings, tmp_path
):
    url = make_database("bare")
    from cloaca_django.dialect import urls

    monkeypatch.setitem(connections.databases, "bare", urls.parse(url).settings())
    connections.databases["bare"] = {**connections["default"].settings_dict,
                                     **connections.databases["bare"]}  # fmt: skip
    for attempt in (lambda: DefaultRunner(using="bare"), lambda: DefaultRunner(url)):
        with pytest.raises(NotMigrated, match="lacks the migrations 0001_initial") as caught:
            attempt()
        assert "manage.py migrate cloaca_django --database bare" in str(caught.value)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, RuntimeError)
    assert "cloaca_run" not in connections["bare"].introspection.table_names()
    connections["bare"].close()
    del connections["bare"]


UNREACHABLE = [
    f"postgresql://user:{SECRET}@localhost:1/dbname",
    f"postgresql://user:{SECRET}@127.0.0.1:1/dbname?connect_timeout=2",
    f"postgresql://user:{SECRET}@no-such-host.invalid/dbname?connect_timeout=2",
]


@pytest.mark.parametrize("url", UNREACHABLE)
def test_a_server_that_cannot_be_reached_is_both_kinds_of_error(own_databases, caplog, url):
    with pytest.raises(DatabaseUnreachable, match="Failed to connect: cannot reach") as caught:
        DefaultRunner(url)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
    chain, seen = caught.value, []
    while chain is not None:
        seen.append(repr(chain) + str(chain))
        chain = chain.__cause__ or chain.__context__
    assert SECRET not in " ".join(seen) + caplog.text


@pytest.mark.skipif(is_file, reason="a file has no users")
def test_a_wrong_login_names_the_user_and_not_the_password(own_databases, database_url):
    url = database_url.replace("postgres:@", f"nobody_{os.getpid()}:{SECRET}@")
    with pytest.raises(DatabaseUnreachable, match="nobody_") as caught:
        DefaultRunner(url)
    assert SECRET not in str(caught.value)


@pytest.mark.skipif(is_file, reason="a file is created")
def test_a_database_that_does_not_exist_is_named(own_databases, database_url):
    url = database_url.replace("/test_", "/no_such_")
    with pytest.raises(DatabaseUnreachable, match="no_such_"):
        DefaultRunner(url)


def test_an_old_sqlite_is_refused_before_a_table_is_made(own_databases, monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "OLDEST_SQLITE", (99, 1))
    words = r"cannot use SQLite 3\.[\d.]+; it needs postgresql or sqlite, SQLite from 99\.1 on"
    with pytest.raises(DatabaseUnreachable, match=words):
        DefaultRunner(f"sqlite:///{tmp_path}/app.db")
    assert not (tmp_path / "app.db").exists()


@pytest.mark.skipif(is_file, reason="Django has no such limit for a file")
def test_an_old_postgresql_is_refused_before_a_table_is_made(make_database, monkeypatch):
    url = make_database("antique")
    monkeypatch.setattr(type(connection.features), "minimum_database_version", (99,), raising=True)
    with pytest.raises(DatabaseUnreachable, match="PostgreSQL 99 or later is required") as caught:
        DefaultRunner(url)
    assert "found" in str(caught.value)
    monkeypatch.undo()
    with DefaultRunner(url) as runner:
        assert PipelineExecution.objects.using(runner.alias).count() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_named(own_databases, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises((DatabaseUnreachable, InvalidDatabaseURL), match="locked"):
        DefaultRunner(f"sqlite:///{tmp_path}/locked/app.db")


def test_a_file_that_is_no_database_is_refused_and_kept(own_databases, tmp_path):
    file = tmp_path / "letter.db"
    file.write_text("Dear reader, " * 100)
    with pytest.raises(DatabaseUnreachable, match="not a database"):
        DefaultRunner(f"sqlite:///{file}")
    assert file.read_text().startswith("Dear reader, ")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@localhost:1/dbname",
        f"postgresql://user:{SECRET}@h:99999/dbname",
        f"mysql://user:{SECRET}@h/dbname",
        f"postgresql://user:{SECRET}@h/dbname?sslmode=maybe",
    ],
)
def test_no_error_of_the_constructor_shows_the_password(own_databases, url):
    with pytest.raises(ValueError, match=r".") as caught:
        DefaultRunner(url)
    assert SECRET not in str(caught.value) + repr(caught.value)


def test_a_failed_construction_leaves_nothing_behind(own_databases, tmp_path):
    before = set(threading.enumerate())
    with pytest.raises(InvalidDatabaseURL):
        DefaultRunner("invalid://connection/string")
    with pytest.raises(DatabaseUnreachable):
        DefaultRunner(UNREACHABLE[0])
    assert {t for t in threading.enumerate() if t.name.startswith("cloaca")} <= before


def test_a_runner_that_cannot_start_leaves_no_alias_behind(own_databases, monkeypatch):
    def fails(alias):
        raise ValueError("two schedules of one name")

    before = set(connections)
    monkeypatch.setattr(declarations, "sync", fails)
    with pytest.raises(ValueError, match="two schedules"):
        DefaultRunner(":memory:")
    assert set(connections) == before


def test_the_repr_names_the_database(own_databases):
    with DefaultRunner("sqlite:///:memory:") as runner:
        assert repr(runner) == "DefaultRunner(sqlite:///:memory:)"


@pytest.mark.skipif(is_file, reason="a file has no password")
def test_the_repr_hides_the_password_of_a_server(make_database):
    make_database("secretive")
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS keeper")
        cursor.execute(f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{SECRET}'")
    host = connection.settings_dict["HOST"]
    url = f"postgresql://keeper:{SECRET}@localhost/secretive?host={host}"
    with DefaultRunner(url) as runner:
        assert SECRET not in repr(runner)
        assert "keeper:***@" in repr(runner)
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE secretive WITH (FORCE)")
        cursor.execute("DROP ROLE keeper")
        cursor.execute("CREATE DATABASE secretive")


def test_the_sites_runner_starts_no_thread_before_its_first_use(make_runner):
    before = set(threading.enumerate())
    runner = make_runner(using="default")
    workflows.single("w")
    runner.enqueue("w")
    assert set(threading.enumerate()) == before


def test_the_sites_runner_drives_what_it_executes_and_nothing_else(make_runner):
    workflows.single("w", workflows.writes("x", 1))
    runner = make_runner(using="default")
    queued = runner.enqueue("w")
    assert runner.execute("w", Context()).final_context.to_dict() == {"x": 1}
    assert queued.status == "Pending"


SCRIPT = """
import sys
import cloaca_django as cloaca

with cloaca.WorkflowBuilder("w"):
    @cloaca.task()
    def a(context):
        context["x"] = 1

with cloaca.DefaultRunner(sys.argv[1]) as runner:
    print(runner.execute("w", cloaca.Context()).final_context.to_dict())
from django.conf import settings
print(settings.USE_TZ, sorted(settings.INSTALLED_APPS))
"""


def test_a_script_without_any_settings_works(run_script):
    assert run_script(SCRIPT) == "{'x': 1}\nTrue ['cloaca_django']\n"


WITHOUT = """
import cloaca_django as cloaca
from cloaca_django.errors import NoDatabase

for make in (cloaca.DefaultRunner, lambda: cloaca.DefaultRunner(using="default")):
    try:
        make()
    except NoDatabase as error:
        print(error)
cloaca.DefaultRunner(":memory:").shutdown()
try:
    cloaca.DefaultRunner()
except ValueError as error:
    print(isinstance(error, RuntimeError))
"""


def test_a_script_without_any_settings_is_told_to_give_a_url(run_alone, tmp_path):
    told, again, is_both = run_alone(WITHOUT, tmp_path).splitlines()
    assert "give a URL, DefaultRunner(url)" in told
    assert "set DJANGO_SETTINGS_MODULE" in told
    assert (again, is_both) == (told, "True")
