"""The page of ``public``. It knows the tenants by name and sees nothing that they have."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from example_project.tenants.models import Domain


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the tenants and where they are."""
    domains = Domain.objects.filter(is_primary=True).select_related("tenant").order_by("domain")
    context = {"domains": domains, "port": request.get_port()}
    return render(request, "tenants/home.html", context)
