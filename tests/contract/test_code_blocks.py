"""Every code block of the README and the documentation is run, and what it prints is compared.

A page is worked through from top to bottom in a folder of its own:

- a block below ``<!-- file: path -->`` is written there, after what the file holds already if the
  mark says ``<!-- add to file: path -->``;
- ``console`` blocks are run where they stand; what they show as output must be in the output;
- the other ``python`` blocks form one program, which runs at the page's end;
- a block below ``<!-- printed -->`` is what that program prints.

Expected lines must occur in that order, others may stand between them, and ``...`` stands for
anything. A page with ``<!-- page: site -->`` starts from the site that the tutorial builds, and
its program runs inside that site, beside a worker. ``<!-- not run: reason -->`` leaves a block
out and says why. A page with ``<!-- page: tenants -->`` needs a server: tests/tenants runs it.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.source import ROOT, name_of, pages

SECONDS = 120
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TUTORIAL = ROOT / "docs" / "tutorial" / "django-site.md"
SITE = "<!-- page: site -->"
TENANTS = "<!-- page: tenants -->"
IN_SITE = """
import atexit, os
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django; django.setup()
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
_worker = Worker(WorkerOptions(poll_seconds=0.1)); _worker.start()
atexit.register(_worker.stop, grace=5.0)
"""
# What the machine of the test has already, or what a test of its own runs.
SKIPPED = ("python -m pip install", "python -m venv", "git clone", "cd ", "make ", "source ")


@dataclass(frozen=True)
class Block:
    """A fenced block and the mark above it."""

    mark: str
    language: str
    code: str
    line: int

    @property
    def is_run(self) -> bool:
        return not self.mark.startswith("not run: ")

    @property
    def target(self) -> str:
        """Return the file that the block is, or is added to."""
        return self.mark.removeprefix("add to ").removeprefix("file: ") if self.is_file else ""

    @property
    def is_file(self) -> bool:
        return self.mark.startswith(("file: ", "add to file: "))


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    text = page.read_text()
    return [
        Block(
            match["mark"] or "",
            match["language"],
            match["code"],
            text.count("\n", 0, match.start("code")),
        )
        for match in BLOCK.finditer(text)
    ]


def work_through(page: Path, folder: Path, **environment: str) -> None:
    """Do what a page says, in ``folder``, with some variables more in the environment."""
    program: list[str] = []
    printed: list[str] = []
    for block in blocks(page):
        if not block.is_run:
            continue
        if block.is_file:
            write(block, folder)
        elif block.mark == "printed":
            printed += block.code.splitlines()
        elif block.language == "python":
            # Empty lines first, so that a traceback names the page's own line.
            filler = "\n" * max(block.line - sum(part.count("\n") for part in program), 0)
            program.append(filler + block.code)
        elif block.language == "console":
            run_console(block, folder, page, environment)
    if program:
        file = folder / "page.py"
        prelude = f"exec({IN_SITE!r})" if SITE in page.read_text() else ""
        file.write_text(prelude + "".join(program))
        # Django's own deprecations are not the page's affair.
        warnings = ["-W", "error", "-W", "ignore::DeprecationWarning"]
        program_line = [sys.executable, *warnings, file.name]
        check_output(printed, run(program_line, folder, page, environment), page)


def write(block: Block, folder: Path) -> None:
    target = folder / block.target
    target.parent.mkdir(parents=True, exist_ok=True)
    before = target.read_text() if block.mark.startswith("add to ") else ""
    target.write_text(before + block.code)


def run_console(block: Block, folder: Path, page: Path, more: Mapping[str, str]) -> None:
    """Run the commands of a block, one after the other, each with its output below it."""
    commands: list[tuple[str, list[str]]] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and commands[-1][0].endswith("\\"):
            commands[-1] = (f"{commands[-1][0]}\n{line}", [])
        elif commands:
            commands[-1][1].append(line)
    for command, expected in commands:
        if not command.startswith(SKIPPED):
            outputs = run(["bash", "-euo", "pipefail", "-c", command], folder, page, more)
            check_output(expected, outputs, page)


def run(command: list[str], folder: Path, page: Path, more: Mapping[str, str]) -> list[str]:
    """Run a command, which must succeed; return what it printed on each of its two outputs."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "COLUMNS": "100",
        # Where the package is not installed, pytest does not find its plugin by itself.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "pytest_django.plugin,cloaca_django.pytest_plugin",
    }
    for name in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL"):
        environment.pop(name, None)
    environment |= more
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=SECONDS, text=True,
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    said = f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    assert done.returncode == 0, f"{name_of(page)}: {command[-1]}\n{said}"
    return [done.stdout, done.stderr]


def check_output(expected: list[str], outputs: list[str], page: Path) -> None:
    """Fail unless each expected line is in one of the outputs, in their order there."""
    said = "\n".join(outputs)
    rests = [[line.rstrip() for line in output.splitlines()] for output in outputs]
    for wanted in filter(None, map(str.rstrip, expected)):
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        found = [
            (rest, i) for rest in rests for i, line in enumerate(rest) if pattern.fullmatch(line)
        ]
        assert found, f"{name_of(page)} promises {wanted!r}; there was:\n{said}"
        rest, at = found[0]
        del rest[: at + 1]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the tutorial of a Django site leaves behind."""
    folder = tmp_path_factory.mktemp("tutorial")
    work_through(TUTORIAL, folder)
    return folder


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_what_a_page_says_works(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if page == TUTORIAL:
        request.getfixturevalue("site")
        return
    if TENANTS in page.read_text():
        return
    if SITE in page.read_text():
        shutil.copytree(request.getfixturevalue("site"), tmp_path, dirs_exist_ok=True)
    work_through(page, tmp_path)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n```") % 2 == 0, "a block is not closed"
    for block in blocks(page):
        place = f"{name_of(page)}:{block.line}"
        assert block.language, f"{place}: no language"
        assert block.is_run or len(block.mark) > len("not run: "), f"{place}: no reason"
        if block.language == "python":
            ast.parse(block.code)
        if block.language == "console":
            assert block.code.startswith("$ "), f"{place}: a command starts with a dollar"
        assert block.language not in {"bash", "sh"}, f"{place}: commands are console blocks"
