"""The inputs that a schedule's workflow declares, as fields; what is left is typed as JSON.

A value that nobody touches stays as it is stored, and one that is not stored stays left out, so
that saving a form changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from cloaca_django.admin import run_form
from cloaca_django.core import registry
from cloaca_django.core.redaction import is_sensitive, redacted
from cloaca_django.core.workflow import Workflow

# The form says with this whose fields it shows.
MARK = "inputs_of"


def workflow_of(name: str) -> Workflow | None:
    """Return a workflow that declares inputs; None for any other."""
    found = registry.snapshot().get(name)
    return found if found is not None and found.params is not None else None


def fields_of(
    workflow: Workflow | None, context: Mapping[str, Any], data: Any = None
) -> forms.BaseForm | None:
    """Return the fields of a workflow with the values of a context, without its secrets."""
    if workflow is None:
        return None
    form = run_form.inputs_of(workflow, data, initial=redacted(dict(context)))
    if form is None:
        return None
    if isinstance(workflow.params, tuple):
        for name in [name for name in form.fields if not _fits(name, context.get(name))]:
            del form.fields[name]
    return form if form.fields else None


def rest_of(form: forms.BaseForm | None, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a context has no field."""
    shown = form.fields if form is not None else {}
    return {key: value for key, value in context.items() if key not in shown}


def values_of(
    workflow: Workflow, form: forms.BaseForm, old: Mapping[str, Any], *, is_new: bool
) -> dict[str, Any]:
    """Return what a valid form says: what was typed, and what was there before."""
    typed, changed = run_form.values_of(workflow, form), set(form.changed_data)
    values = {}
    for name in form.fields:
        source = typed if is_new or name in changed else old
        if name in source:
            values[name] = source[name]
    return values


def _fits(name: str, value: Any) -> bool:
    """Whether a line of text can show a value and give it back: else it stays in the JSON."""
    if isinstance(value, str):
        return "\n" not in value and "\r" not in value
    return value is None or not is_sensitive(name)
