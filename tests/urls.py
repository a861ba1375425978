"""The site of the tests: the admin, the pages for machines, and the example's pages."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("cloaca/", include("cloaca_django.urls")),
    path("", include("example_project.weather.urls")),
]
