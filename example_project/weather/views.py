"""The pages: what there is, a report, an upload on its way."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

import cloaca_django as cloaca
from example_project.weather import charts
from example_project.weather.forms import UploadForm
from example_project.weather.models import Report, Upload


@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """Show reports and uploads, and take an upload."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        upload = take_upload(*form.cleaned_data["file"])
        return redirect("weather:upload", upload.pk)
    latest = Report.objects.first()
    context = {
        "form": form,
        "latest": latest,
        "reports": Report.objects.all()[:10],
        "uploads": Upload.objects.all()[:10],
        **_charts(latest),
    }
    return render(request, "weather/home.html", context)


def take_upload(name: str, text: str) -> Upload:
    """Store an upload and the run that will work on it: both, or neither.

    ``enqueue`` writes the run on this connection, in this transaction.
    """
    with transaction.atomic():
        upload = Upload.objects.create(name=name, content=text)
        context = cloaca.Context({"upload_id": upload.pk})
        run = cloaca.DefaultRunner().enqueue("uploaded_weather", context)
        upload.run_id = run.id
        upload.save(update_fields=["run_id"])
    return upload


@require_GET
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one report."""
    found = get_object_or_404(Report, pk=pk)
    return render(request, "weather/report.html", {"report": found, **_charts(found)})


@require_GET
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how far an upload is; the page asks again until its run has ended."""
    found = get_object_or_404(Upload, pk=pk)
    if found.run_id is None:
        raise Http404("this upload has no run")
    status = cloaca.DefaultRunner().handle(found.run_id).status
    context = {
        "upload": found,
        "status": status,
        "is_over": status in ("Completed", "Failed", "Cancelled"),
        "report": Report.objects.filter(run_id=found.run_id).first(),
    }
    return render(request, "weather/upload.html", context)


def _charts(report: Report | None) -> dict[str, Any]:
    months = report.content["months"] if report else []
    drawn = [charts.temperatures(months), charts.precipitation(months)] if months else []
    return {"charts": drawn}
