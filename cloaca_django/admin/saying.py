"""What the engine says in English, in the reader's language. The words come from ``core``."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any

from django.utils.translation import gettext, gettext_lazy, ngettext

from cloaca_django.admin.vocabulary import Text
from cloaca_django.core.wording import Said
from cloaca_django.errors import CloacaError, ContextTooLarge, InvalidContext, UnreadableContext


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


_JSON: Mapping[str, Text] = {
    "Expecting value": gettext_lazy("expected a value"),
    "Expecting ',' delimiter": gettext_lazy("expected a comma"),
    "Expecting ':' delimiter": gettext_lazy("expected a colon"),
    "Expecting property name enclosed in double quotes": gettext_lazy(
        "expected a key in double quotes"
    ),
    "Extra data": gettext_lazy("something follows the end"),
    "Unterminated string starting at": gettext_lazy("this text has no closing quote"),
    "Invalid control character at": gettext_lazy("a control character in a text"),
    "Invalid \\escape": gettext_lazy("an unknown escape in a text"),
    "Invalid \\uXXXX escape": gettext_lazy("an unknown escape in a text"),
    "Illegal trailing comma before end of object": gettext_lazy("a comma before the end"),
    "Illegal trailing comma before end of array": gettext_lazy("a comma before the end"),
}


def of_json(error: JSONDecodeError) -> str:
    """Return what is wrong with typed JSON, by line and column."""
    # Some of Python's sentences end with a colon, by version.
    problem = _JSON.get(error.msg.rstrip(": "), error.msg)
    where = {"line": error.lineno, "column": error.colno, "problem": problem}
    return gettext("line %(line)d, column %(column)d: %(problem)s") % where


def of_context(error: InvalidContext) -> str:
    """Return what a context cannot hold, and where in it."""
    if isinstance(error, ContextTooLarge):
        facts = {"size": error.size, "limit": error.limit}
        return gettext("It has %(size)d bytes, and may have %(limit)d.") % facts
    if isinstance(error, UnreadableContext):
        return f"{gettext('What is stored cannot be read; somebody edited it.')} {error}"
    problem = in_words(error.problem)
    return problem if error.path == "$" else f"{error.path}: {problem}"


def of_error(error: CloacaError) -> str:
    """Return an error in the reader's language where it is one about a context."""
    return of_context(error) if isinstance(error, InvalidContext) else str(error)[:500]
