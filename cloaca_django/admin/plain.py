"""What programs wrote, as a page may show it. Escaping is the templates' affair."""

from __future__ import annotations

import re

# Colours and cursor movements of terminals, and whatever else is no text.
_NO_TEXT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def text(written: str) -> str:
    """Return a text without its control characters; lines and tabs stay."""
    return _NO_TEXT.sub("", written.replace("\r\n", "\n"))


def first_line(written: str, most: int) -> str:
    """Return as much of a text's first line as there is room for."""
    line = text(written[: 4 * most].strip()).partition("\n")[0]
    return f"{line[:most]}…" if len(line) > most else line
