"""Names of schemas and users, at every door: refused in words, before anything is opened."""

from __future__ import annotations

import inspect

import psycopg
import pytest

from cloaca_django import DatabaseAdmin, DefaultRunner, TenantConfig
from cloaca_django.dialect import schemas
from cloaca_django.errors import (
    InvalidDatabaseURL,
    InvalidSchemaName,
    InvalidSchemaNameType,
    InvalidTenant,
    SchemaUnusable,
)
from tests.tenancy.conftest import needs_server, schemas_of

SECRET = "S3CR3T-CANARY"
# Nobody answers there: who gets as far as connecting is told so.
NOWHERE = f"postgresql://user:{SECRET}@localhost:1/dbname?connect_timeout=2"

CHARACTERS = "must contain only alphanumeric characters and underscores"
REFUSED = [
    ("", "Schema name cannot be empty"),
    ("a" * 64, "at most 63 characters"),
    ("é" * 31 + "x", "only ASCII letters, digits, underscore"),
    ("é" * 31 + "xA", "only ASCII letters, digits, underscore"),
    ("tenant-a", CHARACTERS),
    ("tenant a", CHARACTERS),
    ("tenant.a", CHARACTERS),
    ("tenant\n", CHARACTERS),
    ("\ttenant", CHARACTERS),
    ("a'; DROP SCHEMA public CASCADE; --", CHARACTERS),
    ('a"; DROP SCHEMA public CASCADE; --', CHARACTERS),
    ('a" CASCADE', CHARACTERS),
    ("a\\", CHARACTERS),
    ("a\x00b", CHARACTERS),
    ("a\ud800", CHARACTERS),
    ("a%s", CHARACTERS),
    ("{}", CHARACTERS),
    ("$user", CHARACTERS),
    ("a,public", CHARACTERS),
    ("\uff54enant", CHARACTERS),
    ("tenant\u0661", CHARACTERS),
    ("K" + "\u212a", CHARACTERS),
    ("a" * 62 + "é", "only ASCII letters, digits, underscore"),
    ("a" * 63 + "\n", CHARACTERS),
    ("ab\u200b", CHARACTERS),
    ("ab\u202e", CHARACTERS),
    ("a\u0301b", CHARACTERS),
    ("\u0430bc", CHARACTERS),
    ("\N{PILE OF POO}", CHARACTERS),
    ("ab ", CHARACTERS),
    ("--a", CHARACTERS),
    ("../a", CHARACTERS),
    ("a/*b*/", CHARACTERS),
    ("$$a$$", CHARACTERS),
    ("`a`", CHARACTERS),
    ('"a"', CHARACTERS),
    ("E'a'", CHARACTERS),
    ("x" * 100_000 + ";", CHARACTERS),
    ("1abc", "must start with a letter"),
    ("_abc", "must start with a letter"),
    ("_", "must start with a letter"),
    ("public", "reserved"),
    ("PUBLIC", "reserved"),
    ("information_schema", "reserved"),
    ("Information_Schema", "reserved"),
    ("pg_catalog", "reserved prefix pg_"),
    ("pg_toast", "reserved prefix pg_"),
    ("pg_temp_3", "reserved prefix pg_"),
    ("PG_x", "reserved prefix pg_"),
    ("select", "reserved word"),
    ("User", "reserved word"),
]
ACCEPTED = ["a", "a" * 63, "pgfoo", "Tenant_A", "t1", "tenant_123_abc", "TENANT_ABC", "x_"]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_bad_name_of_a_schema_is_refused_before_anything_is_opened(name, words):
    with pytest.raises(InvalidSchemaName) as caught:
        DefaultRunner.with_schema(NOWHERE, name)
    text = str(caught.value)
    assert words in text
    assert len(text) < 400
    assert text.isprintable()
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", [None, 7, b"tenant", ["tenant"]])
def test_a_name_of_another_type_is_a_type_error(name):
    with pytest.raises(InvalidSchemaNameType, match="a schema name is a str") as caught:
        DefaultRunner.with_schema(NOWHERE, name)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_good_name_gets_as_far_as_connecting(own_databases, name):
    with pytest.raises(SchemaUnusable) as caught:
        DefaultRunner.with_schema(NOWHERE, name)
    text = str(caught.value)
    assert "Failed to create DefaultRunner with schema" in text
    assert "Failed to set up schema" in text
    assert name[:60] in text
    assert SECRET not in text + repr(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite:///:memory:", "x.db"])
def test_a_file_has_no_schemas(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    for call in (lambda: DefaultRunner.with_schema(url, "tenant_a"), lambda: DatabaseAdmin(url)):
        with pytest.raises(InvalidDatabaseURL, match="multi-tenancy requires PostgreSQL") as caught:
            call()
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, RuntimeError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["invalid://x", "postgresql://h/", "", "mysql://u:p@h/d"])
def test_a_bad_url_is_refused_at_every_door(url):
    for call in (lambda: DefaultRunner.with_schema(url, "tenant_a"), lambda: DatabaseAdmin(url)):
        with pytest.raises(InvalidDatabaseURL):
            call()


def test_with_schema_takes_url_and_schema_in_this_order():
    names = list(inspect.signature(DefaultRunner.with_schema).parameters)
    assert names[:2] == ["database_url", "schema"]
    assert isinstance(inspect.getattr_static(DefaultRunner, "with_schema"), staticmethod)
    with pytest.raises(TypeError, match="config must be a DefaultRunnerConfig"):
        DefaultRunner.with_schema(NOWHERE, "tenant_a", config={})


# Provisioning


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_bad_name_is_refused_by_provisioning(name, words):
    admin = DatabaseAdmin(NOWHERE)
    for call in (
        lambda: admin.create_tenant(TenantConfig(name, "fine")),
        lambda: admin.remove_tenant(name, "fine"),
    ):
        with pytest.raises(InvalidTenant) as caught:
            call()
        assert words in str(caught.value)
        assert str(caught.value).startswith(("Failed to create tenant: ", "Failed to remove ten"))
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ValueError)


