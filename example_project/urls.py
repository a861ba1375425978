"""The pages of the example site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.weather.urls")),
    path("admin/", admin.site.urls),
]
