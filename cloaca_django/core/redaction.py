"""Which keys hold secrets, and how data is shown without them. The one list for repr and admin."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

REDACTED = "***"

_SENSITIVE = re.compile(
    r"passw|passphrase|passcode|^pwd$|_pwd$|secret|token|api_?-?key|access_?key|private_?key"
    r"|credential|authorization|^auth$|cookie|session_?id|signature",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def is_sensitive(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
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
