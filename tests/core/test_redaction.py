"""Which keys count as secrets."""

from __future__ import annotations

import pytest

from cloaca_django.core.redaction import is_sensitive, redacted


@pytest.mark.parametrize(
    "key",
    ["password", "DB_PASSWORD", "passwd", "pwd", "secret", "client_secret", "token", "accessToken",
     "api_key", "apikey", "API-KEY", "private_key", "credentials", "Authorization", "cookie",
     "session_id", "auth", "pass", "db_pass", "jwt", "sentry_dsn", "DATABASE_URL"],
)  # fmt: skip
def test_secrets(key: str) -> None:
    assert is_sensitive(key)


@pytest.mark.parametrize(
    "key",
    ["user_id", "key", "compass", "author", "passenger", "count", "bypass", "passed", "surpass_"],
)
def test_no_secrets(key: str) -> None:
    assert not is_sensitive(key)


def test_redaction_is_deep_and_keeps_the_original() -> None:
    data = {"a": [{"token": "x", "n": 1}], "password": {"deep": 1}, "secret": None}
    assert redacted(data) == {"a": [{"token": "***", "n": 1}], "password": "***", "secret": None}
    assert data["password"] == {"deep": 1}
