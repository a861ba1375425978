"""Patches applied to a copy of the tree. A hunk is found by what it says, not by line numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).parent
COPIED = ("cloaca_django", "example_project", "tests", "setup.cfg", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.sqlite3*", "*.pyc")


@dataclass
class Hunk:
    """Some lines of a file, and what they become."""

    path: str
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Take in one line of the patch."""
        if line[0] in " -":
            self.old.append(line[1:])
        if line[0] in " +":
            self.new.append(line[1:])


def copy_of_tree(target: Path) -> Path:
    """Copy what the tests need to run."""
    target.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=LEFT_OUT)
        else:
            shutil.copy(source, target / name)
    return target


def apply(patch: str, tree: Path) -> None:
    """Apply ``mutants/<patch>.patch`` to a tree; fail if a hunk does not fit in one place."""
    for hunk in _hunks((PATCHES / f"{patch}.patch").read_text()):
        file = tree / hunk.path
        old, new = "".join(hunk.old), "".join(hunk.new)
        text = file.read_text()
        places = text.count(old)
        assert places == 1, f"{patch}: a hunk of {hunk.path} fits in {places} places:\n{old}"
        file.write_text(text.replace(old, new))


def _hunks(text: str) -> Iterator[Hunk]:
    path = ""
    hunk: Hunk | None = None
    for line in text.splitlines(keepends=True):
        if line.startswith(("--- ", "+++ ", "@@ ")):
            if hunk is not None:
                yield hunk
            hunk = Hunk(path) if line.startswith("@@ ") else None
            if line.startswith("+++ "):
                path = line.removeprefix("+++ b/").strip()
        elif hunk is not None:
            hunk.add(line)
    if hunk is not None:
        yield hunk
