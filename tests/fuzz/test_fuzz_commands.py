"""Settings and command lines that nobody would write: refused in words, and nothing is written."""

from __future__ import annotations

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django import checks, conf
from tests import workflows
from tests.fuzz.hostile import CANARY, letters, mixed, on_one_site, things
from tests.interface import commands
from tests.interface.refusals import counts

WORDS = mixed(
    ["w", "n", "-", "--", "=", "{", "}", '"a"', ":", "1", "NaN", "UTC", "*/5 * * * *", "2026-01-31",
     "\x00", "\n", "\ud800", "é", "%s", "{0}", "9" * 30, "x" * 500],
    most=4,
)  # fmt: skip
LINES = st.sampled_from(
    [
        ("cloaca_run", "{}"), ("cloaca_run", "w", "--queue={}"), ("cloaca_graph", "{}"),
        ("cloaca_run", "w", "--idempotency-key={}"), ("cloaca_schedules", "disable", "{}"),
        ("cloaca_schedules", "preview", "{}"),
        ("cloaca_schedules", "preview", "@daily", "--timezone={}"),
        ("cloaca_schedules", "enable", "{}"), ("cloaca_schedules", "trigger", "{}"),
        ("cloaca_schedules", "backfill", "n", "--from={}", "--to={}"),
        ("cloaca_status", "--database={}"), ("cloaca_prune", "--older-than={}", "--dry-run"),
        ("cloaca_worker", "--queue={}", "--concurrency=0"), ("cloaca_worker", "--processes=x{}"),
    ]
)  # fmt: skip


@pytest.fixture
def site(make_runner):
    """A site with a workflow that nobody runs."""
    workflows.single("w")
    return make_runner(using="default")


@given(st.sampled_from(sorted(conf.NAMES)) | letters, things)
def test_any_setting_is_fine_or_a_check_says_what_is_wrong(name, thing):
    with override_settings(CLOACA={name: thing}):
        said = [*checks.unknown_keys(), *checks.bad_values()]
    assert bool(said) or name in conf.NAMES
    for text in said:
        assert text.isprintable(), text
        assert len(text) <= 400
        assert CANARY not in text


@given(things)
def test_any_value_for_all_settings(thing):
    with override_settings(CLOACA=thing):
        for text in [*checks.bad_values()]:
            assert text.isprintable(), text
            assert CANARY not in text


@on_one_site
@given(LINES, WORDS)
def test_any_word_of_a_command_line(site, line, word):
    before = counts()
    ran = commands.run(*(part.replace("{}", word) for part in line))
    assert ran.code == 0 or counts() == before
    assert ran.code == 0 or ran.err
