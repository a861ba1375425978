"""The site of every tenant of the tests: its admin, and the pages for machines."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("cloaca/", include("cloaca_django.urls")),
]
