"""System checks: each is triggered once, and a plain site has nothing to hear."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.conf import settings as site
from django.core import checks as django_checks
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from cloaca_django import WorkflowBuilder, checks, task, tenant_checks
from cloaca_django.clock import utc_now
from cloaca_django.core import registry
from cloaca_django.dialect import facts
from cloaca_django.models import Worker
from tests.workflows import nothing

SERVER = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": "db", "USER": "u"}
FILE = {"ENGINE": "django.db.backends.sqlite3"}
SAFE = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode = WAL"}


class Router:
    """Sends everything of ours to one alias."""

    def __init__(self, alias, *, migrate=True):
        self.alias, self.migrate = alias, migrate

    def db_for_read(self, model, **hints):
        return self.alias

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return self.migrate


def found(*, deploy=False):
    function = checks.check_deployment if deploy else checks.check_settings
    return {message.id.removeprefix("cloaca."): message for message in function(None)}


@pytest.fixture
def use(monkeypatch, settings):
    """Make a made-up database ours. Nothing connects to it."""
    settings.DATABASE_ROUTERS = [Router("other")]

    def use_entry(entry, **cloaca):
        full = dict(connections.settings["default"], OPTIONS={}, PORT="", HOST="")
        monkeypatch.setitem(site.DATABASES, "other", full | entry)
        settings.CLOACA = {"DATABASE": "other", **cloaca}

    yield use_entry
    with suppress(AttributeError):
        del connections["other"]


def test_a_plain_site_has_nothing_to_hear(settings):
    settings.CLOACA = {}
    assert found() == {}
    assert found(deploy=True) == {}


def test_the_checks_are_part_of_djangos():
    registered = django_checks.registry.registry.get_checks(include_deployment_checks=True)
    assert {checks.check_settings, checks.check_deployment} <= set(registered)


def test_checks_of_other_apps_leave_ours_out(settings):
    settings.CLOACA = {"NONSENSE": 1}
    assert checks.check_settings([apps.get_app_config("auth")]) == []
    assert checks.check_settings([apps.get_app_config("cloaca_django")])


@pytest.mark.parametrize(
    ("key", "meant"), [("LEASE_SECOND", "LEASE_SECONDS"), ("HEARTBEAT", "HEARTBEAT_SECONDS")]
)
def test_an_unknown_key_names_the_nearest(settings, key, meant):
    settings.CLOACA = {key: 60}
    message = found()["E001"]
    assert key in message.msg
    assert f"did you mean '{meant}'?" in message.msg


def test_a_site_needs_time_zones(settings):
    settings.USE_TZ = False
    assert "USE_TZ = True" in found()["E002"].msg


def test_every_bad_value_is_reported(settings):
    settings.CLOACA = {"CONCURRENCY": 0, "LEASE_SECONDS": 1, "NOTIFY": 3, "DATABASE": "no"}
    texts = [message.msg for message in checks.check_settings(None)]
    assert set(found()) == {"E003"}
    assert len(texts) == 4
    assert any("3 x HEARTBEAT_SECONDS" in text for text in texts)
    assert any("an alias of DATABASES" in text for text in texts)


def test_a_setting_that_is_no_dict_is_one_finding(settings):
    settings.CLOACA = ["LEASE_SECONDS"]
    assert [message.id for message in checks.check_settings(None)] == ["cloaca.E003"]


def test_an_unsupported_database_is_an_error(use, monkeypatch):
    use(SERVER)
    monkeypatch.setattr(facts, "SUPPORTED", ("sqlite",))
    assert "postgresql" in found()["E010"].msg


def test_an_old_sqlite_is_an_error_that_names_its_version(use, monkeypatch, tmp_path):
    use(FILE | {"NAME": tmp_path / "x.db", "OPTIONS": SAFE})
    monkeypatch.setattr(facts, "OLDEST_SQLITE", (99, 1))
    message = found()["E010"]
    assert f"'SQLite {sqlite3.sqlite_version}'" in message.msg


def test_a_router_that_sends_models_elsewhere_is_an_error(use, settings):
    use(SERVER)
    settings.DATABASE_ROUTERS = []
    assert 'is routed to default, not to CLOACA["DATABASE"]' in found()["E011"].msg


def test_a_router_that_keeps_tables_away_is_an_error(use, settings):
    use(SERVER)
    settings.DATABASE_ROUTERS = [Router("other", migrate=False)]
    assert "keeps the table of" in found()["E011"].msg


POOLERS = [
    {"PORT": "6432"},
    {"PORT": 6543},
    {"HOST": "ep-1-pooler.example.com"},
    {"DISABLE_SERVER_SIDE_CURSORS": True},
    {"OPTIONS": {"prepare_threshold": None}},
]


@pytest.mark.parametrize("pooler", POOLERS)
def test_tenants_behind_a_pooler_are_an_error(use, settings, pooler):
    use(SERVER | pooler)
    settings.TENANT_APPS = ["cloaca_django"]
    assert "in another's schema" in found()["E013"].msg


@pytest.mark.parametrize("name", ["cloaca_django", "cloaca_django.apps.CloacaConfig"])
def test_tables_in_both_schemas_are_an_error(use, settings, name):
    use(SERVER)
    settings.SHARED_APPS = settings.TENANT_APPS = ["x", name]
    assert "half-migrated tenant" in found()["E014"].hint


def test_tables_in_the_public_schema_only_are_an_error(use, settings):
    use(SERVER)
    settings.SHARED_APPS, settings.TENANT_APPS = ["cloaca_django"], ["x"]
    assert set(found()) == {"E015"}


def test_tenants_need_a_database_with_schemas(use, settings, tmp_path):
    use(FILE | {"NAME": tmp_path / "x.db", "OPTIONS": SAFE})
    settings.TENANT_APPS, settings.TENANT_DB_ALIAS = ["cloaca_django"], "other"
    assert set(found()) == {"E016"}


@pytest.fixture
def use_tenants(use, settings, monkeypatch):
    """Make a site with tenants, apart from what a test takes away. Nothing connects to it."""
    monkeypatch.setattr(DatabaseWrapper, "set_tenant", lambda *args: None, raising=False)
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda a: a == "django_tenants" or installed(a))

    def make(entry=SERVER, **cloaca):
        use(entry, **cloaca)
        settings.DATABASE_ROUTERS = [Router("other", migrate=False), tenant_checks.ROUTER]
        settings.TENANT_DB_ALIAS = "other"
        settings.SHARED_APPS = ["django_tenants", "tests"]
        settings.TENANT_APPS = ["django.contrib.auth", "cloaca_django"]
        settings.TENANT_MODEL = "tests.Tenant"

    monkeypatch.setitem(
        sys.modules, "django_tenants.routers", SimpleNamespace(TenantSyncRouter=Empty)
    )
    return make


class Empty:
    """A router that has no opinion."""


def types(**lists):
    """Return TENANT_TYPES with the apps of each type."""
    return {name: {"APPS": listed, "URLCONF": ""} for name, listed in lists.items()}


def test_a_site_with_tenants_has_nothing_to_hear_although_its_router_keeps_public_empty(
    use_tenants,
):
    use_tenants()
    assert found() == {}
    assert found(deploy=True) == {}


def test_a_site_that_says_it_has_a_pooler_is_refused_tenants(use_tenants):
    use_tenants(NOTIFY=False)
    assert 'CLOACA["NOTIFY"] is False' in found()["E013"].msg
    assert "Silence this check if that pooler is in session mode" in found()["E013"].hint


def test_an_app_that_no_schema_has_is_an_error(use_tenants, settings):
    use_tenants()
    settings.TENANT_APPS = ["django.contrib.auth"]
    message = found()["E017"]
    assert message.msg.endswith("but neither in SHARED_APPS nor in TENANT_APPS")
    assert "every tenant has its own tables" in message.hint


def test_an_engine_of_the_whole_site_may_be_in_another_database_than_the_tenants(
    use_tenants, settings
):
    use_tenants()
    settings.TENANT_APPS = ["django.contrib.auth"]
    settings.TENANT_DB_ALIAS = "default"
    settings.DATABASE_ROUTERS = [Router("other")]
    assert found() == {}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATABASE_ROUTERS", [Router("other")], f"DATABASE_ROUTERS lacks '{tenant_checks.ROUTER}'"),
        ("TENANT_SYNC_ROUTER", "mine.Router", "DATABASE_ROUTERS lacks 'mine.Router'"),
        ("TENANT_MODEL", "", "TENANT_MODEL is not set"),
    ],
)
def test_what_django_tenants_needs_and_lacks_is_named(use_tenants, settings, name, value, words):
    use_tenants()
    setattr(settings, name, value)
    message = found()["E018"]
    assert message.msg == words
    assert "django_tenants in INSTALLED_APPS" in message.hint


def test_tenants_without_django_tenants_are_an_error(use, settings):
    use(SERVER)
    settings.TENANT_APPS, settings.TENANT_DB_ALIAS = ["cloaca_django"], "other"
    texts = [message.msg for message in checks.check_settings(None)]
    assert texts == [
        "django_tenants is not in INSTALLED_APPS",
        "the ENGINE of 'other' is 'django.db.backends.postgresql', which knows no tenants",
        f"DATABASE_ROUTERS lacks '{tenant_checks.ROUTER}'",
        "TENANT_MODEL is not set",
    ]
    assert set(found()) == {"E018"}


def test_tenants_in_another_database_than_their_engine_are_an_error(use_tenants, settings):
    use_tenants()
    settings.TENANT_DB_ALIAS = "default"
    assert set(found()) == {"E019"}
    assert "the tenants are in 'default'" in found()["E019"].msg


def test_types_of_tenants_each_have_a_list_of_their_own(use_tenants, settings):
    use_tenants()
    settings.HAS_MULTI_TYPE_TENANTS = True
    # Without types these say nothing.
    settings.SHARED_APPS = settings.TENANT_APPS = ["cloaca_django"]
    ours = "cloaca_django.apps.CloacaConfig"

    settings.TENANT_TYPES = types(public=["a"], shop=["b", ours], blog=["cloaca_django"])
    assert found() == {}
    settings.TENANT_TYPES = types(public=["a"], shop=[ours], blog=["b"])
    assert set(found()) == {"W015"}
    assert 'not in TENANT_TYPES["blog"]["APPS"]: these' in found()["W015"].msg
    settings.TENANT_TYPES = types(public=[ours], shop=[ours], blog=[ours])
    assert set(found()) == {"E014"}
    settings.TENANT_TYPES = types(public=[ours], shop=["b"], blog=["b"])
    assert found()["E015"].msg == 'cloaca_django is in TENANT_TYPES["public"]["APPS"] only'
    settings.TENANT_TYPES = types(public=["a"], shop=["b"], blog=["b"])
    assert 'nor in TENANT_TYPES["shop"]["APPS"] nor in TENANT_TYPES["b' in found()["E017"].msg


def test_nobody_asks_the_database_about_tenants_whose_site_has_none(settings):
    assert checks.check_database(None, databases=["default"]) == []
    settings.CLOACA = ["no dict"]
    assert checks.check_database(None, databases=["default"]) == []


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_file_on_a_network_file_system_is_a_warning(use, monkeypatch, tmp_path, kind):
    use(FILE | {"NAME": tmp_path / "x.db", "OPTIONS": SAFE})
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} {kind} rw 0 0\nc /proc proc rw 0 0\n")
    monkeypatch.setattr(facts, "_MOUNTS", mounts)
    assert set(found()) == {"W001"}
    mounts.write_text(f"b / {kind} rw 0 0\na {tmp_path} ext4 rw 0 0\n")
    assert found() == {}


def test_kept_connections_behind_a_pooler_are_a_warning(use):
    use(SERVER | POOLERS[0] | {"CONN_MAX_AGE": None}, NOTIFY=False)
    assert set(found()) == {"W011"}


def test_notifications_behind_a_pooler_are_a_warning(use):
    use(SERVER | POOLERS[0])
    assert set(found()) == {"W014"}
    use(SERVER | POOLERS[0], NOTIFY=False)
    assert found() == {}


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({}, "do not use IMMEDIATE transactions and WAL mode;"),
        ({"transaction_mode": "deferred"}, "IMMEDIATE transactions and WAL mode;"),
        ({"transaction_mode": "IMMEDIATE"}, "do not use WAL mode;"),
        ({"init_command": "PRAGMA journal_mode=wal;"}, "do not use IMMEDIATE transactions;"),
    ],
)
def test_a_file_without_wal_and_immediate_is_a_warning_with_lines_to_paste(
    use, tmp_path, options, lacks
):
    use(FILE | {"NAME": tmp_path / "x.db", "OPTIONS": options})
    message = found()["W012"]
    assert lacks in message.msg
    pasted = {}
    exec(message.hint.partition("\n")[2].strip().replace('"OPTIONS":', "options =", 1), pasted)
    use(FILE | {"NAME": tmp_path / "x.db", "OPTIONS": pasted["options"][0]})
    del connections["other"]
    assert found() == {}


def test_a_file_that_is_in_wal_mode_already_needs_no_command(use, tmp_path):
    name = tmp_path / "x.db"
    connection = sqlite3.connect(name)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    use(FILE | {"NAME": name, "OPTIONS": {"transaction_mode": "IMMEDIATE"}})
    assert found() == {}


def test_eager_in_production_is_a_warning_of_deployment(settings):
    settings.CLOACA = {"EAGER": True}
    assert found() == {}
    assert set(found(deploy=True)) == {"W021"}


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ("-c idle_in_transaction_session_timeout=60000", True),
        ("-c idle_in_transaction_session_timeout=1min", True),
        ("-c idle_in_transaction_session_timeout=300s", False),
        ("-c idle_in_transaction_session_timeout=2h", False),
        ("-c idle_in_transaction_session_timeout=0", False),
        ("-c statement_timeout=5s", False),
    ],
)
def test_a_server_that_ends_slow_transactions_is_a_warning(use, given, warned):
    use(SERVER | {"OPTIONS": {"options": given}})
    assert ("W031" in found()) is warned


@pytest.mark.parametrize(("limit", "warned"), [(599, True), (600, False), (None, False)])
def test_a_task_that_may_take_longer_than_its_run_is_a_warning(settings, limit, warned):
    settings.CLOACA = {"PIPELINE_TIMEOUT_SECONDS": limit}
    with registry.isolated():
        with WorkflowBuilder("w"):
            task(id="slow", timeout_seconds=600)(nothing)
            task(id="quick", timeout_seconds=1)(nothing)
            task(id="usual")(nothing)
        message = found().get("W032")
    assert (message is not None) is warned
    if message:
        assert "task 'slow' of workflow 'w' may take 600 s, but a run ends after" in message.msg
        assert "PIPELINE_TIMEOUT_SECONDS (599 s)" in message.msg


def test_a_schedule_name_that_two_workflows_declare_is_an_error():
    with registry.isolated():
        for name in ("one", "two"):
            with WorkflowBuilder(name) as builder:
                builder.schedule("0 2 * * *", name="nightly")
                task()(nothing)
        message = found()["E021"]
    assert "'nightly' is declared by the workflows one, two" in message.msg


def test_strict_turns_warnings_into_errors(use):
    use(SERVER | POOLERS[0], STRICT=True)
    assert found()["W014"].is_serious(django_checks.ERROR)


def test_every_check_has_its_test():
    of_tenants = Path(__file__).parents[1] / "tenants" / "test_checks.py"
    text = Path(__file__).read_text() + of_tenants.read_text()
    assert [check.id for check in checks.CHECKS if f'"{check.id}"' not in text] == []
    assert len({check.id for check in checks.CHECKS}) == len(checks.CHECKS)


@pytest.mark.django_db
def test_runserver_without_a_worker_names_the_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    assert "W041" in found()


@pytest.mark.django_db
def test_runserver_beside_a_worker_says_nothing(monkeypatch):
    Worker.objects.create(
        hostname="h", pid=1, concurrency=1, lease_seconds=30, started_at=utc_now(),
        heartbeat_at=utc_now(), lease_until=utc_now() + timedelta(minutes=1),
    )  # fmt: skip
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    assert "W041" not in found()


def test_other_commands_do_not_ask_the_database_for_workers(monkeypatch):
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert "W041" not in found()
