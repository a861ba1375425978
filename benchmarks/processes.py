"""A worker process of a peer, with the CPU and the memory of all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class Child:
    """A process in a group of its own, stopped by its own id."""

    def __init__(
        self, command: Sequence[str], *, log: Path, variables: Mapping[str, str], folder: Path
    ) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            list(command),
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **variables},
            cwd=folder,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """User and system time so far, reaped grandchildren included."""
        total = 0.0
        for process in self._tree():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def resident_mib(self) -> float:
        return sum(process.memory_info().rss for process in self._tree()) / 2**20

    def stop(self, *, grace_seconds: float = 8.0) -> None:
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):  # killed below
                self._process.wait(grace_seconds)
        with contextlib.suppress(ProcessLookupError):  # gone already
            os.killpg(self._process.pid, signal.SIGKILL)  # the group that this object made
        self._process.wait()
        self._log.close()

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def server_cpu_seconds(pid: int) -> float:
    """User and system time of a whole PostgreSQL server, its finished backends included."""
    root = psutil.Process(pid)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children():
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system
    return float(total)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
