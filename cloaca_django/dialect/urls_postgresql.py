"""PostgreSQL URLs: the address by django-environ, the options from a list of known ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import environ

from cloaca_django.dialect import schemas
from cloaca_django.dialect.url_parts import (
    Options,
    RefusedError,
    decode,
    one_of,
    read_options,
    text,
    whole_number,
)

if TYPE_CHECKING:
    from cloaca_django.dialect.urls import DatabaseUrl

VENDOR = "postgresql"
DEFAULT_PORT = "5432"
CONNECT_SECONDS = 10

_ADDRESS = re.compile(r"(?:(?P<login>[^/@]*)@)?(?P<hosts>[^/@]*)(?:/(?P<name>.*))?")
_HOST = re.compile(r"(?P<host>\[[^]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SEARCH_PATH = re.compile(r"search[_-]path\s*=\s*((?:\\.|\S)+)")
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})


def _same(*values: str) -> dict[str, str]:
    return {value: value for value in values}


# libpq knows many more. Those that read files or name another server are left to the environment
# (PGSSLROOTCERT, PGPASSFILE), where whoever writes a URL does not reach them.
OPTIONS = {
    "sslmode": one_of(
        "sslmode", _same("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    ),
    "channel_binding": one_of("channel_binding", _same("disable", "prefer", "require")),
    "connect_timeout": whole_number("connect_timeout", 1, 300),
    "application_name": text("application_name", 63),
    "target_session_attrs": one_of(
        "target_session_attrs",
        _same("any", "read-write", "primary"),
        reason=": the engine must write",
    ),
    "host": text("host", 255),
    "options": text("options", 1000),
}


def read(rest: str) -> dict[str, Any]:
    """Return the fields of a URL from what follows ``postgresql://``."""
    address, _, query = rest.partition("?")
    if "#" in rest or "@" in query:
        raise RefusedError("in a user or password write # as %23, ? as %3F, @ as %40, / as %2F")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RefusedError("malformed; in a user or password write @ as %40 and / as %2F")
    options = read_options(query, OPTIONS)
    hosts, ports = _read_hosts(match["hosts"])
    entry = _split(match)
    host = options.pop("host", "") or ",".join(hosts)
    _check_hosts(host, hosts, ports, options)
    return {
        "vendor": VENDOR,
        "name": entry["NAME"],
        "user": entry["USER"],
        "password": entry["PASSWORD"],
        "host": host,
        "port": ",".join(ports),
        "options": tuple(options.items()),
    }


def spell(url: DatabaseUrl, password: str) -> str:
    """Return the URL without its query, and with ``password`` in the place of its own."""
    login = quote(url.user, safe="") + (f":{password}" if url.password else "")
    hosts = url.host.split(",")
    ports = url.port.split(",") if url.port else [""] * len(hosts)
    places = (_spell_host(*place) for place in zip(hosts, ports, strict=False))
    return (
        f"postgresql://{login}{'@' if login else ''}{','.join(places)}/{quote(url.name, safe='')}"
    )


def settings(url: DatabaseUrl, pool_size: int | None) -> dict[str, Any]:
    """Return the entry for ``DATABASES``, with Django's psycopg pool when it has a size."""
    options = _options(url)
    if pool_size is not None:
        options["pool"] = {
            "min_size": 0,
            "max_size": pool_size,
            "timeout": float(options["connect_timeout"]),
        }
    return {
        **_bound(url, options),
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.name,
        "USER": url.user,
        "PASSWORD": url.password,
        "HOST": url.host,
        "PORT": url.port,
        # Django refuses a pool whose connections also live on outside it.
        "CONN_MAX_AGE": None if pool_size is None else 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def connection_params(url: DatabaseUrl) -> dict[str, Any]:
    """Return the parameters of a connection that is not Django's."""
    place = {"dbname": url.name, "user": url.user, "password": url.password}
    place |= {"host": url.host, "port": url.port}
    return _options(url) | {key: value for key, value in place.items() if value}


def _options(url: DatabaseUrl) -> dict[str, Any]:
    options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "cloaca"}
    options |= dict(url.options)
    options["connect_timeout"] = int(options["connect_timeout"])
    return options


