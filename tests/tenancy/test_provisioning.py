"""``DatabaseAdmin`` makes tenants that work, keeps their passwords to itself, and removes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from urllib.parse import unquote

import psycopg
import pytest
from psycopg import sql

from cloaca_django import Context, DatabaseAdmin, TenantConfig, TenantCredentials
from cloaca_django.dialect import roles, urls, urls_postgresql
from cloaca_django.errors import InvalidTenant, NotInTenant, ProvisioningFailed, SchemaUnusable
from tests import workflows
from tests.tenancy.conftest import needs_server, schemas_of, tables_by_schema

SECRET = "S3CR3T-CANARY"
NOWHERE = f"postgresql://user:{SECRET}@localhost:1/dbname?connect_timeout=2"


def has_role(server, name):
    return (
        server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None
    )


def login(credentials):
    params = urls_postgresql.connection_params(urls.parse(credentials.connection_string))
    return psycopg.connect(**params, autocommit=True)


def is_verifier_of(verifier, password):
    """Say whether a SCRAM verifier is that of a password (RFC 5803)."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)", verifier)
    salt = base64.b64decode(found[2])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(found[1]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(key).digest() == base64.b64decode(found[3])


@pytest.fixture
def admin(url):
    return DatabaseAdmin(url)


@pytest.fixture
def tenant(admin, role):
    """Return a function that makes a tenant."""

    def make(schema, password=""):
        return admin.create_tenant(TenantConfig(schema, role(), password))

    return make


# Without a server


def test_nothing_shows_a_password():
    config = TenantConfig("tenant_a", "acme", SECRET)
    credentials = TenantCredentials("acme", SECRET, "tenant_a", f"postgresql://acme:{SECRET}@h/db")
    for value in (config, credentials, DatabaseAdmin(NOWHERE)):
        assert SECRET not in repr(value) + str(value)
    assert repr(DatabaseAdmin(NOWHERE)).startswith(
        "DatabaseAdmin(postgresql://user:***@localhost:1"
    )


def test_a_server_that_cannot_be_reached_is_an_error_without_a_password(caplog):
    admin = DatabaseAdmin(NOWHERE)
    for call, words in (
        (lambda: admin.create_tenant(TenantConfig("s", "u", SECRET)), "Failed to create tenant: "),
        (lambda: admin.remove_tenant("s", "u"), "Failed to remove tenant: "),
    ):
        with pytest.raises(ProvisioningFailed, match=words) as caught:
            call()
        assert isinstance(caught.value, RuntimeError)
        assert not isinstance(caught.value, InvalidTenant)
        said = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
        assert SECRET not in said + caplog.text


# On a server


@needs_server
def test_the_credentials_of_a_tenant_work_and_see_their_schema_only(
    server, tenant, open_tenant, marking
):
    a, b = tenant("tenant_a"), tenant("Tenant_B")
    for credentials in (a, b):
        runner = open_tenant(credentials.schema_name, credentials.connection_string)
        result = runner.execute(marking, Context({"marker": credentials.username}))
        assert result.final_context["seen"] == credentials.username
        handle = runner.enqueue(marking, Context({"marker": credentials.username}))
        assert handle.wait(20).status == "Completed"
        assert runner.register_cron_workflow(marking, "0 3 * * *", "UTC")
    assert set(tables_by_schema(server)) == {"tenant_a", "Tenant_B"}
    with login(a) as connection:
        for text in (
            'SELECT count(*) FROM "Tenant_B".cloaca_run',
            'CREATE TABLE "Tenant_B".mine (id int)',
            "CREATE SCHEMA mine",
            "CREATE TABLE public.mine (id int)",
            "CREATE ROLE mine",
            'DROP SCHEMA "Tenant_B" CASCADE',
            "DROP SCHEMA tenant_a CASCADE",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(text)
        assert connection.execute("SELECT count(*) FROM tenant_a.cloaca_run").fetchone() == (2,)


@needs_server
def test_a_tenants_credentials_do_not_open_another_schema(tenant, open_tenant, server):
    a, b = tenant("tenant_a"), tenant("tenant_b")
    for schema in (b.schema_name, "tenant_new"):
        with pytest.raises(SchemaUnusable, match=r"permission denied|may not use it"):
            open_tenant(schema, a.connection_string)
    assert tables_by_schema(server) == {}


@needs_server
def test_the_administrator_may_come_first(url, tenant, open_tenant, marking):
    credentials = tenant("tenant_a")
    by_admin = open_tenant("tenant_a", url)
    run = by_admin.enqueue(marking, Context({"marker": 1}))
    run.wait(20)
    by_admin.shutdown()
    runner = open_tenant("tenant_a", credentials.connection_string)
    assert runner.status_of(run.id) == "Completed"
    assert runner.execute(marking, Context({"marker": 2})).status == "Completed"


@needs_server
@pytest.mark.parametrize("password", ["", None])
def test_a_password_is_generated(server, admin, role, password):
    made = [admin.create_tenant(TenantConfig(f"t_{at}", role(), password)) for at in range(2)]
    assert made[0].password != made[1].password
    for credentials in made:
        assert re.fullmatch(r"[A-Za-z0-9]{32}", credentials.password)
        row = server.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [credentials.username]
        ).fetchone()
        assert is_verifier_of(row[0], credentials.password)
        assert not is_verifier_of(row[0], made[0].password + "x")


@needs_server
@pytest.mark.parametrize("password", ["p@ss/w:rd?#%&=+ x", "ünï'\"\\$", "';DROP ROLE postgres;--"])
def test_a_password_of_any_characters_is_kept_and_travels_in_the_url(
    server, tenant, open_tenant, password
):
    credentials = tenant("tenant_a", password)
    assert credentials.password == password
    found = re.fullmatch(r"postgresql://(.+?):(.+?)@.*", credentials.connection_string)
    assert unquote(found[2]) == password
    assert urls.parse(credentials.connection_string).password == password
    row = server.execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [credentials.username]
    ).fetchone()
    assert is_verifier_of(row[0], password)
    open_tenant("tenant_a", credentials.connection_string)


