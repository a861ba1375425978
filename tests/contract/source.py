"""The tree, read as text and syntax, for the tests that keep each thing in its one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cloaca_django"


def package_files() -> list[Path]:
    """Return the package's Python files, migrations left out: Django writes those."""
    return [file for file in sorted(PACKAGE.rglob("*.py")) if "migrations" not in file.parts]


def hand_written_files() -> list[Path]:
    """Return every Python file that somebody has to read."""
    folders = (PACKAGE, ROOT / "example_project", ROOT / "tests")
    files = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    return [file for file in files if "migrations" not in file.parts]


def pages() -> list[Path]:
    """Return the README and the documentation."""
    return [*ROOT.glob("README.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(file: Path) -> str:
    """Return a path as messages show it."""
    return file.relative_to(ROOT).as_posix()


@cache
def syntax(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(), str(file))


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Return line and value of every string in the code. Docstrings are prose, and left out."""
    prose = set(_docstrings(syntax(file)))
    for node in ast.walk(syntax(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.lineno, node.value


def names(file: Path) -> Iterator[tuple[int, str]]:
    """Return line and spelling of every name, attribute and imported module in the code."""
    for node in ast.walk(syntax(file)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield node.lineno, name
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in aliases)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Return line and dotted name of everything imported."""
    for node in ast.walk(syntax(file)):
        match node:
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in aliases)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield docstrings, and the strings below an assignment that document it."""
    for node in ast.walk(tree):
        body = getattr(node, "body", ())
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant() as text):
                    yield text
