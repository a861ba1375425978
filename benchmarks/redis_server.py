"""A private Redis, for the peer that has it as its broker: started here, gone afterwards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil
import redis

from benchmarks.database import wait_until
from benchmarks.processes import free_port

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
VOLATILE = ("--appendonly", "no")


class RedisServer:
    """On a free local port, with its files in the folder."""

    def __init__(self, folder: Path, *, is_durable: bool) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("no redis-server on PATH; Debian's package is called redis-server")
        self.port = free_port()
        self._process = subprocess.Popen(
            [
                *(program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
                *("--dir", str(folder), *(DURABLE if is_durable else VOLATILE)),
            ],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(port=self.port)
        self.results = redis.Redis(port=self.port, db=1)
        wait_until(self._answers, timeout_seconds=20)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False
