"""Which task this thread runs, and the capture of what it logs."""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from cloaca_django.conf import settings

if TYPE_CHECKING:
    from cloaca_django.engine.execution import Job

current_job: ContextVar[Job | None] = ContextVar("cloaca_job", default=None)

_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


_CUT = "\n[... cut here]"


def storable(text: str, limit: int) -> str:
    """Return ``text`` as both databases store it: no NUL, no lone surrogates, bounded.

    ``limit`` is in bytes of UTF-8.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        return data[: limit - len(_CUT)].decode("utf-8", "ignore") + _CUT
    return data.decode("utf-8")


class CaptureHandler(logging.Handler):
    """Copies log records of task code into the task's own log, up to the limit."""

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_alone(record.name):
            self._hand_on(record)
        self._keep(record)

    def _is_alone(self, name: str) -> bool:
        """Say whether no other handler sees what a logger says."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True

    def _hand_on(self, record: logging.LogRecord) -> None:
        # Python prints warnings that no handler takes. With this one there they would be lost.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level:
            last.handle(record)

    def _keep(self, record: logging.LogRecord) -> None:
        job = current_job.get()
        if job is None:
            return
        try:
            line = _FORMAT.format(record)
        except Exception:
            self.handleError(record)
            return
        if job.log_size < settings.LOG_CAPTURE_BYTES:
            job.log_lines.append(line)
            job.log_size += len(line.encode("utf-8", "backslashreplace")) + 1


class Capture:
    """The one handler of this process, installed while anybody wants it."""

    def __init__(self) -> None:
        self._handler = CaptureHandler()
        self._users = 0
        self._lock = threading.Lock()

    def install(self) -> None:
        """Start capturing; pairs with ``remove``."""
        with self._lock:
            self._users += 1
            if self._users == 1 and settings.LOG_CAPTURE:
                logging.getLogger().addHandler(self._handler)

    def remove(self) -> None:
        """Stop capturing when the last user is gone."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                logging.getLogger().removeHandler(self._handler)


_capture = Capture()
install, remove = _capture.install, _capture.remove
