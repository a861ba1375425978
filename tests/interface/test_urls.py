"""Database URLs: every form that is understood, and every refusal with its words."""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connections

from cloaca_django.dialect import urls
from cloaca_django.dialect.url_parts import redact
from cloaca_django.errors import InvalidDatabaseURL

SECRET = "S3CR3T-CANARY"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///app.db", "{here}/app.db"),
        ("sqlite:///{here}/app.db", "{here}/app.db"),
        ("sqlite:////{here}/app.db", "{here}/app.db"),
        ("sqlite://app.db", "{here}/app.db"),
        ("sqlite:///sub/app.db", "{here}/sub/app.db"),
        ("sqlite:///app.db?mode=rwc&_journal_mode=WAL", "{here}/app.db"),
        ("sqlite:///my%20app+1.db", "{here}/my app+1.db"),
        ("SQLITE:///app.db", "{here}/app.db"),
        ("./app.db", "{here}/app.db"),
        ("app.db", "{here}/app.db"),
        ("sub/app.sqlite", "{here}/sub/app.sqlite"),
        ("app.sqlite3?mode=rwc", "{here}/app.sqlite3"),
        ("100%.db", "{here}/100%.db"),
        ("{here}/app", "{here}/app"),
        ("./notes:app.db", "{here}/notes:app.db"),
        ("a#b.db", "{here}/a#b.db"),
        ("sqlite:///a%23b.db", "{here}/a#b.db"),
        ("C:app.db", "{here}/C:app.db"),
        ("file:app.db", "{here}/app.db"),
        ("file://{here}/app.db", "{here}/app.db"),
    ],
)
def test_a_sqlite_url_names_a_file(here, url, file):
    (here / "sub").mkdir()
    parsed = urls.parse(url.format(here=here))
    assert Path(parsed.name) == Path(file.format(here=here))
    assert not parsed.is_memory


def test_three_slashes_mean_the_absolute_path_when_only_that_folder_exists(here):
    absolute = f"sqlite://{here}/app.db"  # three slashes in all
    assert urls.parse(absolute).name == f"{here}/app.db"
    relative = here / str(here).lstrip("/")
    relative.mkdir(parents=True)
    assert urls.parse(absolute).name == f"{relative}/app.db"


def test_the_parent_folder_may_be_one_level_up(here):
    assert urls.parse("../app.db").name == str(here.parent / "app.db")


@pytest.mark.parametrize(
    "url", ["sqlite:///:memory:", "sqlite://:memory:", ":memory:", "file::memory:"]
)
def test_a_database_in_memory_needs_a_home_before_it_has_settings(here, url):
    parsed = urls.parse(url)
    assert parsed.is_memory
    with pytest.raises(LookupError):
        parsed.settings()
    assert parsed.at_file(here / "private.db").settings()["NAME"] == str(here / "private.db")


@pytest.mark.parametrize(
    ("option", "fragment"),
    [
        ("_synchronous=normal", "PRAGMA synchronous = NORMAL"),
        ("_synchronous=2", "PRAGMA synchronous = FULL"),
        ("_foreign_keys=0", "PRAGMA foreign_keys = OFF"),
        ("_foreign_keys=true", "PRAGMA foreign_keys = ON"),
        ("_journal_mode=delete", "PRAGMA journal_mode = WAL"),
        ("cache=shared", "PRAGMA journal_mode = WAL"),
    ],
)
def test_sqlite_options_become_pragmas(option, fragment):
    settings = urls.parse(f"sqlite:///app.db?{option}").settings()
    assert fragment in settings["OPTIONS"]["init_command"]


