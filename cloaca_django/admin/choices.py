"""Filters of pages that are no list of Django's: links that leave some of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import HttpRequest
from django.utils.translation import gettext as _

from cloaca_django.admin.vocabulary import Text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """One value to choose. ``query`` keeps what else was asked for."""

    label: Text
    query: str
    count: int
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """What rows may be chosen by: the value of each, and how a value is called."""

    name: str
    title: Text
    value: Callable[[Any], str]
    label: Callable[[str], Text] = str


@dataclass(frozen=True, slots=True)
class Choices:
    """One filter as a page shows it."""

    title: Text
    options: Sequence[Choice]


def choose(
    request: HttpRequest, rows: Sequence[T], filters: Iterable[Filter]
) -> tuple[list[T], list[Choices]]:
    """Return the rows that are asked for, and the filters that have something to choose.

    The count beside a value is of the rows that the other filters leave.
    """
    asked = {one.name: request.GET.get(one.name, "") for one in filters}
    shown = []
    for one in filters:
        others = [f for f in filters if f is not one]
        counts = Counter(one.value(row) for row in _left(rows, others, asked))
        known = sorted({one.value(row) for row in rows})
        if len(known) > 1 or asked[one.name]:
            shown.append(Choices(one.title, _options(request, one, known, counts)))
    return _left(rows, filters, asked), shown


def _left(rows: Sequence[T], filters: Iterable[Filter], asked: Mapping[str, str]) -> list[T]:
    wanted = [(one, asked[one.name]) for one in filters if asked[one.name]]
    return [row for row in rows if all(one.value(row) == value for one, value in wanted)]


def _options(
    request: HttpRequest, one: Filter, known: Sequence[str], counts: Mapping[str, int]
) -> list[Choice]:
    asked = request.GET.get(one.name, "")
    every = Choice(_("All"), query_with(request, one.name, ""), sum(counts.values()), not asked)
    return [every] + [
        Choice(
            one.label(value), query_with(request, one.name, value), counts[value], value == asked
        )
        for value in known
    ]


def query_with(request: HttpRequest, name: str, value: str) -> str:
    """Return the query of a page with one parameter more, or another value; empty: without it."""
    kept = request.GET.copy()
    kept.pop(name, None)
    if value:
        kept[name] = value
    return f"?{kept.urlencode()}"
