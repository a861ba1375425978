"""Migrations: complete, and independent of the code as it is today."""

from __future__ import annotations

import ast

import pytest
from django.core.management import call_command

from tests.contract.source import PACKAGE, imports, name_of

FILES = sorted((PACKAGE / "migrations").glob("0*.py"))


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_migration_imports_nothing_of_ours(file):
    # Custom query sets are the exception Django's autodetector makes for use_in_migrations only.
    assert [name for _, name in imports(file) if name.startswith("cloaca_django")] == []


@pytest.mark.parametrize("file", FILES[1:], ids=name_of)
def test_a_later_migration_only_adds(file):
    """Workers of the version before keep running while the new one is deployed."""
    taken_away = {"RemoveField", "DeleteModel", "RenameField", "RenameModel", "AlterModelTable"}
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    found = {getattr(node.func, "attr", "") for node in calls} & taken_away
    assert found == set()
