"""Runners on the database under test, and programs that are nobody's but the test's."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from cloaca_django import DefaultRunner, DefaultRunnerConfig
from cloaca_django.core import registry
from tests.worksite.process import worksite

__all__ = ["worksite"]

PATIENCE = 20.0
ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so; fail when it is not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def never(condition: Callable[[], object], seconds: float) -> None:
    """Watch for some time that something does not become so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), "it happened"
        threading.Event().wait(0.02)


class Gate:
    """A point where a task waits until the test lets it go on; never for ever."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._open = threading.Event()

    def arrive(self) -> None:
        """Say that a task is here."""
        self._arrived.release()

    def pass_through(self) -> None:
        """Say that a task is here, and wait for the test."""
        self.arrive()
        assert self._open.wait(PATIENCE), "nobody opened the gate"

    def await_arrival(self, count: int = 1) -> None:
        """Wait until ``count`` more tasks are here."""
        for _ in range(count):
            assert self._arrived.acquire(timeout=PATIENCE), "no task came to the gate"

    def has_arrivals(self, seconds: float) -> bool:
        """Say whether one more task comes within some time."""
        return self._arrived.acquire(timeout=seconds)

    def open(self) -> None:
        """Let every task go on, now and later."""
        self._open.set()


@pytest.fixture
def workflows_of_test() -> Iterator[None]:
    """Forget the workflows that the test registers."""
    with registry.isolated():
        yield


@pytest.fixture
def own_databases(django_db_blocker: Any, workflows_of_test: None) -> Iterator[None]:
    """Let a test use databases that are not the site's, such as a file of its own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that opens at the end of the test, so that no task hangs on it."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def new_gate() -> Iterator[Callable[[], Gate]]:
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.open()


@pytest.fixture
def database_url(child_environment: dict[str, str]) -> str:
    """The URL of the database under test."""
    return child_environment["CLOACA_TESTS_URL"]


@pytest.fixture
def make_runner(
    database_url: str, workflows_of_test: None
) -> Iterator[Callable[..., DefaultRunner]]:
    """Return a function that makes whole runners on the database under test.

    Its arguments are the fields of a DefaultRunnerConfig; ``using`` makes the site's runner.
    """
    made: list[DefaultRunner] = []

    def make(*, using: str | None = None, **fields: Any) -> DefaultRunner:
        config = DefaultRunnerConfig(**fields)
        if using is None:
            runner = DefaultRunner(database_url, config=config)
        else:
            runner = DefaultRunner(using=using, config=config)
        made.append(runner)
        return runner

    yield make
    for runner in made:
        runner.shutdown(grace=PATIENCE)


@pytest.fixture
def runner(make_runner: Callable[..., DefaultRunner]) -> DefaultRunner:
    """A whole runner on the database under test, quick to look."""
    return make_runner(scheduler_poll_interval_ms=50, executor_poll_interval_ms=10)


@pytest.fixture
def names() -> Iterator[str]:
    """Names that no other workflow has."""
    return (f"w{at}" for at in itertools.count())


def _run_alone(source: str, folder: Path, *arguments: str) -> str:
    file = folder / "script.py"
    file.write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, str(file), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def run_alone() -> Callable[..., str]:
    """Return a function that runs a program in a folder, without any Django settings.

    The program must succeed and complain about nothing; its output is returned.
    """
    return _run_alone


@pytest.fixture
def run_script(database_url: str, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a program without any Django settings, and gives its output.

    The program's first argument is the URL of the database under test.
    """

    def run(source: str, *arguments: str) -> str:
        return _run_alone(source, tmp_path, database_url, *arguments)

    return run


@pytest.fixture
def make_database(own_databases: None, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function that makes an empty database of the tested kind, and gives its URL."""
    with databases_in(tmp_path) as make:
        yield make


@contextmanager
def databases_in(folder: Path) -> Iterator[Callable[[str], str]]:
    """Make databases by name, files in a folder or on the server, until the block ends."""
    made: list[str] = []

    def make(name: str) -> str:
        if connection.vendor == "sqlite":
            return f"sqlite:///{folder / name}.db"
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
        made.append(name)
        return server_url(name)

    yield make
    for name in made:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def server_url(name: str) -> str:
    """Return the URL of a database on the server of the tests."""
    facts = connection.settings_dict
    login = f"{quote(facts['USER'])}:{quote(facts['PASSWORD'], safe='')}"
    port = f":{facts['PORT']}" if facts["PORT"] else ""
    if facts["HOST"].startswith("/"):
        return f"postgresql://{login}@localhost{port}/{name}?host={facts['HOST']}"
    return f"postgresql://{login}@{facts['HOST'] or 'localhost'}{port}/{name}"
