"""A way to a PostgreSQL server on which replies are lost, and connections fall silent or are slow.

It reads the server's messages, so that it knows which reply says that something was committed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

# What a reply is called that ends a transaction which had no BEGIN.
ALONE = "a statement"
COMMIT = "COMMIT"
CHUNK = 65_536
# What a client is to be told: its messages must not be hidden.
CLEAR = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


class Replies:
    """The messages of a server on one connection, as they come in."""

    def __init__(self) -> None:
        self._buffer = b""
        self._tag = ""
        self._was_idle = False

    def feed(self, received: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield each complete message, with what it says was committed; mostly nothing."""
        self._buffer += received
        while len(self._buffer) >= 5:
            size = 1 + int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            yield message, self._committed(message)

    def _committed(self, message: bytes) -> str:
        if message[:1] == b"C":
            self._tag = message[5:-1].decode()
        if message[:1] != b"Z":
            return ""
        is_idle, was_idle, tag = message[5:6] == b"I", self._was_idle, self._tag
        self._was_idle, self._tag = is_idle, ""
        if tag == COMMIT:
            return COMMIT
        is_alone = is_idle and was_idle and tag.startswith(("INSERT", "UPDATE", "DELETE"))
        return ALONE if is_alone else ""


class Proxy:
    """A port that leads to a server's socket; use it as a context manager. For any thread."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = str(upstream)
        self._links: set[_Link] = set()
        # Guards the links: every one has two threads.
        self._lock = threading.Lock()
        self._to_lose = {COMMIT: 0, ALONE: 0}
        self.lost: Counter[str] = Counter()
        self.is_silent = False
        self.delay = 0.0
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            # Closing alone would leave a thread in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(10.0)

    def lose(self, count: int, what: str = COMMIT) -> None:
        """Lose the next replies that say something was committed, each with its connection."""
        with self._lock:
            self._to_lose[what] = count

    def fall_silent(self) -> None:
        """Take in what is sent from now on, in either direction, and hand on nothing."""
        self.is_silent = True

    def speak_again(self) -> None:
        """Cut the connections that were silent; new ones are served."""
        self.is_silent = False
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    def is_lost(self, what: str) -> bool:
        """Say whether this reply is one of those to lose, and count it."""
        with self._lock:
            if not what or not self._to_lose[what]:
                return False
            self._to_lose[what] -= 1
            self.lost[what] += 1
            return True

    def leave(self, link: _Link) -> None:
        """Forget a connection that was cut."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._upstream)
            except OSError:
                # The server is down, as it would be without a proxy.
                client.close()
                server.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
            link.start()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server

    def start(self) -> None:
        for target in (self._to_server, self._to_client):
            threading.Thread(target=target, name="proxy-link", daemon=True).start()

    def cut(self) -> None:
        """End both halves; the threads see it and end."""
        for half in (self._client, self._server):
            with contextlib.suppress(OSError):
                half.shutdown(socket.SHUT_RDWR)
        self._proxy.leave(self)

    def _to_server(self) -> None:
        self._pump(self._client, self._server, None)

    def _to_client(self) -> None:
        self._pump(self._server, self._client, Replies())

    def _pump(self, source: socket.socket, target: socket.socket, replies: Replies | None) -> None:
        try:
            while received := source.recv(CHUNK):
                if self._proxy.delay:
                    self._proxy.closing.wait(self._proxy.delay)
                if replies is not None and self._loses(replies, received):
                    break
                if not self._proxy.is_silent:
                    target.sendall(received)
        except OSError:
            pass  # somebody ended; so does the other half
        finally:
            self.cut()
            source.close()

    def _loses(self, replies: Replies, received: bytes) -> bool:
        """Say whether something in here is to be lost; what came with it is lost too."""
        return sum(self._proxy.is_lost(what) for _, what in replies.feed(received)) > 0
