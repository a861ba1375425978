"""The database of a soak: private, on a disk that can be filled, with the journal in every schema.

Import only ``open_stage`` before Django is set up: it decides what Django finds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.proxy import CLEAR, Proxy
from tests.crash.server import CrashingServer
from tests.soak.plan import SQLITE, Plan

# Enough for an hour, little enough to be filled at once.
DISK_MIB = 1_500
PAGE = 4096
# By which its backends are known: a fault must not hit the checker.
SOAK = "soak"
SETTINGS = {
    # What makes a crash lose much is the affair of other tests; here it is a common server.
    "autovacuum": "on",
    "wal_writer_delay": "200ms",
    "bgwriter_lru_maxpages": "100",
    "max_wal_size": "256MB",
    "min_wal_size": "80MB",
    "max_connections": "150",
}


class Disk:
    """A small file system, if this process may mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_small = False
        self._filler = folder / "filler"

    def __enter__(self) -> Disk:
        options = f"size={DISK_MIB}m,mode=0777"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        with contextlib.suppress(FileNotFoundError):
            self.is_small = subprocess.run(command, capture_output=True).returncode == 0
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)

    def fill(self) -> None:
        """Leave no room on it."""
        assert self.is_small, "this disk is everybody's"
        with self._filler.open("wb") as file:
            step, size = 64 << 20, 0
            while step >= PAGE:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)


@dataclass
class Stage:
    """Where everything is. Without a server the database is a file."""

    folder: Path
    disk: Disk
    url: str
    server: CrashingServer | None = None

    @contextmanager
    def way(self) -> Iterator[tuple[dict[str, str], Proxy | None]]:
        """Open a way to the database for one process; yields its environment."""
        common = {"TEST_DATABASE": os.environ["TEST_DATABASE"], "WORKSITE_APPS": "tests.soak"}
        if self.server is None:
            yield common | {"CLOACA_TESTS_URL": self.url}, None
            return
        with Proxy(self.server.socket) as proxy:
            url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
            yield common | CLEAR | {"CLOACA_TESTS_URL": url, "PGAPPNAME": SOAK}, proxy

    def size(self) -> dict[str, int]:
        """Return the bytes of each table of the engine, of all tenants; of a file, its own."""
        if self.server is None:
            return {"file": sum(file.stat().st_size for file in self.disk.folder.glob("site*"))}
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname, sum(pg_total_relation_size(oid))::bigint FROM pg_class"
                " WHERE relkind = 'r' AND relname LIKE 'cloaca\\_%%' GROUP BY 1 ORDER BY 1"
            )
            return dict(cursor.fetchall())


@contextmanager
def open_stage(plan: Plan) -> Iterator[Stage]:
    """Make the database and set Django up for it, in this process and in its children."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="cloaca-soak-"))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "disk").mkdir()
        (folder / "disk").chmod(0o777)
        disk = stack.enter_context(Disk(folder / "disk"))
        if plan.database == SQLITE:
            stage = Stage(folder, disk, f"sqlite:///{disk.folder}/site.sqlite3")
        else:
            server = stack.enter_context(CrashingServer(disk.folder, SETTINGS))
            stage = Stage(folder, disk, server.url, server)
        _set_up(stage)
        stack.callback(_hang_up)
        yield stage


def _set_up(stage: Stage) -> None:
    os.environ |= {
        "TEST_DATABASE": "sqlite" if stage.server is None else "tenants",
        "CLOACA_TESTS_URL": stage.url,
        "DATABASE_URL": stage.url,
        "WORKSITE_APPS": "tests.soak",
        "DJANGO_SETTINGS_MODULE": "tests.worksite.settings",
    }
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from tests.crash import journal
    from tests.soak import sites

    if stage.server is None:
        call_command("migrate", interactive=False, verbosity=0)
        # The checker reads, and must not keep the workers from writing.
        connection.transaction_mode = None
    else:
        _make_tenants()
    for schema in sites.schemas():
        with sites.entered(schema):
            journal.install(connection)
            with connection.cursor() as cursor:
                cursor.execute("CREATE INDEX crash_of_row ON crash_journal (row_id, kind)")
                cursor.execute("CREATE INDEX crash_of_effect ON crash_effect (task_id)")
                cursor.execute("CREATE INDEX crash_of_start ON crash_started (task_id)")


def _make_tenants() -> None:
    from django.core.management import call_command

    from tests.soak import sites
    from tests.tenants.directory.models import Tenant

    call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
    for name in sites.TENANTS:
        Tenant(schema_name=name, name=name.title()).save(verbosity=0)


def _hang_up() -> None:
    from django.db import connections

    connections.close_all()
