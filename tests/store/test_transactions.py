"""A connection of the engine's own after a transaction that broke: the next one works."""

from __future__ import annotations

from contextlib import closing

import pytest
from django.db import connection

from cloaca_django.dialect import open_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="a file's COMMIT cannot be cancelled"),
]


@pytest.fixture
def session(transactional_db):
    with closing(open_session("default")) as made:
        yield made


def test_a_commit_that_is_cancelled_leaves_no_transaction_open(session, monkeypatch):
    own = session.transport.connection
    original = own._exec_command

    def cancelled(command, *arguments, **facts):
        text = "SELECT 1 / 0" if command == b"COMMIT" else command
        return original(text, *arguments, **facts)

    def breaks():
        with session.transaction():
            session.clock()

    with monkeypatch.context() as patch:
        patch.setattr(own, "_exec_command", cancelled)
        with pytest.raises(Exception, match="division by zero"):
            breaks()
    assert session.clock()
    with session.transaction():
        assert session.clock()


def test_a_savepoint_that_breaks_leaves_the_rest_of_its_transaction(session):
    def breaks():
        with session.transaction():
            session.transport.execute("SELECT 1 / 0", {})

    with session.transaction():
        with pytest.raises(Exception, match="division by zero"):
            breaks()
        assert session.clock()
