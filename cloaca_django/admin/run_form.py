"""The form behind "Run now": declared inputs, further context as JSON, when and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import saying
from cloaca_django.admin.confirming import MAX_REASON, OnceForm
from cloaca_django.core.context import Context
from cloaca_django.core.params import REQUIRED, Param
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import InvalidContext

_FIELDS: Mapping[type, tuple[type[forms.Field], Any]] = {
    str: (forms.CharField, gettext_lazy("text")),
    int: (forms.IntegerField, gettext_lazy("whole number")),
    float: (forms.FloatField, gettext_lazy("number")),
    bool: (forms.BooleanField, gettext_lazy("yes or no")),
    list: (forms.JSONField, gettext_lazy("JSON list")),
    dict: (forms.JSONField, gettext_lazy("JSON object")),
}


class AboutForm(OnceForm):
    """What every run may be given, whatever its workflow declares."""

    context = forms.CharField(
        label=gettext_lazy("Further context (JSON)"),
        required=False,
        initial="{}",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "cloaca-code"}),
    )
    start_at = forms.DateTimeField(
        label=gettext_lazy("Not before"),
        required=False,
        help_text=gettext_lazy("Empty: at once. In the time zone of this admin."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason (if you like)"), required=False, max_length=MAX_REASON
    )

    def clean_context(self) -> dict[str, Any]:
        """Read the JSON; a mistake is named by its line and column."""
        return context_of(self.cleaned_data["context"])

    @property
    def start(self) -> datetime | None:
        """When the run may start."""
        found: datetime | None = self.cleaned_data["start_at"]
        return found


def context_of(text: str) -> dict[str, Any]:
    """Return the context that somebody typed as JSON. Raises ValidationError."""
    if not text.strip():
        return {}
    try:
        json.loads(text, object_pairs_hook=_object)
        return Context.from_json(text).to_dict()
    except json.JSONDecodeError as error:
        raise forms.ValidationError(saying.of_json(error)) from error
    except InvalidContext as error:
        raise forms.ValidationError(saying.of_context(error)[:500]) from error
    except RecursionError as error:
        raise forms.ValidationError(_("nested too deeply")) from error
    except ValueError as error:
        text = _("a number that JSON does not have, or of too many digits")
        raise forms.ValidationError(text) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _value in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise forms.ValidationError(_("The key “%s” stands twice in one object.") % twice[:100])
    return found


def inputs_of(
    workflow: Workflow, data: Any = None, *, initial: Mapping[str, Any] | None = None
) -> forms.BaseForm | None:
    """Return the form of the declared inputs, bound to ``data``; None when nothing is declared.

    ``initial`` are values to show in place of the defaults.
    """
    params = workflow.params
    if params is None:
        return None
    if isinstance(params, tuple):
        fields = {param.name: _field(param) for param in params}
        made = type("InputsForm", (forms.Form,), {**fields, "required_css_class": "required"})
        return made(data, prefix="input", initial=initial)  # type: ignore[no-any-return]
    form: forms.BaseForm = params(data, prefix="input", initial=initial)
    return form


def _field(param: Param) -> forms.Field:
    kind, words = _FIELDS[param.type]
    is_required = param.default is REQUIRED
    facts: dict[str, Any] = {
        "label": param.name,
        "help_text": words,
        "required": is_required and param.type is not bool,
        "initial": None if is_required else param.default,
    }
    if param.type is str:
        facts["strip"] = False
    return kind(**facts)


def values_of(workflow: Workflow, form: forms.BaseForm) -> dict[str, Any]:
    """Return what a valid form of inputs holds, as a context may hold it."""
    if isinstance(workflow.params, tuple):
        # The form of a schedule leaves out what no field can show.
        empty = {p.name for p in workflow.params if form.cleaned_data.get(p.name) in (None, "")}
        optional = {p.name for p in workflow.params if p.default is not REQUIRED}
        left_out = empty & optional
        return {name: v for name, v in form.cleaned_data.items() if name not in left_out}
    # The author's own form is asked once more when the run is submitted, so it gets what was typed.
    typed = {
        name: field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
        for name, field in form.fields.items()
    }
    return {name: value for name, value in typed.items() if value not in (None, "")}