OF_USERS = [
    *((name, words.replace("Schema", "User")) for name, words in REFUSED if "inform" not in name),
    ("postgres", "reserved"),
    ("Admin", "reserved"),
    ("none", "reserved"),
    ("current_user", "reserved word"),
]


@pytest.mark.parametrize(("name", "words"), [line for line in OF_USERS if "Inform" not in line[0]])
def test_a_bad_name_of_a_user_is_refused(name, words):
    admin = DatabaseAdmin(NOWHERE)
    for call in (
        lambda: admin.create_tenant(TenantConfig("fine", name)),
        lambda: admin.remove_tenant("fine", name),
    ):
        with pytest.raises(InvalidTenant) as caught:
            call()
        assert words in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("password", ["a\x00b", "a\ud800", "line\nbreak"])
def test_a_password_that_cannot_be_sent_is_refused_and_not_shown(password):
    with pytest.raises(InvalidTenant, match="control characters") as caught:
        DatabaseAdmin(NOWHERE).create_tenant(TenantConfig("fine", "fine", password))
    assert "break" not in str(caught.value)


@pytest.mark.parametrize("facts", [(7, "u"), ("s", None), ("s", "u", b"p"), (None, "u")])
def test_a_tenant_is_text(facts):
    with pytest.raises(TypeError, match="is a str"):
        TenantConfig(*facts)


def test_only_a_tenant_is_made_and_only_names_are_removed():
    admin = DatabaseAdmin(NOWHERE)
    with pytest.raises(TypeError, match="must be a TenantConfig, not dict"):
        admin.create_tenant({})
    with pytest.raises(TypeError, match="a name is a str"):
        admin.remove_tenant("fine", 7)


# On a server


@needs_server
def test_no_refused_name_reaches_the_server(url, server, workflows_of_test, monkeypatch):
    before = schemas_of(server)
    admin = DatabaseAdmin(url)
    opened = []
    connect = psycopg.connect
    monkeypatch.setattr(psycopg, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
    for name, _ in REFUSED:
        for call in (
            lambda name=name: DefaultRunner.with_schema(url, name),
            lambda name=name: admin.create_tenant(TenantConfig(name, "fine")),
            lambda name=name: admin.create_tenant(TenantConfig("fine", name)),
        ):
            # "information_schema" may be a user, whom nobody makes here.
            if name.lower() != "information_schema":
                with pytest.raises(ValueError, match="name"):
                    call()
    assert opened == []
    assert schemas_of(server) == before


@needs_server
def test_the_reserved_words_are_those_of_the_server(server):
    found = server.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
    assert {row[0] for row in found} - schemas.RESERVED_WORDS == set()


@needs_server
@pytest.mark.parametrize("name", ["a" * 63, "Tenant_A", "pgfoo", "x_1"])
def test_a_good_name_is_the_schemas_name_to_the_letter(server, open_tenant, name):
    open_tenant(name)
    assert name in schemas_of(server)


@needs_server
@pytest.mark.parametrize(
    ("there", "name"), [("tenant_a", "Tenant_A"), ("Tenant_A", "tenant_a"), ("AbC", "aBc")]
)
def test_names_that_differ_only_by_case_are_refused(server, open_tenant, there, name):
    open_tenant(there)
    with pytest.raises(InvalidSchemaName, match=f"differs from existing schema '{there}' only by"):
        open_tenant(name)
    assert schemas_of(server) == {"public", there}
