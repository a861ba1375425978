"""Many tenants under load and under fire: no row of one is read or written by another.

``CLOACA_TENANTS_CHAOS`` is how many seconds the fire lasts, ``CLOACA_TENANTS_SEED`` its seed.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections import Counter
from contextlib import suppress
from functools import partial

import psycopg
import pytest
from django.db import DatabaseError, connection

from cloaca_django import Context, DefaultRunner, clock
from cloaca_django.core import registry
from cloaca_django.core.context import decode
from cloaca_django.dialect import site_session
from cloaca_django.engine import registers, submission
from cloaca_django.engine.submission import Options
from cloaca_django.models import PipelineExecution, TaskAttempt
from tests.crash import account
from tests.tenants.conftest import in_tenant, marks_of, schemas_of_tenants
from tests.tenants.workers import enqueue, execute, is_done, make_worker, statuses

__all__ = ["make_worker"]

SECONDS = float(os.environ.get("CLOACA_TENANTS_CHAOS", "4"))
SEED = int(os.environ.get("CLOACA_TENANTS_SEED", "1"))
TENANTS = 50
KINDS = {
    "chain": ("first", "second", "third"),
    "fan": ("root", "left", "right", "join"),
    "loop": ("before", "between", "after"),
    "stumble": ("stumble",),
    "nest": ("parent", "child:first", "child:second", "child:third"),
}
PACE_SECONDS = 0.05


class Fire:
    """A thread that cancels statements, kills backends and lets SET fail, until it is put out."""

    def __init__(self, chance: random.Random, spared: set[int]) -> None:
        self.counts: Counter[str] = Counter()
        self._chance = chance
        self._spared = spared
        self._params = connection.get_connection_params()
        self._out = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._main = threading.get_ident()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *raised):
        self._out.set()
        self._thread.join(30)

    def spare(self, pid):
        """Do not aim at a backend."""
        self._spared.add(pid)

    def quoted(self, name):
        """Stand in for the function by which django-tenants quotes a name in a SET."""
        is_hit = not self._out.is_set() and threading.get_ident() != self._main
        if is_hit and self._chance.random() < 0.02:
            self.counts["SET failed"] += 1
            raise DatabaseError("canceling statement due to user request")
        return '"{}"'.format(name.replace('"', '""'))

    def _run(self):
        facts = {key: self._params[key] for key in ("dbname", "user", "host", "port", "password")
                 if key in self._params}  # fmt: skip
        with psycopg.connect(**facts, autocommit=True) as own:
            self._spared.add(own.info.backend_pid)
            while not self._out.wait(PACE_SECONDS):
                how = self._chance.choice(["pg_cancel_backend"] * 3 + ["pg_terminate_backend"])
                rows = own.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND pid <> ALL(%s) ORDER BY pid",
                    [list(self._spared)],
                ).fetchall()
                if rows:
                    own.execute(f"SELECT {how}(%s)", self._chance.choice(rows))
                    self.counts[how] += 1


def backend_of_test():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def write_twin(tenant, run_id):
    """Write a run that has the same id and revision in every tenant, as in a copied schema."""
    context = Context({"tenant": tenant.schema_name, "text": "twin"})
    asked = submission.prepare(registry.find("chain"), context, Options(), run_id=run_id)
    with in_tenant(tenant):
        submission.submit(site_session("default"), [asked])
        PipelineExecution.objects.filter(pk=run_id).update(revision=run_id)


def schedule_once(tenant):
    """Let a schedule of the tenant's be due."""
    context = Context({"tenant": tenant.schema_name, "text": "cron"})
    with in_tenant(tenant):
        DefaultRunner().register_cron_workflow("chain", "0 0 1 1 *", "UTC", context=context)
    execute(
        f'UPDATE "{tenant.schema_name}".cloaca_schedule'
        " SET next_run_at = date_trunc('year', now()), catchup_policy = 'latest'"
    )


def prepare(tenants):
    twin = uuid.uuid4()
    for tenant in tenants:
        write_twin(tenant, twin)
        schedule_once(tenant)
    return {
        tenant.schema_name: {
            f"{text}:{step}" for text in ("twin", "cron") for step in KINDS["chain"]
        }
        for tenant in tenants
    }


