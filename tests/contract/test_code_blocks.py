"""Every code block of the README and the documentation is run.

A page is worked through from top to bottom in a folder of its own. A Python block below
``<!-- file: path -->`` is written there; the others form one program, which runs at the page's
end. ``console`` blocks are run where they stand. On a page with ``<!-- page: site -->`` the
program is inside a Django site. ``<!-- not run: reason -->`` leaves a block out and says why.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import load_command_class

from tests.contract.source import ROOT, name_of, pages

SECONDS = 120
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SITE = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
# What the machine of the test has already, or what changes more than the page's folder.
SKIPPED = (
    "pip install",
    "python -m pip install",
    "python -m venv",
    "git clone",
    "make ",
    "source ",
)
COMMAND = re.compile(r"manage\.py (?P<name>cloaca_\w+)(?P<rest>[^\n|&>]*)")


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    code: str
    line: int

    @property
    def is_run(self) -> bool:
        return not self.mark.startswith("not run: ")


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    text = page.read_text()
    return [
        Block(
            match["mark"] or "", match["language"], match["code"],
            text.count("\n", 0, match.start("code")),
        )
        for match in BLOCK.finditer(text)
    ]  # fmt: skip


def run(command: list[str], folder: Path, page: Path) -> None:
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "CLOACA_TESTS_URL": f"sqlite:///{folder}/site.sqlite3",
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{name_of(page)}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def shell_lines(block: Block) -> list[str]:
    """Return the commands of a block, without prompts, output and what is skipped."""
    lines = block.code.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if not line.startswith(SKIPPED)]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_the_code_of_a_page_runs(page, tmp_path):
    program: list[str] = []
    for block in blocks(page):
        if not block.is_run:
            continue
        if block.mark.startswith("file: "):
            target = tmp_path / block.mark.removeprefix("file: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code)
        elif block.language == "python":
            # Empty lines first, so that a traceback names the page's own line.
            filler = "\n" * max(block.line - sum(part.count("\n") for part in program), 0)
            program.append(filler + block.code)
        elif block.language in {"console", "bash", "sh"} and (lines := shell_lines(block)):
            run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], tmp_path, page)
    if program:
        file = tmp_path / f"{page.stem}_page.py"
        in_site = "<!-- page: site -->" in page.read_text()
        prelude = f"exec({SITE!r})" if in_site else ""
        file.write_text(prelude + "".join(program))
        run([sys.executable, "-W", "error", file.name], tmp_path, page)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_is_python_or_says_what_it_is(page):
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)
        assert block.language != "text" or "import " not in block.code, f"line {block.line}"
        assert block.is_run or len(block.mark) > len("not run: "), f"line {block.line}: no reason"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_and_targets_in_a_page_exist(page):
    text = page.read_text()
    for match in COMMAND.finditer(text):
        parser = load_command_class("cloaca_django", match["name"]).create_parser("", match["name"])
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(re.findall(r"(?<!\S)--[\w-]+", match["rest"])) <= known, match[0]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)\b(?=`|\n| +#)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
