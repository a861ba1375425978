"""A SQLite file that somebody else writes to: the engine waits for it, and knows that it waited."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest
from django.db import connection

from cloaca_django.dialect import open_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="a server has no file to wait for"),
]


class Writer:
    """Somebody with the file open for writing, until told to commit."""

    def __init__(self):
        self.own = sqlite3.connect(
            connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False
        )
        self.own.execute("BEGIN IMMEDIATE")

    def commit_when(self, somebody_tries):
        def commit():
            assert somebody_tries.wait(20)
            self.own.execute("COMMIT")

        thread = threading.Thread(target=commit)
        thread.start()
        return thread

    def close(self):
        self.own.close()


@pytest.fixture
def writer(transactional_db):
    with closing(Writer()) as made:
        yield made


def test_a_transaction_waits_for_the_writer_and_says_so(writer, monkeypatch):
    tries = threading.Event()
    with closing(open_session("default")) as session:
        own, refused = session.transport.connection, []

        class Watched:
            """The connection, which tells of each refusal."""

            def __getattr__(self, name):
                return getattr(own, name)

            def execute(self, text, params=()):
                try:
                    return own.execute(text, params)
                except sqlite3.OperationalError as error:
                    refused.append(error.sqlite_errorcode)
                    tries.set()
                    raise

        monkeypatch.setattr(session.transport, "connection", Watched())
        thread = writer.commit_when(tries)
        with session.transaction():
            assert session.clock()
        thread.join()
        assert set(refused) == {sqlite3.SQLITE_BUSY}
        assert session.had_company()
        assert session.had_company() is None, "it was said"
        with session.transaction():
            assert session.clock()
        assert session.had_company() is False


def test_a_writer_that_goes_on_is_an_error_when_patience_ends(writer):
    with closing(open_session("default", patience=0.05)) as session:
        with (
            pytest.raises(sqlite3.OperationalError, match="database is locked"),
            session.transaction(),
        ):
            session.clock()
        writer.own.execute("COMMIT")
        with session.transaction():
            assert session.clock()
