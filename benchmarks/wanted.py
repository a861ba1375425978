"""What this project wants to reach, target by target."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.catalogue import OWN
from benchmarks.plan import FULL
from benchmarks.targets import (
    Target,
    at_least,
    at_most,
    by_best,
    exactly,
    quotient,
    ratio,
    stalls,
    tail,
    value,
)

SQLITE = f"{OWN}:sqlite"
HERE = {OWN: "PostgreSQL", SQLITE: "SQLite"}
TITLES = {
    "chancy": "chancy",
    "procrastinate": "procrastinate",
    "dbos": "DBOS",
    "dbos:sqlite": "DBOS",
    "huey": "huey",
}
CHAIN = "chain3_ms"


def _rates() -> Iterator[Target]:
    for peer, bound in {"procrastinate": 12, "dbos": 20}.items():
        label = f"W1a drain, PostgreSQL, x of {TITLES[peer]}'s rate"
        yield at_least(bound, label, ratio("drain", "runs_per_s", peer))
    limit = value("limits", "batched_jobs_per_s")
    label = "W1a drain, PostgreSQL, x of bare statements by the hundred"
    yield at_least(0.1, label, quotient(value("drain", "runs_per_s"), limit))
    label = "W1b live, PostgreSQL, x of the commit probe"
    yield at_least(0.5, label, value("live", "runs_per_commit"))
    for peer, bound in {"chancy": 2, "procrastinate": 3, "dbos": 5}.items():
        label = f"W1b live, PostgreSQL, x of {TITLES[peer]}'s rate"
        yield at_least(bound, label, ratio("live", "runs_per_s", peer))
    for workload, name in {"drain": "W1a drain", "live": "W1b live"}.items():
        for peer, bound in {"huey": 2, "dbos:sqlite": 20}.items():
            label = f"{name}, SQLite, x of {TITLES[peer]}'s rate"
            yield at_least(bound, label, ratio(workload, "runs_per_s", peer, own=SQLITE))


def _costs() -> Iterator[Target]:
    for workload, how in {"live": "one by one", "drain": "in bulk"}.items():
        for peer, bound in {"chancy": 1 / 3, "procrastinate": 1 / 4, "dbos": 1 / 8}.items():
            label = f"CPU per one-task run {how}, PostgreSQL, x of {TITLES[peer]}'s"
            yield at_most(bound, label, ratio(workload, "cpu_ms", peer))
        label = f"CPU per one-task run {how}, SQLite, x of huey's"
        yield at_most(1, label, ratio(workload, "cpu_ms", "huey", own=SQLITE))
    for what, one_by_one, in_bulk in (("statements", 3, 0.2), ("transactions", 3, 0.1)):
        label = f"SQL {what} per one-task run"
        yield at_most(one_by_one, f"{label}, one by one", value("sql", f"live_{what}"))
        yield at_most(in_bulk, f"{label}, in bulk", value("sql", f"bulk_{what}"))


def _short_chains() -> Iterator[Target]:
    yield exactly(4, "W2 chain of 3, waits for the disk", value("sql", "chain3_flushes"))
    for peer, bound in {"procrastinate": 1 / 2, "dbos": 1 / 5}.items():
        label = f"W2 chain of 3, PostgreSQL, x of {TITLES[peer]}'s time"
        yield at_most(bound, label, ratio("latency", CHAIN, peer))
    label = "W2 chain of 3, SQLite, x of huey's time"
    yield at_most(1 / 2, label, ratio("latency", CHAIN, "huey", own=SQLITE))
    for own, where in HERE.items():
        label = f"W2 chain of 3, {where}, x of its statements alone"
        yield at_most(1.5, label, value("bare", "chain3_x", own))
        p99 = quotient(tail("latency", CHAIN, 99, own), value("latency", CHAIN, own))
        yield at_most(3, f"W2 chain of 3, {where}, p99 by median", p99)
        label = f"W2 chains of 3 above 100 ms, {where}, in 1,000"
        yield at_most(0, label, stalls("latency", CHAIN, own, above_ms=100))


def _graphs() -> Iterator[Target]:
    label = "W3 fan of 100, SQLite, x of huey's time"
    yield at_most(0.6, label, ratio("graphs", "fan_ms", "huey", own=SQLITE))
    for peer in ("dbos", "chancy"):
        label = f"W3 fan of 100, PostgreSQL, x of {TITLES[peer]}'s time"
        yield at_most(1 / 5, label, ratio("graphs", "fan_ms", peer))
    yield exactly(101, "W4 chain of 100, waits for the disk", value("sql", "chain100_flushes"))
    for own, where in HERE.items():
        label = f"W4 chain of 100, {where}, x of its statements alone"
        yield at_most(1.5, label, value("bare", "chain100_x", own))
    label = "W4 chain of 100, PostgreSQL, x of DBOS's time"
    yield at_most(1 / 5, label, ratio("graphs", "deep_ms", "dbos"))


def _scale() -> Iterator[Target]:
    """W5 to W8."""
    label = "W5 two processes, computing tasks, x of one's rate"
    yield at_least(1.5, label, value("processes", "busy_rate_x"))
    label = "W5 two processes, no-op tasks, x of one's CPU per run"
    yield at_most(1.1, label, value("processes", "plain_cpu_x"))
    most = FULL.growth[-1]
    for key, what in {"cpu_ms": "CPU per run", "pages": "pages touched per run"}.items():
        label = f"W6 beside {most:,} ended runs, {what}, x of beside none"
        found = quotient(value("growth", f"{key}_{most}"), value("growth", f"{key}_0"))
        yield at_most(1.1, label, found)
    for count in (0, FULL.idle_schedules[-1]):
        label = f"W7 idle, {count:,} schedules"
        statements = value("idle", f"statements_per_s_{count}")
        yield at_most(2, f"{label}, statements per second", statements)
        cpu = value("idle", f"worker_cpu_percent_{count}")
        yield at_most(0.5, f"{label}, CPU % of the worker", cpu)
    few, many = FULL.memory
    grown = quotient(value("memory", f"mib_{many}"), value("memory", f"mib_{few}"))
    yield at_most(1.1, f"W8 memory after {many:,} runs, x of after {few:,}", grown)
    yield at_most(80, "W8 memory after the first run, MiB", value("memory", "mib_start"))


def _volume() -> Iterator[Target]:
    """W9 to W11."""
    label = "W9 1,000 schedules due at once"
    yield at_most(0.5, f"{label}, seconds until submitted", value("due", "submitted_s"))
    for key, what in {"submitted_s": "submitted", "done_s": "done"}.items():
        yield at_most(1 / 5, f"{label}, {what}, x of the best peer's time", by_best("due", key))
    label = "W10 WAL per run, x of a design that stores the context with each task"
    found = quotient(value("large", "wal_kib"), value("large", "whole_wal_kib"))
    yield at_most(1 / 8, label, found)
    label = "W11 runs submitted per second in bulk, PostgreSQL"
    yield at_least(20_000, label, value("bulk", "runs_per_s"))


TARGETS = (
    *_rates(),
    *_costs(),
    *_short_chains(),
    *_graphs(),
    *_scale(),
    *_volume(),
)
