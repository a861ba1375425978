"""Database URLs: which are understood, and the Django ``DATABASES`` entry each stands for.

Whatever is refused here is refused before anything is opened, and no error shows a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from cloaca_django.dialect import schemas, urls_postgresql, urls_sqlite
from cloaca_django.dialect.url_parts import (
    MAX_LENGTH,
    RefusedError,
    check_characters,
    redact,
)
from cloaca_django.errors import InvalidDatabaseURL, shown

_READERS: Mapping[str, ModuleType] = {
    "postgres": urls_postgresql,
    "postgresql": urls_postgresql,
    "sqlite": urls_sqlite,
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Two letters at least: C:/app.db is a path. What sqlite calls a URI of a file has one slash.
_UNSLASHED = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:(?!//)")
_FORMS = "use sqlite:///path/to/file.db or postgresql://user:password@host:5432/database"

# Django fills these in only for what DATABASES held when it started.
_DEFAULTS: Mapping[str, Any] = {
    "ATOMIC_REQUESTS": False,
    "AUTOCOMMIT": True,
    "CONN_HEALTH_CHECKS": False,
    "HOST": "",
    "PASSWORD": "",
    "PORT": "",
    "TIME_ZONE": None,
    "USER": "",
}
_TEST_DEFAULTS: Mapping[str, Any] = {
    "CHARSET": None,
    "COLLATION": None,
    "MIGRATE": True,
    "MIRROR": None,
    "NAME": None,
}


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseUrl:
    """A database URL that was understood. Neither its ``repr`` nor its ``str`` shows a password.

    ``options`` are those of the query that were checked, in the query's order. ``schema`` is the
    one its connections are bound to; empty: the database's own.
    """

    vendor: str
    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: str = ""
    options: tuple[tuple[str, str], ...] = ()
    schema: str = ""

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.redacted!r})"

    @property
    def is_memory(self) -> bool:
        """Say whether the database vanishes with its runner; ``at_file`` gives it a home."""
        return self.name == urls_sqlite.MEMORY

    @property
    def redacted(self) -> str:
        """The URL in its normal spelling, with ``***`` for the password."""
        return self._spelled("***")

    def with_password(self) -> str:
        """Return the URL in its normal spelling, for whoever is to connect; never for a message."""
        return self._spelled(quote(self.password, safe=""))

    def _spelled(self, password: str) -> str:
        shown: str = _READERS[self.vendor].spell(self, password)
        query = "&".join(f"{key}={quote(value, safe='/:,')}" for key, value in self.options)
        return f"{shown}?{query}" if query else shown

    def at_file(self, path: Path) -> DatabaseUrl:
        """Return this URL with ``path`` as its file."""
        return replace(self, name=str(path))

    def in_schema(self, name: str) -> DatabaseUrl:
        """Return this URL bound to a schema. Raises InvalidDatabaseURL, InvalidSchemaName."""
        return replace(self.with_schemas(), schema=schemas.check_name(name))

    def with_schemas(self) -> DatabaseUrl:
        """Return this URL if its kind of database has schemas. Raises InvalidDatabaseURL."""
        if not schemas.are_in(self.vendor):
            raise InvalidDatabaseURL(self.redacted, schemas.NEEDED)
        return self

    def for_login(self, user: str, password: str) -> DatabaseUrl:
        """Return this URL for another user of the same database."""
        return replace(self, user=user, password=password)

    def settings(self, pool_size: int | None = None) -> dict[str, Any]:
        """Return a complete entry for Django's ``DATABASES``.

        ``pool_size`` bounds the connections to a server; None: no pool.
        """
        if self.is_memory:
            raise LookupError("a database in memory needs a file first; see at_file()")
        entry: dict[str, Any] = _READERS[self.vendor].settings(self, pool_size)
        return {**_DEFAULTS, **entry, "TEST": dict(_TEST_DEFAULTS)}

    def same_database_as(self, settings_dict: Mapping[str, Any]) -> bool:
        """Say whether a configured alias is this database, reached as the same user."""
        if self.is_memory:
            return False
        same: bool = _READERS[self.vendor].is_same(self, settings_dict)
        return same


def parse(url: str) -> DatabaseUrl:
    """Return what ``url`` names, or raise InvalidDatabaseURL. Opens nothing.

    ``sqlite:///app.db`` and ``sqlite://app.db`` are relative to the working directory,
    ``sqlite:////srv/app.db`` is absolute, and so is ``sqlite:///srv/app.db`` when only the
    absolute folder exists. A path alone will do when it ends in .db, .sqlite or .sqlite3 or starts
    with a slash or a dot. ``sqlite:///:memory:`` is private to its runner. The other form is
    ``postgresql://user:password@host:port/database``. Each takes a list of known options.
    """
    if not isinstance(url, str):
        raise TypeError(f"a database URL is a str, not {type(url).__name__}")
    try:
        return DatabaseUrl(**_read(url))
    except RefusedError as refusal:
        # Not chained: a traceback that prints what it passed through would print the URL.
        raise InvalidDatabaseURL(redact(url), str(refusal)) from None


def _read(url: str) -> dict[str, Any]:
    if not url:
        raise RefusedError(f"empty database URL; {_FORMS}")
    if len(url) > MAX_LENGTH:
        raise RefusedError(f"longer than {MAX_LENGTH:,} characters; {_FORMS}")
    check_characters(url)
    if _UNSLASHED.match(url):
        raise RefusedError(f"a scheme is followed by ://; {_FORMS}; a file's path may start ./")
    if urls_sqlite.is_plain_path(url):
        return urls_sqlite.read_plain(url)
    match = _SCHEME.match(url)
    if match is None:
        raise RefusedError(f"neither a URL nor the path of a database file; {_FORMS}")
    scheme = match[1].lower()
    if scheme not in _READERS:
        raise RefusedError(f"unsupported scheme {shown(scheme)}; {_FORMS}")
    fields: dict[str, Any] = _READERS[scheme].read(url[match.end() :])
    return fields
