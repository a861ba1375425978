"""Metrics for Prometheus: of the site from its database, of a worker from what it counted."""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from cloaca_django import Context, DefaultRunner, metrics
from cloaca_django.core.states import WorkerState
from cloaca_django.engine import gauges, meter, tether
from cloaca_django.engine.process import Stint
from cloaca_django.engine.supervisor import Child, Supervisor
from cloaca_django.errors import MissingExtra
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.commands import a_worker, run
from tests.worksite.process import until

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = reverse("cloaca_django:metrics")
TOKEN = "a-token-of-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def site(transactional_db, workflows_of_test):
    for name in ("one", "two"):
        workflows.single(name)
    with DefaultRunner(using="default") as runner:
        yield runner


@pytest.fixture
def token(settings):
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN}


@pytest.fixture
def no_library(monkeypatch):
    """A site that did not install the extra."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def samples(text):
    """Return the samples of a page: name and labels in their order, empty ones left out."""
    return {
        (one.name, *(value for value in one.labels.values() if value)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def scraped(client):
    answer = client.get(PAGE, headers=BEARER)
    assert answer.status_code == 200
    return samples(answer.content.decode())


def fetched(port):
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


# Of the site


def test_the_page_tells_what_waits_where_and_for_how_long(site, client, token):
    a_worker(workflows=["one"], heard=7)
    site.enqueue_many("one", [Context()] * 3, queue="mail")
    late = site.enqueue("two")
    runs = PipelineExecution.objects.filter(pk=late.id)
    runs.update(created_at=runs.get().created_at - timedelta(seconds=90))
    site.pause(site.enqueue("two").id)
    site.enqueue("two").cancel()
    found = scraped(client)
    assert found["cloaca_tasks", "mail", "Ready", "one"] == 3
    assert found["cloaca_tasks", "default", "Ready", "two"] == 1
    assert found["cloaca_tasks", "default", "Held", "two"] == 1
    assert 90 <= found["cloaca_oldest_ready_seconds", "default", "two"] < 150
    assert found["cloaca_unserved_tasks", "default", "two"] == 1
    assert found["cloaca_open_runs", "two"] == 2
    assert found["cloaca_paused_runs", "two"] == 1
    assert found["cloaca_open_runs", "one"] == 3


def test_the_page_tells_who_works(client, token):
    a_worker(heard=7)
    a_worker(state=WorkerState.DRAINING)
    a_worker(heard=60)
    a_worker(heard=900, state=WorkerState.DEAD)
    found = scraped(client)
    assert found["cloaca_workers", "claiming"] == 1
    assert found["cloaca_workers", "draining"] == 1
    assert found["cloaca_workers", "silent"] == 1
    assert (found["cloaca_served",], found["cloaca_worker_slots",]) == (1, 4)
    assert 60 <= found["cloaca_heartbeat_age_seconds",] < 120


def test_the_page_of_an_empty_site_says_that_nobody_works(client, token):
    found = scraped(client)
    assert found["cloaca_served",] == 0
    assert found["cloaca_workers", "claiming"] == 0
    assert found["cloaca_schedule_late_seconds",] == 0


def test_the_page_tells_how_schedules_stand(site, client, token):
    site.register_cron_workflow("one", "0 3 * * *", "UTC")
    off = site.register_cron_workflow("one", "0 4 * * *", "UTC")
    site.set_cron_schedule_enabled(off, False)
    found = scraped(client)
    assert found["cloaca_schedules", "enabled"] == 1
    assert found["cloaca_schedules", "disabled"] == 1
    assert found["cloaca_schedules", "parked"] == 0


def test_a_paused_workflow_is_counted_and_nobody_waits_for_it(site, client, token):
    site.enqueue("one")
    site.pause_workflow("one")
    found = scraped(client)
    assert found["cloaca_paused_workflows",] == 1
    assert not any(name == "cloaca_oldest_ready_seconds" for name, *_ in found)


def test_strangers_get_no_metrics(client, token):
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}):
        answer = client.get(PAGE, headers=headers)
        assert answer.status_code == 403
        assert "cloaca_" not in answer.content.decode()


def test_staff_who_may_view_runs_and_with_a_setting_anyone_get_them(settings):
    client = Client()
    settings.CLOACA = {"MONITORING_ACCESS": "anyone"}
    assert client.get(PAGE).status_code == 200
    settings.CLOACA = {}
    client.force_login(User.objects.create_superuser("ada"))
    assert client.get(PAGE).status_code == 200


def test_a_scraper_gets_the_format_it_asks_for(client, token):
    plain = client.get(PAGE, headers=BEARER)
    assert plain["Content-Type"].startswith("text/plain; version=")
    wanted = {**BEARER, "Accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get(PAGE, headers=wanted)
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.decode().endswith("# EOF\n")


def test_a_scrape_that_takes_too_long_is_503(client, settings, monkeypatch):
    settings.CLOACA = {"MONITORING_TOKEN": TOKEN, "MONITORING_TIMEOUT_SECONDS": 0.1}
    gate = threading.Event()
    monkeypatch.setattr(gauges, "read", lambda alias: gate.wait(20) and [])
    try:
        answer = client.get(PAGE, headers=BEARER)
    finally:
        gate.set()
    assert answer.status_code == 503
    assert answer.content == b"no answer within 0.1 s\n"


def test_a_database_that_is_away_is_503_and_what_is_wrong_with_us_is_not(
    client, token, monkeypatch
):
    def away(alias):
        raise OperationalError("server closed") from psycopg.OperationalError("server closed")

    def wrong(alias):
        raise DatabaseError("no such column")

    monkeypatch.setattr(gauges, "read", away)
    answer = client.get(PAGE, headers=BEARER)
    assert (answer.status_code, answer.content[:13]) == (503, b"server closed")
    monkeypatch.setattr(gauges, "read", wrong)
    with pytest.raises(DatabaseError, match="no such column"):
        client.get(PAGE, headers=BEARER)


def test_every_measure_is_named_as_prometheus_wants_it_and_explained():
    names = [measure.name for measure in metrics.MEASURES]
    assert len(set(names)) == len(names)
    for measure in metrics.MEASURES:
        assert measure.name.startswith("cloaca_")
        assert measure.meaning
        assert not measure.name.endswith("_total")


# Without the library


def test_the_page_says_which_package_is_missing(client, token, no_library):
    with pytest.raises(MissingExtra, match=r"pip install 'cloaca_django\[metrics\]'"):
        client.get(PAGE, headers=BEARER)
    assert client.get(PAGE).status_code == 403


def test_the_worker_says_so_before_it_starts(no_library, port):
    ran = run("cloaca_worker", "--burst", "--metrics-port", str(port))
    assert ran.code == 2
    assert "pip install 'cloaca_django[metrics]'" in ran.err


def test_nobody_imports_the_library_unasked():
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "django.setup(); import cloaca_django.urls\n"
        "from django.core.management import load_command_class\n"
        "load_command_class('cloaca_django', 'cloaca_worker')\n"
        "assert 'prometheus_client' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Of a worker


def test_a_worker_serves_what_it_counted(site, port):
    seen = {}
    ended = ("cloaca_runs_ended_total", "Completed", "one")

    def look(context):
        until(lambda: seen.update(fetched(port)) or seen.get(ended))

    workflows.single("look", look)
    site.enqueue("one")
    site.enqueue("look")
    ran = run("cloaca_worker", "--burst", "--metrics-port", str(port))
    assert ran.code == 0
    assert f"Metrics are at http://127.0.0.1:{port}/metrics" in ran.out
    assert seen["cloaca_task_attempts_total", "Completed", "a", "one"] == 1
    assert seen["cloaca_task_seconds_count", "a", "one"] == 1
    assert seen["cloaca_task_seconds_bucket", "+Inf", "a", "one"] == 1
    assert seen["cloaca_tasks_recovered_total",] == 0
    assert seen["process_resident_memory_bytes",] > 0
    assert not meter.is_on()
    with pytest.raises(URLError):
        fetched(port)


def test_processes_hand_their_counts_to_their_supervisor(worksite, port):
    supervisor = worksite.worker("--processes", "2", "--metrics-port", str(port))
    ids = [worksite.enqueue("quick") for _ in range(4)]
    ended = ("cloaca_runs_ended_total", "Completed", "quick")
    until(lambda: fetched(port).get(ended) == len(ids), what="the counts of all runs")
    found = fetched(port)
    assert found["cloaca_task_attempts_total", "Completed", "first", "quick"] == len(ids)
    assert found["cloaca_run_seconds_count", "quick"] == len(ids)
    assert supervisor.output.count("Metrics are at") == 1


def test_what_a_process_counted_last_is_not_lost_with_it(transactional_db):
    meter.switch_on()
    supervisor = Supervisor("default", [], count=1, stint=Stint(), say=print)
    ours, theirs = tether.pair()
    child = Child(1, None, ours, set(), started_at=0.0)
    supervisor._selector.register(ours.socket, selectors.EVENT_READ, child)
    line = tether.Line(theirs)
    for count in (1.0, 2.0):
        line.send(counted=[(meter.RUNS.name, ("w", "Completed", ""), [count])])
    line.close()
    supervisor._bury(child, 0)
    found = {one.labels: list(one.values) for one in meter.switch_on().series()}
    meter.switch_off()
    for end in (supervisor._selector, supervisor._waker, supervisor._wakened):
        end.close()
    assert found["w", "Completed", ""] == [3.0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics-port", "0"], "--metrics-port must be from 1 to 65535, not 0"),
        (["--metrics-port", "65536"], "not 65536"),
        (["--metrics-host", "0.0.0.0"], "--metrics-host goes with --metrics-port only"),
    ],
)
def test_an_address_that_is_none_is_refused(arguments, says):
    ran = run("cloaca_worker", "--burst", *arguments)
    assert ran.code == 2
    assert says in ran.err


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ran = run("cloaca_worker", "--burst", "--metrics-port", str(number))
    assert ran.code == 2
    assert f"--metrics-port: cannot listen at 127.0.0.1:{number}: " in ran.err
    assert not meter.is_on()
