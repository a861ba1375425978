"""A traceback in parts: the frames of the site's own code, and those of libraries, to be folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cloaca_django

_FRAME = re.compile(r'^\s*(?:\|\s*)?File "(?P<path>[^"]*)", line \d+')
_LIBRARIES = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib(?:64)?[/\\]python3[^/\\]*[/\\]|^<"
)
_OURS = str(Path(cloaca_django.__file__).parent)


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines that follow each other. ``frames`` of libraries are folded; 0: shown as it is."""

    text: str
    frames: int = 0


def parts_of(text: str) -> Sequence[Part]:
    """Split a traceback; one without a frame of the site's own is left whole."""
    pieces = list(_pieces(text.rstrip("\n").split("\n")))
    if not any(is_own for is_own, _lines in pieces if is_own is not None):
        return [Part("\n".join(line for _own, lines in pieces for line in lines))]
    found = []
    for is_folded, group in groupby(pieces, key=lambda piece: piece[0] is False):
        lines = [lines for _own, lines in group]
        joined = "\n".join(line for each in lines for line in each)
        found.append(Part(joined, len(lines) if is_folded else 0))
    return found


def _pieces(lines: Sequence[str]) -> Iterator[tuple[bool | None, list[str]]]:
    """Yield each frame and whether it is of the site's own code; None for what is no frame."""
    is_own: bool | None = None
    kept: list[str] = []
    indent = 0
    for line in lines:
        frame = _FRAME.match(line)
        starts = frame is not None
        # The lines of a frame are indented further than its head.
        ends = is_own is not None and not starts and _indent(line) <= indent
        if (starts or ends) and kept:
            yield is_own, kept
            kept = []
        if frame is not None:
            is_own, indent = not _is_library(frame["path"]), _indent(line)
        elif ends:
            is_own = None
        kept.append(line)
    if kept:
        yield is_own, kept


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" |"))


def _is_library(path: str) -> bool:
    return bool(_LIBRARIES.search(path)) or path.startswith(_OURS)
