"""The documentation lists every setting, check, command, option and public name."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import cache

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

import cloaca_django as cloaca
from cloaca_django import checks, conf
from tests.contract.source import pages

COMMANDS = sorted(name for name, app in get_commands().items() if app == "cloaca_django")


@cache
def documentation() -> str:
    return "\n".join(page.read_text() for page in pages())


def parser(command: BaseCommand) -> argparse.ArgumentParser:
    return command.create_parser("manage.py", "command")


def options(name: str) -> set[str]:
    """Return the options of a command that are its own."""
    of_django = {
        text for action in parser(BaseCommand())._actions for text in action.option_strings
    }
    own = parser(load_command_class("cloaca_django", name))._actions
    return {action.option_strings[-1] for action in own if action.option_strings} - of_django


def missing(wanted: Iterable[str]) -> list[str]:
    return [text for text in wanted if text not in documentation()]


def test_there_is_a_readme_and_more():
    assert "README.md" in {page.name for page in pages()}
    assert len(pages()) > 4


def test_every_setting_is_documented():
    assert missing(f"`{name}`" for name in conf.NAMES) == []


def test_every_check_is_documented():
    assert missing(f"cloaca.{check.id}" for check in checks.CHECKS) == []


def test_every_command_and_option_is_documented():
    assert {"cloaca_worker", "cloaca_run", "cloaca_status"} <= set(COMMANDS)
    assert missing(f"`{name}" for name in COMMANDS) == []
    assert missing(f"`{option}" for name in COMMANDS for option in sorted(options(name))) == []


def test_every_public_name_is_documented():
    assert missing(cloaca.__all__) == []
