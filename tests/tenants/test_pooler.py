"""A site with tenants behind a real PgBouncer: session mode only, and it says so."""

from __future__ import annotations

import pytest
from django.db import connection

from cloaca_django import Context, DefaultRunner
from tests import pooler
from tests.tenants.conftest import marks_of

pytestmark = pytest.mark.skipif(pooler.BINARY is None, reason="there is no pgbouncer here")


def through(port):
    """Return the environment of a command that works on the test's database through a pooler."""
    facts = connection.settings_dict
    return {"CLOACA_TESTS_URL": f"postgresql://{facts['USER']}@127.0.0.1:{port}/{facts['NAME']}"}


def test_in_session_mode_a_worker_serves_every_tenant_and_mixes_none(make_tenants, worksite):
    tenants = make_tenants(3)
    runs = {}
    for tenant in tenants:
        runner = DefaultRunner.for_tenant(tenant)
        for text in "ab":
            context = Context({"tenant": tenant.schema_name, "text": text})
            runs[tenant.schema_name, text] = runner.enqueue("mark", context)
    with pooler.running("session", size=40) as port:
        worker = worksite.start("cloaca_worker", "--burst", environment=through(port))
        assert worker.wait() == 0, worker.output
    for (schema, _), run in runs.items():
        result = run.result()
        assert result.status == "Completed", result.error_message
        assert result.final_context["schema"] == schema
        assert result.final_context["sees"] == [schema]
    for tenant in tenants:
        assert marks_of(tenant) == {(tenant.schema_name, "a"), (tenant.schema_name, "b")}


def test_a_worker_finds_a_transaction_pooler_by_itself(make_tenants, worksite):
    (tenant,) = make_tenants(1)
    context = Context({"tenant": tenant.schema_name, "text": "a"})
    run = DefaultRunner.for_tenant(tenant).enqueue("mark", context)
    with pooler.running("transaction", size=40) as port:
        worker = worksite.start("cloaca_worker", "--burst", environment=through(port))
        assert worker.wait() == 2
    assert "a transaction pooler stands before the server" in worker.output
    assert run.status == "Pending"
    assert marks_of(tenant) == set()


def test_a_worker_that_is_told_of_a_transaction_pooler_does_not_start(make_tenants, worksite):
    (tenant,) = make_tenants(1)
    context = Context({"tenant": tenant.schema_name, "text": "a"})
    run = DefaultRunner.for_tenant(tenant).enqueue("mark", context)
    with pooler.running("transaction") as port:
        worker = worksite.start(
            "cloaca_worker", "--burst", environment=through(port), settings={"NOTIFY": False}
        )
        assert worker.wait() != 0
    assert "cloaca.E013" in worker.output
    assert "to a pooler in session mode" in worker.output
    assert run.status == "Pending"
    assert marks_of(tenant) == set()