def test_sqlite_settings_lock_early_and_wait():
    settings = urls.parse("sqlite:///app.db").settings(20)
    assert settings["ENGINE"] == "django.db.backends.sqlite3"
    assert settings["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert settings["OPTIONS"]["timeout"] == 30.0
    options = urls.parse("sqlite:///app.db?_busy_timeout=1500").settings()["OPTIONS"]
    assert options["timeout"] == 1.5


def test_mode_rw_opens_a_file_that_exists(here):
    (here / "app.db").touch()
    assert urls.parse("sqlite:///app.db?mode=rw").name == str(here / "app.db")


POSTGRESQL = [
    ("postgresql://user:pass@localhost:5432/dbname", "user", "pass", "localhost", "5432"),
    ("postgres://user:pass@host/dbname?sslmode=require", "user", "pass", "host", ""),
    ("POSTGRESQL://h/dbname", "", "", "h", ""),
    ("postgresql://user:p%40s%2Fs+%23@h/dbname", "user", "p@s/s+#", "h", ""),
    ("postgresql://us%3Aer@h/dbname", "us:er", "", "h", ""),
    ("postgresql://h/dbname?host=other", "", "", "other", ""),
    ("postgresql://postgres:@/dbname?host=/run/pg", "postgres", "", "/run/pg", ""),
    ("postgresql://%2Frun%2FPG/dbname", "", "", "/run/PG", ""),
    ("postgresql://[::1]:5433/dbname", "", "", "::1", "5433"),
    ("postgresql://h1:1,h2/dbname?target_session_attrs=read-write", "", "", "h1,h2", "1,5432"),
    ("postgresql://h:05432/dbname", "", "", "h", "5432"),
    ("postgresql://u[%40:p]%25[@h/dbname", "u[@", "p]%[", "h", ""),
    ("postgresql://u:p\uff20\u2100\uff1a@h/dbname", "u", "p\uff20\u2100\uff1a", "h", ""),
]


@pytest.mark.parametrize(("url", "user", "password", "host", "port"), POSTGRESQL)
def test_a_postgresql_url_names_a_database(url, user, password, host, port):
    settings = urls.parse(url).settings()
    found = [settings[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert found == [user, password, host, port, "dbname"]
    assert settings["ENGINE"] == "django.db.backends.postgresql"


@pytest.mark.parametrize("name", ["/dbname", "/a/b", "//", "a+b", "a%b", "a b", "?", "\uff0fx"])
def test_a_name_is_nothing_but_the_name(name):
    settings = urls.parse(f"postgresql://u:p@h/{quote(name, safe='+')}").settings()
    assert (settings["NAME"], settings["HOST"]) == (name, "h")


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        ("sslmode=require", "sslmode", "require"),
        ("application_name=my+app%20x", "application_name", "my+app x"),
        ("connect_timeout=3", "connect_timeout", 3),
        ("options=-c%20search_path%3Da", "options", "-c search_path=a"),
        ("target_session_attrs=any", "target_session_attrs", "any"),
        ("channel_binding=require", "channel_binding", "require"),
        ("", "connect_timeout", 10),
    ],
)
def test_options_of_libpq_are_passed_on(query, key, value):
    options = urls.parse(f"postgresql://h/db?{query}").settings()["OPTIONS"]
    assert options[key] == value


def test_the_pool_is_bounded_and_connections_outside_a_pool_live_on():
    url = urls.parse("postgresql://h/db")
    pooled, single = url.settings(20), url.settings()
    assert pooled["OPTIONS"]["pool"]["max_size"] == 20
    assert pooled["CONN_MAX_AGE"] == 0
    assert "pool" not in single["OPTIONS"]
    assert single["CONN_MAX_AGE"] is None


def test_settings_are_complete_for_an_alias_added_at_run_time():
    known = set(connections.settings["default"])
    for url in ("sqlite:///app.db", "postgresql://h/db"):
        settings = urls.parse(url).settings()
        assert known <= set(settings)
        assert set(connections.settings["default"]["TEST"]) <= set(settings["TEST"])


REFUSED = [
    ("", "empty database URL; use sqlite:///"),
    ("nofile", "neither a URL nor the path of a database file"),
    ("invalid://connection/string", "unsupported scheme 'invalid'"),
    (f"mysql://u:{SECRET}@h/db", "unsupported scheme 'mysql'"),
    ("oracle://h/db", "unsupported scheme 'oracle'"),
    ("postgresql+psycopg://h/db", "unsupported scheme"),
    (f"postgresql://u:{SECRET}@h:notaport/db", "port must be 1-65535"),
    (f"postgresql://u:{SECRET}/db", "port must be 1-65535"),
    ("postgresql://h:0/db", "port must be 1-65535"),
    ("postgresql://h:70000/db", "port must be 1-65535"),
    ("postgresql://h:/db", "port must be 1-65535"),
    ("postgresql://h:-1/db", "port must be 1-65535"),
    ("postgresql://h/", "database name missing"),
    ("postgresql://h", "database name missing"),
    ("postgresql://", "database name missing"),
    ("postgresql://h/a/b", "one database name"),
    ("postgresql://h/" + "d" * 64, "at most 63 bytes"),
    ("postgresql:///db", "host missing"),
    ("postgresql://h h/db", "a host has letters, digits"),
    (f"postgresql://u:{SECRET}%zz@h/db", "bad percent-escape"),
    (f"postgresql://u:{SECRET}%@h/db", "bad percent-escape"),
    ("postgresql://u:%ff@h/db", "bad percent-escape"),
    ("postgresql://h/db?sslmode=%zz", "bad percent-escape"),
    ("postgresql://h/d%00b", "control character in URL"),
    (f"postgresql://u:{SECRET}%00@h/db", "control character in URL"),
    (f"postgresql://u:{SECRET}#x@h/db", "write # as %23"),
    (f"postgresql://u:x?{SECRET}&y@h/db", "? as %3F"),
    (f"postgresql://u:x@{SECRET}@h/db", "write @ as %40"),
    (f"postgresql://u:x/{SECRET}@h/db", "port must be 1-65535"),
    ("postgresql://h/db?hostaddr=127.0.0.1", "'hostaddr' not allowed in the query"),
    ("postgresql://h/db?service=x", "'service' not allowed in the query"),
    ("postgresql://h/db?passfile=/etc/x", "'passfile' not allowed in the query"),
    ("postgresql://h/db?sslkey=/etc/x", "'sslkey' not allowed in the query"),
    ("postgresql://h/db?sslrootcert=/etc/x", "'sslrootcert' not allowed in the query"),
    (f"postgresql://h/db?password={SECRET}", "'password' not allowed in the query"),
    ("postgresql://h/db?sslmod=require", "did you mean 'sslmode'?"),
    ("postgresql://h/db?sslmode", "option 'sslmode' has no value"),
    ("postgresql://h/db?sslmode=maybe", "sslmode must be one of disable, allow"),
    ("postgresql://h/db?connect_timeout=-1", "connect_timeout must be 1-300"),
    ("postgresql://h/db?connect_timeout=abc", "connect_timeout must be 1-300"),
    ("postgresql://h/db?connect_timeout=99999", "connect_timeout must be 1-300"),
    ("postgresql://h/db?connect_timeout=٣", "connect_timeout must be 1-300"),
    ("postgresql://h/db?application_name=", "application_name must have 1-63"),
    ("postgresql://h/db?target_session_attrs=standby", "the engine must write"),
    ("postgresql://h/db?sslmode=require&sslmode=disable", "'sslmode' given twice"),
    ("postgresql://h1,h2/db", "several hosts need target_session_attrs=read-write"),
    ("postgresql://h/db?host=h1,h2", "several hosts need target_session_attrs=read-write"),
    ("postgresql://[::1/db", "malformed IPv6 host"),
    ("postgresql://[zz]/db", "malformed IPv6 host"),
    ("postgresql://::1/db", "malformed IPv6 host"),
    ("postgresql:h/db", "a scheme is followed by ://"),
    (f"postgresql:u:{SECRET}@h/db.db", "a scheme is followed by ://"),
    ("sqlite:app.db", "a scheme is followed by ://"),
    ("sqlite:/app.db", "a scheme is followed by ://"),
    ("SQLite:app.sqlite3?mode=rwc", "a scheme is followed by ://"),
    ("notes:app.db", "a file's path may start ./"),
    ("sqlite:///app.db#frag", "a file's name write # as %23"),
    ("sqlite:///app.db?mode=rwc#frag", "a file's name write # as %23"),
    ("sqlite:///:memory:#frag", "a file's name write # as %23"),
    ("file:app.db#frag", "a file's name write # as %23"),
    (f"host=h password={SECRET}", "neither a URL"),
    (f"u:{SECRET}@h/db", "neither a URL"),
    ("sqlite:///", "file path missing"),
    ("sqlite://", "file path missing"),
    ("file:", "file path missing"),
    ("file://host/x.db", "a file: URI names no host"),
    ("sqlite:////no/such/dir/x.db", "parent directory does not exist"),
    ("sqlite:///no/such/dir/x.db", "parent directory does not exist"),
    ("sqlite:///.", "is a directory"),
    ("sqlite:///" + "x" * 300 + ".db", "the path cannot be used"),
    ("sqlite:///x%zz.db", "bad percent-escape"),
    ("sqlite:///x.db?mode=ro", "the engine must write"),
    ("sqlite:///x.db?mode=rw", "only mode=rwc creates it"),
    ("sqlite:///x.db?mode=memory", "mode must be one of rwc, rw"),
    ("sqlite:///x.db?_journal_mode=OFF", "must be one of WAL, DELETE, TRUNCATE, PERSIST"),
    ("sqlite:///x.db?_journal_mode=BOGUS", "must be one of WAL, DELETE, TRUNCATE, PERSIST"),
    ("sqlite:///x.db?_synchronous=OFF", "OFF can lose runs"),
    ("sqlite:///x.db?_busy_timeout=0", "_busy_timeout (milliseconds) must be 1-600000"),
    ("sqlite:///x.db?_foreign_keys=maybe", "_foreign_keys must be one of"),
    ("sqlite:///x.db?cache=big", "cache must be one of private, shared"),
    ("sqlite:///x.db?journal_mode=WAL", "did you mean '_journal_mode'?"),
    ("sqlite:///x\x00.db", "control character in URL"),
    ("sqlite:///x.db\n", "control character in URL"),
    ("sqlite:///\ud800.db", "control character in URL"),
    ("postgresql://h/db\n", "control character in URL"),
    ("postgresql://h/db?application_name=a%0Ab", "control character in URL"),
    ("x" * 8_000 + "://h/db", "unsupported scheme 'xxx"),
    ("postgresql://h/db?" + "x" * 8_000 + "=1", "not allowed in the query"),
    ("postgresql://" + "h" * 8_000 + "/db", "a host has letters"),
    ("x" * 100_000 + "://h/db", "longer than 8,192 characters"),
    (f"postgresql://u:{SECRET}{'x' * 10_000}@h/db", "longer than 8,192 characters"),
    ("postgresql://h1:1,h2:2/db?target_session_attrs=read-write&host=a,b,c", "as many ports as"),
    (f"postgresql://u:{SECRET}]x", "port must be 1-65535"),
    (f"postgresql://u:x]{SECRET}", "port must be 1-65535"),
    ("sqlite:///x.db?mode=rwc&mode=rw", "'mode' given twice"),
    ("sqlite:///x.db?_busy_timeout=600001", "must be 1-600000"),
    ("sqlite:///x.db?_journal_mode=MEMORY", "must be one of WAL, DELETE, TRUNCATE, PERSIST"),
]


@pytest.mark.parametrize(("url", "words"), REFUSED)
def test_a_bad_url_is_refused_in_words_that_help(here, url, words):
    with pytest.raises(InvalidDatabaseURL) as caught:
        urls.parse(url)
    text = str(caught.value)
    assert words in text
    assert len(text) < 400
    assert text.isprintable()
    assert isinstance(caught.value, ValueError)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("url", [url for url, _ in REFUSED if SECRET in url])
def test_no_refusal_shows_a_password(url):
    with pytest.raises(InvalidDatabaseURL) as caught:
        urls.parse(url)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.args} {error.__cause__} {error.__dict__}"
    assert error.__suppress_context__
    assert SECRET not in redact(url)


