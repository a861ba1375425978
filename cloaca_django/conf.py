"""The ``CLOACA`` setting: one typed property per key, read at access, never at import.

A property's docstring is the setting's documentation. Lengths of time end in their unit.
"""

# ruff: noqa: N802 - a property is spelled as its key is in settings.py

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings as site

from cloaca_django.core.options import FULL, QUEUE_NAME, RELAXED
from cloaca_django.errors import InvalidConfig

DAY = 86_400
MIB = 1024 * 1024
# What RFC 6750 lets a bearer token be made of.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")


class Settings:
    """What the site says in ``CLOACA``, or the default. A bad value raises InvalidConfig."""

    # Who is alive

    @property
    def HEARTBEAT_SECONDS(self) -> float:
        """How often a worker says that it is alive."""
        return _number("HEARTBEAT_SECONDS", 5, low=0.05, high=3600)

    @property
    def LEASE_SECONDS(self) -> float:
        """How long a worker may be silent before others take its tasks. At least 3 heartbeats."""
        value = _number("LEASE_SECONDS", 30, low=0.15, high=DAY)
        if value < 3 * self.HEARTBEAT_SECONDS:
            raise _invalid("LEASE_SECONDS", value, "must be at least 3 x HEARTBEAT_SECONDS")
        return value

    @property
    def SWEEP_SECONDS(self) -> float:
        """How often a worker looks for tasks whose worker is gone, and for overdue runs."""
        return _number("SWEEP_SECONDS", 10, low=0.05, high=3600)

    @property
    def MAX_CRASHES(self) -> int:
        """How often a task may lose its worker before it fails. Counted apart from attempts."""
        return _whole("MAX_CRASHES", 3, low=0, high=1000)

    # Who does how much

    @property
    def CONCURRENCY(self) -> int:
        """How many tasks one worker process runs at once."""
        return _whole("CONCURRENCY", 4, low=1, high=512)

    @property
    def MAX_CONCURRENT_TASKS_PER_TENANT(self) -> int | None:
        """How many tasks of one tenant a worker process runs at once. ``None``: all its slots."""
        if _given("MAX_CONCURRENT_TASKS_PER_TENANT", None) is None:
            return None
        name = "MAX_CONCURRENT_TASKS_PER_TENANT"
        return _whole(name, 1, low=1, high=512, note=" or None")

    @property
    def QUEUES(self) -> tuple[str, ...]:
        """Which queues a worker serves unless its command line names others."""
        value = _words("QUEUES", ("default",))
        if not value or not all(QUEUE_NAME.fullmatch(name) for name in value):
            rule = "must name one queue or more, each of letters, digits, '.', '_' and '-'"
            raise _invalid("QUEUES", value, rule)
        return value

    @property
    def MAX_PARKED_THREADS(self) -> int:
        """How many tasks of one process may wait in ``defer_until`` or for a child run at once."""
        return _whole("MAX_PARKED_THREADS", 64, low=1, high=10_000)

    @property
    def MAX_ABANDONED_THREADS(self) -> int:
        """After how many timed-out bodies that still run a worker process replaces itself."""
        return _whole("MAX_ABANDONED_THREADS", 8, low=1, high=1000)

    @property
    def MEMORY_BYTES(self) -> int:
        """How much a worker keeps in memory of the runs it drives. 0: nothing."""
        return _whole("MEMORY_BYTES", 64 * MIB, low=0, high=64 * 1024 * MIB)

    # Limits of runs and tasks

    @property
    def TASK_TIMEOUT_SECONDS(self) -> float:
        """How long one attempt of a task may take, unless its ``timeout_seconds`` says more."""
        return _number("TASK_TIMEOUT_SECONDS", 300, low=1, high=7 * DAY)

    @property
    def PIPELINE_TIMEOUT_SECONDS(self) -> float | None:
        """How long a run may take from its start. ``None``: as long as it wants."""
        name = "PIPELINE_TIMEOUT_SECONDS"
        if _given(name, 3600) is None:
            return None
        value = _number(name, 3600, low=1, high=365 * DAY, note=" or None")
        if value < self.TASK_TIMEOUT_SECONDS:
            raise _invalid(name, value, "must be at least TASK_TIMEOUT_SECONDS")
        return value

    @property
    def MAX_CONTEXT_BYTES(self) -> int:
        """How large a context may be, as JSON in UTF-8."""
        return _whole("MAX_CONTEXT_BYTES", MIB, low=1024, high=256 * MIB)

    @property
    def SHUTDOWN_TIMEOUT_SECONDS(self) -> float:
        """How long a stopping worker lets its tasks finish before it hands them back."""
        return _number("SHUTDOWN_TIMEOUT_SECONDS", 30, low=0, high=DAY)

    # Schedules

    @property
    def CRON_POLL_INTERVAL_SECONDS(self) -> float:
        """How often a worker looks for schedules whose change nobody announced."""
        return _number("CRON_POLL_INTERVAL_SECONDS", 30, low=0.05, high=3600)

    @property
    def CRON_MAX_CATCHUP_EXECUTIONS(self) -> int:
        """How many missed times a schedule with catch-up ``all`` makes up for. 0: none."""
        return _whole("CRON_MAX_CATCHUP_EXECUTIONS", 100, low=0, high=1000)

    # What is kept

    @property
    def LOG_CAPTURE(self) -> bool:
        """Whether what a task logs is stored with its attempt."""
        return _switch("LOG_CAPTURE", default=True)

    @property
    def LOG_CAPTURE_BYTES(self) -> int:
        """How much of an attempt's log is stored; the rest is cut."""
        return _whole("LOG_CAPTURE_BYTES", 65_536, low=256, high=16 * MIB)

    @property
    def RETENTION_DAYS(self) -> float | None:
        """After how many days a worker deletes a finished run. ``None``: never."""
        if _given("RETENTION_DAYS", 90) is None:
            return None
        return _number("RETENTION_DAYS", 90, low=0.01, high=36_500, note=" or None")

    @property
    def REDACT_KEYS(self) -> tuple[str, ...]:
        """Further words that mark a context's key as secret, beside password, token and the like.

        A key is secret when it holds one of them, in any case. Its value is shown as ``***``.
        """
        return _words("REDACT_KEYS", ())

    # The admin

    @property
    def ADMIN_POLL_SECONDS(self) -> float | None:
        """How often the page of an open run asks for news, at least. ``None``: no page does."""
        if _given("ADMIN_POLL_SECONDS", 2) is None:
            return None
        return _number("ADMIN_POLL_SECONDS", 2, low=2, high=3600, note=" or None")

    @property
    def ADMIN_DELETE_RUNS(self) -> bool:
        """Whether the admin lets who has the permission delete runs that ended."""
        return _switch("ADMIN_DELETE_RUNS", default=False)

    # Probes and metrics

    @property
    def MONITORING_ACCESS(self) -> str:
        """Who sees details of health and the metrics: ``staff`` who may view runs, or ``anyone``.

        Whoever has the token sees them in any case.
        """
        return _one_of("MONITORING_ACCESS", "staff", accepted=("staff", "anyone"))

    @property
    def MONITORING_TOKEN(self) -> str | None:
        """What a probe or a scraper sends as ``Authorization: Bearer ...``. ``None``: no token."""
        name = "MONITORING_TOKEN"
        value = _given(name, None)
        if value is None or (isinstance(value, str) and TOKEN.fullmatch(value)):
            return value
        # It is a secret, and the message is printed by every check.
        rule = "must be 16 characters or more, of those that a header can carry, or None"
        raise _invalid(name, "***", rule)

    @property
    def MONITORING_TIMEOUT_SECONDS(self) -> float:
        """How long a probe or a scrape waits for the database before it answers without it."""
        return _number("MONITORING_TIMEOUT_SECONDS", 5, low=0.1, high=300)

    # Where and how

    @property
    def DATABASE(self) -> str:
        """Which alias of ``DATABASES`` holds the tables."""
        value = _given("DATABASE", "default")
        if not isinstance(value, str) or (value != "default" and value not in site.DATABASES):
            raise _invalid("DATABASE", value, "must be an alias of DATABASES")
        return value

    @property
    def NOTIFY(self) -> bool:
        """Whether workers are woken by the database's notifications. Without, they poll."""
        return _switch("NOTIFY", default=True)

    @property
    def DURABILITY(self) -> str:
        """Whether every commit waits for the disk, or of a run only the one that ends it."""
        value = _given("DURABILITY", FULL)
        if not isinstance(value, str) or value not in {FULL, RELAXED}:
            raise _invalid("DURABILITY", value, f"must be {FULL!r} or {RELAXED!r}")
        return value

    @property
    def EAGER(self) -> bool:
        """Whether runs are carried out at once, on the caller's connection. For tests."""
        return _switch("EAGER", default=False)

    @property
    def STRICT(self) -> bool:
        """Whether this package's warnings of ``manage.py check`` count as errors."""
        return _switch("STRICT", default=False)


