"""Lets the soak look for each mutant: which of the missing guards real workers stumble over.

A directed test notices the lack of each (``test_mutants``); this shows what chance alone finds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.patching import PATCHES, apply, copy_of_tree

# What has no meaning on a server, and what the soak has no part of: a site of django-tenants.
OF_A_FILE = frozenset({"no_write_lock"})
OF_TENANTS = frozenset({"no_schema_check", "no_tenant_check"})
# The soak ends by itself; a mutant may make its workers hang.
PATIENCE_SECONDS = 600.0
TABLE_ENDS = "| violations |"


def main(arguments: list[str]) -> int:
    """Soak each mutant that a command line names, and print what was found."""
    wanted = _parsed(arguments)
    caught = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in wanted.names:
            said = _soaked(name, copy_of_tree(Path(folder) / name), wanted)
            caught += bool(said)
            _say(f"{name}: {said or 'not found'}")
    _say(f"found {caught} of {len(wanted.names)}")
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace:
    known = sorted(path.stem for path in PATCHES.glob("*.patch") if path.stem not in OF_TENANTS)
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", default=known, metavar="name", help=f"of: {', '.join(known)}")
    add("--seconds", type=float, default=60.0, help="how long each is soaked (%(default)s)")
    add("--rate", type=float, default=8.0, help="runs submitted a second (%(default)s)")
    add("--seed", type=int, default=1)
    found = parser.parse_args(arguments)
    if unknown := set(found.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return found


def _soaked(name: str, tree: Path, wanted: argparse.Namespace) -> str:
    """Return the first promise that a mutant broke; empty: none, and its workers ended."""
    apply(name, tree)
    database = "sqlite" if name in OF_A_FILE else "postgresql"
    command = [
        sys.executable, "-m", "tests.soak", "--database", database, "--lease", "3",
        "--interval", "1", "--seconds", str(wanted.seconds), "--seed", str(wanted.seed),
        "--runs", str(int(wanted.rate * wanted.seconds)),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=tree, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, timeout=wanted.seconds + PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it did not end"
    _, table, rest = done.stdout.partition(TABLE_ENDS)
    if not table:
        raise SystemExit(f"{name}: the soak itself failed\n{done.stdout}{done.stderr}")
    # First the number, then each violation in a line.
    found = [line for line in rest.splitlines()[1:] if line.strip()]
    return found[0].strip() if found else ""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
