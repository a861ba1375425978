"""One measurement of one peer, in the peer's own environment: started by ``rounds``."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import catalogue
from benchmarks import plan as plans
from benchmarks.bench import Bench
from benchmarks.database import Database
from benchmarks.postgresql import PostgresDatabase, ServerFacts
from benchmarks.sqlite import SqliteDatabase


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # so that the worker is stopped on the way out
    order = json.loads(sys.argv[1])
    os.chdir(order["folder"])  # what a peer leaves behind goes with it
    try:
        answer = {"record": measured(order), "versions": versions(order)}
    except Exception as error:  # a peer that breaks is a result too
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    Path(order["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def measured(order: dict[str, Any]) -> dict[str, Any]:
    entry = catalogue.entry(order["entry"])
    workload = importlib.import_module(f"benchmarks.workloads.{order['workload']}")
    peers = importlib.import_module(f"benchmarks.peers.{entry.peer}")
    database = database_for(entry, order)
    database.create()
    try:
        peer = peers.create(database, entry.options)
        peer.open()
        try:
            bench = Bench(
                peer,
                getattr(plans, order["size"]),
                database,
                Path(order["folder"]),
                Path(order["log"]),
            )
            record: dict[str, Any] = workload.measure(bench)
            return record
        finally:
            peer.close()
    finally:
        database.drop()


def database_for(entry: catalogue.Entry, order: dict[str, Any]) -> Database:
    if entry.database == SqliteDatabase.kind:
        return SqliteDatabase(Path(order["folder"]))
    name = re.sub(r"\W", "_", f"bench_{entry.key}")
    return PostgresDatabase(ServerFacts(**order["server"]), name)


def versions(order: dict[str, Any]) -> dict[str, str]:
    """Of what the peer's file requires, and of the driver."""
    found = {}
    for requirement in (*catalogue.entry(order["entry"]).requirements, "psycopg"):
        plain = re.split(r"[\[<>=!~]", requirement)[0]
        name = catalogue.OWN if requirement == "{project}" else plain
        found[name] = importlib.metadata.version(name)
    return found


def _end(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):  # the shell's and the harness's: one is enough
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