settings = Settings()

NAMES: tuple[str, ...] = tuple(
    name for name, value in vars(Settings).items() if isinstance(value, property)
)


def raw() -> Mapping[str, Any]:
    """Return ``CLOACA`` as the site wrote it; raise InvalidConfig if it is no dict."""
    value = getattr(site, "CLOACA", {})
    # A dict it is nearly always, and to ask for more takes as long as all the rest.
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidConfig("CLOACA", value, "must be a dict")
    return value


def of_site(name: str, *, default: Any) -> Any:
    """Return a setting of Django's or of another app's; for the system checks."""
    return getattr(site, name, default)


def _given(name: str, default: object) -> object:
    return raw().get(name, default)


def _invalid(name: str, value: object, rule: str) -> InvalidConfig:
    return InvalidConfig(f'CLOACA["{name}"]', value, rule)


def _number(name: str, default: float, *, low: float, high: float, note: str = "") -> float:
    value = _given(name, default)
    # True is an int to Python, but nobody means one second by it.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _invalid(name, value, f"must be a number from {low:g} to {high:g}{note}")
    return value


def _whole(name: str, default: int, *, low: int, high: int, note: str = "") -> int:
    value = _given(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise _invalid(name, value, f"must be a whole number from {low} to {high}{note}")


def _switch(name: str, *, default: bool) -> bool:
    value = _given(name, default)
    if not isinstance(value, bool):
        raise _invalid(name, value, "must be True or False")
    return value


def _one_of(name: str, default: str, *, accepted: tuple[str, ...]) -> str:
    value = _given(name, default)
    if not isinstance(value, str) or value not in accepted:
        raise _invalid(name, value, f"must be one of {', '.join(map(repr, accepted))}")
    return value


def _words(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = _given(name, default)
    if not isinstance(value, list | tuple) or not all(isinstance(w, str) and w for w in value):
        raise _invalid(name, value, "must be a list of non-empty texts")
    if len(set(value)) != len(value):
        raise _invalid(name, value, "must not name anything twice")
    return tuple(value)
