"""The documentation says what the code says: names, defaults, options, moves. Links lead somewhere.

What is expected is computed from the code, so whatever is new fails here until it is documented.
"""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

import cloaca_django as cloaca
from cloaca_django import (
    checks,
    conf,
    errors,
    health,
    metrics,
    pytest_plugin,
    signals,
    testing,
    urls,
)
from cloaca_django.core import states
from cloaca_django.core.measures import Kind
from cloaca_django.dialect import urls_postgresql, urls_sqlite
from tests.contract.source import ROOT, name_of, pages
from tests.contract.test_code_blocks import blocks

REFERENCE = ROOT / "docs" / "reference"
COMMANDS = sorted(name for name, app in get_commands().items() if app == "cloaca_django")
IMAGE = re.compile(r'(?:src|srcset)="(?P<target>[^"]+\.png)"')
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
# What the engine uses of public classes; the pages call it an affair of the engine's.
OF_THE_ENGINE = {
    "Context": {"trusted", "snapshot", "writes_since"},
    "DefaultRunnerConfig": {"fields"},
    "RetryCondition": {"accepts", "kind", "patterns", "types"},
    "BackoffStrategy": {"delay", "base", "kind", "multiplier"},
    "RetryPolicy": {"to_data", "from_data", "delay_seconds", "should_retry_error", "attempts"},
    "RetryPolicyBuilder": {"policy"},
    "TaskHandle": {"consume"},
    "Workflow": {"graph_text", "renamed"},
    "WorkflowContext": {"task_id"},
}


@cache
def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def rows(name: str) -> Iterator[list[str]]:
    """Yield the cells of every row of a page's tables, without the ticks around code."""
    for line in page(name).splitlines():
        if line.startswith("| ") and "---" not in line:
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def row(name: str, first: str) -> list[str]:
    """Return the row whose first cell is ``first``, as code or as text."""
    found = [cells for cells in rows(name) if cells[0] in {f"`{first}`", first}]
    assert len(found) == 1, f"{name}.md has {len(found)} rows for {first}"
    return found[0]


def missing(wanted: Iterable[str], text: str) -> list[str]:
    return [one for one in wanted if not re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text)]


# Links


def anchors(target: Path) -> set[str]:
    """Return what a link may name behind its ``#``, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("file", [*pages(), ROOT / "SECURITY.md"], ids=name_of)
def test_links_lead_somewhere(file: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for match in LINK.finditer(prose):
        path, _, anchor = match["target"].partition("#")
        if path.startswith(("http:", "https:")):
            continue
        target = (file.parent / path).resolve() if path else file
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(match["target"])
    assert broken == []


def test_every_page_can_be_reached() -> None:
    seen: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        file = queue.pop()
        if file in seen or file.suffix != ".md" or not file.is_file():
            continue
        seen.add(file)
        targets = (match["target"].partition("#")[0] for match in LINK.finditer(file.read_text()))
        queue += [(file.parent / target).resolve() for target in targets if target]
    assert [name_of(file) for file in pages() if file not in seen] == []


# Commands


def parser(name: str) -> argparse.ArgumentParser:
    return load_command_class("cloaca_django", name).create_parser("manage.py", name)


def actions_of(found: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every argument of a parser and of the actions below it."""
    for action in found._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions_of(below)


