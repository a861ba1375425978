"""System checks of a real site with tenants: nothing to hear, and what its database can tell."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, connections

from cloaca_django import checks
from tests.tenants.conftest import in_tenant

pytestmark = pytest.mark.django_db


def ids(messages):
    return [message.id.removeprefix("cloaca.") for message in messages]


def test_a_site_with_tenants_has_nothing_to_hear(make_tenants):
    (tenant,) = make_tenants(1)
    call_command("check", databases=["default"], fail_level="WARNING", stderr=StringIO())
    with in_tenant(tenant):
        assert checks.check_settings(None) == []
        assert checks.check_database(None, databases=["default"]) == []


def test_tables_of_ours_in_public_are_an_error_for_whoever_asks_the_database():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.cloaca_task (id int)")
    try:
        assert checks.check_settings(None) == []
        assert checks.check_database(None) == []
        assert ids(checks.check_database(None, databases=["default"])) == ["E020"]
        with pytest.raises(SystemCheckError, match=r"'public' has tables .*: cloaca_task"):
            call_command("check", databases=["default"], stderr=StringIO())
        with pytest.raises(SystemCheckError, match=r"cloaca\.E020"):
            call_command("migrate_schemas", shared=True, skip_checks=False, verbosity=0)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE public.cloaca_task")


def test_a_database_that_does_not_answer_is_no_finding(monkeypatch):
    def broken(*args):
        raise DatabaseError("gone")

    monkeypatch.setattr(connection.introspection, "table_names", broken)
    assert checks.check_database(None, databases=["default"]) == []


def test_a_backend_that_knows_no_tenants_is_named(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "ENGINE", "django.db.backends.postgresql")
        patch.delattr(type(connections["default"]), "set_tenant")
        (message,) = checks.check_settings(None)
    assert message.id == "cloaca.E018"
    assert "is 'django.db.backends.postgresql', which knows no tenants" in message.msg
