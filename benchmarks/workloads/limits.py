"""What the database gives on this machine without any engine: rates of bare statements.

On PostgreSQL by its own `pgbench`, one client, prepared statements; on SQLite from Python, WAL and
`synchronous` FULL.
"""

from __future__ import annotations

import sqlite3

from benchmarks.bench import Bench
from benchmarks.database import commit_rate
from benchmarks.figures import Figure, Record, number
from benchmarks.postgresql import PostgresDatabase
from benchmarks.sqlite import SqliteDatabase

ONLY = ("cloaca_django", "cloaca_django:sqlite")  # once per database: no peer takes part
BATCH = 100
TITLE = "Limits: bare statements of one client, per second"
FIGURES = (
    Figure("one insert per commit", number("inserts_per_s"), "neither"),
    Figure("claim and complete, a commit each: jobs", number("single_jobs_per_s"), "neither"),
    Figure("complete and claim the next in one commit: jobs", number("fused_per_s"), "neither"),
    Figure("claim and complete by the hundred: jobs", number("batched_jobs_per_s"), "neither"),
)
TABLE = (
    "create table bench_job (id bigint primary key, state text not null, context text,"
    " owner int, claimed_at timestamp, finished_at timestamp)"
)
INDEXES = (
    "create index bench_job_todo on bench_job (id) where state = 'todo'",
    "create index bench_job_run on bench_job (owner) where state = 'run'",
)
TAKE = (
    "update bench_job set state = 'run', owner = 1, claimed_at = now() where id in (select id from"
    " bench_job where state = 'todo' order by id limit {limit} for update skip locked)"
)
END = (
    "update bench_job set state = 'done', context = '{\"a\": 1, \"b\": 2}', finished_at = now()"
    " where owner = 1 and state = 'run'"
)
INSERT = "insert into bench_insert (context) values ('{\"a\": 1}');"
FUSED = f"with ended as ({END}) {TAKE.format(limit=1)};"
MOST_PER_SECOND = {1: 6_000, BATCH: 60_000}  # jobs to have ready


def measure(bench: Bench) -> Record:
    if isinstance(bench.database, PostgresDatabase):
        return _postgresql(bench.database, bench.plan.limit_seconds)
    assert isinstance(bench.database, SqliteDatabase)
    return _sqlite(bench.database, bench.plan.limit_seconds)


def _postgresql(database: PostgresDatabase, seconds: int) -> Record:
    database.execute("create table bench_insert (id bigserial primary key, context text)")
    record: Record = {"inserts_per_s": database.pgbench(INSERT, seconds)}
    for name, batch in (("single_jobs_per_s", 1), ("batched_jobs_per_s", BATCH)):
        _fill(database, MOST_PER_SECOND[batch] * seconds)
        rate = database.pgbench(f"{TAKE.format(limit=batch)};\n{END};", seconds)
        record[name] = batch * rate
    _fill(database, MOST_PER_SECOND[1] * seconds)
    return record | {"fused_per_s": database.pgbench(FUSED, seconds)}


def _fill(database: PostgresDatabase, count: int) -> None:
    database.execute("drop table if exists bench_job")
    for statement in (TABLE, *INDEXES):
        database.execute(statement)
    database.execute(
        "insert into bench_job (id, state, context)"
        " select number, 'todo', '{\"a\": 1}' from generate_series(1, %s) number",
        count,
    )
    database.execute("vacuum analyze bench_job")


def _sqlite(database: SqliteDatabase, seconds: int) -> Record:
    connection = database.connect()
    connection.execute("pragma synchronous = full")
    connection.execute("create table bench_insert (id integer primary key, context text)")
    for statement in (TABLE, *INDEXES):
        connection.execute(statement)
    connection.execute(
        "with recursive numbers (number) as (select 1 union all select number + 1 from numbers"
        " where number < ?) insert into bench_job (id, state, context)"
        " select number, 'todo', '{\"a\": 1}' from numbers",
        (3 * MOST_PER_SECOND[BATCH] * seconds,),
    )
    try:
        return _sqlite_rates(connection, seconds)
    finally:
        connection.close()


def _sqlite_rates(connection: sqlite3.Connection, seconds: int) -> Record:
    def in_transaction(*statements: str) -> None:
        connection.execute("begin immediate")
        for statement in statements:
            connection.execute(statement)
        connection.execute("commit")

    insert = INSERT.rstrip(";")
    end = END.replace("now()", "current_timestamp")
    take_one, take_batch = (
        TAKE.format(limit=limit)
        .replace("now()", "current_timestamp")
        .replace(" for update skip locked", "")
        for limit in (1, BATCH)
    )

    def by_hundreds() -> None:
        in_transaction(take_batch)
        in_transaction(end)

    def one_by_one() -> None:
        in_transaction(take_one)
        in_transaction(end)

    return {
        "inserts_per_s": commit_rate(lambda: in_transaction(insert), seconds),
        "single_jobs_per_s": commit_rate(one_by_one, seconds),
        "fused_per_s": commit_rate(lambda: in_transaction(end, take_one), seconds),
        "batched_jobs_per_s": BATCH * commit_rate(by_hundreds, seconds),
    }
