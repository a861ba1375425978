"""Names of tenants at every door of a site: none leads elsewhere, and what is none is refused."""

from __future__ import annotations

import logging

import pytest
from django.db import connection
from psycopg import sql

from cloaca_django import Context, DefaultRunner, for_each_tenant
from cloaca_django.errors import InvalidSchemaName, NotInTenant, TenantNotFound
from tests.interface.commands import run
from tests.interface.conftest import server_url
from tests.tenancy.test_names import REFUSED
from tests.tenants.conftest import NEEDED, marks_of, schemas_of_tenants
from tests.tenants.directory.models import Tenant

# The same look, other letters; nothing that shows; more bytes than letters; SQL in every quote.
ATTACKS = [
    *(name for name, _ in REFUSED if name not in {"a\x00b", "a\ud800"}),
    "t1 ",
    " t1",
    "T1",
    "t1\u200b",
    "t\u0661",
    "\uff541",
    "t1\u202e",
    "t1\u0301",
    '"t1"',
    "t1;--",
    "t1' OR '1'='1",
    't1"; DROP SCHEMA t1 CASCADE; --',
    "t1%",
    "t_",
    "%",
    "\N{PILE OF POO}" * 16,
    "t" * 64,
    "../t1",
    "t1\\",
    "$$t1$$",
    "-t1",
    "--all",
    "template_of_tests",
]
# Nothing that the server can be asked for.
UNSTORABLE = ["t1\x00", "t1\udcff", "\x00"]
COMMANDS = {
    "cloaca_status": [],
    "cloaca_health": [],
    "cloaca_graph": ["--run", "01a22040-c15d-7a22-8b24-ad0928da97dd"],
    "cloaca_run": ["mark", "--context", '{"tenant": "t1", "text": "attack"}'],
    "cloaca_prune": ["--older-than", "1"],
    "cloaca_worker": ["--burst"],
}
# django-tenants and the server allow these; each is a schema of that very name.
ODD = [
    "with-hyphen",
    "Größe",
    "a b",
    "tenant.x",
    "a,public",
    "50%s",
    "{}",
    "select",
    "`",
    "T2",
    "t2",
]


def mark_of(schema, text="x"):
    return Context({"tenant": schema, "text": text})


def check_refusal(error):
    text = str(error)
    assert isinstance(error, ValueError)
    assert text.isprintable()
    assert len(text) < 500


@pytest.fixture
def one_tenant(make_tenants):
    """A tenant ``t1``, in which nothing may have happened in the end."""
    (tenant,) = make_tenants(1)
    yield tenant
    connection.set_schema_to_public()
    assert schemas_of_tenants() == {"t1"}
    assert marks_of(tenant) == set()


def test_what_is_no_tenant_is_not_found_by_any_call(one_tenant):
    for name in ATTACKS:
        for call in (
            lambda name=name: DefaultRunner.for_tenant(name),
            lambda name=name: for_each_tenant("mark", mark_of("t1"), tenants=["t1", name]),
        ):
            with pytest.raises(TenantNotFound) as caught:
                call()
            check_refusal(caught.value)


def test_a_name_that_no_schema_may_have_is_refused_by_a_schemas_runner(one_tenant):
    url = server_url(connection.settings_dict["NAME"])
    for name, words in REFUSED:
        with pytest.raises(InvalidSchemaName) as caught:
            DefaultRunner.with_schema(url, name)
        assert words in str(caught.value)


@pytest.mark.parametrize("name", UNSTORABLE, ids=ascii)
def test_what_cannot_be_a_name_is_no_tenant_either(one_tenant, name):
    with pytest.raises(TenantNotFound):
        DefaultRunner.for_tenant(name)
    assert run("cloaca_status", f"--schema={name}").code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_tenant_is_refused_by_every_command(one_tenant, command):
    options = ["schema", "exclude-schema"] if command == "cloaca_worker" else ["schema"]
    for option in options:
        for name in ATTACKS:
            # As one word, for a shell would hand it on so.
            ran = run(command, *COMMANDS[command], f"--{option}={name}")
            assert ran.code == 2, (name, ran)
            assert ran.out == ""
            assert f"--{option}" in ran.err
            assert ran.err.isprintable()
            assert len(ran.err) < 500


def test_a_name_that_looks_like_an_option_is_none(one_tenant):
    for name in ("--all", "-1"):
        assert run("cloaca_status", "--schema", name).code != 0


def test_odd_names_that_the_site_allows_are_tenants_like_others(make_tenants):
    tenants = make_tenants(0, *ODD)
    handles = for_each_tenant("mark", mark_of)
    assert set(handles) == set(ODD)
    assert run("cloaca_worker", "--burst").code == 0
    for tenant in tenants:
        schema = tenant.schema_name
        result = handles[schema].result()
        assert (result.status, result.final_context["schema"]) == ("Completed", schema)
        assert marks_of(tenant) == {(schema, "x")}
        assert "1 Completed" in run("cloaca_status", f"--schema={schema}").out


@pytest.mark.parametrize(
    ("names", "schema"),
    [
        # The server keeps 63 bytes of a name, so both lead to one schema.
        (["é" * 31 + "xA", "é" * 31 + "xB"], "é" * 31 + "x"),
        # Also in quotes it means whoever is logged in.
        (["$user"], "postgres"),
    ],
)
def test_a_name_that_leads_to_another_schema_is_served_by_nobody(
    make_tenants, template_schema, names, schema, caplog
):
    template_schema.of(*NEEDED).copy_to([schema])
    Tenant.objects.bulk_create(Tenant(schema_name=name, name=name) for name in names)
    (other,) = make_tenants(1)
    for name in names:
        with pytest.raises(NotInTenant):
            DefaultRunner.for_tenant(name).enqueue("mark", mark_of(name))
    run_of_other = DefaultRunner.for_tenant(other).enqueue("mark", mark_of("t1"))
    with caplog.at_level(logging.WARNING, "cloaca_django.worker"):
        assert run("cloaca_worker", "--burst").code == 0
    # Nobody warns of it at the first sight: a tenant is perhaps being made.
    skipped = [record for record in caplog.records if "is skipped" in record.message]
    assert len(skipped) <= len(names)
    health = run("cloaca_health", "--probe", "database")
    assert health.code == 1
    assert all(f"{name}: This runner is bound to schema" in health.out for name in names)
    assert run_of_other.status == "Completed"
    with connection.cursor() as cursor:
        count = sql.SQL("SELECT count(*) FROM {}")
        cursor.execute(count.format(sql.Identifier(schema, "cloaca_run")))
        assert cursor.fetchone() == (0,)