def load(tenants, wanted, chance, number):
    """Write one run of a random kind into a random tenant, under a name that others have, too."""
    tenant, kind = chance.choice(tenants), chance.choice([*KINDS])
    text = f"{kind}{number}"
    enqueue(tenant, kind, text=text)
    wanted[tenant.schema_name] |= {f"{text}:{step}" for step in KINDS[kind]}


def drop_one(name):
    execute(f"DROP SCHEMA {name} CASCADE")


def half_migrate(name):
    execute(
        f"BEGIN; LOCK TABLE {name}.cloaca_run; ALTER TABLE {name}.cloaca_task RENAME TO unready;"
        f" DELETE FROM {name}.django_migrations WHERE app = 'cloaca_django'; COMMIT"
    )


def patiently(act):
    """Do what may meet a deadlock, or be cut down with somebody else."""
    for _ in range(20):
        with suppress(DatabaseError):
            act()
            return
        with suppress(DatabaseError):
            execute("ROLLBACK")
        connection.close()
    pytest.fail("a schema could not be changed")


def errors_in(tenant):
    with in_tenant(tenant):
        found = list(TaskAttempt.objects.values_list("error_message", flat=True))
        found += PipelineExecution.objects.values_list("error_message", flat=True)
        return [error for error in found if "LEAK" in error]


def check(tenant, wanted):
    """Fail if a tenant has anything of another's, or not all of its own."""
    name = tenant.schema_name
    assert marks_of(tenant) == {(name, text) for text in wanted[name]}
    assert errors_in(tenant) == []
    with in_tenant(tenant):
        for run in PipelineExecution.objects.all():
            context = decode(run.context)
            assert context["tenant"] == name
            assert all(mark.startswith(f"{name}:") for mark in context.get("marks", []))


@pytest.mark.slow
def test_no_row_of_a_tenant_is_read_or_written_by_another(
    make_tenants, make_worker, settings, monkeypatch
):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.3, "LEASE_SECONDS": 6, "SWEEP_SECONDS": 0.5}
    monkeypatch.setattr(registers, "REFRESH_SECONDS", 1.0)
    chance = random.Random(SEED)
    tenants = make_tenants(TENANTS)
    victims = make_tenants(0, "dropped", "halfway")
    wanted = prepare([*tenants, *victims])
    fire = Fire(random.Random(SEED), {backend_of_test()})
    monkeypatch.setattr("django_tenants.postgresql_backend.base.quote_schema_name", fire.quoted)
    worker = make_worker(concurrency=8, fires=True)
    began = clock.monotonic()
    for victim in victims:
        load([victim] * 2, wanted, chance, 0)
    deeds = [
        (SECONDS / 3, partial(drop_one, "dropped")),
        (SECONDS / 2, partial(half_migrate, "halfway")),
    ]
    written = 0
    with fire:
        while (spent := clock.monotonic() - began) < SECONDS or deeds:
            load(tenants, wanted, chance, written)
            written += 1
            if deeds and spent > deeds[0][0]:
                patiently(deeds.pop(0)[1])
                fire.spare(backend_of_test())
            # Slower in a long one: what is written must be done afterwards.
            threading.Event().wait(0.02 if SECONDS < 30 else 0.1)
    end = clock.monotonic() + 60 + SECONDS
    for tenant in tenants:
        while not is_done(tenant):
            assert clock.monotonic() < end, f"{tenant}: {statuses(tenant)}, {fire.counts}"
            threading.Event().wait(0.05)
    for tenant in tenants:
        check(tenant, wanted)
    assert schemas_of_tenants() == {tenant.schema_name for tenant in tenants} | {"halfway"}
    assert fire.counts["SET failed"] > 0
    assert fire.counts["pg_cancel_backend"] > 0
    assert fire.counts["pg_terminate_backend"] > 0
    account.NOTES[f"{TENANTS} tenants under fire"] = (
        f"{written + len(wanted) * 2} runs, {worker.settled_tasks} tasks settled, "
        + ", ".join(f"{count} x {what}" for what, count in sorted(fire.counts.items()))
    )
