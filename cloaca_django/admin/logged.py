"""What the admin's log says of acts: stored in English, shown in the reader's language.

The stored text is plain, so whatever else reads Django's log can read it. It is one of ``TEXTS``
with its parts filled in, and perhaps the reason that somebody gave.
"""

from __future__ import annotations

import re
from functools import cache

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from cloaca_django.admin.vocabulary import Text
from cloaca_django.core.states import RunStatus

# Two of them are called as the status is that the act leads to.
TEXTS = (
    str(RunStatus.CANCELLED),
    str(RunStatus.PAUSED),
    gettext_noop("Resumed"),
    gettext_noop("Deleted"),
    gettext_noop("Retried as %(run)s"),
    gettext_noop("Run again as %(run)s"),
    gettext_noop("Started run %(run)s, inputs %(hash)s"),
    gettext_noop("Triggered run %(run)s"),
    gettext_noop("Started %(count)s runs from %(start)s to %(end)s"),
    gettext_noop("Enabled"),
    gettext_noop("Disabled"),
    gettext_noop("Drained"),
    gettext_noop("Forgotten"),
    gettext_noop("Downloaded the context"),
    gettext_noop("Read the log of %(task)s, attempt %(count)s"),
    gettext_noop("Exported as JSON"),
    gettext_noop("Changed nothing"),
)
CHANGED = "Changed "
_PARTS = {"run": "[0-9a-f-]{36}", "count": r"\d+", "task": ".+", "hash": "[0-9a-f]+"}
_FIELD = re.compile(r"(\w+) from (.*) to (.*)", re.S)
FIELDS: dict[str, Text] = {
    "workflow_name": gettext_lazy("Workflow"),
    "name": gettext_lazy("Name"),
    "cron_expression": gettext_lazy("Cron expression"),
    "timezone": gettext_lazy("Time zone"),
    "start_date": gettext_lazy("Not before"),
    "end_date": gettext_lazy("Not after"),
    "catchup_policy": gettext_lazy("Missed times"),
    "overlap_policy": gettext_lazy("While its last run is open"),
    "deadline_seconds": gettext_lazy("Deadline (seconds)"),
    "queue": gettext_lazy("Queue"),
    "priority": gettext_lazy("Priority"),
}
CONTEXT = "context "


def entry(text: str, reason: str = "", **parts: object) -> str:
    """Return what is stored: one of ``TEXTS`` with its parts, and the reason if there is one."""
    assert text in TEXTS, text  # noqa: S101 - else nobody could translate it
    told = text % parts
    return f"{told}: {reason}" if reason else f"{told}."


def in_words(stored: str) -> str:
    """Return a stored entry in the reader's language; what is not of here stays as it is."""
    for text in TEXTS:
        found = _pattern(text).fullmatch(stored)
        if found is not None:
            parts = found.groupdict()
            reason = parts.pop("reason")
            told = _(text) % parts
            return f"{told}: {reason}" if reason else f"{told}."
    if stored.startswith(CHANGED) and stored.endswith("."):
        changes = stored.removeprefix(CHANGED).removesuffix(".").split("; ")
        return _("Changed: %s.") % "; ".join(map(_change, changes))
    return stored


@cache
def _pattern(text: str) -> re.Pattern[str]:
    pieces = re.split(r"%\((\w+)\)s", text)
    named = [
        f"(?P<{piece}>{_PARTS.get(piece, r'[^ ]+')})" if at % 2 else re.escape(piece)
        for at, piece in enumerate(pieces)
    ]
    return re.compile(f"{''.join(named)}(?:\\.|: (?P<reason>.+))", re.S)


def _change(text: str) -> str:
    found = _FIELD.fullmatch(text)
    if found is not None and found[1] in FIELDS:
        facts = {"field": str(FIELDS[found[1]]), "before": found[2], "after": found[3]}
        return _("%(field)s from %(before)s to %(after)s") % facts
    if text.startswith(CONTEXT):
        return f"{_('Context (JSON)')} {text.removeprefix(CONTEXT)}"
    return text