@needs_server
def test_the_connection_string_leads_where_the_administrators_url_does(url, role):
    joint = "&" if "?" in url else "?"
    admin = DatabaseAdmin(f"{url}{joint}application_name=shop&connect_timeout=7")
    made = urls.parse(admin.create_tenant(TenantConfig("tenant_a", role())).connection_string)
    given = urls.parse(url)
    assert (made.host, made.port, made.name) == (given.host, given.port, given.name)
    assert made.options == (("application_name", "shop"), ("connect_timeout", "7"))


@needs_server
def test_no_statement_holds_the_password(admin, role, monkeypatch):
    said = []
    execute = psycopg.Connection.execute

    def recording(self, query, *args, **kwargs):
        said.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "execute", recording)
    credentials = admin.create_tenant(TenantConfig("tenant_a", role(), SECRET))
    assert credentials.password == SECRET
    assert any("CREATE ROLE" in text and "SCRAM-SHA-256$" in text for text in said)
    assert SECRET not in " ".join(said)


@needs_server
def test_public_has_nothing_in_a_tenants_schema(server, tenant):
    server.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC")
    tenant("tenant_a")
    found = server.execute(
        "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) a"
        " WHERE nspname = 'tenant_a' AND a.grantee = 0"
    )
    assert found.fetchone() == (0,)


@needs_server
def test_a_name_that_is_taken_is_refused_and_nothing_is_left(server, admin, tenant, role):
    there = tenant("tenant_a")
    unused = role()
    for schema, user, words in (
        ("tenant_a", unused, "schema 'tenant_a' already exists"),
        ("TENANT_A", unused, "differs from existing schema 'tenant_a' only by case"),
        ("tenant_b", there.username, f"role '{there.username}' already exists"),
        ("tenant_b", there.username.upper(), "differs from existing role"),
    ):
        with pytest.raises(ProvisioningFailed, match=words) as caught:
            admin.create_tenant(TenantConfig(schema, user))
        assert str(caught.value).startswith("Failed to create tenant: ")
    assert schemas_of(server) == {"public", "tenant_a"}
    assert not has_role(server, unused)


@needs_server
@pytest.mark.parametrize("at", range(len(roles._CREATE)))
def test_a_failure_at_any_step_leaves_nothing_behind(server, admin, role, monkeypatch, at):
    broken = (*roles._CREATE[:at], "SELECT 1/0", *roles._CREATE[at:])
    monkeypatch.setattr(roles, "_CREATE", broken)
    name = role()
    with pytest.raises(ProvisioningFailed, match="division by zero"):
        admin.create_tenant(TenantConfig("tenant_a", name))
    assert schemas_of(server) == {"public"}
    assert not has_role(server, name)


@needs_server
def test_of_several_that_make_one_tenant_one_wins(server, admin, role, together):
    names = [role() for _ in range(3)]

    def program(name):
        return lambda: admin.create_tenant(TenantConfig("tenant_a", name))

    found = together(*map(program, names))
    won = [one for one in found if isinstance(one, TenantCredentials)]
    assert len(won) == 1
    assert all(isinstance(one, TenantCredentials | ProvisioningFailed) for one in found)
    assert [name for name in names if has_role(server, name)] == [won[0].username]


