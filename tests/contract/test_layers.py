"""Imports point downwards; the contracts are in setup.cfg."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.contract.source import ROOT, imports, name_of, package_files


def test_the_import_contracts_hold():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def outside(homes: set[str], module: str) -> list[str]:
    """Return the places outside ``homes`` that import ``module``."""
    return [
        f"{name_of(file)}:{line} imports {name}"
        for file in package_files()
        for line, name in imports(file)
        if (name == module or name.startswith(f"{module}."))
        and name_of(file).removeprefix("cloaca_django/") not in homes
    ]


def test_only_conf_reads_the_settings():
    # databases.py makes settings, for a script that has none.
    assert outside({"conf.py", "databases.py"}, "django.conf") == []


def test_only_cron_knows_croniter():
    assert outside({"core/cron/dialect.py"}, "croniter") == []
    assert outside({"core/cron/sentence.py"}, "cron_descriptor") == []


def test_only_tenancy_knows_django_tenants():
    assert outside({"tenancy.py"}, "django_tenants") == []


def test_the_package_imports_without_settings_and_without_reading_the_database():
    code = (
        "import sys, cloaca_django as cloaca; cloaca.Context({'a': 1}); cloaca.WorkflowBuilder;"
        "assert 'cloaca_django.models' not in sys.modules, 'models were imported'"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
