"""What the engine says in English, in the reader's language. The words come from ``core``."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, ngettext

from cloaca_django.core.wording import Said


def in_words(text: str) -> str:
    """Return a sentence of ``core`` in the reader's language; other text as it is."""
    if not isinstance(text, Said):
        return text
    parts: dict[str, Any] = {
        name: in_words(part) if isinstance(part, str) else part
        for name, part in text.parts.items()
    }  # fmt: skip
    if text.plural:
        return ngettext(text.template, text.plural, parts["count"]) % parts
    return gettext(text.template) % parts