@pytest.mark.parametrize("url", [None, 7, b"sqlite:///x.db", Path("x.db")])
def test_another_type_is_a_type_error(url):
    with pytest.raises(TypeError, match="a database URL is a str"):
        urls.parse(url)


def test_an_understood_url_shows_no_password_either(here):
    url = urls.parse(f"postgresql://u:{SECRET}@h:5433/db?application_name=x")
    assert repr(url) == "DatabaseUrl('postgresql://u:***@h:5433/db?application_name=x')"
    assert SECRET not in f"{url} {url!r} {url.redacted}"
    assert urls.parse("sqlite:///a.db").redacted == f"sqlite:///{here}/a.db"
    assert urls.parse(":memory:").redacted == "sqlite:///:memory:"
    assert pickle.loads(pickle.dumps(url)) == url


SAME_POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "127.0.0.1",
    "PORT": "5432",
    "NAME": "db",
    "USER": "u",
}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"HOST": "localhost"}, True),
        ({"PORT": 5432}, True),
        ({"PORT": ""}, True),
        ({"ENGINE": "django_tenants.postgresql_backend"}, True),
        ({"HOST": "other"}, False),
        ({"PORT": "5433"}, False),
        ({"NAME": "db2"}, False),
        ({"USER": "somebody"}, False),
        ({"ENGINE": "django.db.backends.sqlite3"}, False),
    ],
)
def test_an_alias_with_the_same_address_and_user_is_recognised(change, same):
    url = urls.parse("postgresql://u:other-password@localhost/db")
    assert url.same_database_as(SAME_POSTGRESQL | change) is same


def test_an_alias_on_the_same_file_is_recognised(here):
    (here / "link.db").symlink_to(here / "app.db")
    url = urls.parse("sqlite:///app.db")
    engine = {"ENGINE": "django.db.backends.sqlite3"}
    assert url.same_database_as(engine | {"NAME": here / "app.db"})
    assert url.same_database_as(engine | {"NAME": "app.db"})
    assert url.same_database_as(engine | {"NAME": f"file:{here}/link.db?mode=rw"})
    assert not url.same_database_as(engine | {"NAME": here / "other.db"})
    assert not url.same_database_as(engine | {"NAME": ":memory:"})
    assert not urls.parse(":memory:").same_database_as(engine | {"NAME": ":memory:"})
