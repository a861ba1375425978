"""What the peers that live in a Django site share: its process, and graphs made by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import django
from django.core.management import call_command
from django.db import connection, connections

from benchmarks.database import Database
from benchmarks.peer import Peer

TABLES = (
    "create table bench_done (key text primary key)",
    "create table bench_join (key text primary key, done int not null)",
)


class DjangoPeer(Peer):
    """The client is a Django process, as a view would be."""

    apps = ""  # a comma list, added to the site's
    variables: Mapping[str, str] = {}  # what the site's settings read of the environment besides

    def __init__(self, database: Database, options: Mapping[str, Any]) -> None:
        super().__init__(database, options)
        self.keys = 0

    def open(self) -> None:
        os.environ.update(self.worker_variables())
        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        for table in TABLES:
            self.database.execute(table)

    def close(self) -> None:
        connections.close_all()

    def worker_variables(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
            "BENCH_DATABASE_URL": self.database.url,
            "BENCH_APPS": self.apps,
            **self.variables,
        }

    def new_key(self) -> str:
        self.keys += 1
        return f"run-{self.keys}"

    def wait_for_key(self, key: str) -> None:
        self.database.wait("select true from bench_done where key = %s", key)


def finish(key: str) -> None:
    """In a job: the graph of this key has ended."""
    with connection.cursor() as cursor:
        cursor.execute("insert into bench_done (key) values (%s)", [key])


def joined(key: str) -> int:
    """In a job: how many leaves of this key have ended, this one among them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into bench_join (key, done) values (%s, 1) on conflict (key)"
            " do update set done = bench_join.done + 1 returning done",
            [key],
        )
        return int(cursor.fetchone()[0])
