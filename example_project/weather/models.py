"""What the example stores: observations, what was wrong with rows, and what was found."""

from __future__ import annotations

from django.db import models


class Station(models.Model):
    """A place where weather is observed."""

    code = models.SlugField(unique=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Observation(models.Model):
    """The weather of one day at one station."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="observations")
    date = models.DateField()
    precipitation = models.FloatField(help_text="Millimetres.")
    temp_max = models.FloatField(help_text="Degrees Celsius.")
    temp_min = models.FloatField(help_text="Degrees Celsius.")
    wind = models.FloatField(help_text="Average, metres per second.")
    weather = models.CharField(max_length=20)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["station", "date"], name="weather_one_row_a_day")
        ]

    def __str__(self) -> str:
        return f"{self.station}, {self.date}"


class RejectedRow(models.Model):
    """A row that is no observation, and why. Set aside, not lost."""

    source = models.CharField(max_length=200, help_text="Name of the file.")
    line = models.PositiveIntegerField(help_text="Line in the file; its header is line 1.")
    text = models.TextField()
    reason = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "line"], name="weather_rejected_once")
        ]

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.reason}"


class YearSummary(models.Model):
    """One year at one station, in numbers."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="years")
    year = models.PositiveSmallIntegerField()
    days = models.PositiveSmallIntegerField()
    mean_temp = models.FloatField(help_text="Degrees Celsius.")
    precipitation = models.FloatField(help_text="Millimetres in the whole year.")
    rainy_days = models.PositiveSmallIntegerField(help_text="Days with at least 1 mm.")

    class Meta:
        ordering = ["station", "year"]
        constraints = [
            models.UniqueConstraint(fields=["station", "year"], name="weather_one_summary_a_year")
        ]

    def __str__(self) -> str:
        return f"{self.station}, {self.year}"


class Report(models.Model):
    """A finished report: the numbers a page is drawn from."""

    run_id = models.UUIDField(unique=True, help_text="The run that made it.")
    title = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    content = models.JSONField(help_text="See reports.py for its shape.")

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.title


class Upload(models.Model):
    """A file that a visitor uploaded, and the run that works on it."""

    name = models.CharField(max_length=200)
    content = models.TextField()
    uploaded_at = models.DateTimeField(auto_now_add=True)
    run_id = models.UUIDField(null=True, help_text="Written in the transaction that enqueues it.")
    accepted = models.PositiveIntegerField(null=True)
    findings = models.JSONField(default=list, help_text="List of line, text and reason.")

    class Meta:
        ordering = ["-uploaded_at"]

    def __str__(self) -> str:
        return self.name
