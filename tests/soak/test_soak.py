"""A soak of seconds; that a longer one would see a broken promise; and what its options refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection

from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from tests.crash import checker
from tests.crash.graphs import Node, chain
from tests.soak import __main__ as soak
from tests.soak import diary, invariants, plan, recovery, report
from tests.soak.chaos import Chaos
from tests.soak.diary import Diary
from tests.soak.recovery import Loss
from tests.soak.watch import Watch
from tests.soak.workflows import COMPLETING, LEAK
from tests.worksite.process import ROOT, until

# -- a whole one


@pytest.mark.slow
def test_a_short_soak_finds_nothing_wrong():
    command = [
        *(sys.executable, "-m", "tests.soak", "--database", connection.vendor),
        *("--seconds", "6", "--runs", "40", "--lease", "2", "--interval", "1"),
        *("--faults", "kill,kill child,freeze,lock"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:])
    assert lines["violations"] == "0"
    assert int(lines["faults injected"].partition(":")[0]) >= 2
    assert int(lines["looks of the checker during it"]) >= 1


def test_a_soak_that_finds_something_ends_with_an_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(soak, "open_stage", lambda plan: nullcontext())
    found = [("violations", "1")], ["I1 run 7 is gone"]
    monkeypatch.setattr(soak.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(soak, "_soak", lambda plan, stage, stack: found)
    output = tmp_path / "table.md"
    assert soak.main(["--seconds", "1", "--output", str(output)]) == 1
    assert capsys.readouterr().out.endswith("| violations | 1 |\n\nI1 run 7 is gone\n")
    assert "I1 run 7 is gone" in output.read_text()


def test_faults_that_end_by_themselves_are_reported(tmp_path):
    def tend():
        raise OSError("no process can be started")

    stage = SimpleNamespace(disk=SimpleNamespace(is_small=False), server=None)
    fleet = SimpleNamespace(logs=tmp_path, tend=tend)
    chaos = Chaos(plan.parse([]), stage, fleet)
    chaos.start()
    until(lambda: chaos.violations)
    chaos.end()
    assert chaos.violations == ["the chaos ended by itself: OSError: no process can be started"]


# -- what its checker sees beside the invariants of the store


@pytest.fixture
def ended(world):
    """A run with a key that ended as it should, in a site without tenants."""
    first = f"{COMPLETING}0"
    world.define("w", {first: Node(), "last": Node((first,))})
    world.completing.add(first)
    worker = world.worker()
    run = world.submit("w", idempotency_key="1-1")
    PipelineExecution.objects.update(context=json.dumps({"given": "w", "tenant": ""}))
    worker.work()
    assert _violations() == []
    return PipelineExecution.objects.get(pk=run)


def _violations():
    ids = list(PipelineExecution.objects.values_list("pk", flat=True))
    return invariants.always(checker.read_runs(connection, ids), "")


def _sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


@pytest.mark.parametrize(
    ("words", "damage"),
    [
        ("I3 task", lambda: _sql("DELETE FROM crash_effect")),
        ("I3 task", lambda: _sql("INSERT INTO crash_effect SELECT * FROM crash_effect")),
        ("I13 task", lambda: TaskExecution.objects.filter(name="last").update(crashes=4)),
        ("I14 run", lambda: PipelineExecution.objects.update(context='{"tenant": "south"}')),
    ],
)
def test_a_broken_promise_is_reported(ended, words, damage):
    damage()
    (line,) = _violations()
    assert line.startswith(words)


def test_runs_are_read_in_parts_as_they_are_read_whole(world, ended):
    whole, part = checker.read(connection), checker.read_runs(connection, [ended.pk])
    assert part.moves == whole.moves
    assert part.effects == whole.effects
    assert set(part.tasks) == set(whole.tasks)


def test_an_attempt_that_found_itself_with_another_tenant_is_reported(ended):
    assert invariants.leaks("") == []
    TaskAttempt.objects.create(
        task=TaskExecution.objects.first(), attempt=1, outcome=AttemptOutcome.FAILED,
        error_message=f"{LEAK}: a task of 'north' is in 'south'", finished_at=ended.created_at,
    )  # fmt: skip
    assert len(invariants.leaks("")) == 1


@pytest.mark.parametrize(
    ("what", "about", "words"),
    [
        (diary.ANSWERED, "1-2", "I1 1-2 was answered in '' and is not there"),
        (diary.TAKEN_BACK, "1-1", "I1 1-1 was rolled back in '' and is there"),
        (diary.CANCELLED, "1", "I2 run 1 was cancelled in '' and is not"),
    ],
)
def test_an_answer_that_is_not_kept_is_reported(ended, tmp_path, what, about, words):
    notes = Diary(tmp_path, "one")
    notes.note(diary.ASKED, "", "1-1")
    notes.note(diary.ANSWERED, "", "1-1")
    assert list(invariants.answers(diary.read(tmp_path))) == []
    notes.note(what, "", about)
    assert list(invariants.answers(diary.read(tmp_path))) == [words]


def test_a_run_that_nobody_asked_for_is_reported(ended, tmp_path):
    assert list(invariants.answers(diary.read(tmp_path))) == ["I1 nobody asked for 1-1 in ''"]


def test_a_line_of_the_diary_that_a_kill_cut_off_is_passed_over(tmp_path):
    Diary(tmp_path, "one").note(diary.ASKED, "north", "1-1")
    with (tmp_path / "one.diary").open("a") as file:
        file.write('["answered", "nor')
    assert diary.read(tmp_path) == {diary.ASKED: [("north", "1-1")]}


def _watch():
    return Watch(plan.parse(["--lease", "3"]))


def _of(watch, number):
    return [line for line in watch.findings.lines if line.startswith(f"{number} ")]


def test_what_changes_is_looked_at(world, ended):
    watch = _watch()
    TaskExecution.objects.filter(name="last").update(status=TaskStatus.FAILED)
    watch.look()
    assert watch.looks == 1
    assert len(_of(watch, "I5")) == 1


def test_a_task_that_claims_pass_by_is_reported(world):
    world.define("w", chain("a"))
    forgotten = TaskExecution.objects.get(run=world.submit("w"))
    _sql("UPDATE crash_journal SET at = '2020-01-01 00:00:00+00:00'")
    watch = _watch()
    watch.look()
    assert _of(watch, "I8") == [], "nobody is there who could claim it"
    TaskExecution.objects.filter(pk=forgotten.pk).update(queue="elsewhere")
    world.submit("w")
    world.worker().work()
    watch.look()
    (line,) = _of(watch, "I8")
    assert line.startswith(f"I8 task {forgotten.pk} a of w is ready in '' since 2020-01-01")


def test_a_soak_in_which_nothing_was_submitted_has_shown_nothing(world):
    watch = _watch()
    watch.check_all({})
    assert list(watch.findings.lines) == ["I1 nothing was submitted"]


# -- what it reports


def test_the_time_that_a_lost_task_was_away_is_measured(world):
    world.define("w", chain("a"))
    worker, heir = world.worker(), None
    world.submit("w")
    worker.settle_down()
    task = TaskExecution.objects.get()
    died = world.now
    loss = Loss("killed worker", died, "", task.pk, _last_note())
    worker.die()
    world.advance(31.0)
    heir = world.worker()
    heir.sweep()
    _sql("UPDATE crash_journal SET at = '2020-01-01 00:00:33+00:00'")
    at = died.replace(year=2020, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    lost = [Loss(loss.how, at, "", loss.task_id, loss.seq)]
    assert recovery.delays(lost) == {"killed worker": [33.0]}
    assert recovery.delays([Loss("frozen", at, "", task.pk, _last_note())]) == {}
    soon = at + timedelta(seconds=40), at + timedelta(seconds=50)
    late = at + timedelta(seconds=41), at + timedelta(seconds=50)
    itself = at, at + timedelta(seconds=50)
    apart = {"killed worker, others away too": [33.0]}
    assert recovery.delays(lost, [soon], window=40.0) == apart
    assert recovery.delays(lost, [late, itself], window=40.0) == {"killed worker": [33.0]}


def _last_note():
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(seq) FROM crash_journal")
        return cursor.fetchone()[0]


def test_percentiles_are_values_that_were_seen():
    values = [float(number) for number in range(1, 101)]
    assert [recovery.percentile(values, share) for share in (0.5, 0.95, 1.0)] == [51.0, 96.0, 100.0]
    assert recovery.percentile([7.0], 0.95) == 7.0


def test_the_table_says_what_was_done(world, ended):
    task = TaskExecution.objects.first()
    other = TaskExecution.objects.last()
    TaskAttempt.objects.create(
        task=task, attempt=1, outcome=AttemptOutcome.FAILED, finished_at=ended.created_at
    )
    for id, token in [(task.pk, "a"), (task.pk, "b"), (other.pk, "c")]:
        _sql(f"INSERT INTO crash_started VALUES ({id}, '{token}')")
    asked = plan.parse(["--seed", "7", "--runs", "100", "--seconds", "50", "--faults", "kill,lock"])
    lines = dict(
        report.rows(
            asked, report.count(), counts={"kill": 3}, delays={"killed worker": [1.0, 2.0]},
            more=[("acts", "5")], violations=["I1"],
        )
    )  # fmt: skip
    assert lines["commit, seed"].endswith(", 7")
    assert lines["lease, sweep"] == "30 s, 10 s (the defaults)"
    assert lines["time under load"] == "50 s, 2.0 runs/s submitted"
    assert lines["faults injected"] == "3: kill 3, lock 0"
    assert lines["runs"] == "1 (1 Completed)"
    assert lines["executions per task"] == "1.500; attempts that failed, 0.500 per task"
    assert lines["recovery, killed worker"] == "p50 2.0 s, p95 2.0 s, max 2.0 s (2 tasks)"
    assert (lines["acts"], lines["violations"]) == ("5", "1")


# -- what it is told


def test_a_file_has_no_faults_of_a_server():
    faults = plan.parse(["--database", "sqlite"]).faults
    assert "kill" in faults
    assert not plan.ONLY_OF_A_SERVER & set(faults)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "kil"], "unknown: kil; there are kill, "),
        (["--seconds", "0"], "--seconds is 0.0; it must be more than 0"),
        (["--runs", "-1"], "--runs is -1; it must be more than 0"),
        (["--lease", "0.1"], "--lease is 0.1; it must be 1 or more"),
        (["--database", "oracle"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, arguments, words):
    with pytest.raises(SystemExit):
        plan.parse(arguments)
    assert words in capsys.readouterr().err


def test_all_intervals_follow_the_lease():
    assert plan.parse([]).settings == {}
    settings = plan.parse(["--lease", "6"]).settings
    assert settings == {"HEARTBEAT_SECONDS": 1.0, "LEASE_SECONDS": 6.0, "SWEEP_SECONDS": 2.0}
    assert timedelta(seconds=plan.parse([]).lease_seconds) == timedelta(seconds=30)
