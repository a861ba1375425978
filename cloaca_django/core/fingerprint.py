"""The version of a workflow: a hash of its definition, the same in every process.

Source: Cloacina's content hash, SipHash-1-3 with a zero key over the definition in a canonical
order. What it does not cover, rules, policies and limits, is added only where it is not the
default, so the versions of plain workflows are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_MASK = 0xFFFF_FFFF_FFFF_FFFF
# The four words of "somepseudorandomlygeneratedbytes"; the key, zero, changes none of them.
_START = (
    0x736F_6D65_7073_6575,
    0x646F_7261_6E64_6F6D,
    0x6C79_6765_6E65_7261,
    0x7465_6462_7974_6573,
)


class Part(NamedTuple):
    """What counts of a task. ``extra`` is empty unless something is not the default."""

    name: str
    dependencies: tuple[str, ...]
    extra: str


def fingerprint(
    scope: tuple[str, str, str],
    parts: Iterable[Part],
    *,
    name: str,
    description: str | None,
    tags: Mapping[str, str],
) -> str:
    """Return 16 hexadecimal digits. ``scope`` is tenant, package, workflow."""
    ordered = sorted(parts)
    text = bytearray()
    for part in ordered:
        _add_text(text, *scope, part.name)
        _add_dependencies(text, scope, sorted(part.dependencies))
    for part in ordered:
        _add_text(text, part.name)
        _add_dependencies(text, scope, part.dependencies)
    _add_text(text, name, scope[0])
    _add_number(text, 0 if description is None else 1)
    if description is not None:
        _add_text(text, description)
    _add_number(text, len(tags))
    for key in sorted(tags):
        _add_text(text, key, tags[key])
    for part in ordered:
        if part.extra:
            _add_text(text, part.name, part.extra)
    return f"{siphash_1_3(bytes(text)):016x}"


def siphash_1_3(data: bytes) -> int:
    """Return SipHash with one compression and three finishing rounds, under a zero key."""
    state = _START
    whole = len(data) & ~7
    for start in range(0, whole, 8):
        state = _absorbed(state, int.from_bytes(data[start : start + 8], "little"))
    last = (len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little")
    a, b, c, d = _absorbed(state, last)
    state = (a, b, c ^ 0xFF, d)
    for _ in range(3):
        state = _round(state)
    a, b, c, d = state
    return a ^ b ^ c ^ d


def _absorbed(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    a, b, c, d = state
    a, b, c, d = _round((a, b, c, d ^ word))
    return a ^ word, b, c, d


def _round(state: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a, b, c, d = state
    a = (a + b) & _MASK
    b = _rotated(b, 13) ^ a
    a = _rotated(a, 32)
    c = (c + d) & _MASK
    d = _rotated(d, 16) ^ c
    a = (a + d) & _MASK
    d = _rotated(d, 21) ^ a
    c = (c + b) & _MASK
    b = _rotated(b, 17) ^ c
    return a, b, _rotated(c, 32), d


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK


def _add_text(text: bytearray, *words: str) -> None:
    for word in words:
        text += word.encode()
        text.append(0xFF)


def _add_number(text: bytearray, number: int) -> None:
    text += number.to_bytes(8, "little")


def _add_dependencies(
    text: bytearray, scope: tuple[str, str, str], dependencies: Iterable[str]
) -> None:
    names = tuple(dependencies)
    _add_number(text, len(names))
    for name in names:
        _add_text(text, *scope, name)
