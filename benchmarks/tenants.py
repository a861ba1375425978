"""One worker over many tenants: what idle ones cost, how fast busy ones are, how long one waits.

``python -m benchmarks.tenants --help``. It needs the packages of the tests: the site with tenants
and the server are theirs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import django

os.environ["TEST_DATABASE"] = "tenants"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command
from django.db import connection
from django_tenants.utils import schema_context

from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
from cloaca_django.engine.shift import TenantOptions, WorkerOptions
from cloaca_django.engine.tenant_worker import TenantWorker
from cloaca_django.models import TaskExecution
from tests.tenants import template
from tests.tenants.directory.models import Tenant

NEEDED = ("cloaca_", "ledger_", "django_content_type", "django_migrations")

with WorkflowBuilder("nothing"):

    @task(id="nothing")
    def nothing(context: Context) -> None:
        """Do nothing."""


with WorkflowBuilder("short"):

    @task(id="short")
    def short(context: Context) -> None:
        """Wait as if for somebody else's answer."""
        time.sleep(0.05)


def main() -> None:
    """Measure what the command line asks for, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    # An option, and no positional: Python before 3.12 compares a default list with the choices.
    parser.add_argument(
        "--scene", action="append", choices=[*SCENES], help="may be repeated; all if not given"
    )
    parser.add_argument("--tenants", type=int, default=200, help="of the flood (%(default)s)")
    parser.add_argument("--idle", type=int, nargs="*", default=[10, 200, 1000], metavar="N")
    parser.add_argument("--busy", type=int, nargs="*", default=[1, 20, 200], metavar="N")
    parser.add_argument("--runs", type=int, default=4000, help="of all tenants (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    scenes = options.scene or [*SCENES]
    # The server of the tests is made anew each time, and stops with this process.
    call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
    # Which would be counted with what the worker does.
    connection.cursor().execute("ALTER SYSTEM SET autovacuum = off")
    connection.cursor().execute("SELECT pg_reload_conf()")
    for name in dict.fromkeys(scenes):
        SCENES[name](options)


@cache
def of_template() -> template.Template:
    """Return how a tenant's schema is made."""
    return template.migrate().of(*NEEDED)


def make_tenants(count: int, prefix: str = "t") -> list[str]:
    """Make those of so many tenants that are not there yet; returns their schemas."""
    names = [f"{prefix}{number}" for number in range(count)]
    there = set(Tenant.objects.values_list("schema_name", flat=True))
    new = [name for name in names if name not in there]
    of_template().copy_to(new)
    Tenant.objects.bulk_create(Tenant(schema_name=name, name=name) for name in new)
    return names


def enqueue(schema: str, name: str, count: int) -> None:
    """Write runs into a tenant's schema."""
    with schema_context(schema):
        DefaultRunner().enqueue_many(name, [None] * count)


@contextmanager
def worker(concurrency: int, only: list[str]) -> Iterator[TenantWorker]:
    """A worker of these tenants, which has visited all of them."""
    tenants = TenantOptions(only=frozenset(only))
    made = TenantWorker(WorkerOptions(concurrency=concurrency, tenants=tenants))
    made.start()
    try:
        yield made
    finally:
        made.stop(grace=60)


def ask(text: str) -> int:
    """Ask the server for one value."""
    connection.set_schema_to_public()
    with connection.cursor() as cursor:
        cursor.execute(text)
        return int(cursor.fetchone()[0])


def started_after(schema: str) -> list[float]:
    """Return how many seconds the runs of a tenant waited for their first claim, in order."""
    with schema_context(schema):
        rows = TaskExecution.objects.order_by("id").values_list("claimed_at", "run__created_at")
        return [(start - made).total_seconds() for start, made in rows if start]


def idle(options: argparse.Namespace) -> None:
    """Transactions a second of a worker whose tenants have nothing to do."""
    for count in options.idle:
        names = make_tenants(count)
        with worker(options.concurrency, names) as made:
            await_true(lambda made=made: made.is_idle(), 600)
            time.sleep(3)
            before, began = commits(), time.monotonic()
            time.sleep(options.seconds)
            seconds = time.monotonic() - began
            rate = (commits() - before) / seconds
        say(f"idle with {count} tenants: {rate:.1f} transactions/s")


def commits() -> int:
    """Return how many transactions the database has ended."""
    # A session tells its own every now and then only, unless it is asked to.
    time.sleep(1.1)
    return ask("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


def busy(options: argparse.Namespace) -> None:
    """Runs a second, of one task that does nothing, spread over some tenants."""
    alone = 0.0
    for count in options.busy:
        names = make_tenants(count)
        for name in names:
            enqueue(name, "nothing", options.runs // count)
        wanted = options.runs // count * count
        with worker(options.concurrency, names) as made:
            await_true(lambda made=made: made.settled_tasks > 0, 60)
            before, began = made.settled_tasks, time.monotonic()
            await_true(lambda made=made, wanted=wanted: made.settled_tasks >= wanted, 600)
            rate = (wanted - before) / (time.monotonic() - began)
        alone = alone or rate
        say(f"busy: {count} tenants: {rate:.0f} runs/s, {rate / alone:.2f} of one")


def flood(options: argparse.Namespace) -> None:
    """The wait of single runs in many small tenants beside one with 10,000 queued."""
    for name in ("nothing", "short"):
        big, *small = make_tenants(options.tenants, prefix=f"f{name}")
        enqueue(big, name, 10_000)
        with worker(options.concurrency, [big, *small]) as made:
            await_true(lambda made=made: made.settled_tasks > 20, 120)
            for schema in small:
                enqueue(schema, name, 1)
                time.sleep(options.seconds / len(small))
            await_true(lambda small=small: all(map(started_after, small)), 120)
            left = 10_000 - made.settled_tasks
        waits = sorted(started_after(schema)[0] for schema in small)
        say(
            f"flood of {name!r} ({left} left), {len(small)} small tenants: longest wait"
            f" {waits[-1] * 1000:.0f} ms, median {statistics.median(waits) * 1000:.0f} ms"
        )


def new(options: argparse.Namespace) -> None:
    """Seconds until the first run of a tenant starts that was made a moment ago."""
    make_tenants(options.tenants)
    waits = []
    names = [f"n{number}" for number in range(10)]
    for name in names:
        Tenant.objects.filter(schema_name=name).delete()

    made = TenantWorker(WorkerOptions(tenants=TenantOptions()))
    made.start()
    await_true(made.is_idle, 600)
    for number in range(10):
        (name,) = make_tenants(number + 1, prefix="n")[-1:]
        enqueue(name, "nothing", 1)
        await_true(lambda name=name: started_after(name), 60)
        waits += started_after(name)
    made.stop(grace=10)
    say(
        f"new tenant beside {options.tenants}: first run after"
        f" {statistics.median(waits) * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms"
    )


def await_true(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not in {seconds:g} s")
        time.sleep(0.01)


def say(text: str) -> None:
    """Print a figure at once."""
    print(text, flush=True)


SCENES = {"idle": idle, "busy": busy, "flood": flood, "new": new}

if __name__ == "__main__":
    main()
