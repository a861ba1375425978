"""The SQL of one-task runs and of a chain, counted in the server's log; nothing here is timed.

Counts do not depend on how busy the machine is, so one round is enough.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.database import Sql
from benchmarks.figures import Figure, Record, number

ROUNDS = 1
CHAINS = 20
TITLE = "SQL sent (BEGIN and COMMIT count as statements)"
FIGURES = (
    Figure("statements per run, bulk submission and drain", number("bulk_statements")),
    Figure("transactions per run, bulk submission and drain", number("bulk_transactions")),
    Figure("WAL bytes per run, bulk submission and drain", number("bulk_wal_bytes")),
    Figure("statements per run, live", number("live_statements")),
    Figure("transactions per run, live", number("live_transactions")),
    Figure("WAL bytes per run, live", number("live_wal_bytes")),
    Figure("statements per chain of three", number("chain3_statements")),
    Figure("transactions per chain of three", number("chain3_transactions")),
)


def measure(bench: Bench) -> Record:
    count = bench.plan.sql_runs
    with bench.database.counting() as counted:
        bench.peer.submit_many(count)
        with bench.worker() as worker:
            bench.drain(worker)
            record = _per_run("bulk", counted(), count)
    with bench.ready_worker() as worker, bench.database.counting() as counted:
        live = bench.plan.live_runs
        bench.peer.submit_each(live)
        bench.drain(worker)
        record |= _per_run("live", counted(), live)
    with bench.executing():
        bench.peer.chain(3)
        with bench.database.counting() as counted:
            for _ in range(CHAINS):
                bench.peer.chain(3)
            record |= _per_run("chain3", counted(), CHAINS)
    return record


def _per_run(name: str, sql: Sql, runs: int) -> Record:
    return {
        f"{name}_statements": sql.statements / runs,
        f"{name}_control_statements": sql.control / runs,
        f"{name}_transactions": sql.transactions / runs,
        f"{name}_wal_bytes": sql.wal_bytes / runs,
    }
