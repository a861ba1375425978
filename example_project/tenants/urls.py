"""The pages of ``public``: a host that is no tenant's shows which there are."""

from django.urls import path

from example_project.tenants.views import home

urlpatterns = [path("", home)]
