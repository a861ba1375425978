"""The form of a schedule. What may be said of one is checked by ``core`` and ``engine``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import saying, schedule_fields, schedule_inputs, schedule_preview
from cloaca_django.admin.run_form import context_of
from cloaca_django.admin.schedule_fields import (
    CATCHUP,
    OVERLAP,
    CronInput,
    SeenField,
    WallTimeField,
)
from cloaca_django.conf import settings
from cloaca_django.core import cron, options, schedule_facts
from cloaca_django.core.context import decode
from cloaca_django.core.redaction import REDACTED, is_sensitive, redacted
from cloaca_django.core.states import CatchupPolicy, OverlapPolicy
from cloaca_django.engine import overview, timetable
from cloaca_django.errors import CloacaError, InvalidInput, InvalidParams, UnreadableContext
from cloaca_django.models import CronSchedule

OWNER = "schedule"
WHEN = ("cron_expression", "timezone")
DATES = ("start_date", "end_date")


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
        widget=CronInput(),
    )  # fmt: skip
    timezone = forms.CharField(
        label=gettext_lazy("Time zone"), initial="UTC", max_length=64,
        help_text=gettext_lazy("Type a part of its name, such as a city."),
        widget=forms.TextInput(
            attrs={"list": schedule_fields.ZONES, "spellcheck": "false", "dir": "ltr",
                   "autocomplete": "off"}
        ),
    )  # fmt: skip
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
        min_value=1, max_value=schedule_facts.YEAR,
        help_text=gettext_lazy("A time that is later than this is skipped. Empty: never too late."),
    )  # fmt: skip
    context = forms.CharField(
        label=gettext_lazy("Context (JSON)"), required=False, initial="{}",
        help_text=gettext_lazy("A secret is shown as *** and stays what it is while that stands."),
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "cloaca-code"}),
    )  # fmt: skip
    queue = forms.RegexField(
        rf"\A{options.QUEUE_NAME.pattern}\Z", label=gettext_lazy("Queue"), initial="default",
        error_messages={"invalid": gettext_lazy("1 to 64 letters, digits, “.”, “_” and “-”.")},
    )  # fmt: skip
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), initial=0, min_value=-32_768, max_value=32_767,
        help_text=gettext_lazy("Runs with a higher one go first."),
    )  # fmt: skip
    seen = SeenField(required=False)

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
        chosen: Any = self.fields.get("workflow_name")
        if chosen is not None:
            self.workflows = schedule_fields.workflows(row.workflow_name)
            if (widget := schedule_fields.completing(self.workflows)) is not None:
                chosen.widget = widget
                chosen.help_text = _("Type a part of its name.")
            chosen.choices = self.workflows
        if not self._is_new:
            self._show(row)
        self.inputs = self._shown_inputs() if "context" in self.fields else None
        if self.inputs is not None:
            self.fields["context"].label = _("Further context (JSON)")

    def _show(self, row: CronSchedule) -> None:
        """Show a row's dates on its own clock, and its context without secrets."""
        self.initial["seen"] = row.updated_at.isoformat()
        zone = _zone_of(row.timezone)
        for name in DATES:
            at = getattr(row, name)
            local = at and at.astimezone(zone).replace(tzinfo=None, microsecond=0)
            self.initial[name] = local
        try:
            self._old = decode(row.context)
        except UnreadableContext:  # edited by hand: shown as it is, and refused until mended
            return
        self.initial["context"] = _as_json(self._old)

    def _shown_inputs(self) -> forms.BaseForm | None:
        """Return the fields of what the workflow declares; they leave the rest to the JSON."""
        own = str(self.instance.workflow_name or self.initial.get("workflow_name", ""))
        fields = schedule_inputs.fields_of(schedule_inputs.workflow_of(own), self._old)
        is_marked = self.is_bound and schedule_inputs.MARK in self.data
        if fields is not None and self._old and (is_marked or not self.is_bound):
            self.initial["context"] = _as_json(schedule_inputs.rest_of(fields, self._old))
        if not self.is_bound:
            return fields
        chosen = str(self.data.get("workflow_name", ""))
        data = self.data if self.data.get(schedule_inputs.MARK) == chosen else None
        workflow = schedule_inputs.workflow_of(chosen)
        return schedule_inputs.fields_of(workflow, self._old if chosen == own else {}, data)

    @property
    def inputs_of(self) -> str:
        """Whose fields are shown."""
        chosen = self["workflow_name"].value() if self.inputs is not None else ""
        return str(chosen or "")

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
        if self.inputs is None or not self.inputs.is_bound:
            return data
        if not self.inputs.is_valid():
            raise forms.ValidationError(_("The inputs of the workflow have to be corrected."))
        workflow = schedule_inputs.workflow_of(str(self.data.get("workflow_name", "")))
        assert workflow is not None  # noqa: S101 - else there were no inputs
        typed = schedule_inputs.values_of(workflow, self.inputs, self._old, is_new=self._is_new)
        return {**data, **_unhidden(typed, self._old)}

    def clean(self) -> dict[str, Any]:
        """Check each fact by itself, so that every mistake is named at its place; then together."""
        super().clean()
        given: dict[str, Any] = self.cleaned_data
        # Else what somebody else saved meanwhile would go back to what this page showed.
        if given.pop("seen", "") not in {"", self.initial.get("seen")}:
            text = _("Somebody changed this schedule after you opened this page: open it again.")
            self.add_error(None, text)
        zone = _zone_of(given.get("timezone", "UTC"))
        for name in DATES:
            if given.get(name) is not None:
                given[name] = given[name].replace(tzinfo=zone)
        for name, facts in _parts(given):
            self._check(name, facts)
        start, end = (given.get(name) for name in DATES)
        if not self.errors and start is not None and end is not None and start > end:
            self.add_error("end_date", _("It ends before it starts."))
        if not self.errors:
            self._check_together()
        return given

    def _check(self, name: str, facts: Mapping[str, Any]) -> None:
        try:
            schedule_facts.checked(OWNER, facts)
        except InvalidInput as error:
            is_date = name in DATES
            text = _("Give a date of the years 1970 to 9998.") if is_date else ""
            self.add_error(name, text or schedule_preview.problem(error))
        except CloacaError as error:
            self.add_error(name, saying.of_error(error))

    def _check_together(self) -> None:
        given, workflow = dict(self.cleaned_data), self.cleaned_data["workflow_name"]
        facts = {name: value for name, value in given.items() if name != "workflow_name"}
        kept = {"context": self.instance.context, "timezone": self.instance.timezone}
        try:
            values = {**kept, **timetable.checked_values(OWNER, workflow, facts)}
            made = CronSchedule(id=self.instance.pk, **{**values, "workflow_name": workflow})
            timetable.check_params(made, overview.read_clock(settings.DATABASE))
        except InvalidParams as error:
            self._say_problems(error)
        except CloacaError as error:
            place = "context" if "context" in self.fields else None
            self.add_error(place, saying.of_error(error))

    def _say_problems(self, error: InvalidParams) -> None:
        """Say what the workflow refuses, each at its place."""
        shown = self.inputs.fields if self.inputs is not None and self.inputs.is_bound else {}
        place = "context" if "context" in self.fields else None
        for name, problem in error.problems.items():
            if self.inputs is not None and name in shown:
                self.inputs.add_error(name, problem)
            self.add_error(place, f"{name}: {problem}")

    def validate_unique(self) -> None:
        """Leave it to ``clean_name``: this form's rows may be in another database."""

    def validate_constraints(self) -> None:
        """Leave them to ``clean``, which says it in words."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine is to write: all of a new schedule, else what was changed."""
        names = list(self.fields) if self._is_new else list(self.changed_data)
        if set(DATES) & set(self.fields) and "timezone" in names:
            # They were read on another clock.
            names += DATES
        if "context" in self.fields and (self._has_changed_inputs or "workflow_name" in names):
            names.append("context")
        return {name: self.cleaned_data[name] for name in names if name != "workflow_name"}

    @property
    def _has_changed_inputs(self) -> bool:
        return self.inputs is not None and self.inputs.is_bound and self.inputs.has_changed()

    @property
    def stored_context(self) -> Mapping[str, Any]:
        """The context as it was before."""
        return self._old


def _parts(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in list(given.items()):
        if name == "cron_expression":
            yield name, {name: value, "timezone": "UTC"}
        elif name == "timezone":
            yield name, {"cron_expression": "@daily", name: value}
        elif name != "workflow_name":
            yield name, {name: value}


def _as_json(data: Mapping[str, Any]) -> str:
    return json.dumps(redacted(dict(data)), ensure_ascii=False, indent=2)


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
