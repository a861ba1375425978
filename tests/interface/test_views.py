"""The pages for probes: what they answer, to whom, and that they always answer."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client, RequestFactory
from django.urls import reverse

from cloaca_django import deadline, views
from cloaca_django import health as probes
from cloaca_django.dialect import aliases
from cloaca_django.errors import InvalidConfig
from cloaca_django.health import Finding
from tests.interface.commands import a_worker
from tests.interface.conftest import until

pytestmark = pytest.mark.django_db(transaction=True)

LIVE, READY, HEALTH = (reverse(f"cloaca_django:{name}") for name in ("live", "ready", "health"))
TOKEN = "a-token-of-this-test"


def signed_in(**facts):
    user = User.objects.create_user("ada", **facts)
    client = Client()
    client.force_login(user)
    return client, user


def verdicts(answer):
    return {one["probe"]: one["is_healthy"] for one in answer.json()["probes"]}


def tells_details(answer):
    told = {"says" in one for one in answer.json()["probes"]}
    assert len(told) == 1
    return told.pop()


@pytest.fixture
def gate():
    """An event that a probe waits for; it is set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def dead_database(settings):
    """An alias whose server accepts connections and never says a word."""
    entry = connections["default"].settings_dict
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        aliases.add(
            "dead",
            entry
            | {
                "ENGINE": "django.db.backends.postgresql", "NAME": "site", "USER": "site",
                "HOST": "127.0.0.1", "PORT": str(silent.getsockname()[1]), "OPTIONS": {},
            },
        )  # fmt: skip
        settings.CLOACA = {"DATABASE": "dead", "MONITORING_TIMEOUT_SECONDS": 0.2}
        yield "dead"
        aliases.remove("dead")


# What they answer


def test_a_live_process_answers_without_asking_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get(LIVE)
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


def test_health_is_200_when_every_probe_is_content(client):
    a_worker()
    answer = client.get(HEALTH)
    assert answer.status_code == 200
    assert answer.json()["healthy"] is True
    assert verdicts(answer) == dict.fromkeys(probes.PROBES, True)


def test_health_is_503_when_a_probe_is_not(client):
    answer = client.get(HEALTH)
    assert answer.status_code == 503
    assert answer.json()["healthy"] is False
    assert verdicts(answer) == dict.fromkeys(probes.PROBES, True) | {"worker": False}


def test_a_site_is_ready_when_its_database_and_tables_are_though_no_worker_is(client):
    answer = client.get(READY)
    assert answer.status_code == 200
    assert verdicts(answer) == {"database": True, "migrations": True}


def test_urls_py_chooses_probes_and_limits():
    a_worker()
    request = RequestFactory().get("/")
    assert views.health(request, probes=["worker"]).status_code == 200
    with pytest.raises(InvalidConfig, match=r"some of database, .*, not 'worked'"):
        views.health(request, probes=["worked"])


def test_a_request_chooses_neither(client):
    assert set(verdicts(client.get(HEALTH, {"probes": "database"}))) == set(probes.PROBES)


@pytest.mark.parametrize("page", [LIVE, READY, HEALTH])
def test_no_cache_keeps_an_answer(client, page):
    assert "no-store" in client.get(page)["Cache-Control"]


@pytest.mark.parametrize("page", [LIVE, READY, HEALTH])
def test_only_reading_is_allowed(client, page):
    assert client.head(page).status_code == client.get(page).status_code
    assert client.head(page).content == b""
    for method in (client.post, client.put, client.patch, client.delete, client.options):
        assert method(page).status_code == 405


@pytest.mark.parametrize("page", [LIVE, READY])
def test_a_site_that_wants_a_login_everywhere_answers_its_probes(client, settings, page):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert client.get("/admin/").status_code == 302
    assert client.get(page).status_code == 200


def test_an_answer_that_is_not_well_is_no_error_of_the_site(client, caplog):
    assert client.get(HEALTH).status_code == 503
    assert [record for record in caplog.records if record.name == "django.request"] == []


# To whom


