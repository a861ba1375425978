"""The documentation lists every setting, check, command, option and public name."""

from __future__ import annotations

import argparse
from functools import cache

import pytest
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


@pytest.mark.parametrize("name", conf.NAMES)
def test_every_setting_is_documented(name):
    assert f"`{name}`" in documentation()


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.id)
def test_every_check_is_documented(check):
    assert f"cloaca.{check.id}" in documentation()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name):
    missing = [option for option in sorted(options(name)) if f"`{option}" not in documentation()]
    assert f"`{name}" in documentation()
    assert missing == []


@pytest.mark.parametrize("name", cloaca.__all__)
def test_every_public_name_is_documented(name):
    assert name in documentation()


def test_there_are_commands():
    assert "cloaca_worker" in COMMANDS
