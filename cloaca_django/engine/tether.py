"""The line between a supervisor and one of its processes: JSON messages over a socket pair.

Upwards go reports of what is claimed, downwards orders to drain or stop and what reconcile found.
When one end dies, the other reads the end of the stream.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

logger = logging.getLogger("cloaca_django.worker")

ENVIRONMENT = "CLOACA_WORKER_TETHER"

Message = dict[str, Any]


class Line:
    """One end. Any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._received = b""
        self._is_broken = False
        # Keeps two threads' messages from mixing in the stream.
        self._lock = threading.Lock()

    def send(self, **message: Any) -> bool:
        """Send a message; False when nobody is there to read it."""
        data = json.dumps(message, default=str).encode() + b"\n"
        with self._lock:
            try:
                if not self._is_broken:
                    self.socket.sendall(data)
            except OSError:
                # The other end died, or stopped reading; its end of the stream or its silence
                # tells. A part of the message may be in the stream, so nothing may follow it.
                self._is_broken = True
            return not self._is_broken

    def receive(self) -> list[Message] | None:
        """Return what came, after waiting for something to come; None at the end of the stream."""
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def messages(self) -> Iterator[Message]:
        """Yield messages until the stream ends."""
        while (received := self.receive()) is not None:
            yield from received

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def pair() -> tuple[Line, socket.socket]:
    """Return the supervisor's end, and the one that a new process inherits."""
    ours, theirs = socket.socketpair()
    # A process that holds the interpreter for long reads nothing; it must not stop its supervisor.
    ours.settimeout(1.0)
    return Line(ours), theirs


def environment(end: socket.socket, worker: UUID) -> dict[str, str]:
    """Return what tells a new process that it has a supervisor, and under which id it registers."""
    return {**os.environ, ENVIRONMENT: f"{end.fileno()}:{worker}"}


def is_supervised() -> bool:
    """Say whether a supervisor started this process, and ``inherited`` was not called yet."""
    return ENVIRONMENT in os.environ


def inherited() -> tuple[Line, UUID] | None:
    """Take over the line to this process's supervisor; None when it has none."""
    # Popped: what tasks start must not believe that they are worker processes.
    found = os.environ.pop(ENVIRONMENT, None)
    if found is None:
        return None
    number, _, worker = found.partition(":")
    end = socket.socket(fileno=int(number))
    os.set_inheritable(end.fileno(), False)
    return Line(end), UUID(worker)
