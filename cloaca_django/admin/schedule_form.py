"""The form of a schedule. What may be said of one is checked by ``core`` and ``engine``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import schedule_preview
from cloaca_django.admin.run_form import context_of
from cloaca_django.conf import settings
from cloaca_django.core import cron, registry, schedule_facts
from cloaca_django.core.context import decode
from cloaca_django.core.redaction import REDACTED, is_sensitive, redacted
from cloaca_django.core.states import CatchupPolicy, OverlapPolicy
from cloaca_django.engine import overview, timetable
from cloaca_django.errors import CloacaError, InvalidInput, UnreadableContext
from cloaca_django.models import CronSchedule

OWNER = "schedule"
WHEN = ("cron_expression", "timezone")
DATES = ("start_date", "end_date")
# The list of examples that the page offers while somebody types.
EXAMPLES = "cloaca-expressions"
WALL_TIME = "%Y-%m-%dT%H:%M:%S"

CATCHUP = [
    (CatchupPolicy.ALL.value, gettext_lazy("run them all, up to the site's limit")),
    (CatchupPolicy.LATEST.value, gettext_lazy("run once, for the newest")),
    (CatchupPolicy.SKIP.value, gettext_lazy("skip them")),
]
OVERLAP = [
    (OverlapPolicy.START.value, gettext_lazy("start anyway")),
    (OverlapPolicy.SKIP.value, gettext_lazy("skip this time")),
]


class WallTimeField(forms.DateTimeField):
    """A moment on the clock of the schedule's own zone: a naive datetime, whatever the site's."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format=WALL_TIME)

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(UTC):
            found = super().to_python(value)
        return None if found is None else found.replace(tzinfo=None)


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule. ``facts`` are what was changed, as ``engine.timetable`` takes them."""

    required_css_class = "required"

    workflow_name = forms.ChoiceField(label=gettext_lazy("Workflow"))
    name = forms.CharField(
        label=gettext_lazy("Name"), required=False, max_length=255,
        help_text=gettext_lazy("No two schedules have the same. It may be empty."),
    )  # fmt: skip
    enabled = forms.BooleanField(label=gettext_lazy("Enabled"), required=False, initial=True)
    cron_expression = forms.CharField(
        label=gettext_lazy("Cron expression"), max_length=cron.MAX_LENGTH,
        help_text=gettext_lazy("Five fields: minute hour day month weekday; or @daily and such."),
        widget=forms.TextInput(
            attrs={"class": "cloaca-code", "spellcheck": "false", "dir": "ltr", "list": EXAMPLES}
        ),
    )  # fmt: skip
    timezone = forms.ChoiceField(label=gettext_lazy("Time zone"), initial="UTC")
    start_date = WallTimeField(
        label=gettext_lazy("Not before"), required=False,
        help_text=gettext_lazy("In the zone of the schedule."),
    )  # fmt: skip
    end_date = WallTimeField(
        label=gettext_lazy("Not after"), required=False,
        help_text=gettext_lazy("In the zone of the schedule."),
    )  # fmt: skip
    catchup_policy = forms.ChoiceField(
        label=gettext_lazy("Missed times"), choices=CATCHUP, initial=CatchupPolicy.ALL.value
    )
    overlap_policy = forms.ChoiceField(
        label=gettext_lazy("While its last run is open"), choices=OVERLAP,
        initial=OverlapPolicy.START.value,
    )  # fmt: skip
    deadline_seconds = forms.IntegerField(
        label=gettext_lazy("Deadline (seconds)"), required=False,
        help_text=gettext_lazy("A time that is later than this is skipped. Empty: never too late."),
    )  # fmt: skip
    context = forms.CharField(
        label=gettext_lazy("Context (JSON)"), required=False, initial="{}",
        help_text=gettext_lazy("A secret is shown as *** and stays what it is while that stands."),
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "cloaca-code"}),
    )  # fmt: skip
    queue = forms.CharField(label=gettext_lazy("Queue"), initial="default", max_length=64)
    priority = forms.IntegerField(label=gettext_lazy("Priority"), initial=0)

    class Meta:
        model = CronSchedule
        fields = (
            "workflow_name", "name", "enabled", *WHEN, *DATES, "catchup_policy", "overlap_policy",
            "deadline_seconds", "context", "queue", "priority",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page leaves some out; what is declared in a form stays in it all the same.
        for name in set(self.fields) - set(self._meta.fields or ()):
            del self.fields[name]
        row = self.instance
        self._is_new = row._state.adding
        self._old: Mapping[str, Any] = {}
        self._offer("workflow_name", _workflows(row.workflow_name))
        self._offer("timezone", _zones("" if self._is_new else row.timezone))
        if not self._is_new:
            self._show(row)

    def _offer(self, name: str, choices: Any) -> None:
        field: Any = self.fields.get(name)
        if field is not None:
            field.choices = choices

    def _show(self, row: CronSchedule) -> None:
        """Show a row's dates on its own clock, and its context without secrets."""
        zone = _zone_of(row.timezone)
        for name in DATES:
            at = getattr(row, name)
            local = at and at.astimezone(zone).replace(tzinfo=None, microsecond=0)
            self.initial[name] = local
        try:
            self._old = decode(row.context)
        except UnreadableContext:  # edited by hand: shown as it is, and refused until mended
            return
        self.initial["context"] = json.dumps(redacted(self._old), ensure_ascii=False, indent=2)

    def clean_name(self) -> str | None:
        """Return the name; None for none. It is taken once in a site."""
        name: str | None = self.cleaned_data["name"] or None
        rows = CronSchedule.objects.using(settings.DATABASE).exclude(pk=self.instance.pk)
        if name is not None and rows.filter(name=name).exists():
            raise forms.ValidationError(_("Another schedule has this name."))
        return name

    def clean_context(self) -> dict[str, Any]:
        """Read the JSON, and put back the secrets that were not typed anew."""
        data: dict[str, Any] = _unhidden(context_of(self.cleaned_data["context"]), self._old)
        return data

    def clean(self) -> dict[str, Any]:
        """Check each fact by itself, so that every mistake is named at its place; then together."""
        super().clean()
        given: dict[str, Any] = self.cleaned_data
        zone = _zone_of(given.get("timezone", "UTC"))
        for name in DATES:
            if given.get(name) is not None:
                given[name] = given[name].replace(tzinfo=zone)
        for name, facts in _parts(given):
            self._check(name, facts)
        if not self.errors:
            self._check("end_date", {name: given.get(name) for name in DATES})
        if not self.errors:
            self._check_together()
        return given

    def _check(self, name: str, facts: Mapping[str, Any]) -> None:
        try:
            schedule_facts.checked(OWNER, facts)
        except InvalidInput as error:
            self.add_error(name, schedule_preview.problem(error))
        except CloacaError as error:
            self.add_error(name, str(error)[:500])

    def _check_together(self) -> None:
        facts = {name: self.cleaned_data[name] for name in self.fields if name != "workflow_name"}
        workflow = self.cleaned_data["workflow_name"]
        kept = {"context": self.instance.context, "timezone": self.instance.timezone}
        try:
            values = {**kept, **timetable.checked_values(OWNER, workflow, facts)}
            made = CronSchedule(id=self.instance.pk, **{**values, "workflow_name": workflow})
            timetable.check_params(made, overview.read_clock(settings.DATABASE))
        except CloacaError as error:
            self.add_error("context" if "context" in self.fields else None, str(error)[:500])

    def validate_unique(self) -> None:
        """Leave it to ``clean_name``: this form's rows may be in another database."""

    def validate_constraints(self) -> None:
        """Leave them to ``clean``, which says it in words."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine is to write: all of a new schedule, else what was changed."""
        names = self.fields if self._is_new else self.changed_data
        if set(DATES) & set(self.fields) and "timezone" in names:
            # They were read on another clock.
            names = [*names, *DATES]
        return {name: self.cleaned_data[name] for name in names if name != "workflow_name"}