def test_strangers_hear_yes_or_no_and_nothing_else(client):
    answer = client.get(HEALTH)
    assert not tells_details(answer)
    assert set(answer.json()) == {"healthy", "probes"}


def test_staff_who_may_view_runs_hear_why():
    client, user = signed_in(is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_pipelineexecution"))
    answer = client.get(HEALTH)
    assert tells_details(answer)
    says = {one["probe"]: one["says"] for one in answer.json()["probes"]}
    assert says["worker"] == "no live worker; start one: manage.py cloaca_worker"


@pytest.mark.parametrize(
    ("facts", "may_view"),
    [({"is_staff": True}, False), ({"is_staff": False}, True)],
)
def test_staff_without_the_permission_and_others_with_it_hear_as_little(facts, may_view):
    client, user = signed_in(**facts)
    if may_view:
        user.user_permissions.add(Permission.objects.get(codename="view_pipelineexecution"))
    assert not tells_details(client.get(HEALTH))


def test_who_has_the_token_hears_why(client, settings):
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN}
    assert tells_details(client.get(HEALTH, headers={"Authorization": f"Bearer {TOKEN}"}))
    for wrong in (f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}", "Bearer ", "Bearer \xe9"):
        assert not tells_details(client.get(HEALTH, headers={"Authorization": wrong})), wrong


def test_without_a_token_an_empty_one_opens_nothing(client):
    for empty in ("Bearer", "Bearer ", "Bearer None"):
        assert not tells_details(client.get(HEALTH, headers={"Authorization": empty})), empty


def test_a_site_may_tell_anyone(client, settings):
    settings.CLOACA = {"MONITORING_ACCESS": "anyone"}
    assert tells_details(client.get(HEALTH))


def test_a_site_without_users_answers():
    answer = views.health(RequestFactory().get("/"), probes=["database"])
    assert answer.status_code == 200


# That they answer


def test_a_dead_database_hangs_no_probe_and_nobody_is_looked_up_in_it(client, dead_database):
    answer = client.get(HEALTH)
    assert answer.status_code == 503
    assert verdicts(answer) == {"time": False}


def test_a_signed_in_reader_is_not_looked_up_where_no_answer_comes(dead_database):
    client, _ = signed_in(is_staff=True, is_superuser=True)
    assert not tells_details(client.get(HEALTH))


def test_under_atomic_requests_no_transaction_is_begun_for_a_probe(client, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    seen = []

    def look(patient):
        seen.append(connections["default"].in_atomic_block)
        return Finding("worker", True, "")

    monkeypatch.setitem(probes.PROBES, "worker", look)
    monkeypatch.setattr(deadline, "within", lambda seconds, question, answer: answer())
    client.get(HEALTH)
    assert seen == [False]


def test_probes_that_hang_hold_one_thread_however_many_ask(client, settings, monkeypatch, gate):
    settings.CLOACA = {"MONITORING_TIMEOUT_SECONDS": 0.1}
    begun = []

    def hang(patient):
        begun.append(patient)
        gate.wait(20)
        return Finding("worker", True, "late, but there")

    monkeypatch.setitem(probes.PROBES, "worker", hang)
    for _ in range(3):
        assert verdicts(client.get(HEALTH)) == {"time": False}
    until(lambda: begun)
    assert len([one for one in threading.enumerate() if one.name == "cloaca-deadline"]) == 1
    gate.set()
    until(lambda: not deadline._asked)
    settings.CLOACA = {"MONITORING_TIMEOUT_SECONDS": 30}
    assert verdicts(client.get(HEALTH))["worker"] is True
    assert len(begun) == 2


def test_the_connections_of_an_answer_are_closed_before_it_is_given():
    def ask():
        connections["default"].ensure_connection()
        return connections["default"]

    used = deadline.within(10, "a question", ask)
    assert used is not connections["default"]
    assert used.connection is None


def test_an_error_that_no_probe_is_there_to_find_is_not_hidden(client, monkeypatch):
    def broken(patient):
        raise LookupError("a bug")

    monkeypatch.setitem(probes.PROBES, "worker", broken)
    with pytest.raises(LookupError, match="a bug"):
        client.get(HEALTH)
    assert deadline._asked == {}
