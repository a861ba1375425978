"""Which keys hold secrets, and how data is shown without them. The one list for repr and admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

REDACTED = "***"

_SENSITIVE = re.compile(
    r"passw|passphrase|passcode|(?:^|[_-])(?:pass|pwd|jwt|dsn)$|database_?url|secret|token|api_?-?key|access_?key|private_?key"
    r"|credential|authorization|^auth$|cookie|session_?id|signature",
    re.IGNORECASE,
)


class _More:
    """Where the site's own words for secrets come from; the app sets it when it is ready."""

    words: Callable[[], tuple[str, ...]] = staticmethod(lambda: ())


def add_words_from(words: Callable[[], tuple[str, ...]]) -> None:
    """Treat keys that hold one of ``words()``, whatever the case, as secret too."""
    _More.words = staticmethod(words)


def is_sensitive(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return _is_sensitive(key) or any(word.lower() in key.lower() for word in _More.words())


@lru_cache(maxsize=4096)
def _is_sensitive(key: str) -> bool:
    return _SENSITIVE.search(key) is not None


def redacted(value: Any) -> Any:
    """Return ``value`` with the values of sensitive keys, at any depth, replaced by ``***``."""
    if isinstance(value, dict):
        return {
            key: REDACTED if is_sensitive(key) and item is not None else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value
