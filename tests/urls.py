"""The site of the tests: the admin, and the example's pages."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("example_project.weather.urls")),
]
