"""The table of a soak."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from django.db import connection

from cloaca_django.core.states import AttemptOutcome
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from tests.soak.plan import FAULTS, NONE, Plan
from tests.soak.recovery import percentile
from tests.soak.sites import entered, schemas

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Totals:
    """What the store came to, over all tenants."""

    runs: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    # Of the tasks that note their starts, which are those that are not atomic.
    starts: int = 0
    started: int = 0
    failures: int = 0
    fires: int = 0


def count() -> Totals:
    """Count what there is now."""
    totals = Totals()
    for schema in schemas():
        with entered(schema), connection.cursor() as cursor:
            runs = PipelineExecution.objects.values_list("status", "origin")
            for status, origin in runs.iterator():
                totals.runs[status] += 1
                totals.origins[origin] += 1
            totals.tasks += TaskExecution.objects.count()
            cursor.execute("SELECT count(*), count(DISTINCT task_id) FROM crash_started")
            starts, started = cursor.fetchone()
            totals.starts += starts
            totals.started += started
            failed = TaskAttempt.objects.filter(outcome=AttemptOutcome.FAILED)
            totals.failures += failed.exclude(task__policy__contains='"atomic"').count()
            cursor.execute("SELECT count(*) FROM crash_journal WHERE kind = 'fire'")
            totals.fires += cursor.fetchone()[0]
    return totals


def rows(
    plan: Plan,
    totals: Totals,
    *,
    counts: Mapping[str, int],
    delays: Mapping[str, list[float]],
    more: Iterable[tuple[str, str]],
    violations: Iterable[str],
) -> list[tuple[str, str]]:
    """Return the lines of the table: what, and how much."""
    return [
        ("database", title()),
        ("commit, seed", f"{commit()}, {plan.seed}"),
        ("machine", machine()),
        (
            "lease, sweep",
            f"{plan.lease_seconds:g} s, {plan.sweep_seconds:g} s"
            + (" (the defaults)" if plan.lease is None else ""),
        ),
        ("time under load", f"{plan.seconds:g} s, {plan.rate:.1f} runs/s submitted"),
        ("faults injected", _faults(plan, counts)),
        ("runs", f"{sum(totals.runs.values()):,} ({_words(totals.runs)})"),
        ("started by", _words(totals.origins)),
        ("times of schedules", f"{totals.fires:,}"),
        ("tasks", f"{totals.tasks:,}"),
        (
            "executions per task",
            f"{totals.starts / max(1, totals.started):.3f};"
            f" attempts that failed, {totals.failures / max(1, totals.started):.3f} per task",
        ),
        *(_recovery(how, seconds) for how, seconds in sorted(delays.items())),
        *more,
        ("violations", str(len(list(violations)))),
    ]


def _recovery(how: str, seconds: list[float]) -> tuple[str, str]:
    p50, p95 = percentile(seconds, 0.5), percentile(seconds, 0.95)
    return (
        f"recovery, {how}",
        f"p50 {p50:.1f} s, p95 {p95:.1f} s, max {seconds[-1]:.1f} s ({len(seconds)} tasks)",
    )


def _faults(plan: Plan, counts: Mapping[str, int]) -> str:
    if not plan.faults:
        return NONE
    tried = [f"{name} {counts.get(name, 0)}" for name in plan.faults if name in FAULTS]
    others = [f"{name} {number}" for name, number in counts.items() if name not in FAULTS]
    number = sum(counts.get(name, 0) for name in plan.faults)
    return f"{number}: {', '.join([*tried, *others])}"


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.most_common())


def table(lines: Iterable[tuple[str, str]]) -> str:
    """Return the table as Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {much} |" for what, much in lines)])


def title() -> str:
    """Return the kind and the version of the database."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            return f"SQLite {cursor.fetchone()[0]}"
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0]}, {len(schemas())} tenants"


def commit() -> str:
    """Return which code this is; with a plus when it has changes that are in no commit."""
    head = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{head or 'unknown'}{'+' * bool(changed)}"


def _git(*arguments: str) -> str:
    try:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def machine() -> str:
    """Return what this runs on."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}"
    )