def _bound(url: DatabaseUrl, options: dict[str, Any]) -> dict[str, str]:
    """Let connections be born in the URL's schema; return what the alias is to know of it."""
    if not url.schema:
        return {}
    options["options"] = schemas.startup_options(url.schema, options.get("options", ""))
    if "pool" in options:
        options["pool"]["reset"] = schemas.return_to_schema
    return {schemas.KEY: url.schema}


def is_same(url: DatabaseUrl, settings_dict: Mapping[str, Any]) -> bool:
    """Say whether the alias reaches the same schema of the same database as the same user.

    Another user is another login with rights of its own, never to be swapped for the alias's. A
    URL bound to a schema is no alias of the site's: its connections are born elsewhere.
    """
    engine = str(settings_dict.get("ENGINE", ""))
    if url.schema or not engine.endswith((".postgresql", ".postgis", "postgresql_backend")):
        return False
    given = settings_dict.get("OPTIONS", {}).get("options", "")
    if _path(dict(url.options).get("options", "")) != _path(given):
        return False
    return _identity(url.host, url.port, url.name, url.user) == _identity(
        *(str(settings_dict.get(key) or "") for key in ("HOST", "PORT", "NAME", "USER"))
    )


def _path(options: object) -> str:
    """Return the search path that startup options set, as written; empty: none. The last counts."""
    found = _SEARCH_PATH.findall(str(options or ""))
    return found[-1] if found else ""


def _identity(host: str, port: str, name: str, user: str) -> tuple[object, ...]:
    hosts = tuple("" if one in _LOCAL else one for one in host.lower().split(","))
    ports = tuple(port.split(",")) if port else (DEFAULT_PORT,) * len(hosts)
    return hosts, ports, name, user


def _split(match: re.Match[str]) -> dict[str, Any]:
    """Return user, password and database as django-environ reads them."""
    raw_name = match["name"] or ""
    if "/" in raw_name:
        raise RefusedError("one database name, please: write a slash in it as %2F")
    name = decode(raw_name)
    if not name:
        raise RefusedError("database name missing; write postgresql://host/database")
    if len(name.encode()) > 63:
        raise RefusedError("a database name has at most 63 bytes")
    decode(match["login"] or "")  # refuses bad escapes, which django-environ would keep
    # django-environ would take brackets for those of a host, and read escapes beside them twice.
    login = quote(match["login"] or "", safe="%:")
    entry: dict[str, Any] = environ.Env.db_url_config(f"postgresql://{login}@host/name")
    # Nor the name: a plus sign would be a space, and what a slash follows another host.
    return {**entry, "NAME": name}


def _read_hosts(text: str) -> tuple[list[str], list[str]]:
    """Return hosts and ports; no ports when none is given."""
    hosts, ports = [], []
    for part in text.split(",") if text else ():
        match = _HOST.fullmatch(part)
        if match is None:
            raise RefusedError("malformed IPv6 host; write it in brackets, as in [::1]")
        if match["port"] is not None and not _is_port(match["port"]):
            raise RefusedError("port must be 1-65535")
        hosts.append(_read_host(match["host"]))
        ports.append(match["port"] or "")
    if any(ports):
        ports = [str(int(port or DEFAULT_PORT)) for port in ports]
    return hosts, ports if any(ports) else []


def _read_host(raw: str) -> str:
    if not raw.startswith("["):
        return decode(raw)
    try:
        ipaddress.IPv6Address(raw[1:-1])
    except ValueError:
        raise RefusedError("malformed IPv6 host; write it in brackets, as in [::1]") from None
    return raw[1:-1]


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _check_hosts(host: str, hosts: list[str], ports: list[str], options: Options) -> None:
    if not host:
        raise RefusedError("host missing; a socket's directory goes into ?host=/directory")
    for one in host.split(","):
        if not one.startswith("/") and ":" not in one and not _HOST_NAME.fullmatch(one):
            raise RefusedError("a host has letters, digits, dots, hyphens and underscores")
    if "," in host and options.get("target_session_attrs") != "read-write":
        raise RefusedError("several hosts need target_session_attrs=read-write")
    if len(ports) > 1 and len(ports) != len(host.split(",")):
        raise RefusedError("as many ports as hosts are needed, or one, or none")


def _spell_host(host: str, port: str) -> str:
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{shown}:{port}" if port else shown
