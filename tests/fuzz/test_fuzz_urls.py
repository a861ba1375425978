"""Database URLs that nobody would write: understood, or refused without their password."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.dialect import urls
from cloaca_django.dialect.url_parts import redact
from cloaca_django.errors import InvalidDatabaseURL
from tests.fuzz.hostile import CANARY, judged, mixed, things

PIECES = [
    "postgresql://", "postgres:", "POSTGRES://", "sqlite://", "sqlite:///", "sqlite:////", "file:",
    "mysql://", ":memory:", "/", "//", "?", "&", "=", "#", "@", ":", ",", "[", "]", "[::1]", "%",
    "%zz", "%00", "%2F", "%40", "u", "h", "db", "..", ".", "~", ".db", ".sqlite3", "0", "5432",
    "70000", "99999999999999999999", "mode", "mode=rwc", "_journal_mode=WAL", "sslmode=require",
    "target_session_attrs=read-write", "host=", "options=-c", "connect_timeout=1", " ", "\\",
    "\x00", "\n", "\ud800", "\uff20", "\u2100", "é", "x" * 300,
]  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@given(mixed(PIECES, most=10))
def test_any_text(url):
    judged(lambda: urls.parse(url))


@given(things)
def test_anything(thing):
    judged(lambda: urls.parse(thing))


@given(st.sampled_from(["postgresql", "postgres", "mysql", "x", ""]), mixed(PIECES, most=6))
def test_a_password_in_its_place_is_never_shown(scheme, rest):
    url = f"{scheme}://u:{CANARY}@{rest}"
    assert CANARY not in redact(url)
    judged(lambda: urls.parse(url))


@given(mixed(["[", "]", ":", "%", "#", "?", "&", "é", "x", "@"], most=8))
def test_a_password_that_was_not_escaped_is_never_shown(around):
    url = f"postgresql://u:{around}{CANARY}{around}@h/db"
    assert CANARY not in redact(url)
    judged(lambda: urls.parse(url))


@given(texts, texts, texts, st.integers(1, 65535))
def test_what_is_escaped_comes_back(user, password, name, port):
    # Signs that need no escape stand for themselves.
    escaped = [quote(user, safe="[]"), quote(password, safe="[]!$é\uff20"), quote(name, safe="+")]
    url = "postgresql://{}:{}@h:{}/{}".format(*escaped[:2], port, escaped[2])
    if len(name.encode()) > 63:
        return
    parsed = urls.parse(url)
    assert (parsed.user, parsed.password, parsed.name) == (user, password, name)
    assert urls.parse(parsed.with_password()) == parsed


@given(mixed([":", "]", "[", ",", "/", "::", "x://"], most=200).map(lambda text: text * 100))
def test_many_signs_take_no_longer(text):
    judged(lambda: urls.parse(f"postgresql://{text}"))


@pytest.mark.parametrize("sign", [":", "]", "[", ",", "/", "@", "%", "&", "?", "=", "\\", ".db?"])
def test_the_longest_urls_take_no_longer(sign):
    for start in ("postgresql://", "postgresql://h/db?", "sqlite:///", "x://", ""):
        for end in ("", "]", "/", ","):
            url = (start + sign * 8_192)[: 8_192 - len(end)] + end
            judged(lambda url=url: urls.parse(url))
            with pytest.raises(InvalidDatabaseURL, match="longer than 8,192 characters"):
                urls.parse(url + sign)
