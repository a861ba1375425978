"""The ``CLOACA`` setting: defaults, types, bounds, and reading at access."""

from __future__ import annotations

import inspect

import pytest

from cloaca_django import conf
from cloaca_django.errors import InvalidConfig

DEFAULTS = {
    "HEARTBEAT_SECONDS": 5,
    "LEASE_SECONDS": 30,
    "SWEEP_SECONDS": 10,
    "MAX_CRASHES": 3,
    "CONCURRENCY": 4,
    "QUEUES": ("default",),
    "MAX_PARKED_THREADS": 64,
    "MAX_ABANDONED_THREADS": 8,
    "MAX_CONCURRENT_TASKS_PER_TENANT": None,
    "MEMORY_BYTES": 64 * 1024 * 1024,
    "TASK_TIMEOUT_SECONDS": 300,
    "PIPELINE_TIMEOUT_SECONDS": 3600,
    "MAX_CONTEXT_BYTES": 1024 * 1024,
    "SHUTDOWN_TIMEOUT_SECONDS": 30,
    "CRON_POLL_INTERVAL_SECONDS": 30,
    "CRON_MAX_CATCHUP_EXECUTIONS": 100,
    "LOG_CAPTURE": True,
    "LOG_CAPTURE_BYTES": 65536,
    "RETENTION_DAYS": 90,
    "REDACT_KEYS": (),
    "ADMIN_POLL_SECONDS": 2,
    "ADMIN_DELETE_RUNS": False,
    "MONITORING_ACCESS": "staff",
    "MONITORING_TOKEN": None,
    "MONITORING_TIMEOUT_SECONDS": 5,
    "DATABASE": "default",
    "NOTIFY": True,
    "EAGER": False,
    "DURABILITY": "full",
    "STRICT": False,
}


def test_every_key_has_its_default(settings):
    settings.CLOACA = {}
    assert {name: getattr(conf.settings, name) for name in conf.NAMES} == DEFAULTS


def test_a_site_without_the_setting_has_the_defaults_too(settings):
    if hasattr(settings, "CLOACA"):
        del settings.CLOACA
    assert conf.settings.LEASE_SECONDS == 30


def test_values_are_read_at_access(settings):
    settings.CLOACA = {"CONCURRENCY": 9}
    assert conf.settings.CONCURRENCY == 9
    settings.CLOACA = {"CONCURRENCY": 10}
    assert conf.settings.CONCURRENCY == 10


def test_every_key_says_what_it_is_for():
    for name in conf.NAMES:
        assert inspect.getdoc(getattr(conf.Settings, name))


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("PIPELINE_TIMEOUT_SECONDS", None, None),
        ("RETENTION_DAYS", None, None),
        ("ADMIN_POLL_SECONDS", None, None),
        ("RETENTION_DAYS", 0.5, 0.5),
        ("MAX_CONCURRENT_TASKS_PER_TENANT", 3, 3),
        ("QUEUES", ["mail", "default"], ("mail", "default")),
        ("REDACT_KEYS", ["iban"], ("iban",)),
        ("HEARTBEAT_SECONDS", 0.2, 0.2),
    ],
)
def test_other_values_are_taken(settings, name, value, seen):
    settings.CLOACA = {name: value}
    assert getattr(conf.settings, name) == seen


NUMBERS = [name for name, value in DEFAULTS.items() if type(value) is int]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, True, "8", [], float("nan"), float("inf"), 10**15])
def test_a_number_out_of_its_range_or_type_is_refused(settings, name, value):
    settings.CLOACA = {name: value}
    with pytest.raises(InvalidConfig, match=f'CLOACA."{name}".'):
        getattr(conf.settings, name)


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"CONCURRENCY": 1.5}, "CONCURRENCY", "whole number from 1 to 512"),
        ({"CONCURRENCY": 0}, "CONCURRENCY", "whole number from 1 to 512"),
        (
            {"MAX_CONCURRENT_TASKS_PER_TENANT": 0},
            "MAX_CONCURRENT_TASKS_PER_TENANT",
            "from 1 to 512 or None",
        ),
        ({"TASK_TIMEOUT_SECONDS": 0}, "TASK_TIMEOUT_SECONDS", "from 1 to 604800"),
        ({"LEASE_SECONDS": 14}, "LEASE_SECONDS", "at least 3 x HEARTBEAT_SECONDS"),
        (
            {"PIPELINE_TIMEOUT_SECONDS": 60},
            "PIPELINE_TIMEOUT_SECONDS",
            "at least TASK_TIMEOUT_SECONDS",
        ),
        ({"LOG_CAPTURE": 1}, "LOG_CAPTURE", "True or False"),
        ({"EAGER": "yes"}, "EAGER", "True or False"),
        ({"DATABASE": "elsewhere"}, "DATABASE", "an alias of DATABASES"),
        ({"DATABASE": 3}, "DATABASE", "an alias of DATABASES"),
        ({"QUEUES": "mail"}, "QUEUES", "a list"),
        ({"QUEUES": []}, "QUEUES", "one queue or more"),
        ({"QUEUES": ["a,b"]}, "QUEUES", "letters, digits"),
        ({"QUEUES": ["a", "a"]}, "QUEUES", "twice"),
        ({"REDACT_KEYS": [""]}, "REDACT_KEYS", "non-empty"),
        ({"RETENTION_DAYS": 0}, "RETENTION_DAYS", "or None"),
        ({"ADMIN_POLL_SECONDS": 1}, "ADMIN_POLL_SECONDS", "or None"),
        ({"ADMIN_DELETE_RUNS": "no"}, "ADMIN_DELETE_RUNS", "True or False"),
        ({"MONITORING_ACCESS": "all"}, "MONITORING_ACCESS", "must be one of 'staff', 'anyone'"),
        ({"MONITORING_ACCESS": ["staff"]}, "MONITORING_ACCESS", "must be one of"),
        ({"MONITORING_TOKEN": "short"}, "MONITORING_TOKEN", "16 characters or more"),
        ({"MONITORING_TOKEN": b"0123456789abcdef"}, "MONITORING_TOKEN", "16 characters or more"),
        ([], "EAGER", "must be a dict"),
        (None, "EAGER", "must be a dict"),
    ],
)
def test_a_bad_value_is_refused_in_words_that_help(settings, given, name, words):
    settings.CLOACA = given
    with pytest.raises(InvalidConfig) as caught:
        getattr(conf.settings, name)
    assert words in str(caught.value)


def test_a_bad_token_is_a_secret_all_the_same(settings):
    settings.CLOACA = {"MONITORING_TOKEN": "S3CR3T with a space"}
    with pytest.raises(InvalidConfig) as caught:
        _ = conf.settings.MONITORING_TOKEN
    assert "S3CR3T" not in str(caught.value)
