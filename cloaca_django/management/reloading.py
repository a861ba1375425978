"""``--reload``: start anew when a file of the code changes, if the new code loads at all."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable

from django.utils import autoreload

logger = logging.getLogger("cloaca_django.worker")

# Says to the command that it is started only to see whether it can be.
TRIAL = "CLOACA_WORKER_TRIAL"


class Reloader:
    """Watches the code of this process and calls ``changed`` once, when it can be replaced.

    The process then finishes what it runs, and ``replace_process`` starts it anew under the same
    process id, unless it was signalled meanwhile. Code that does not load is reported, and the old
    code goes on.
    """

    def __init__(self, changed: Callable[[], object], say: Callable[[str], object]) -> None:
        self._changed = changed
        self._say = say
        self._has_fired = False

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="cloaca-reload", daemon=True).start()

    def _watch(self) -> None:
        reloader = autoreload.get_reloader()
        autoreload.autoreload_started.send(sender=reloader)
        while not self._has_fired:
            try:
                # Each tick ends with a pause of the reloader's own.
                for _ in reloader.tick():
                    pass
            except SystemExit:
                # How Django's reloader says that a file has changed.
                self._try()

    def _try(self) -> None:
        trial = subprocess.run(  # noqa: S603 - the command this process was started with
            autoreload.get_child_arguments(),
            env={**os.environ, TRIAL: "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if trial.returncode:
            self._say(f"The changed code does not load; the old code goes on:\n{trial.stderr}")
            return
        self._has_fired = True
        self._say("The code has changed; this process starts anew")
        self._changed()


def is_trial() -> bool:
    """Say whether this process was started only to see whether it loads."""
    return TRIAL in os.environ


def replace_process() -> None:
    """Run the same command anew in the place of this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, autoreload.get_child_arguments())  # noqa: S606 - see _try
