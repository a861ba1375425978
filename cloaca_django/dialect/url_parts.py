"""What the readers of database URLs share: escapes, query options, and hiding passwords."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote_to_bytes

from cloaca_django.errors import nearest, shown

Check = Callable[[str], str]
Options = dict[str, str]

# A path has 4,096 bytes at most, and a few of them are written as three characters.
MAX_LENGTH = 8_192

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# One part of an address: an IPv6 host or none, then whatever follows.
_PART = re.compile(r"(\[[0-9A-Fa-f:.]*(?:%\w+)?\])?([^/,]*)")
_PORT_OR_MEMORY = re.compile(r"[^:]*:\d+|:memory:")


class RefusedError(Exception):
    """A rule that a URL breaks, in words that show nothing of its password."""


def check_characters(text: str) -> None:
    """Refuse what neither a driver nor a file system takes."""
    if _CONTROL.search(text):
        raise RefusedError("control character in URL")


def decode(text: str) -> str:
    """Return ``text`` with its percent-escapes resolved. A plus sign stays one."""
    if _BAD_ESCAPE.search(text):
        raise RefusedError("bad percent-escape; write a percent sign as %25")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise RefusedError("bad percent-escape: not UTF-8") from None
    check_characters(decoded)
    return decoded


def read_options(query: str, known: Mapping[str, Check]) -> Options:
    """Return the options of ``query``, each accepted by its check in ``known``.

    A check returns the value in its normal spelling.
    """
    options: Options = {}
    for pair in query.split("&") if query else ():
        key, equals, raw = pair.partition("=")
        if key not in known:
            raise RefusedError(_unknown(key, known))
        if not equals:
            raise RefusedError(f"option {key!r} has no value; write {key}=VALUE")
        if key in options:
            raise RefusedError(f"parameter {key!r} given twice")
        options[key] = known[key](decode(raw))
    return options


def one_of(key: str, values: Mapping[str, str], *, reason: str = "") -> Check:
    """Return a check that accepts the keys of ``values`` in any case, and spells them as there."""

    def check(given: str) -> str:
        if given.lower() not in values:
            allowed = ", ".join(dict.fromkeys(values.values()))
            raise RefusedError(f"{key} must be one of {allowed}, not {shown(given)}{reason}")
        return values[given.lower()]

    return check


def whole_number(key: str, low: int, high: int) -> Check:
    """Return a check for a whole number between two bounds."""

    def check(given: str) -> str:
        if not re.fullmatch(r"[0-9]{1,9}", given) or not low <= int(given) <= high:
            raise RefusedError(f"{key} must be {low}-{high}, not {shown(given)}")
        return str(int(given))

    return check


def text(key: str, limit: int) -> Check:
    """Return a check for a text of 1 to ``limit`` characters."""

    def check(given: str) -> str:
        if not 1 <= len(given) <= limit:
            raise RefusedError(f"{key} must have 1-{limit} characters")
        return given

    return check


def redact(url: str) -> str:
    """Return ``url`` with nothing left that could be a password, however malformed it is."""
    scheme, separator, rest = url.partition("://")
    if len(url) > MAX_LENGTH:
        return f"{scheme[:80]}://***" if separator else "***"
    if not separator:
        return url if re.fullmatch(r"[\w./\\~-]*|:memory:", url) else "***"
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    address, mark, query = rest.partition("?")
    address = _PART.sub(_without_password, address)
    keys = (pair.partition("=")[0] for pair in query.split("&"))
    return f"{scheme}://{address}{mark}{'&'.join(f'{key}=***' for key in keys if key)}"


def _without_password(part: re.Match[str]) -> str:
    # Without an @, what follows the colon may be a password whose host was forgotten.
    host, rest = part[1] or "", part[2]
    if ":" not in rest or _PORT_OR_MEMORY.fullmatch(rest):
        return host + rest
    return f"{host}{rest.partition(':')[0]}:***"


def _unknown(key: str, known: Mapping[str, Check]) -> str:
    allowed = ", ".join(known)
    return f"parameter {shown(key)} not allowed in the query; known: {allowed}{nearest(key, known)}"
