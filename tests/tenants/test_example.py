"""The example as a site with tenants: its demo in a database of its own, as ``make`` runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import uuid

import pytest
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from tests.interface.conftest import ROOT, server_url

# What a visitor does on a site whose demo has run. Every host is a request of its own.
VISIT = """
import json
import django
django.setup()
from django.test import Client
from django.test.utils import setup_test_environment
from django_tenants.utils import tenant_context
from cloaca_django.models import PipelineExecution, Worker
from example_project.tenants.models import Tenant
from example_project.weather.models import Report, Upload

setup_test_environment()
said = {}
for host in ("localhost", "acme.localhost", "globex.localhost", "nobody.localhost"):
    said[host] = Client(HTTP_HOST=host).get("/").content.decode()
acme = Client(HTTP_HOST="acme.localhost")
said["login"] = acme.post("/admin/login/", {"username": "demo", "password": "demo"}).status_code
with tenant_context(Tenant.objects.get(schema_name="acme")):
    runs = [str(id) for id in PipelineExecution.objects.values_list("id", flat=True)]
    said["uploads"] = [upload.name for upload in Upload.objects.all()]
    said["reports"] = Report.objects.count()
said["runs"] = runs
said["admin"] = acme.get("/admin/cloaca_django/pipelineexecution/").content.decode()
globex = Client(HTTP_HOST="globex.localhost")
globex.cookies = acme.cookies
said["with acme's cookie"] = globex.get("/admin/").status_code
print(json.dumps(said))
"""


@pytest.fixture
def environment(transactional_db):
    """The environment of the example's commands, on an empty database."""
    name = f"example_{uuid.uuid4().hex[:12]}"
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield {
        **os.environ,
        "DATABASE_URL": server_url(name),
        "DJANGO_SETTINGS_MODULE": "example_project.tenant_settings",
        "PYTHONWARNINGS": "error",
    }
    with connection.cursor() as cursor:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        cursor.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def say(environment):
    """Return a function that runs Python with arguments, and returns what it prints."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_demo_shows_two_tenants_that_share_a_worker_and_nothing_else(say):
    say("manage.py", "migrate_schemas", "--verbosity", "0")
    out = say("manage.py", "demo_tenants")
    assert "tenants: all" in out
    assert "366 of them from its own acme-2012.csv" in out
    assert "365 of them from its own globex-2015.csv" in out
    assert out.count("next: morning_report on ") == 2
    assert "The page: http://globex.localhost:8000/reports/" in out

    said = json.loads(say("-c", VISIT))
    for host in ("localhost", "nobody.localhost"):
        assert re.findall(r'href="//(\w+)\.localhost:80/"', said[host]) == ["acme", "globex"]
    assert "acme-2012.csv" in said["acme.localhost"]
    assert "globex" not in said["acme.localhost"]
    assert "acme" not in said["globex.localhost"]
    assert said["login"] == 302
    assert said["uploads"] == ["acme-2012.csv"]
    assert len(said["runs"]) == said["reports"] == 2
    assert [id for id in said["runs"] if id not in said["admin"]] == []
    assert said["with acme's cookie"] == 302, "globex asks who it is"

    commands = re.findall(r"manage\.py (cloaca_\w+[^\n]*?)(?:  |\n)", out.partition("Look next")[2])
    assert len(commands) == 3
    for line in commands[1:]:
        assert say("manage.py", *shlex.split(line)), line
    assert say("manage.py", "demo_tenants").count("  4 reports") == 2, "it may be run again"


def test_the_examples_settings_have_nothing_to_hear_and_its_models_are_migrated(say):
    say("manage.py", "check", "--fail-level", "WARNING")
    say("manage.py", "makemigrations", "--check", "--dry-run")


@pytest.mark.django_db
def test_the_tests_own_models_are_migrated():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
