"""Addresses for probes and metrics: ``path("cloaca/", include("cloaca_django.urls"))``."""

from __future__ import annotations

from django.urls import path

from cloaca_django import views

app_name = "cloaca_django"

urlpatterns = [
    path("live/", views.live, name="live"),
    path("ready/", views.health, {"probes": ("database", "migrations")}, name="ready"),
    path("health/", views.health, name="health"),
    path("metrics/", views.metrics, name="metrics"),
]