def _parts(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in list(given.items()):
        if name == "cron_expression":
            yield name, {name: value, "timezone": "UTC"}
        elif name == "timezone":
            yield name, {"cron_expression": "@daily", name: value}
        elif name != "workflow_name":
            yield name, {name: value}


def _workflows(own: str) -> list[tuple[str, str]]:
    """Return the registered workflows; one that is gone stays with its schedule, and is marked."""
    known = sorted(registry.names())
    choices = [("", "---------"), *((name, name) for name in known)]
    if own and own not in known:
        choices.append((own, f"{own} ({_('not registered here')})"))
    return choices


def _zones(own: str) -> list[tuple[str, str]]:
    """Return UTC, the reader's zone and the schedule's, then all others."""
    known = cron.zone_names()
    first = ["UTC", timezone.get_current_timezone_name(), own]
    names = dict.fromkeys([*(name for name in first if name in known), *sorted(known)])
    choices = [(name, name) for name in names]
    if own and own not in known:
        choices.append((own, f"{own} ({_('Unknown time zone.')})"))
    return choices


def _zone_of(name: str) -> ZoneInfo:
    """Return a zone; UTC in place of one that is gone, which the form refuses anyway."""
    return ZoneInfo(name if name in cron.zone_names() else "UTC")


def _unhidden(new: Any, old: Any) -> Any:
    """Return typed data with each ``***`` of a secret key replaced by what was there."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {
            key: old[key] if item == REDACTED and is_sensitive(key) and key in old
            else _unhidden(item, old.get(key))
            for key, item in new.items()
        }  # fmt: skip
    if isinstance(new, list) and isinstance(old, list):
        rest = [None] * max(0, len(new) - len(old))
        return [_unhidden(*pair) for pair in zip(new, [*old, *rest], strict=False)]
    return new
