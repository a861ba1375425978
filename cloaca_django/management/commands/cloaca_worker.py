"""``manage.py cloaca_worker``: the engine in the foreground."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections
from django.utils import autoreload

from cloaca_django import conf, tenancy, tracing
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.options import QUEUE_NAME
from cloaca_django.core.wording import counted
from cloaca_django.dialect import pooling
from cloaca_django.engine import declarations, supervisor, tether
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.process import Process, Stint, supervised
from cloaca_django.engine.shift import TenantOptions, WorkerOptions
from cloaca_django.engine.supervisor import Supervisor
from cloaca_django.errors import InvalidInput, WorkflowNotFound, listed, shown
from cloaca_django.management import command, metering, reloading
from cloaca_django.management.reloading import Reloader

MAX_PROCESSES = 64
# How long the export of the last spans may take, when no exit handler does it.
FLUSH_SECONDS = 2.0


class Command(command.Command):
    """Arguments and signals; ``engine.process`` and ``engine.supervisor`` do the work."""

    help = (
        "Run the tasks of workflows until told to stop. The first SIGTERM or SIGINT (Ctrl-C) lets"
        " running tasks finish and claims no more; what takes longer than the shutdown timeout is"
        " handed back to other workers. The second hands everything back now."
    )
    exit_codes = {
        command.DONE: "stopped as asked, or --once, --burst or --max-tasks is fulfilled",
        command.FAILED: "an error that nobody expected",
        command.TRY_AGAIN: "start it again: the database cannot be reached, too many timed-out"
        " tasks still hold threads, or the database file was moved",
    }
    is_of_one_tenant = False
    # Bodies that were handed back or timed out and still run; they must not keep the process.
    _leaves_threads = False

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add(
            "--concurrency", "-c", type=int, metavar="N",
            help="tasks at once in one process; CLOACA['CONCURRENCY'] if not given",
        )  # fmt: skip
        add(
            "--processes", type=int, default=1, metavar="N",
            help="worker processes; with 2 or more this one supervises them: it renews their"
            " leases, takes the tasks of a dead one back at once and replaces it (%(default)s)",
        )  # fmt: skip
        add(
            "--queue", "-q", action="append", metavar="NAME",
            help="serve this queue; may be repeated; CLOACA['QUEUES'] if not given",
        )  # fmt: skip
        add(
            "--workflow", "-w", action="append", metavar="NAME",
            help="serve this workflow only; may be repeated; all if not given",
        )  # fmt: skip
        add(
            "--schema", action="append", metavar="NAME",
            help="serve this tenant only; may be repeated; all tenants if not given, new ones too",
        )  # fmt: skip
        add(
            "--exclude-schema", action="append", metavar="NAME",
            help="do not serve this tenant; may be repeated",
        )  # fmt: skip
        add(
            "--no-schedules", action="store_true",
            help="fire no schedules; another worker must",
        )  # fmt: skip
        _add_reasons_to_end(parser)
        metering.add_options(parser)
        add(
            "--reload", action=argparse.BooleanOptionalAction, default=None,
            help="start anew when the code changes; on if DEBUG is",
        )  # fmt: skip

    def run_from_argv(self, argv: list[str]) -> None:
        code: Any = command.FAILED
        try:
            super().run_from_argv(argv)
            code = command.DONE
        except SystemExit as end:
            code = end.code
            raise
        finally:
            if self._leaves_threads:
                # A body that blocks, or a pool it started, would hold up the interpreter's exit.
                logging.shutdown()
                tracing.flush(FLUSH_SECONDS)
                self.stdout.flush()
                self.stderr.flush()
                os._exit(code if isinstance(code, int) else command.DONE)

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options, warns=not tether.is_supervised())
        worker, stint = _worker_options(alias, options), _stint(options)
        reloads = _reloads(options)
        metering.check(options)
        count = _checked("processes", options["processes"], low=1, high=MAX_PROCESSES)
        if count > 1 and not supervisor.is_possible():
            raise command.refused("--processes above 1 needs a POSIX system")
        if reloading.is_trial():
            return
        if worker.tenants is None:
            command.require_tables(alias)
        if worker.firing is not None:
            _sync_schedules(alias, has_tenants=worker.tenants is not None)
        _let_go(alias)
        with metering.counting(options, self._say, is_supervised=tether.is_supervised()):
            code = self._run(worker, stint, count=count, reloads=reloads)
        if code:
            raise SystemExit(code)

    def _run(self, worker: WorkerOptions, stint: Stint, *, count: int, reloads: bool) -> int:
        child = supervised(worker, stint)
        if child is not None:
            return self._work(child)
        self._say(_served(worker, count))
        work: Process | Supervisor
        if count > 1:
            arguments = autoreload.get_child_arguments()
            work = Supervisor(
                worker.alias, arguments, count=count, stint=stint, say=self._say,
                tenants=worker.tenants is not None,
            )  # fmt: skip
        else:
            work = Process(worker, stint, say=self._say)
        reloader = Reloader(work.renew, self._say) if reloads else None
        if reloader is not None:
            reloader.start()
        code = self._work(work)
        if work.is_to_renew:
            reloading.replace_process()
        return code

    def _work(self, work: Process | Supervisor) -> int:
        with command.signals_to(work.interrupt):
            code = work.run()
        if isinstance(work, Process):
            self._leaves_threads = bool(work.left_running or work.worker.crew.abandoned)
        return code

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _add_reasons_to_end(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--once", action="store_true", help="claim one time, run what was ready, and end")
    add(
        "--burst", action="store_true",
        help="end when nothing is left that could start now; what is scheduled for later stays",
    )  # fmt: skip
    add(
        "--max-tasks", type=int, metavar="N",
        help="end after N tasks; with --processes each process is replaced after N",
    )  # fmt: skip
    add(
        "--shutdown-timeout", type=float, metavar="SECONDS",
        help="what running tasks get at the end; CLOACA['SHUTDOWN_TIMEOUT_SECONDS'] if not given",
    )  # fmt: skip


def _worker_options(alias: str, options: dict[str, Any]) -> WorkerOptions:
    queues = tuple(dict.fromkeys(options["queue"] or settings.QUEUES))
    for name in queues:
        if not QUEUE_NAME.fullmatch(name):
            raise command.refused(
                f"--queue {shown(name)} is no queue name: 1 to 64 letters, digits, '.', '_' and '-'"
            )
    workflows = options["workflow"]
    for name in workflows or ():
        try:
            registry.find(name)
        except WorkflowNotFound as error:
            raise command.refused(f"--workflow: {error}") from error
    given = options["concurrency"]
    concurrency = settings.CONCURRENCY if given is None else given
    return WorkerOptions(
        alias=alias,
        concurrency=_checked("concurrency", concurrency, low=1, high=512),
        queues=queues,
        workflows=frozenset(workflows) if workflows else None,
        task_timeout_seconds=settings.TASK_TIMEOUT_SECONDS,
        claims_once=options["once"],
        durability=settings.DURABILITY,
        firing=None if options["no_schedules"] else FiringOptions.of_site(),
        tenants=_tenants(alias, options["schema"], options["exclude_schema"]),
    )


def _tenants(
    alias: str, only: list[str] | None, excluded: list[str] | None
) -> TenantOptions | None:
    if not tenancy.has_tenants(alias):
        if only or excluded:
            raise command.refused("--schema and --exclude-schema need a site with tenants")
        return None
    for option, names in (("schema", only), ("exclude-schema", excluded)):
        for name in names or ():
            command.require_tenant(alias, name, option)
    if not settings.NOTIFY:
        raise command.refused(
            'tenants need announcements, and CLOACA["NOTIFY"] is False: behind a transaction pooler'
            " nobody would hear of a tenant's work; connect the worker to the server itself"
        )
    if pooling.is_transaction_pooled(connections[alias]):
        raise command.refused(
            "a transaction pooler stands before the server: no announcement gets through, so nobody"
            " would hear of a tenant's work; connect the worker to the server itself, or to the"
            " pooler in session mode"
        )
    return TenantOptions(
        only=frozenset(only) if only else None,
        excluded=frozenset(excluded or ()),
        limit=settings.MAX_CONCURRENT_TASKS_PER_TENANT,
    )


def _sync_schedules(alias: str, *, has_tenants: bool) -> None:
    """Bring the declared schedules in; the worker does it in each tenant when it comes there."""
    try:
        if has_tenants:
            declarations.declared_schedules()
        else:
            declarations.sync(alias)
    except InvalidInput as error:
        raise command.refused(error) from error


def _stint(options: dict[str, Any]) -> Stint:
    if options["once"] and (options["burst"] or options["processes"] > 1):
        raise command.refused("--once goes with neither --burst nor --processes")
    limit, grace = options["max_tasks"], options["shutdown_timeout"]
    return Stint(
        burst=options["burst"],
        max_tasks=None if limit is None else _checked("max-tasks", limit, low=1, high=10**9),
        grace=settings.SHUTDOWN_TIMEOUT_SECONDS
        if grace is None
        else _checked("shutdown-timeout", grace, low=0, high=conf.DAY),
    )


def _checked(option: str, value: Any, *, low: int, high: int) -> Any:
    # Written so that NaN is out of range too.
    if not low <= value <= high:
        raise command.refused(f"--{option} must be from {low} to {high}, not {value}")
    return value


def _reloads(options: dict[str, Any]) -> bool:
    given = options["reload"]
    if given is None:
        is_short = options["once"] or options["burst"]
        return bool(conf.of_site("DEBUG", default=False)) and not is_short
    return bool(given)


def _served(worker: WorkerOptions, count: int) -> str:
    """Return the one line that says what this command serves."""
    names = sorted(worker.workflows or registry.names())
    served = "no workflow: none is registered; the workflows.py of each installed app is imported"
    if names:
        served = f"{counted(len(names), 'workflow')} ({listed(names, limit=8)})"
    places = f"{count} processes of {worker.concurrency}" if count > 1 else f"{worker.concurrency}"
    queues = ", ".join(worker.queues)
    return (
        f"cloaca_worker (pid {os.getpid()}) serves {served};"
        f" queues: {queues}; tasks at once: {places}; database: {worker.alias}{_tenants_of(worker)}"
    )


def _tenants_of(worker: WorkerOptions) -> str:
    tenants = worker.tenants
    if tenants is None:
        return ""
    which = listed(sorted(tenants.only), limit=8) if tenants.only else "all"
    without = f" but {listed(sorted(tenants.excluded), limit=8)}" if tenants.excluded else ""
    return f"; tenants: {which}{without}"


def _let_go(alias: str) -> None:
    """Give up the connection of the checks: the worker has its own, for as long as it runs."""
    if not connections[alias].in_atomic_block:
        connections[alias].close()
