"""The way to a server on which replies are lost: it loses what it says, and nothing else."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.crash.proxy import ALONE, CLEAR, COMMIT, Proxy, Replies
from tests.crash.server import CrashingServer


def _message(kind, body):
    return kind + (len(body) + 4).to_bytes(4, "big") + body


BEGUN = [_message(b"C", b"BEGIN\0"), _message(b"Z", b"T")]
WRITTEN = [_message(b"C", b"UPDATE 1\0"), _message(b"Z", b"T")]
COMMITTED = [_message(b"C", b"COMMIT\0"), _message(b"Z", b"I")]
READY = _message(b"Z", b"I")


def _said(*messages, size=None):
    """Return what a server's messages say was committed, received in parts of some size."""
    replies, text = Replies(), b"".join(messages)
    parts = [text[at : at + (size or len(text))] for at in range(0, len(text), size or len(text))]
    return [what for part in parts for _, what in replies.feed(part) if what]


@pytest.mark.parametrize("size", [None, 1, 3])
def test_the_end_of_a_transaction_is_seen_however_it_is_cut(size):
    assert _said(READY, *BEGUN, *WRITTEN, *COMMITTED, size=size) == [COMMIT]


def test_a_write_without_a_transaction_is_one_that_commits_itself():
    assert _said(READY, _message(b"C", b"UPDATE 3\0"), READY) == [ALONE]


@pytest.mark.parametrize("tag", [b"SELECT 1", b"SET", b"ROLLBACK"])
def test_what_writes_nothing_commits_nothing(tag):
    assert _said(READY, _message(b"C", tag + b"\0"), READY) == []


@pytest.fixture(scope="module")
def server():
    with CrashingServer() as server:
        with psycopg.connect(server.url) as direct:
            direct.execute("CREATE TABLE given (number int)")
        yield server


@pytest.fixture
def proxy(server, monkeypatch):
    for name, value in CLEAR.items():
        monkeypatch.setenv(name, value)
    with Proxy(server.socket) as proxy:
        yield proxy


def _through(proxy, **facts):
    return psycopg.connect(
        f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", connect_timeout=5, **facts
    )


def _is_there(server, number):
    with psycopg.connect(server.url) as direct:
        query = "SELECT count(*) FROM given WHERE number = %s"
        return direct.execute(query, [number]).fetchone() == (1,)


def test_a_commit_whose_reply_is_lost_has_happened(server, proxy):
    connection = _through(proxy)
    connection.execute("INSERT INTO given VALUES (1)")
    proxy.lose(1)
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert _is_there(server, 1)
    assert proxy.lost == {COMMIT: 1}
    with _through(proxy) as another:
        another.execute("INSERT INTO given VALUES (2)")
    assert _is_there(server, 2)


def test_a_statement_that_commits_itself_and_has_no_reply_has_happened(server, proxy):
    connection = _through(proxy, autocommit=True)
    proxy.lose(1, ALONE)
    connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("INSERT INTO given VALUES (3)")
    assert _is_there(server, 3)


def test_a_silent_connection_neither_answers_nor_ends_until_it_is_cut(server, proxy):
    connection = _through(proxy, autocommit=True)
    failed = threading.Event()

    def write():
        try:
            connection.execute("INSERT INTO given VALUES (4)")
        except psycopg.OperationalError:
            failed.set()

    proxy.fall_silent()
    thread = threading.Thread(target=write)
    thread.start()
    assert not failed.wait(0.3)
    proxy.speak_again()
    assert failed.wait(5.0)
    thread.join(5.0)
    assert not _is_there(server, 4)
    _through(proxy).close()


def test_a_server_that_is_down_refuses(server, proxy):
    server.crash()
    try:
        with pytest.raises(psycopg.OperationalError):
            _through(proxy)
    finally:
        server.start()
