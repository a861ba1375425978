"""A thread's connections around a task: those that it opened, and no others, are tidied."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction

from cloaca_django.engine.connections import _here, check_ended, open_blocks, tidy
from cloaca_django.errors import TransactionLeftOpen


@pytest.fixture
def opened(transactional_db):
    """The connection of this thread, opened anew."""
    reopen(connection)
    yield connection
    tidy()


def left_open():
    transaction.atomic().__enter__()


def test_a_block_that_was_left_open_is_found_on_a_connection_that_was_opened_anew(opened):
    before = open_blocks()
    left_open()
    assert open_blocks() == {"default": 1}
    with pytest.raises(TransactionLeftOpen):
        check_ended("w", before)
    assert not opened.in_atomic_block
    assert open_blocks() == {"default": 0}


def test_one_that_django_made_anew_counts_and_the_one_before_does_not(opened):
    before = connections["default"]
    del connections["default"]
    connection.ensure_connection()
    left_open()
    assert open_blocks() == {"default": 1}
    tidy()
    assert open_blocks() == {"default": 0}
    # Who removes the test database closes the one before, and no other.
    connections["default"].close()
    connections["default"] = before


@pytest.mark.parametrize("alias", ["default", "no alias of the settings"])
def test_a_connection_that_somebody_made_for_himself_is_left_alone(opened, alias):
    own = opened.copy(alias)
    own.ensure_connection()
    own.close_at = 0.0
    try:
        tidy()
        assert own.connection is not None
        assert set(open_blocks()) == {"default"}
    finally:
        own.close()


def test_one_whose_alias_is_gone_is_forgotten_when_the_next_is_opened(opened, monkeypatch):
    monkeypatch.setitem(connections.databases, "passing", {})
    left = SimpleNamespace(alias="passing", in_atomic_block=False, atomic_blocks=[])
    _here.opened.append(left)
    reopen(opened)
    assert set(open_blocks()) == {"default", "passing"}
    del connections.databases["passing"]
    reopen(opened)
    assert set(open_blocks()) == {"default"}


def reopen(connection):
    connection.close()
    connection.ensure_connection()
