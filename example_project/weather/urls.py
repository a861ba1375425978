"""The pages of the example."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
