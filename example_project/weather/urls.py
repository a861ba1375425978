"""The pages of the example."""

from django.urls import path

from example_project.weather import views

app_name = "weather"
urlpatterns = [
    path("", views.home, name="home"),
    path("reports/<int:pk>/", views.report, name="report"),
    path("uploads/<int:pk>/", views.upload, name="upload"),
]
