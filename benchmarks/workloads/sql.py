"""The SQL of one-task runs and of a chain, counted in the server's log; nothing here is timed.

Counts do not depend on how busy the machine is, so one round is enough.
"""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Bench
from benchmarks.database import Sql
from benchmarks.figures import Figure, Record, number
from benchmarks.postgresql import PostgresDatabase

ROUNDS = 1
CHAINS = {3: 20, 100: 2}  # of which length how many
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
    Figure("waits for the disk per chain of three", number("chain3_flushes")),
    Figure("statements per chain of a hundred", number("chain100_statements")),
    Figure("waits for the disk per chain of a hundred", number("chain100_flushes")),
)


def measure(bench: Bench) -> Record:
    if not isinstance(bench.database, PostgresDatabase):
        return {}
    return _queued(bench, bench.database) | _graphs(bench, bench.database)


def _queued(bench: Bench, database: PostgresDatabase) -> Record:
    count, live = bench.plan.sql_runs, bench.plan.live_runs
    with database.counting() as counted:
        bench.peer.submit_many(count)
        with bench.worker() as worker:
            bench.drain(worker)
            record = _per_run("bulk", counted(), count)
    with bench.ready_worker() as worker, database.counting() as counted:
        bench.peer.submit_each(live)
        bench.drain(worker)
        return record | _per_run("live", counted(), live)


def _graphs(bench: Bench, database: PostgresDatabase) -> Record:
    record: Record = {}
    with bench.executing():
        for length, times in CHAINS.items():
            run = partial(bench.peer.chain, length)
            run()
            with database.counting() as counted:
                for _ in range(times):
                    run()
                record |= _per_run(f"chain{length}", counted(), times)
            record[f"chain{length}_flushes"] = database.flushes_per(
                run, times, quick=bench.peer.single
            )
    return record


def _per_run(name: str, sql: Sql, runs: int) -> Record:
    return {
        f"{name}_statements": sql.statements / runs,
        f"{name}_control_statements": sql.control / runs,
        f"{name}_transactions": sql.transactions / runs,
        f"{name}_wal_bytes": sql.wal_bytes / runs,
    }
