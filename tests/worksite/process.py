"""Real commands as processes of a test: started, watched, signalled, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from cloaca_django import Context, DefaultRunner, clock
from cloaca_django.core import registry
from cloaca_django.models import PipelineExecution, TaskExecution

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

T = TypeVar("T")

with registry.isolated():
    # Imported here, they are registered for the tests that want them and for no other.
    from tests.worksite import workflows  # noqa: F401

    WORKFLOWS = list(registry.snapshot().values())


def until(condition: Callable[[], T], *, seconds: float = PATIENCE, what: str = "") -> T:
    """Return what ``condition`` returns once it is true; fail after some seconds."""
    end = clock.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert clock.monotonic() < end, f"waited {seconds:g} s in vain: {what or condition}"
        pause.wait(0.02)


class Command:
    """One ``manage.py`` command in a process of its own."""

    def __init__(self, environment: dict[str, str], *arguments: str, **facts: Any) -> None:
        self.mark = uuid.uuid4().hex
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env={
                **environment,
                "DJANGO_SETTINGS_MODULE": "tests.worksite.settings",
                "PYTHONPATH": os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]),
                "PYTHONUNBUFFERED": "1",
                "WORKSITE_MARK": self.mark,
                "WORKSITE_CLOACA": json.dumps(facts.pop("settings", {})),
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            **facts,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def signal(self, number: int) -> None:
        """Send a signal to the process itself."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.output}") from None

    def says(self, text: str) -> bool:
        """Say whether a text was printed; fail when the process ended without it."""
        if text in self.output:
            return True
        assert self.process.poll() is None, f"ended with {self.process.poll()}:\n{self.output}"
        return False

    def children(self) -> set[int]:
        """Return the processes that this one started, and theirs."""
        return {pid for pid in self.family() if pid != self.pid}

    def family(self) -> set[int]:
        """Return every living process that inherited this one's mark."""
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and self._is_marked(folder):
                found.add(int(folder.name))
        return found

    def _is_marked(self, folder: Path) -> bool:
        try:
            if (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
            return f"WORKSITE_MARK={self.mark}".encode() in (folder / "environ").read_bytes()
        except (OSError, IndexError):  # it ended while we looked
            return False

    def end(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(PATIENCE)
        self._output.close()


class Site:
    """The site under test: a database, a folder that tasks write to, and commands."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self._environment = environment
        self._commands: list[Command] = []

    def start(
        self, *arguments: str, settings: dict[str, Any] | None = None, **facts: Any
    ) -> Command:
        """Start a command. It hears a worker's death late, so that only other ways find it soon."""
        wanted = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 60, "SWEEP_SECONDS": 0.3}
        environment = self._environment | facts.pop("environment", {})
        command = Command(environment, *arguments, settings=wanted | (settings or {}), **facts)
        self._commands.append(command)
        return command

    def worker(self, *arguments: str, **facts: Any) -> Command:
        """Start a worker, and wait until it says what it serves."""
        command = self.start("cloaca_worker", *arguments, **facts)
        until(lambda: command.says("serves"), what="the worker's first line")
        return command

    def enqueue(self, name: str, **data: Any) -> UUID:
        """Submit a run whose tasks write to the folder."""
        with DefaultRunner(using="default") as runner:
            return runner.enqueue(name, Context({"folder": str(self.folder), **data})).id

    def told(self, what: str) -> list[str]:
        """Return what tasks told, as ``what-pid-number-thread``, in the order of the numbers."""
        found = [file.name for file in self.folder.glob(f"{what}-*")]
        return sorted(found, key=lambda name: int(name.split("-")[2]))

    def await_told(self, what: str, count: int = 1) -> list[int]:
        """Wait until ``count`` tasks told something; returns the processes they were in."""
        until(lambda: len(self.told(what)) >= count, what=f"{count} x {what}")
        return [int(name.split("-")[1]) for name in self.told(what)]

    def open(self) -> None:
        """Let every gated task go on."""
        (self.folder / "open").touch()

    def end(self) -> None:
        """End every command."""
        self.open()
        for command in self._commands:
            command.end()


def task_of(run_id: UUID, name: str | None = None) -> TaskExecution:
    """Read the row of a run's task."""
    tasks = TaskExecution.objects.filter(run=run_id)
    return tasks.get(name=name) if name else tasks.get()


def status_of(run_id: UUID) -> str:
    """Read a run's status."""
    return PipelineExecution.objects.get(pk=run_id).status


@pytest.fixture
def worksite(child_environment: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """A site whose commands are processes; none of them outlives the test."""
    folder = tmp_path / "told"
    folder.mkdir()
    site = Site(child_environment, folder)
    with registry.isolated():
        for workflow in WORKFLOWS:
            registry.register(workflow)
        yield site
        site.end()
