"""The seed's examples of tenants, as written; only host and login become those of the test."""

from __future__ import annotations

import sys

import pytest

import cloaca_django
from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
from tests.tenancy.conftest import needs_server

pytestmark = needs_server

ONE = """
import cloaca

# Multi-tenant setup
tenant_runner = cloaca.DefaultRunner.with_schema(
    "postgresql://user:pass@localhost:5432/dbname",
    "tenant_acme"
)
"""

ISOLATED = """
# Each tenant gets isolated schema
tenant_a = cloaca.DefaultRunner.with_schema(database_url, "tenant_a")
tenant_b = cloaca.DefaultRunner.with_schema(database_url, "tenant_b")

# Complete data isolation
context_a = cloaca.Context({"tenant": "a"})
context_b = cloaca.Context({"tenant": "b"})

result_a = tenant_a.execute("workflow", context_a)
result_b = tenant_b.execute("workflow", context_b)

# No data cross-contamination possible
"""

SCRIPT = """
import sys
import cloaca_django

sys.modules["cloaca"] = cloaca = cloaca_django
database_url = {url!r}

with cloaca.WorkflowBuilder("workflow"):
    @cloaca.task()
    def body(context):
        context["done"] = True
{blocks}
print(result_a.final_context.to_dict(), result_b.final_context.to_dict())
"""


@pytest.fixture
def read(url, workflows_of_test, monkeypatch):
    """Return a function that runs a block as it stands and gives the names it bound."""
    monkeypatch.setitem(sys.modules, "cloaca", cloaca_django)
    with WorkflowBuilder("workflow"):

        @task()
        def body(context):
            context["done"] = True

    names = {"cloaca": cloaca_django, "database_url": url}

    def run(block):
        exec(compile(placed(block, url), "seed", "exec"), names)
        return names

    yield run
    for value in names.values():
        if isinstance(value, DefaultRunner):
            value.shutdown()


def placed(block, url):
    return block.replace("postgresql://user:pass@localhost:5432/dbname", url)


def test_a_tenants_runner(read):
    result = read(ONE)["tenant_runner"].execute("workflow", Context({"i": 1}))
    assert result.final_context.to_dict() == {"i": 1, "done": True}


def test_isolated_tenants(read):
    names = read(ISOLATED)
    for tenant, other in ("ab", "ba"):
        result = names[f"result_{tenant}"]
        assert result.status == "Completed"
        assert result.final_context.to_dict() == {"tenant": tenant, "done": True}
        with pytest.raises(ValueError, match="There is no run"):
            names[f"tenant_{other}"].status_of(result.pipeline_execution_id)


def test_both_are_one_plain_script(url, run_alone, tmp_path):
    script = SCRIPT.format(url=url, blocks=placed(ONE, url) + ISOLATED)
    printed = run_alone(script, tmp_path)
    assert printed == "{'tenant': 'a', 'done': True} {'tenant': 'b', 'done': True}\n"
