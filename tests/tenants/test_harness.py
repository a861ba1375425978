"""The tests' own tenants: a copied schema is what ``migrate_schemas`` would have made."""

from __future__ import annotations

import re

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor

from cloaca_django import clock
from cloaca_django.models import CronSchedule
from tests.tenants.conftest import (
    assert_nobody_left_behind,
    in_tenant,
    marks_of,
    schemas_of_tenants,
    tables_of,
    tables_of_tenants,
)
from tests.tenants.directory.models import Tenant
from tests.tenants.ledger.models import Mark

# Everything that a schema is made of, in words that do not name it.
MADE_OF = {
    "columns": """
        SELECT table_name, column_name,
            -- Numbered anew: what a migration dropped leaves a gap that no copy has.
            row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position),
            column_default, is_nullable, udt_name, character_maximum_length, numeric_precision,
            is_identity, identity_generation, collation_name
        FROM information_schema.columns WHERE table_schema = %s""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = %s::regnamespace""",
    "indexes": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 0, true), indisprimary,
            indisunique, indisvalid
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = %s::regnamespace""",
    "sequences and their owners": """
        SELECT s.relname, t.relname, a.attname, d.deptype
        FROM pg_class s
        LEFT JOIN pg_depend d ON d.objid = s.oid AND d.refobjsubid > 0
        LEFT JOIN pg_class t ON t.oid = d.refobjid
        LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
        WHERE s.relkind = 'S' AND s.relnamespace = %s::regnamespace""",
    "tables and their owners": """
        SELECT relname, relkind, relpersistence, pg_get_userbyid(relowner), reloptions::text
        FROM pg_class WHERE relkind IN ('r', 'v', 'm') AND relnamespace = %s::regnamespace""",
    "storage of columns": """
        SELECT c.relname, a.attname, a.attstorage, a.attcompression, a.attstattarget
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
            AND c.relnamespace = %s::regnamespace""",
}

# A condition that went through its text casts each element of an array, and no more the array. The
# planner folds both to one.
CASTS = re.compile(r"::(character varying|text)(\[\])?")


def made_of(schema):
    """Return everything that a schema is made of."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('search_path', %s, false)", [f'"{schema}"'])
        for what, query in MADE_OF.items():
            cursor.execute(query, [schema])
            found[what] = {CASTS.sub("", str(row)) for row in cursor.fetchall()}
    return found


def records(tenant):
    with in_tenant(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY app, name")
        return cursor.fetchall()


def test_a_copied_schema_equals_a_migrated_one(make_tenants):
    (copied,) = make_tenants(1, whole=True)
    migrated = Tenant(schema_name="migrated", name="Migrated")
    migrated.save(verbosity=0)
    copy, model = made_of(copied.schema_name), made_of("migrated")
    for what in MADE_OF:
        assert copy[what] - model[what] == model[what] - copy[what] == set(), what
        assert len(copy[what]) > 10, what
    assert records(copied) == records(migrated)


def test_nothing_in_a_copied_schema_points_to_another(make_tenants):
    (tenant,) = make_tenants(1, whole=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid"
            " WHERE k.connamespace = %s::regnamespace AND c.relnamespace <> k.connamespace",
            [tenant.schema_name],
        )
        assert cursor.fetchone() == (0,)


def test_migrations_find_nothing_to_do_in_a_copied_schema(make_tenants):
    (tenant,) = make_tenants(1, whole=True)
    with in_tenant(tenant):
        executor = MigrationExecutor(connection)
        assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_sequences_of_a_copied_schema_go_on_and_are_its_own(make_tenants):
    a, b = make_tenants(2)
    with in_tenant(a):
        ids = [Mark.objects.create(tenant="t1", text=text).pk for text in "xyz"]
        assert ids == [1, 2, 3]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())"
            )
    with in_tenant(b):
        assert Mark.objects.create(tenant="t2", text="x").pk == 1
        with pytest.raises(IntegrityError):
            Mark.objects.create(tenant="public", text="x")
        with pytest.raises(IntegrityError):
            Mark.objects.create(tenant="t2", text="x")
    assert marks_of(a) == {("t1", "x"), ("t1", "y"), ("t1", "z")}
    assert marks_of(b) == {("t2", "x")}


def test_tenants_are_named_as_asked_and_committed(make_tenants, together):
    tenants = make_tenants(2, "Acme", "globex")
    assert [tenant.schema_name for tenant in tenants] == ["Acme", "globex", "t1", "t2"]
    assert tenants[0].domains.get().domain == "acme.localhost"
    assert schemas_of_tenants() == {"Acme", "globex", "t1", "t2"}
    assert together(Tenant.objects.count, schemas_of_tenants) == [
        4,
        {"Acme", "globex", "t1", "t2"},
    ]


def test_forty_tenants_take_a_second_or_two(make_tenants):
    began = clock.monotonic()
    make_tenants(40)
    assert len(schemas_of_tenants()) == 40
    assert clock.monotonic() - began < 20, "far above what a busy machine needs"


def test_public_has_the_directory_and_nothing_of_a_tenants(make_tenants):
    make_tenants(1, whole=True)
    assert tables_of(["public"]) >= {"directory_tenant", "directory_domain"}
    assert tables_of(["public"]) & tables_of_tenants() == set()
    assert tables_of(["t1"]) >= tables_of_tenants()
    # What experiment 12 of the study saw: the path of a tenant ends in public.
    with pytest.raises(Exception, match="does not exist"):
        CronSchedule.objects.exists()


def test_who_stays_with_a_tenant_fails(make_tenants):
    (tenant,) = make_tenants(1)
    with in_tenant(tenant):
        pass
    assert_nobody_left_behind()
    connection.set_tenant(tenant)
    with pytest.raises(AssertionError, match="still in a tenant's schema"):
        assert_nobody_left_behind()


@pytest.mark.django_db
def test_who_litters_public_fails():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.cloaca_run (id int)")
    with pytest.raises(AssertionError, match="public has tables that belong to tenants"):
        assert_nobody_left_behind()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE public.cloaca_run")
