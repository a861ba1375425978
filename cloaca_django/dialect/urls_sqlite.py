"""SQLite URLs: a file, or a database that vanishes with its runner."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloaca_django.dialect.url_parts import (
    Options,
    RefusedError,
    decode,
    one_of,
    read_options,
    whole_number,
)
from cloaca_django.errors import shown

if TYPE_CHECKING:
    from cloaca_django.dialect.urls import DatabaseUrl

VENDOR = "sqlite"
MEMORY = ":memory:"
BUSY_SECONDS = 30.0  # as upstream

_PLAIN_PATH = re.compile(
    r"(file:|/|\./|\.\./|:memory:$).*|.*\.(db|sqlite|sqlite3)(\?.*)?", re.DOTALL
)
_SWITCH = dict.fromkeys(("1", "on", "true", "yes"), "ON") | dict.fromkeys(
    ("0", "off", "false", "no"), "OFF"
)
_SYNCHRONOUS = {
    spelling: mode
    for number, mode in enumerate(("NORMAL", "FULL", "EXTRA"), start=1)
    for spelling in (str(number), mode.lower())
}
# The engine writes, so a read-only database is refused. It opens every connection in WAL mode,
# whatever journal mode is named; the modes that lose committed runs are refused all the same.
# A shared cache fails at once with "table is locked" where a private one waits (SQLite 3.40), so
# either value is taken and the cache stays private.
OPTIONS = {
    "mode": one_of("mode", {"rwc": "rwc", "rw": "rw"}, reason=": the engine must write"),
    "_journal_mode": one_of(
        "journal mode",
        {mode.lower(): mode for mode in ("WAL", "DELETE", "TRUNCATE", "PERSIST")},
        reason=": OFF and MEMORY can lose runs that were committed",
    ),
    "_busy_timeout": whole_number("_busy_timeout (milliseconds)", 1, 600_000),
    "_synchronous": one_of(
        "_synchronous", _SYNCHRONOUS, reason=": OFF can lose runs that were committed"
    ),
    "_foreign_keys": one_of("_foreign_keys", _SWITCH),
    "cache": one_of("cache", {"private": "private", "shared": "shared"}),
}


def is_plain_path(url: str) -> bool:
    """Say whether ``url`` is a path, or a ``file:`` URI, rather than a URL with a scheme."""
    is_url = "://" in url.partition("?")[0] and not url.startswith("file:")
    return not is_url and _PLAIN_PATH.fullmatch(url) is not None


def read(rest: str) -> dict[str, Any]:
    """Return the fields of a URL from what follows ``sqlite://``."""
    _refuse_fragment(rest)
    address, _, query = rest.partition("?")
    return _fields(decode(address), query)


def read_plain(path: str) -> dict[str, Any]:
    """Return the fields of a URL from a plain path or a ``file:`` URI."""
    address, _, query = path.partition("?")
    if address.startswith("file:"):
        _refuse_fragment(path)
        address = decode(re.sub(r"^file:(//(?=/))?", "", address))
        if address.startswith("//"):
            raise RefusedError("a file: URI names no host; write file:/path or file:path")
    # One slash more: after a scheme the first one only ends the empty host.
    return _fields("/" + address if address.startswith("/") else address, query)


def _refuse_fragment(text: str) -> None:
    # A path alone is no URL: there a number sign is a letter as any other.
    if "#" in text:
        raise RefusedError("a database URL has no #fragment; in a file's name write # as %23")


def _fields(path: str, query: str) -> dict[str, Any]:
    options = read_options(query, OPTIONS)
    in_memory = path.removeprefix("/") == MEMORY
    name = MEMORY if in_memory else str(_existing_place(path, options))
    return {"vendor": VENDOR, "name": name, "options": tuple(options.items())}


def spell(url: DatabaseUrl, password: str) -> str:
    """Return the URL without its query. A file has no password."""
    del password
    return f"sqlite:///{quote(url.name, safe='/:')}"


def settings(url: DatabaseUrl, pool_size: int | None) -> dict[str, Any]:
    """Return the entry for ``DATABASES``. A file needs no pool: each thread has its connection."""
    del pool_size
    options = dict(url.options)
    pragmas = ["PRAGMA journal_mode = WAL"]
    pragmas += [
        f"PRAGMA {key[1:]} = {options[key]}"
        for key in ("_synchronous", "_foreign_keys")
        if key in options
    ]
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": url.name,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "init_command": "; ".join(pragmas),
            "timeout": int(options.get("_busy_timeout", BUSY_SECONDS * 1000)) / 1000,
            "transaction_mode": "IMMEDIATE",
        },
    }


def is_same(url: DatabaseUrl, settings_dict: Mapping[str, Any]) -> bool:
    """Say whether the alias opens the same file."""
    if not str(settings_dict.get("ENGINE", "")).endswith((".sqlite3", ".spatialite")):
        return False
    name = os.fsdecode(settings_dict.get("NAME") or MEMORY)
    if name.startswith("file:"):
        name = name.removeprefix("file:").partition("?")[0]
    return MEMORY not in name and os.path.realpath(name) == os.path.realpath(url.name)


def _existing_place(path: str, options: Options) -> Path:
    """Return the absolute path of the file ``path`` means; its folder exists."""
    if not path.strip("/"):
        raise RefusedError("file path missing")
    try:
        file = _meant(path)
        if not file.parent.is_dir():
            raise RefusedError(f"parent directory does not exist: {shown(str(file.parent))}")
        if file.is_dir():
            raise RefusedError(f"{shown(str(file))} is a directory, not a file")
        if options.get("mode") == "rw" and not file.exists():
            raise RefusedError("the file does not exist, and only mode=rwc creates it")
    except OSError as error:
        raise RefusedError(f"the path cannot be used: {error.strerror}") from None
    return file


def _meant(path: str) -> Path:
    """Read the path as relative to the working directory, unless only "/" makes sense of it."""
    if path.startswith("//"):
        return Path("/" + path.lstrip("/"))
    # Not resolve(): the name stays the one given, symbolic links included.
    relative = Path(os.path.abspath(path.removeprefix("/")))
    if not relative.parent.is_dir() and path.startswith("/") and Path(path).parent.is_dir():
        return Path(path)
    return relative
