"""What a driver's error means for the next try: wait, connect anew, or give the batch up."""

from __future__ import annotations

import psycopg
import pytest

from cloaca_django import dialect


@pytest.mark.parametrize(
    ("error", "may_pass", "is_lost"),
    [
        (psycopg.errors.ReadOnlySqlTransaction("a standby"), True, True),
        (psycopg.errors.AdminShutdown("the server stops"), True, True),
        (psycopg.OperationalError("the connection broke"), True, True),
        (psycopg.InterfaceError("the connection is closed"), True, True),
        (psycopg.errors.DeadlockDetected("two writers"), True, False),
        (psycopg.errors.LockNotAvailable("somebody's lock"), True, False),
        (psycopg.errors.StatementTooComplex("a limit of the server"), False, False),
        (psycopg.errors.NotNullViolation("a defect"), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_an_error_of_the_server_means(error, may_pass, is_lost):
    assert dialect.is_transient(error) is may_pass
    assert dialect.is_disconnected(error) is is_lost
