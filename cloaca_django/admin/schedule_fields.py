"""The fields of the form of a schedule: what they offer, and how they are typed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.core import cron, registry
from cloaca_django.core.states import CatchupPolicy, OverlapPolicy

WALL_TIME = "%Y-%m-%dT%H:%M:%S"
# The lists that the page offers while somebody types.
EXAMPLES = "cloaca-expressions"
ZONES = "cloaca-zones"
WORKFLOWS = "cloaca-workflows"
# More of them are not looked through in a list but typed, with suggestions.
MANY_WORKFLOWS = 25

CATCHUP = [
    (CatchupPolicy.ALL.value, gettext_lazy("run them all, up to the site's limit")),
    (CatchupPolicy.LATEST.value, gettext_lazy("run once, for the newest")),
    (CatchupPolicy.SKIP.value, gettext_lazy("skip them")),
]
OVERLAP = [
    (OverlapPolicy.START.value, gettext_lazy("start anyway")),
    (OverlapPolicy.SKIP.value, gettext_lazy("skip this time")),
]
# What the buttons beside the expression fill in.
USUAL = [
    (gettext_lazy("hourly"), "0 * * * *"),
    (gettext_lazy("daily"), "0 3 * * *"),
    (gettext_lazy("weekdays"), "0 9 * * MON-FRI"),
    (gettext_lazy("weekly"), "0 3 * * MON"),
    (gettext_lazy("monthly"), "0 3 1 * *"),
]


class CronInput(forms.TextInput):
    """A cron expression, and buttons that fill in the usual ones; they need the script."""

    def __init__(self) -> None:
        super().__init__(
            {"class": "cloaca-code", "spellcheck": "false", "dir": "ltr", "list": EXAMPLES}
        )

    def render(
        self, name: str, value: Any, attrs: Mapping[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Return the field and its buttons."""
        field = super().render(name, value, dict(attrs or {}), renderer)
        buttons = render_to_string("admin/cloaca_django/part_usual.html", {"usual": USUAL})
        return format_html("{}{}", field, buttons)


class WallTimeField(forms.DateTimeField):
    """A moment on the clock of the schedule's own zone: a naive datetime, whatever the site's."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format=WALL_TIME)

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(UTC):
            found = super().to_python(value)
        return None if found is None else found.replace(tzinfo=None)


class SeenField(forms.CharField):
    """Which state of a row the page showed. Its text is no fact of the row, so it never changes."""

    # Or a browser would keep the old one when the page is loaded anew.
    widget = forms.HiddenInput(attrs={"autocomplete": "off"})

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


def workflows(own: str) -> list[tuple[str, str]]:
    """Return the registered workflows; one that is gone stays with its schedule, and is marked."""
    known = sorted(registry.names())
    choices = [("", "---------"), *((name, name) for name in known)]
    if own and own not in known:
        choices.append((own, f"{own} ({_('not registered here')})"))
    return choices


def completing(choices: Sequence[tuple[str, str]]) -> forms.TextInput | None:
    """Return the field in which one of many workflows is typed; None for few, which are listed."""
    if len(choices) <= MANY_WORKFLOWS:
        return None
    facts = {"list": WORKFLOWS, "spellcheck": "false", "autocomplete": "off", "dir": "ltr"}
    return forms.TextInput(facts)


def zones() -> list[str]:
    """Return UTC and the reader's zone, then all others by region."""
    known = cron.zone_names()
    first = ["UTC", timezone.get_current_timezone_name()]
    return list(dict.fromkeys([*(name for name in first if name in known), *sorted(known)]))
