"""The example's tables in the admin."""

from __future__ import annotations

from django.contrib import admin

from example_project.weather.models import Observation, RejectedRow, Report, Station, Upload


@admin.register(Observation)
class ObservationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Days, newest first."""

    list_display = ("date", "station", "weather", "temp_min", "temp_max", "precipitation", "wind")
    list_filter = ("station", "weather")
    list_select_related = ("station",)
    date_hierarchy = "date"


@admin.register(RejectedRow)
class RejectedRowAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What was set aside."""

    list_display = ("source", "line", "reason", "text")
    list_filter = ("source",)


admin.site.register([Report, Station, Upload])
