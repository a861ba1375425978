"""PgBouncer in front of the tests' server: a process of a test, on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

PATIENCE = 10.0
# Debian's package puts it where only root's path leads.
BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits{ignored}
"""


@contextmanager
def running(
    mode: str, *, users: list[str] | None = None, ignored: str = "", size: int = 20
) -> Iterator[int]:
    """Run a pooler in ``mode`` for some logins; yields its port on 127.0.0.1.

    ``ignored`` names startup parameters that it swallows, as people configure it to.
    """
    assert BINARY is not None, "there is no pgbouncer here"
    facts = connection.settings_dict
    folder = Path(tempfile.mkdtemp(prefix="cloaca-pooler-"))
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = [facts["USER"], *(users or [])]
    (folder / "users.txt").write_text("".join(f'"{name}" ""\n' for name in names))
    (folder / "pooler.ini").write_text(
        CONFIGURATION.format(
            server=f"host={facts['HOST'] or '127.0.0.1'} port={facts['PORT'] or 5432}",
            port=port, folder=folder, mode=mode, size=size,
            ignored=f", {ignored}" if ignored else "",
        )
    )  # fmt: skip
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [BINARY, "--user", _owner(facts["HOST"]), str(folder / "pooler.ini")]
            if os.geteuid() == 0
            else [BINARY, str(folder / "pooler.ini")],
            stdout=output,
            stderr=output,
        )
    try:
        _await(process, port, log)
        yield port
    finally:
        process.kill()
        process.wait(PATIENCE)
        shutil.rmtree(folder)


def _owner(host: str) -> str:
    """Return who may use the server's socket: PgBouncer itself refuses to run as root."""
    owner = Path(host).stat().st_uid if host.startswith("/") else 0
    return pwd.getpwuid(owner).pw_name if owner else "nobody"


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            threading.Event().wait(0.02)
        else:
            return
