"""Probes: is the database there, are its tables, does somebody work, does work get done in time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from cloaca_django import databases, tenancy
from cloaca_django.core.states import WorkerState
from cloaca_django.core.wording import counted
from cloaca_django.dialect import is_transient, open_session
from cloaca_django.engine import overview
from cloaca_django.errors import NotInTenant

# How long the first ready task may wait before something is wrong.
MAX_READY_SECONDS = 300.0
# How late the most overdue schedule may be.
MAX_LATE_SECONDS = 300.0
# As many tenants are named when something is wrong with them.
MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found. ``is_healthy`` None: another probe's failure kept it from looking."""

    probe: str
    is_healthy: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class _Patient:
    alias: str
    max_ready_seconds: float
    max_late_seconds: float


def _database(patient: _Patient) -> Finding:
    # The engine's own way to connect: it gives up after some seconds, Django's may wait longer.
    try:
        session = open_session(patient.alias)
    except Exception as error:
        if not is_transient(error):
            raise
        return Finding("database", False, databases.first_line(error))
    try:
        at = session.clock()
    finally:
        session.close()
    return Finding("database", True, f"answers; its clock says {at:%Y-%m-%d %H:%M:%S} UTC")


def _migrations(patient: _Patient) -> Finding:
    # Of the tenant that this thread is in; in public none of our tables is wanted.
    missing = databases.unapplied(patient.alias, schema=tenancy.schema_here(patient.alias))
    if missing:
        return Finding("migrations", False, f"not applied: {', '.join(missing)}")
    return Finding("migrations", True, "all applied")


def _worker(patient: _Patient) -> Finding:
    workers = overview.read_workers(patient.alias, overview.read_clock(patient.alias))
    claiming = [worker for worker in workers if worker.is_claiming]
    if claiming:
        age = min(worker.heartbeat_age for worker in claiming)
        return Finding("worker", True, f"{len(claiming)} alive, heard of {age:.1f} s ago")
    if not workers and overview.is_tenant_served(patient.alias):
        return Finding("worker", True, "one is there, and has nothing to do here")
    if any(worker.state == WorkerState.DRAINING for worker in workers):
        return Finding("worker", False, "the only workers are draining")
    return Finding("worker", False, "no live worker; start one: manage.py cloaca_worker")


def _backlog(patient: _Patient) -> Finding:
    at = overview.read_clock(patient.alias)
    lanes = overview.read_lanes(
        patient.alias,
        at,
        workers=overview.read_workers(patient.alias, at),
        paused=overview.read_paused(patient.alias),
    )
    waiting = [lane for lane in lanes if not lane.is_paused]
    if not waiting:
        return Finding("backlog", True, "nothing waits")
    worst = max(waiting, key=lambda lane: lane.oldest_seconds)
    says = (
        f"{counted(sum(lane.count for lane in waiting), 'ready task')}, the first for "
        f"{worst.oldest_seconds:.0f} s (workflow {worst.workflow!r}, queue {worst.queue!r})"
    )
    if worst.is_stuck:
        says += "; no live worker serves it"
    return Finding("backlog", worst.oldest_seconds <= patient.max_ready_seconds, says)


def _schedules(patient: _Patient) -> Finding:
    at = overview.read_clock(patient.alias)
    found = overview.read_schedules(patient.alias, at)
    problems = []
    if found.parked:
        name, error = found.first_parked[0]
        problems.append(f"{counted(found.parked, 'schedule')} parked, first {name!r}: {error}")
    late = found.late_seconds or 0.0
    if late > patient.max_late_seconds:
        problems.append(f"{found.next_name!r} should have run {late:.0f} s ago")
    if problems:
        return Finding("schedules", False, "; ".join(problems))
    return Finding("schedules", True, f"{counted(found.enabled, 'schedule')} enabled, none is late")


# In this order: each needs those before it.
PROBES: dict[str, Callable[[_Patient], Finding]] = {
    "database": _database,
    "migrations": _migrations,
    "worker": _worker,
    "backlog": _backlog,
    "schedules": _schedules,
}
_NEEDED = ("database", "migrations")


def check(
    alias: str,
    *,
    probes: Collection[str] = tuple(PROBES),
    max_ready_seconds: float = MAX_READY_SECONDS,
    max_late_seconds: float = MAX_LATE_SECONDS,
) -> list[Finding]:
    """Run probes and return what each found. Raises nothing that a probe is there to find."""
    patient = _Patient(alias, max_ready_seconds, max_late_seconds)
    findings: list[Finding] = []
    broken = ""
    for name, probe in PROBES.items():
        if name not in probes and name not in _NEEDED:
            continue
        found = Finding(name, None, f"not checked: {broken} failed") if broken else _run(
            name, probe, patient
        )  # fmt: skip
        if name in _NEEDED and found.is_healthy is False:
            broken = name
        if name in probes or found.is_healthy is False:
            findings.append(found)
    return findings


def check_tenants(alias: str, schemas: Collection[str], **limits: Any) -> list[Finding]:
    """Run probes in each of some tenants and return what each probe found in all of them.

    ``limits`` as for ``check``. Precondition: this thread is in no tenant. It costs a dozen queries
    a tenant.
    """
    found: dict[str, dict[str, Finding]] = {}
    for schema in schemas:
        try:
            with tenancy.entered(alias, schema):
                findings = check(alias, **limits)
        except NotInTenant as error:
            findings = [Finding("database", False, str(error))]
        for finding in findings:
            found.setdefault(finding.probe, {})[schema] = finding
    return [_of_all(probe, found[probe]) for probe in PROBES if probe in found]


def _of_all(probe: str, by_schema: Mapping[str, Finding]) -> Finding:
    """Return what one probe found in many tenants: who is ill, and with what, or that nobody is."""
    ill = {schema: one for schema, one in by_schema.items() if not one.is_healthy}
    if not ill:
        return Finding(probe, True, f"in order in {counted(len(by_schema), 'tenant')}")
    words = [f"{schema}: {one.says}" for schema, one in sorted(ill.items())[:MAX_NAMED]]
    rest = f"; and {len(ill) - MAX_NAMED} more" if len(ill) > MAX_NAMED else ""
    count = f"{len(ill)} of {counted(len(by_schema), 'tenant')}"
    return Finding(probe, False, f"{count}: {'; '.join(words)}{rest}")


def _run(name: str, probe: Callable[[_Patient], Finding], patient: _Patient) -> Finding:
    try:
        return probe(patient)
    except DatabaseError as error:
        return Finding(name, False, databases.first_line(error))
