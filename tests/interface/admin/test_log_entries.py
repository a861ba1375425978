"""The admin's log: English as it is stored, and the reader's language on the page."""

from __future__ import annotations

import json
import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.forms import ValidationError
from django.urls import reverse
from django.utils import translation

from cloaca_django.admin import logged, saying
from cloaca_django.admin.run_form import context_of
from cloaca_django.core.states import RunStatus
from cloaca_django.engine import timetable
from tests.interface.admin import scenes

RUN = str(uuid.uuid4())


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


@pytest.mark.parametrize("reason", ["", "the bank: closed.", "zwei\nZeilen"])
@pytest.mark.parametrize("text", logged.TEXTS)
def test_every_entry_is_found_again_with_its_parts_and_its_reason(text, reason):
    parts = {"run": RUN, "count": 3, "start": "2026-01-01T00:00:00+00:00", "end": "2026-01-02",
             "task": "load: all", "hash": "0123456789ab"}  # fmt: skip
    stored = logged.entry(text, reason, **parts)
    assert logged.in_words(stored) == stored
    with translation.override("de"):
        told = logged.in_words(stored)
        assert told.startswith(translation.gettext(text) % parts)
    assert told.endswith(reason)
    assert told != stored


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("Changed name from a to b; context (limit, x).",
         "Geändert: Name von a auf b; Kontext (JSON) (limit, x)."),
        ("Changed name from a; b to c.", "Geändert: name from a; b to c."),
        ("Something of another package", "Something of another package"),
        ('[{"added": {}}]', '[{"added": {}}]'),
        ("", ""),
    ],
)  # fmt: skip
def test_changes_are_told_field_by_field_and_what_is_not_ours_stays(stored, told):
    with translation.override("de"):
        assert logged.in_words(stored) == told


def test_the_history_of_each_kind_of_row_speaks_the_readers_language(planner, boss, settings):
    run = scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", "Pending")
    row = timetable.register("default", "customer_etl", {"cron_expression": "30 2 * * *"})
    planner.post(
        reverse("admin:cloaca_django_pipelineexecution_cancel", args=[run.pk]), {"reason": "zu alt"}
    )
    planner.post(
        reverse("admin:cloaca_django_cronschedule_disable", args=[row.pk]), {"reason": "Umzug"}
    )
    assert {one.change_message for one in LogEntry.objects.all()} == {
        "Cancelled: zu alt", "Disabled: Umzug",
    }  # fmt: skip
    settings.LANGUAGE_CODE = "de"
    for name, key, words in (
        ("pipelineexecution", run.pk, "Abgebrochen: zu alt"),
        ("cronschedule", row.pk, "Abgeschaltet: Umzug"),
    ):
        place = reverse(f"admin:cloaca_django_{name}_history", args=[key])
        assert words in boss.get(place).content.decode(), name
    gone = reverse("admin:cloaca_django_pipelineexecution_history", args=[uuid.uuid4()])
    assert boss.get(gone).status_code == 302


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1\n "b": 2}', "Zeile 2, Spalte 2: ein Komma wird erwartet"),
        ('{"a"}', "Zeile 1, Spalte 5: ein Doppelpunkt wird erwartet"),
        ("{b: 2}", "Zeile 1, Spalte 2: ein Schlüssel in doppelten Anführungszeichen wird erwartet"),
        ("[1]", "ein JSON-Objekt ist nötig, nicht list"),
        ('{"": 1}', "leerer Schlüssel; ein Schlüssel hat 1 bis 255 Zeichen"),
        ('{"a": {"b": "\\u0000"}}',
         "$.a.b: enthält NUL, was Datenbanken nicht speichern; entfernen Sie es"),
        ('{"a": NaN}', "eine Zahl, die es in JSON nicht gibt oder die zu viele Ziffern hat"),
        (f'{{"a": {"[" * 70}1{"]" * 70}}}', "tiefer als 64; machen Sie die Daten flacher"),
    ],
)  # fmt: skip
def test_what_a_context_cannot_hold_is_said_in_the_readers_language(text, told):
    with translation.override("de"), pytest.raises(ValidationError) as raised:
        context_of(text)
    assert raised.value.messages[0].endswith(told)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a" 1}',
        "{} x",
        '{"a',
        '{"a": "\n"}',
        '{"a": "\\q"}',
        '{"a": "\\u1"}',
        '{"a": 1,}',
        "[1,]",
    ],
)
def test_every_sentence_of_pythons_json_is_known(text):
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads(text)
    with translation.override("de"):
        assert raised.value.msg.rstrip(": ") not in saying.of_json(raised.value)