@needs_server
def test_removing_a_tenant_removes_schema_role_rows_and_sessions(
    server, admin, tenant, open_tenant, gate
):
    workflows.single("waits", lambda context: gate.pass_through())
    workflows.single("quick")
    gone, stays = tenant("tenant_a"), tenant("tenant_b")
    runner = open_tenant("tenant_a", gone.connection_string)
    other = open_tenant("tenant_b", stays.connection_string)
    runner.enqueue("waits")
    gate.await_arrival()
    connection = login(gone)
    connection.execute("CREATE TABLE tenant_a.theirs (id int)")
    admin.remove_tenant("tenant_a", gone.username)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    gate.open()
    assert schemas_of(server) == {"public", "tenant_b"}
    assert not has_role(server, gone.username)
    with pytest.raises(psycopg.OperationalError):
        login(gone)
    assert other.execute("quick", Context()).status == "Completed"
    again = admin.create_tenant(TenantConfig("tenant_a", gone.username))
    assert again.password != gone.password


@needs_server
def test_a_pair_that_is_none_is_not_removed(server, admin, tenant, role):
    a, b = tenant("tenant_a"), tenant("tenant_b")
    stranger = role()
    server.execute(sql.SQL("CREATE ROLE {} SUPERUSER").format(sql.Identifier(stranger)))
    for schema, user in (
        ("tenant_a", b.username),
        ("tenant_c", a.username),
        ("tenant_a", "nobody_at_all"),
        ("tenant_a", stranger),
        ("TENANT_A", a.username),
    ):
        with pytest.raises(ProvisioningFailed, match="nothing was removed") as caught:
            admin.remove_tenant(schema, user)
        assert str(caught.value).startswith("Failed to remove tenant: ")
    assert schemas_of(server) == {"public", "tenant_a", "tenant_b"}
    assert has_role(server, a.username)


@needs_server
def test_what_cannot_be_removed_stays_as_it_was(server, admin, tenant, open_tenant, marking):
    a = tenant("tenant_a")
    # Something elsewhere depends on the role: the server refuses, and all of it is taken back.
    database = sql.Identifier(f"{server.info.dbname}_2")
    server.execute(sql.SQL("CREATE DATABASE {}").format(database))
    try:
        server.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(a.username))
        )
        with pytest.raises(ProvisioningFailed, match="cannot be dropped because some objects"):
            admin.remove_tenant("tenant_a", a.username)
    finally:
        server.execute(sql.SQL("DROP DATABASE {}").format(database))
    runner = open_tenant("tenant_a", a.connection_string)
    assert runner.execute(marking, Context({"marker": "a"})).status == "Completed"


@needs_server
def test_a_runner_of_the_administrators_in_a_removed_schema_is_told(
    url, admin, tenant, open_tenant, marking
):
    credentials = tenant("tenant_a")
    runner = open_tenant("tenant_a", url)
    runner.execute(marking, Context({"marker": 1}))
    admin.remove_tenant("tenant_a", credentials.username)
    with pytest.raises(NotInTenant, match="bound to schema 'tenant_a'"):
        runner.enqueue(marking, Context({"marker": 2}))


@needs_server
def test_an_administrator_need_not_be_a_superuser(url, server, role, open_tenant, marking):
    name = role()
    ids = {"admin": sql.Identifier(name), "database": sql.Identifier(server.info.dbname)}
    for text in (
        "CREATE ROLE {admin} LOGIN CREATEROLE",
        "GRANT CREATE ON DATABASE {database} TO {admin}",
    ):
        server.execute(sql.SQL(text).format(**ids))
    admin_url = url.replace("postgres:@", f"{name}:x@")
    admin = DatabaseAdmin(admin_url)
    credentials = admin.create_tenant(TenantConfig("tenant_a", role()))
    tenant_runner = open_tenant("tenant_a", credentials.connection_string)
    assert tenant_runner.execute(marking, Context({"marker": 1})).status == "Completed"
    own = open_tenant("tenant_a", admin_url)
    assert own.execute(marking, Context({"marker": 2})).status == "Completed"
    admin.remove_tenant("tenant_a", credentials.username)
    assert schemas_of(server) == {"public"}
    assert not has_role(server, credentials.username)
    own.shutdown()
    server.execute(sql.SQL("DROP OWNED BY {admin}").format(**ids))


@needs_server
def test_a_login_without_the_rights_is_told_and_leaves_nothing(tenant, role, server):
    credentials = tenant("tenant_a")
    name = role()
    with pytest.raises(ProvisioningFailed, match=r"Failed to create tenant: .*permission denied"):
        DatabaseAdmin(credentials.connection_string).create_tenant(TenantConfig("tenant_b", name))
    assert not has_role(server, name)
