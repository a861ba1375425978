"""Schemas of tenants, fast: one is migrated, the others are copies of it made by one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction
from psycopg import sql

NAME = "template_of_tests"

_TABLES = """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' ORDER BY c.relname"""
# Constraints that indexes serve come before foreign keys, which point to them. CHECK and NOT NULL
# are copied with the table.
_CONSTRAINTS = """
    SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.connamespace = %s::regnamespace AND k.contype IN ('p', 'u', 'x', 'f')
    ORDER BY k.contype = 'f', c.relname, k.conname"""
# With the pretty flag a name that the path finds is not qualified.
_INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid, 0, true)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = %s::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
    ORDER BY c.relname, 2"""
_IDENTITIES = """
    SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = %s::regnamespace AND a.attidentity <> '' ORDER BY c.relname"""


@dataclass(frozen=True, slots=True)
class Template:
    """How to make a schema like the migrated one: statements that name nothing but its path."""

    # Each with the table it is about.
    statements: Sequence[tuple[str, sql.Composable]]

    def of(self, *prefixes: str) -> Template:
        """Return how to make the tables whose names begin so, and no others."""
        return Template(tuple(one for one in self.statements if one[0].startswith(prefixes)))

    def copy_to(self, schemas: Iterable[str]) -> None:
        """Make schemas, each in a transaction of its own unless the caller is in one."""
        body = sql.SQL("; ").join(statement for _, statement in self.statements)
        for schema in schemas:
            name = _name(schema)
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    sql.SQL("CREATE SCHEMA {}; SET LOCAL search_path = {}; {}").format(
                        name, name, body
                    )
                )


def migrate() -> Template:
    """Migrate the template's schema, which is no tenant's, and read what it is made of."""
    drop([NAME])  # a database that was kept has it still
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(_name(NAME)))
    call_command("migrate_schemas", tenant=True, schema_name=NAME, interactive=False, verbosity=0)
    connection.set_schema_to_public()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL search_path = {}").format(_name(NAME)))
        return Template(tuple(_statements(cursor)))


def drop(schemas: Iterable[str]) -> None:
    """Drop schemas, one at a time: each holds a lock for every table and index."""
    for schema in schemas:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(_name(schema)))


def _name(*parts: str) -> sql.Identifier:
    return sql.Identifier(*parts)


def _statements(cursor: Any) -> Iterable[tuple[str, sql.Composable]]:
    tables = [name for (name,) in _rows(cursor, _TABLES)]
    for name in tables:
        # Without INCLUDING INDEXES, which would give them other names than migrations know.
        like = "CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)"
        yield name, sql.SQL(like).format(_name(name), _name(NAME, name))
        rows = "INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}"
        yield name, sql.SQL(rows).format(_name(name), _name(NAME, name))
    for name, constraint, definition in _rows(cursor, _CONSTRAINTS):
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(_name(name), _name(constraint))
        yield name, add + sql.SQL(definition)
    for name, definition in _rows(cursor, _INDEXES):
        yield name, sql.SQL(definition)
    for name, column in _rows(cursor, _IDENTITIES):
        on = "SELECT setval(pg_get_serial_sequence({}, {}), max({})) FROM {} HAVING max({}) > 0"
        id = _name(column)
        yield name, sql.SQL(on).format(name, column, id, _name(name), id)


def _rows(cursor: Any, query: str) -> list[tuple[str, ...]]:
    cursor.execute(query, [NAME])
    found: list[tuple[str, ...]] = cursor.fetchall()
    return found
