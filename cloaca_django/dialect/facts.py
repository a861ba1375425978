"""What the system checks ask about a configured database. Nothing here connects to one."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloaca_django.dialect import schemas

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

SUPPORTED = ("postgresql", "sqlite")
# IS DISTINCT FROM came with 3.39; RETURNING is older. Django itself refuses an old PostgreSQL.
OLDEST_SQLITE = (3, 39)

# PgBouncer's usual port, and the one a large host gives its transaction pooler.
_POOLER_PORTS = frozenset({"6432", "6543"})
_POOLER_HOST = re.compile(r"pgbouncer|pooler", re.IGNORECASE)

_NETWORK_FILE_SYSTEM = re.compile(r"(nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|fuse\..*)")
_MOUNTS = Path("/proc/self/mounts")

_SECONDS_IN = {"ms": 0.001, "": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_IDLE_LIMIT = re.compile(
    r"idle_in_transaction_session_timeout\s*=\s*'?(?P<number>\d+)\s*(?P<unit>ms|s|min|h|)\b"
)

ADVICE = """In DATABASES:
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode = WAL",
    },"""


def kind(database: BaseDatabaseWrapper) -> str:
    """Return the kind of database, for a message; with its version if that is too old."""
    return f"SQLite {sqlite3.sqlite_version}" if _is_too_old(database) else database.vendor


def title(database: BaseDatabaseWrapper) -> str:
    """Return kind and version of an open database, for people; with a tenant's schema."""
    if database.vendor == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    version: int = database.pg_version  # type: ignore[attr-defined]
    schema = schemas.schema_of(database)
    return f"PostgreSQL {version // 10_000}" + (f", {schema}" if schema else "")


def is_missing(database: BaseDatabaseWrapper) -> bool:
    """Say whether the settings name no engine for an alias; Django then puts a dummy there."""
    return bool(database.settings_dict["ENGINE"] == "django.db.backends.dummy")


def is_supported(database: BaseDatabaseWrapper) -> bool:
    """Say whether the engine knows this kind of database, and the library is new enough."""
    return database.vendor in SUPPORTED and not _is_too_old(database)


def supported() -> str:
    """Return in words what is supported."""
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return f"{' or '.join(SUPPORTED)}, SQLite from {oldest} on"


def _is_too_old(database: BaseDatabaseWrapper) -> bool:
    return database.vendor == "sqlite" and sqlite3.sqlite_version_info[:2] < OLDEST_SQLITE


def has_schemas(database: BaseDatabaseWrapper) -> bool:
    """Say whether tenants can have a schema each."""
    return schemas.are_in(database.vendor)


def has_one_writer(database: BaseDatabaseWrapper) -> bool:
    """Say whether a transaction keeps every other one from writing."""
    return database.vendor == "sqlite"


def unsafe_options(database: BaseDatabaseWrapper) -> list[str]:
    """Return what the site's own connections to a file lack, in words; empty: nothing."""
    if database.vendor != "sqlite":
        return []
    options = database.settings_dict["OPTIONS"]
    lacks = []
    if str(options.get("transaction_mode") or "DEFERRED").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        lacks.append("IMMEDIATE transactions")
    if not _asks_for_wal(options) and not _is_in_wal_mode(_file(database)):
        lacks.append("WAL mode")
    return lacks


def is_on_network(database: BaseDatabaseWrapper) -> bool:
    """Say whether the database is a file on a network file system, where locks are not reliable.

    Known on Linux only; elsewhere the answer is no.
    """
    if database.vendor != "sqlite" or not _MOUNTS.exists():
        return False
    file = _file(database)
    return file is not None and _NETWORK_FILE_SYSTEM.fullmatch(_file_system(file)) is not None


def is_behind_pooler(database: BaseDatabaseWrapper) -> bool:
    """Say whether the settings look like a pooler that lends a connection per transaction.

    Django asks for DISABLE_SERVER_SIDE_CURSORS there, and psycopg for prepare_threshold None.
    """
    if database.vendor != "postgresql":
        return False
    settings = database.settings_dict
    return (
        settings.get("DISABLE_SERVER_SIDE_CURSORS") is True
        or settings["OPTIONS"].get("prepare_threshold", 5) is None
        or str(settings.get("PORT")) in _POOLER_PORTS
        or _POOLER_HOST.search(str(settings.get("HOST"))) is not None
    )


def idle_limit_seconds(database: BaseDatabaseWrapper) -> float | None:
    """Return after how long the server ends an idle transaction, if the settings say so."""
    found = _IDLE_LIMIT.search(str(database.settings_dict["OPTIONS"].get("options", "")))
    if found is None or int(found["number"]) == 0:
        return None
    return int(found["number"]) * _SECONDS_IN[found["unit"]]


def _asks_for_wal(options: dict[str, Any]) -> bool:
    command = str(options.get("init_command", ""))
    return re.search(r"journal_mode\s*=\s*'?wal\b", command, re.IGNORECASE) is not None


def _is_in_wal_mode(file: Path | None) -> bool:
    """Read it from the file's header (bytes 18 and 19 are 2): the mode outlives connections."""
    try:
        with open(file or "", "rb") as opened:
            return opened.read(20)[18:20] == b"\x02\x02"
    except OSError:  # no such file yet, or not ours to read: nothing is known
        return False


def _file(database: BaseDatabaseWrapper) -> Path | None:
    name = str(database.settings_dict["NAME"])
    if ":memory:" in name or "mode=memory" in name:
        return None
    return Path(re.sub(r"^file:(//)?|\?.*$", "", name) if name.startswith("file:") else name)


def _file_system(file: Path) -> str:
    """Return the type of the file system that ``file`` is, or would be, on."""
    folder = file.absolute().parent
    mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    holding = [
        (len(point), kind)
        for point, kind in mounts
        if folder.is_relative_to(point.replace("\\040", " "))
    ]
    return max(holding, default=(0, ""))[1]
