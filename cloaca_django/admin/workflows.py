"""The pages of workflows: the catalogue, one workflow, and the form that starts a run."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import (
    access,
    confirming,
    logged,
    run_acts,
    run_form,
    run_reads,
    saying,
    workflow_acts,
    workflow_reads,
)
from cloaca_django.admin.choices import Filter, choose
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.context import Context, encode
from cloaca_django.core.params import REQUIRED
from cloaca_django.core.states import Origin
from cloaca_django.core.workflow import Workflow
from cloaca_django.engine import inputs as checked
from cloaca_django.engine import overview
from cloaca_django.errors import CloacaError, InvalidParams
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    WorkflowControl,
    WorkflowDefinition,
)

MAX_LISTED = 50

FILTERS = (
    Filter(
        "state", gettext_lazy("State"), lambda entry: entry.standing,
        lambda standing: workflow_reads.STANDINGS[standing],
    ),
    Filter(
        "app", gettext_lazy("App"), lambda entry: entry.app or "-",
        lambda name: name if name != "-" else gettext_lazy("not known"),
    ),
    Filter(
        "schedule", gettext_lazy("Schedule"), lambda entry: "yes" if entry.is_scheduled else "no",
        lambda answer: gettext_lazy("scheduled") if answer == "yes" else gettext_lazy("none"),
    ),
)  # fmt: skip


@admin.register(WorkflowControl)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows by name: those registered in this process, and those that rows know of."""

    def get_urls(self) -> list[URLPattern]:
        own = [
            self.routed(f"<path:object_id>/{slug}/", partial(self.act_view, slug=slug), slug)
            for slug in workflow_acts.ACTS
        ]
        own.append(self.routed("<path:object_id>/run/", self.run_view, "run"))
        return own + super().get_urls()

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> WorkflowControl | None:
        """Return a workflow's row; before any worker wrote one, an unsaved one will do."""
        if "\x00" in object_id or len(object_id) > 255:
            return None
        found = WorkflowControl.objects.using(settings.DATABASE).filter(pk=object_id).first()
        if found is None and object_id in registry.snapshot():
            return WorkflowControl(name=object_id)
        return found

    # -- the catalogue

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show every workflow with how its last runs went."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = overview.read_clock(settings.DATABASE)
        known = workflow_reads.catalogue(settings.DATABASE, now)
        chosen, filters = choose(request, known, FILTERS)
        return self.page(
            request, "workflows.html", title=_("Workflows"), choices=filters, is_empty=not known,
            entries=[(one, list(self._buttons(request, one.row))) for one in chosen],
            now=now, may_run=access.may(request, access.RUN),
        )  # fmt: skip

    # -- one workflow

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Show a workflow."""
        control = self.row_or_none(request, object_id)
        if control is None:
            return self.gone(request, object_id)
        alias, name = settings.DATABASE, control.pk
        workflow = registry.snapshot().get(name)
        stored = list(WorkflowDefinition.objects.using(alias).of(name)[:MAX_LISTED])
        runs = workflow_reads.runs_of(alias, name)
        judged = workflow_reads.health(alias, runs)
        schedules = CronSchedule.objects.using(alias).filter(workflow_name=name)
        planned = list(schedules.by_workflow()[:MAX_LISTED])
        by_name = {one.name: one for one in judged}
        return self.page(
            request, "workflow.html", title=name, original=control, control=control,
            workflow=workflow, record=workflow_reads.record(runs),
            versions=workflow_reads.by_version(stored, runs),
            last=runs[0] if runs else None, health=judged,
            graph=workflow_reads.drawing(request, name, workflow, stored, by_name),
            inputs=_declared(workflow), schedules=planned,
            module=workflow_reads.module_of(workflow), next_run=_first_of(planned),
            now=overview.read_clock(alias), buttons=list(self._buttons(request, control)),
            may_run=workflow is not None and access.may(request, access.RUN),
        )  # fmt: skip

    def _buttons(self, request: HttpRequest, control: WorkflowControl) -> Any:
        for act in workflow_acts.ACTS.values():
            if access.may(request, act.permission) and not act.refusal(control):
                yield act, self.url(act.slug, control.pk)

    def act_view(self, request: HttpRequest, object_id: str, *, slug: str) -> HttpResponse:
        """Ask, then act."""
        return confirming.ask(self, request, object_id, act=workflow_acts.ACTS[slug])

    # -- a run of it

    def run_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, and start the run that it describes."""
        control = self.row_or_none(request, object_id)
        if not access.may(request, access.RUN):
            raise PermissionDenied
        workflow = registry.snapshot().get(control.pk) if control is not None else None
        if control is None:
            return self.gone(request, object_id)
        if workflow is None:
            messages.warning(
                request, _("No workflow “%s” is registered in this process.") % control
            )
            return HttpResponseRedirect(self.url("change", control.pk))
        data = request.POST if request.method == "POST" else None
        about, inputs = run_form.AboutForm(data), run_form.inputs_of(workflow, data)
        # Both, so that every mistake is named at once.
        is_valid = [form.is_valid() for form in (about, inputs) if form is not None]
        if data is not None and all(is_valid):
            made = self._started(request, control, workflow, about=about, inputs=inputs)
            if made is not None:
                return HttpResponseRedirect(self.run_url(made))
        return self._form(request, control, about=about, inputs=inputs)

    def _form(
        self, request: HttpRequest, control: WorkflowControl, *, about: Any, inputs: Any
    ) -> HttpResponse:
        alias = settings.DATABASE
        runs = PipelineExecution.objects.using(alias).unfinished()
        now = overview.read_clock(alias)
        workers = run_reads.read_workers(alias, now)
        return self.page(
            request, "run_form.html", title=_("Run %s now") % control, original=control,
            control=control, about=about, inputs=inputs,
            is_workerless=run_reads.is_workerless(alias, workers),
            active=runs.filter(workflow_name=control.pk).newest_first().only("pk").first(),
            back=self.url("change", control.pk),
        )  # fmt: skip

    def _started(
        self, request: HttpRequest, control: WorkflowControl, workflow: Workflow, *,
        about: run_form.AboutForm, inputs: Any,
    ) -> Any:  # fmt: skip
        """Submit a run and log it; None when its inputs were refused, which the form then says."""
        given = run_form.values_of(workflow, inputs) if inputs is not None else {}
        runner = run_acts.runner()
        by, reason = access.name_of(request), about.cleaned_data["reason"].strip()
        key = about.key_for(control)
        if (before := run_acts.made_by(key)) is not None:
            messages.warning(request, _("This run was started already: %s") % before)
            return before
        try:
            # As the command does: who asks is not for callers of enqueue() to say.
            facts = {
                "start_at": about.start, "created_by": by, "reason": reason, "idempotency_key": key,
            }  # fmt: skip
            options = runner._options(
                origin=Origin.ADMIN, **checked.run_options("enqueue()", facts)
            )
            context = Context({**about.cleaned_data["context"], **given})
            made = runner._enqueued(workflow.name, [context], options)[0]
        except InvalidParams as error:
            _say_problems(error, about, inputs)
            return None
        except CloacaError as error:
            about.add_error("context", saying.of_error(error))
            return None
        # Which inputs those were can be told long after the run is gone.
        inputs_hash = hashlib.sha256(encode(context.to_dict()).encode()).hexdigest()[:12]
        text = "Started run %(run)s, inputs %(hash)s"
        entry = logged.entry(text, reason, run=made.id, hash=inputs_hash)
        self.log_change(request, control, entry)
        messages.success(request, _("The run was started."))
        return made.id


def _first_of(schedules: list[CronSchedule]) -> datetime | None:
    """Return when the first of some schedules runs next."""
    planned = [one for one in schedules if one.enabled and one.parked_at is None]
    return min((one.next_run_at for one in planned if one.next_run_at is not None), default=None)


def _say_problems(error: InvalidParams, about: run_form.AboutForm, inputs: Any) -> None:
    for name, problem in error.problems.items():
        if inputs is not None and name in inputs.fields:
            inputs.add_error(name, problem)
        else:
            about.add_error("context", f"{name}: {problem}")


def _declared(workflow: Workflow | None) -> list[tuple[str, str, str]]:
    """Return name, kind and default of each declared input."""
    params = workflow.params if workflow is not None else None
    if params is None:
        return []
    if isinstance(params, tuple):
        return [
            (p.name, p.type.__name__, _("required") if p.default is REQUIRED else repr(p.default))
            for p in params
        ]
    fields = getattr(params, "base_fields", {})
    return [
        (name, type(field).__name__.removesuffix("Field").lower(),
         _("required") if field.required and field.initial is None else str(field.initial or ""))
        for name, field in fields.items()
    ]  # fmt: skip
