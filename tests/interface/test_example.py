"""The example: rows, numbers, charts, the workflows and the pages."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile

import cloaca_django as cloaca
from example_project.weather import charts, climate, storage
from example_project.weather.models import (
    Observation,
    RejectedRow,
    Report,
    Station,
    Upload,
    YearSummary,
)
from example_project.weather.rows import COLUMNS, read_rows
from example_project.weather.workflows import DATA, YEARS
from tests.interface.commands import run

HEADER = ",".join(COLUMNS)
GOOD = "2012/01/01,0.0,12.8,5.0,4.7,drizzle"


def test_the_shipped_data_is_whole():
    days, rejected = read_rows((DATA / "seattle-weather.csv").read_text())
    assert (len(days), rejected) == (1461, [])
    assert (days[0].date, days[-1].date) == (date(2012, 1, 1), date(2015, 12, 31))


def test_every_broken_row_is_set_aside_with_its_reason():
    days, rejected = read_rows((DATA / "broken-rows.csv").read_text())
    assert len(days) == 1
    assert [(row.line, row.reason) for row in rejected] == [
        (3, "date is none of the calendar, as YYYY/MM/DD"),
        (4, "precipitation is not between 0 and 500"),
        (5, "temp_max is not a number"),
        (6, "temp_min is above temp_max"),
        (7, "weather is none of drizzle, fog, rain, snow, sun"),
        (8, "3 columns instead of 6"),
        (9, "2016-01-01 is there already"),
        (10, "temp_max is not between -60 and 60"),
    ]


def test_a_file_with_other_columns_is_refused():
    with pytest.raises(ValueError, match="the first line must be"):
        read_rows("a,b\n1,2\n")


@pytest.mark.django_db
def test_storing_a_file_twice_changes_nothing():
    station = storage.station("x", "X")
    text = f"{HEADER}\n{GOOD}\nnonsense\n"
    for _ in range(2):
        assert storage.store_file(station, "x.csv", text) == (1, 1)
    assert (Observation.objects.count(), RejectedRow.objects.count()) == (1, 1)


@pytest.mark.django_db
def test_the_numbers_of_a_year_and_its_months():
    station = storage.station("x", "X")
    rows = [f"2012/0{month}/15,{month}.5,1{month},{month},3.0,rain" for month in range(1, 4)]
    storage.store_file(station, "x.csv", "\n".join([HEADER, *rows]))
    assert climate.of_year(station, 2012) == {
        "days": 3,
        "mean_temp": 7.0,
        "precipitation": 7.5,
        "rainy_days": 3,
    }
    assert climate.of_months(station, [2012])[0] == {
        "month": 1,
        "temp_max": 11.0,
        "temp_min": 1.0,
        "precipitation": 1.5,
    }
    assert climate.records(station, [2012])[0]["date"] == "2012-03-15"
    assert climate.unusual_days(station, [2012]) == []
    with pytest.raises(LookupError):
        climate.of_year(station, 1999)


@pytest.mark.parametrize(
    "values", [[0.0], [1e-3, 2e-3], [-12.5, 31.0], [160.0, 3.0], [-3.0, -1.0], [5000.0]]
)
def test_a_scale_holds_its_values_and_zero(values):
    scale = charts.Scale.around(values)
    assert scale.low <= min(0, *values)
    assert scale.high >= max(0, *values)
    assert 2 <= len(scale.ticks()) <= 8


def eager(settings) -> cloaca.DefaultRunner:
    settings.CLOACA = {"EAGER": True}
    return cloaca.DefaultRunner()


@pytest.mark.django_db(transaction=True)
def test_the_workflow_goes_from_files_to_a_mail(settings, client):
    result = eager(settings).execute("seattle_weather", cloaca.Context())

    assert result.status == "Completed", result.error_message
    report = Report.objects.get()
    assert report.content["accepted"] == 1462
    assert report.content["rejected"] == RejectedRow.objects.count() == 8
    assert [year["year"] for year in report.content["years"]] == [str(year) for year in YEARS]
    assert YearSummary.objects.count() == 4
    assert report.content["ranking"]["warmest"] == "2015"
    assert "8 set aside" in mail.outbox[0].body
    ended = {task.task_name: task.status for task in result.task_results}
    assert len(ended) >= 8
    assert (ended["explain_rejects"], ended["praise_data"]) == ("Completed", "Skipped")
    assert set(result.final_context) == {
        "accepted", "files", "note", "ranking", "rejected", "report_id", "station"
    }  # fmt: skip
    page = client.get("/")
    assert report.title in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_demo_ends_with_a_report_and_with_commands_that_work():
    out = run("demo").out
    assert "8 rows set aside with their reasons" in out
    commands = re.findall(r"manage\.py (cloaca_\w+)([^\n]*)", out.partition("Look next:")[2])
    assert [name for name, _ in commands] == [
        "cloaca_worker", "cloaca_status", "cloaca_graph", "cloaca_schedules", "cloaca_schedules",
    ]  # fmt: skip
    for name, rest in commands[1:]:
        ran = run(name, *rest.partition("  ")[0].split())
        assert (ran.code, bool(ran.out)) == (0, True), name


@pytest.mark.django_db(transaction=True)
def test_the_report_is_due_every_morning_in_seattle():
    assert run("cloaca_schedules", "sync").out == "morning_report (seattle_weather): created\n"
    out = run("cloaca_schedules", "preview", "morning_report", "--count", "3").out
    first, *times = [line for line in out.splitlines() if not line.startswith("Note: ")]
    assert first == "At 05:30  (30 5 * * *, America/Los_Angeles)"
    assert all(re.match(r"  \S+ 05:30 P[SD]T = ", time) for time in times)


@pytest.mark.django_db(transaction=True)
def test_the_report_page_is_drawn_by_the_server_and_readable_without_sight(settings, client):
    eager(settings).execute("seattle_weather", cloaca.Context())
    html = client.get(f"/reports/{Report.objects.get().pk}/").content.decode()
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        svg = ElementTree.fromstring(drawing)
        ids = svg.attrib["aria-labelledby"].split()
        assert svg.attrib["role"] == "img"
        assert [svg.find("title").attrib["id"], svg.find("desc").attrib["id"]] == ids
    assert html.count("The same as a table") == 2
    assert "<script" not in html


def post(client, text: bytes, name="mine.csv"):
    return client.post("/", {"file": SimpleUploadedFile(name, text)})


@pytest.mark.django_db(transaction=True)
def test_an_upload_and_its_run_are_written_together_and_worked_on(settings, client):
    settings.CLOACA = {"EAGER": True}
    answer = post(client, f"{HEADER}\n{GOOD}\nbroken <b>row</b>\n".encode())
    upload = Upload.objects.get()
    assert answer.url == f"/uploads/{upload.pk}/"
    html = client.get(answer.url).content.decode()
    assert "Its run is <strong>completed</strong>" in html
    assert "1 row accepted, 1 rejected" in html
    assert "&lt;b&gt;row" in html
    assert Report.objects.get(run_id=upload.run_id).title == "Weather in mine.csv"


@pytest.mark.django_db(transaction=True)
def test_a_failed_upload_leaves_neither_row_nor_run(monkeypatch):
    from cloaca_django.models import PipelineExecution
    from example_project.weather import views

    monkeypatch.setattr(Upload, "save", lambda self, update_fields: 1 / 0 if update_fields else 0)
    monkeypatch.setattr(Upload.objects, "create", lambda **fields: Upload(pk=1, **fields))
    with pytest.raises(ZeroDivisionError):
        views.take_upload("x.csv", HEADER)
    assert not PipelineExecution.objects.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"a,b\n", "The first line must be"),
        (b"\xff\xfe", "not text in UTF-8"),
        (HEADER.encode() + b"\n\0", "NUL"),
        (b"x" * (1024 * 1024 + 1), "larger than 1 MB"),
    ],
)
@pytest.mark.django_db
def test_a_file_that_is_no_weather_is_refused(client, text, words):
    answer = post(client, text)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Upload.objects.exists()


@pytest.mark.django_db
def test_pages_of_nothing_are_not_found(client):
    assert client.get("/reports/1/").status_code == 404
    assert client.get("/uploads/1/").status_code == 404
    assert client.post("/reports/1/").status_code == 405
    assert "There is no report yet" in client.get("/").content.decode()


def test_the_data_says_where_it_comes_from():
    source = Path(DATA, "SOURCE.md").read_text()
    assert all(file.name in source for file in DATA.glob("*.csv"))
    assert Station._meta.get_field("code").unique
