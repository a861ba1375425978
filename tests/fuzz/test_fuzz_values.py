"""Contexts of whatever people have at hand: stored exactly, or refused by their path."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cloaca_django import Context
from cloaca_django.core import context as contexts
from cloaca_django.core import moments
from cloaca_django.core.redaction import redacted
from cloaca_django.errors import shown
from tests.fuzz.hostile import CANARY, judged, letters, mixed, things

PIECES = [
    "{", "}", "[", "]", ":", ",", '"', '"a"', '{"a":', '"\\ud800"', '"\\u0000"', "NaN", "Infinity",
    "1e999", "-0", "1" * 5_000, "null", "true", "\\", "\x00", "\ud800", "[" * 2_000, '{"a":' * 200,
]  # fmt: skip


@given(things)
def test_a_whole_context(thing):
    judged(lambda: Context(thing))
    judged(lambda: Context().update_from_dict(thing))


@given(letters, things)
def test_a_value_is_stored_as_it_is_or_not_at_all(key, thing):
    context = Context({"before": 1})
    if judged(lambda: context.set(key, thing)):
        text = contexts.encode(context, limit=10**9)
        text.encode()
        assert "\x00" not in text
        assert contexts.encode(Context(contexts.decode(text)), limit=10**9) == text
    else:
        assert context.to_dict() == {"before": 1}


@given(things, things)
def test_any_key(key, value):
    context = Context()
    for act in (
        lambda: context.set(key, value),
        lambda: context.insert(key, value),
        lambda: context.update(key, value),
        lambda: context.get(key),
        lambda: context.remove(key),
        lambda: context[key],
    ):
        judged(act)


@given(mixed(PIECES, most=8) | things)
def test_any_json(text):
    judged(lambda: Context.from_json(text))


@given(mixed(PIECES, most=8))
def test_any_stored_text(text):
    judged(lambda: contexts.decode(text))
    judged(lambda: contexts.decode_writes(text))


@given(things)
def test_any_moment(thing):
    judged(lambda: moments.read_moment(thing))


@given(
    mixed(["2026", "-", "01", "31", "T", "12", ":", "00", "Z", "+", "25", "W", " ", "."], most=12)
)
def test_any_text_of_a_moment(text):
    judged(lambda: moments.read_moment(text))


@given(things)
def test_anything_is_shown_short_and_without_a_password(thing):
    text = shown(thing)
    assert len(text) <= 80
    assert text.isprintable()
    assert CANARY not in text


@given(st.sampled_from(["password", "db_pass", "API-Key", "Authorization", "x_token"]), things)
def test_a_secret_is_hidden_at_any_depth(key, thing):
    context = Context({"a": [{"b": {key: CANARY}}]})
    judged(lambda: context.set("c", {key: thing, "d": 1}))
    assert CANARY not in f"{context!r} {json.dumps(redacted(context.to_dict()))}"