def own_actions(name: str) -> list[argparse.Action]:
    """Return the arguments of a command that are not Django's."""
    actions = BaseCommand().create_parser("manage.py", name)._actions
    of_django = {action.dest: action.help for action in actions}
    return [a for a in actions_of(parser(name)) if of_django.get(a.dest) != a.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_the_reference(name: str) -> None:
    section = page("commands").partition(f"## `{name}`\n")[2].partition("\n## ")[0]
    assert section, f"{name} has no section"
    common = page("commands").partition("\n## ")[0]
    options = {text for action in own_actions(name) for text in action.option_strings}
    assert missing(sorted(options), section + common) == []
    shown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", section))
    known = {text for action in actions_of(parser(name)) for text in action.option_strings}
    assert sorted(shown - known) == []
    choices = {
        str(choice)
        for action in own_actions(name)
        for choice in action.choices or ()
        if not isinstance(action, argparse.BooleanOptionalAction)
    }
    assert missing(sorted(choices), section) == []


def test_the_exit_codes_of_the_worker_and_of_cloaca_run_are_in_the_reference() -> None:
    for name in COMMANDS:
        codes = load_command_class("cloaca_django", name).exit_codes
        section = page("commands").partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        common = page("commands").partition("\n## ")[0]
        used = [str(code) for code, text in codes.items() if text != "not used here"]
        assert missing(used, section + common) == [], name


def command_lines(file: Path) -> Iterator[str]:
    """Yield every shown call of one of our commands, in any block that runs one."""
    for block in blocks(file):
        if block.language in {"console", "ini"}:
            yield from re.findall(r"manage\.py (cloaca_\w+[^\n|&>]*)", block.code)


@pytest.mark.parametrize("file", pages(), ids=name_of)
def test_commands_and_targets_in_a_page_exist(file: Path) -> None:
    for line in command_lines(file):
        name, *arguments = shlex.split(line)
        parser(name).parse_args(arguments)
    text = file.read_text()
    known = {*COMMANDS, "cloaca_django", *tables(), *vars(pytest_plugin), *measures()}
    assert sorted(set(re.findall(r"\bcloaca_\w+\b", text)) - known) == []
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)\b(?=`|\n| +#)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_readme_names_every_command() -> None:
    assert missing(COMMANDS, (ROOT / "README.md").read_text()) == []


# Metrics


SUFFIXES = {
    Kind.GAUGE: ("",),
    Kind.COUNTER: ("_total",),
    Kind.HISTOGRAM: ("", "_bucket", "_count", "_sum"),
}


def measures() -> set[str]:
    """Return the names that Prometheus knows our measures by."""
    return {
        f"{measure.name}{suffix}"
        for measure in metrics.MEASURES
        for suffix in SUFFIXES[measure.kind]
    }


@pytest.mark.parametrize("measure", metrics.MEASURES, ids=lambda measure: measure.name)
def test_a_measure_has_its_row_with_its_labels(measure: Any) -> None:
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    name = measure.name + SUFFIXES[measure.kind][0]
    found = [line.split("|") for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(found) == 1
    # Which tenant is said once, for all of them.
    labels = [label for label in measure.labels if label != "schema"]
    assert re.findall(r"`(\w+)`", found[0][2]) == labels


def test_every_page_for_machines_is_documented() -> None:
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    assert [one.name for one in urls.urlpatterns if f"| `cloaca/{one.pattern}` |" not in text] == []


# Settings and configuration


def as_text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


@pytest.mark.parametrize("name", conf.NAMES)
def test_a_setting_has_its_row_and_its_section(name: str, settings: Any) -> None:
    settings.CLOACA = {}
    value = getattr(conf.settings, name)
    value = list(value) if isinstance(value, tuple) else value
    assert row("settings", name)[1] in {as_text(value), f"`{as_text(value)}`"}
    assert f"\n### `{name}`\n" in page("settings")


def test_no_setting_is_documented_that_is_not_there() -> None:
    assert set(re.findall(r"^### `(\w+)`$", page("settings"), re.MULTILINE)) == set(conf.NAMES)
    shown = {
        name for file in pages() for name in re.findall(r'CLOACA\["(\w+)"\]', file.read_text())
    }
    assert sorted(shown - set(conf.NAMES)) == []


@pytest.mark.parametrize("name", cloaca.DefaultRunnerConfig.fields)
def test_a_field_of_the_configuration_has_its_row(name: str) -> None:
    field = cloaca.DefaultRunnerConfig.fields[name]
    _, default, bounds, *_ = row("config", name)
    assert default.strip("`") == str(field.default)
    if hasattr(field, "low"):
        assert bounds.startswith(f"{field.low} to {field.high}")


def test_every_option_of_a_database_url_is_documented() -> None:
    known = {*urls_sqlite.OPTIONS, *urls_postgresql.OPTIONS}
    assert missing([f"`{option}`" for option in sorted(known)], page("database-urls")) == []


# Checks, probes and errors


def test_every_check_has_its_row() -> None:
    documented = {cells[0] for cells in rows("checks")} - {"Id"}
    assert documented == {f"`cloaca.{check.id}`" for check in checks.CHECKS}


def test_check_ids_in_the_pages_exist() -> None:
    known = {check.id for check in checks.CHECKS}
    shown = {id for file in pages() for id in re.findall(r"cloaca\.([EW]\d+)", file.read_text())}
    assert sorted(shown - known) == []


def test_every_probe_is_documented() -> None:
    deploy = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    assert missing([f"`{name}`" for name in health.PROBES], deploy) == []


ERRORS = [
    value
    for value in map(errors.__dict__.get, errors.__all__)
    if inspect.isclass(value) and issubclass(value, Exception)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_has_its_row(error: type[Exception]) -> None:
    _, parent, others, *_ = row("errors", error.__name__)
    first, *more = error.__bases__
    assert parent == f"`{first.__name__}`"
    assert others == ", ".join(f"`{base.__name__}`" for base in more)


# Public names


@cache
def reference() -> str:
    return "\n".join(file.read_text() for file in sorted(REFERENCE.glob("*.md")))


def test_every_public_name_is_in_the_reference() -> None:
    assert missing(cloaca.__all__, reference()) == []


@pytest.mark.parametrize("name", sorted(cloaca.__all__))
def test_every_member_of_a_public_class_is_in_the_reference(name: str) -> None:
    value = getattr(cloaca, name)
    if not inspect.isclass(value):
        return
    members = {member for member in vars(value) if not member.startswith("_")}
    members |= {member for member in getattr(value, "__annotations__", ()) if member[0] != "_"}
    wanted = sorted(members - OF_THE_ENGINE.get(name, set()))
    assert missing(wanted, reference()) == []


def functions() -> Iterator[Any]:
    """Yield the public functions, constructors and methods."""
    for name in sorted(cloaca.__all__):
        value = getattr(cloaca, name)
        if not inspect.isclass(value):
            yield value
        elif name not in {"CloacaError", "PipelineResult", "WorkflowResult", "Workflow"}:
            hidden = OF_THE_ENGINE.get(name, set())
            found = inspect.getmembers(value, inspect.isfunction)
            yield from (one for member, one in found if member[0] != "_" and member not in hidden)
            if not hidden and name not in {"RunHandle", "AsyncTaskHandle"}:
                yield value  # the others have constructors of their own, or the engine makes them


@pytest.mark.parametrize("function", list(functions()), ids=lambda function: function.__qualname__)
def test_every_argument_is_in_the_reference(function: Any) -> None:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters.values()
    wanted = [one.name for one in parameters if one.kind not in kinds and one.name != "self"]
    assert missing(wanted, reference()) == []


def test_what_tests_of_sites_use_is_in_the_reference() -> None:
    for module in (pytest_plugin, testing):
        own = [
            name
            for name, value in vars(module).items()
            if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
        ]
        assert own
        assert missing(own, page("testing")) == []


def test_every_signal_is_in_the_reference() -> None:
    found = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert [name for name in found if not row("signals", name)] == []


# States and tables


@pytest.mark.parametrize("kind", [states.RunStatus, states.TaskStatus])
def test_the_moves_of_a_status_are_those_of_the_code(kind: Any) -> None:
    heading = "## Runs" if kind is states.RunStatus else "## Tasks"
    section = page("states").partition(f"{heading}\n")[2].partition("\n## ")[0]
    moves: Any = states.RUN_MOVES if kind is states.RunStatus else states.TASK_MOVES
    for status in kind:
        line = next(line for line in section.splitlines() if line.startswith(f"| {status} |"))
        shown = line.split("|")[3].strip()
        assert set(filter(None, shown.split(", "))) == {str(one) for one in moves[status]}, status


def test_every_other_state_is_documented() -> None:
    words = [*states.AttemptOutcome.values, *states.WorkerState.values, *states.Origin.values]
    assert missing(words, page("states")) == []


def tables() -> dict[str, Any]:
    return {
        model._meta.db_table: model for model in apps.get_app_config("cloaca_django").get_models()
    }


@pytest.mark.parametrize("table", sorted(tables()))
def test_a_table_has_its_row_and_the_columns_named_there_exist(table: str) -> None:
    model = tables()[table]
    _, shown_table, text = row("tables", model.__name__)
    assert shown_table == f"`{table}`"
    columns = set(re.findall(r"`(\w+)`", text))
    assert sorted(columns - {field.name for field in model._meta.get_fields()}) == []


def test_every_picture_is_there_is_small_and_is_shown_light_and_dark():
    shown = {
        (file.parent / match["target"]).resolve()
        for file in pages()
        for match in IMAGE.finditer(file.read_text())
    }
    there = set((ROOT / "docs" / "images").glob("*.png"))
    assert shown == there
    assert {file.name for file in there if file.stat().st_size >= 150_000} == set()
    names = {file.stem for file in there}
    assert {name.replace("-light", "-dark") for name in names} <= names


# Faults

FAULTS = ROOT / "docs" / "explanation" / "faults.md"
TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)(?:::(?P<test>\w+))?`")


def test_every_fault_has_a_row_that_says_where_it_is_tried_or_why_not() -> None:
    found = re.findall(r"^\| F(\d+) \|.*\|.*\|(.+)\|$", FAULTS.read_text(), re.MULTILINE)
    assert sorted(int(number) for number, _ in found) == list(range(1, 46))
    silent = [
        number
        for number, tried in found
        if not TEST.search(tried) and "no test" not in tried and "[soak](soak.md)" not in tried
    ]
    assert silent == []


def test_every_test_that_the_page_of_faults_names_exists() -> None:
    named = list(TEST.finditer(FAULTS.read_text()))
    assert len(named) > 45
    missing_ones = [
        match[0]
        for match in named
        if not (ROOT / match["file"]).is_file()
        or (match["test"] and f"def {match['test']}(" not in (ROOT / match["file"]).read_text())
    ]
    assert missing_ones == []
