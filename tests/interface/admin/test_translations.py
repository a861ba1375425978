"""The catalogues are complete: what code and templates say is in each, and in its compiled form."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from functools import cache

import pytest
from django.urls import reverse

from tests.contract.source import PACKAGE, package_files, syntax
from tests.interface.admin import scenes

LANGUAGES = ("de", "es")
MARKS = {
    "_",
    "gettext",
    "gettext_lazy",
    "ngettext",
    "ngettext_lazy",
    "said",
    "said_of",
    "gettext_noop",
}
ENTRY = re.compile(r'^msgid ((?:".*"\n)+)(?:^msgid_plural ((?:".*"\n)+))?((?:^msgstr.*\n)+)', re.M)
TAG = re.compile(r'\{% translate "([^"]+)" %\}')


def texts() -> Iterator[str]:
    """Yield every text that is marked for translation, but those inside blocktranslate."""
    for file in package_files():
        for node in ast.walk(syntax(file)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
                argument = node.args[0]
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)
    for template in PACKAGE.rglob("templates/**/*.html"):
        yield from TAG.findall(template.read_text())


@cache
def catalogue(language: str) -> dict[str, list[str]]:
    """Return the translations by text, as the source of a catalogue has them."""
    found = {}
    for match in ENTRY.finditer(source_of(language)):
        translated = [joined(line) for line in match[3].splitlines()]
        found[joined(match[1])] = translated
    return found


def source_of(language: str) -> str:
    return (PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po").read_text() + "\n"


def pairs(language: str) -> Iterator[tuple[str, str]]:
    """Yield each text, singular or plural, with its translation."""
    for match in ENTRY.finditer(source_of(language)):
        translated = [joined(line) for line in match[3].splitlines()]
        yield joined(match[1]), translated[0]
        yield from ((joined(match[2]), one) for one in translated[1:])


def joined(lines: str) -> str:
    quoted = re.findall(r'"(.*)"', lines)
    return "".join(quoted).replace('\\"', '"').replace("\\n", "\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_marked_text_is_translated(language):
    known = catalogue(language)
    percent = {text.replace("%", "%%") for text in known}
    missing = {
        text for text in texts()
        if text not in known and text.replace("%", "%%") not in known and text not in percent
    }  # fmt: skip
    assert missing == set()
    assert [text for text, translated in known.items() if text and not all(translated)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_that_of_its_source(language):
    folder = PACKAGE / "locale" / language / "LC_MESSAGES"
    with (folder / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    found = {
        text: compiled.gettext(text)
        for text, translated in catalogue(language).items() if text and len(translated) == 1
    }  # fmt: skip
    assert found == {t: one[0] for t, one in catalogue(language).items() if t and len(one) == 1}
    assert "fuzzy" not in (folder / "django.po").read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_kept(language):
    mark = re.compile(r"%(?:\(\w+\))?[sd%]")
    wrong = {
        text: one
        for text, one in pairs(language)
        if text and set(mark.findall(one)) != set(mark.findall(text))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ("Zeitverlauf", "wartet auf dedupe", "Fehlgeschlagen", "5 von 9 Aufgaben")),
        ("es", ("Línea de tiempo", "espera a dedupe", "Fallida", "5 de 9 tareas")),
    ],
)
def test_a_page_speaks_the_readers_language(operator, settings, language, words):
    settings.LANGUAGE_CODE = language
    run = scenes.busy_run()
    place = reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk])
    text = operator.get(place).content.decode()
    for one in words:
        assert one in text, one
