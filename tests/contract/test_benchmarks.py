"""The figures of the benchmarks: how rounds become one number, and what the report makes of it."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import catalogue, figures, report, targets
from benchmarks.catalogue import OWN
from benchmarks.postgresql import OBSERVER, PostgresDatabase, ServerFacts
from benchmarks.wanted import TARGETS
from tests.contract.source import ROOT

SAMPLES = {"ms": [4.0, 1.0, 3.0, 2.0, 200.0]}


def results_of(*records: tuple[str, str, dict[str, Any]], failed: str = "") -> Any:
    """Return what a run of W1b found, as far as a table needs it."""
    entries = [catalogue.entry(key) for key in (OWN, "chancy")]
    return SimpleNamespace(
        entries=entries,
        workloads=["live"],
        records={(workload, key): [record] for workload, key, record in records},
        errors={("live", failed): "RuntimeError"} if failed else {},
    )


def test_rounds_become_the_median_and_samples_are_pooled():
    rounds = [{"rate": 1.0, "ms": [1.0]}, {"rate": 9.0, "ms": [2.0]}, {"rate": 2.0, "ms": []}]
    assert figures.merged(rounds) == {"rate": 2.0, "ms": [1.0, 2.0]}


@pytest.mark.parametrize(("percent", "expected"), [(50, 3.0), (99, 200.0), (1, 1.0)])
def test_a_percentile_is_a_sample_by_nearest_rank(percent: float, expected: float):
    assert figures.percentile("ms", percent)(SAMPLES) == expected


def test_stalls_are_counted_in_a_thousand():
    assert figures.stalls("ms", above_ms=100.0)(SAMPLES) == 200.0


def test_a_figure_that_was_not_measured_is_none():
    assert figures.number("rate")({}) is None
    assert figures.percentile("ms", 50)({"ms": []}) is None
    assert targets.ratio("live", "rate", "chancy")({}) is None


def test_a_ratio_is_ours_by_theirs_and_the_best_peer_is_none_of_ours():
    records = {
        ("due", OWN): {"done_s": 1.0},
        ("due", f"{OWN}:sqlite"): {"done_s": 0.1},
        ("due", "chancy"): {"done_s": 5.0},
        ("due", "dbos"): {"done_s": 4.0},
    }
    assert targets.ratio("due", "done_s", "chancy")(records) == 0.2
    assert targets.by_best("due", "done_s")(records) == 0.25


def test_a_target_is_met_on_its_side_of_the_bound():
    def read(_: targets.Records) -> None:
        return None

    assert targets.at_least(2, "", read).is_met(2.0)
    assert not targets.at_least(2, "", read).is_met(1.9)
    assert not targets.at_most(2, "", read).is_met(2.1)
    assert targets.exactly(101, "", read).is_met(103)
    assert not targets.exactly(101, "", read).is_met(201)


def test_a_table_shows_how_many_times_better_ours_is():
    ours, theirs = {"runs_per_s": 900.0, "cpu_ms": 1.0}, {"runs_per_s": 300.0, "cpu_ms": 5.0}
    found = results_of(("live", OWN, ours), ("live", "chancy", theirs))
    table = report._table(found, found.entries)
    assert "| runs per second | 900 | 300 (3.00 x) |" in table
    assert "| CPU ms per run | 1.00 | 5.00 (5.00 x) |" in table


def test_a_table_says_who_failed_and_leaves_out_what_nobody_has():
    found = results_of(("live", OWN, {"runs_per_s": 900.0}), failed="chancy")
    assert "| runs per second | 900 | failed |" in report._table(found, found.entries)
    nobody = results_of(("live", OWN, {"runs_per_s": 900.0}))
    assert "CPU ms per run" not in report._table(nobody, nobody.entries)


def test_statements_and_transactions_are_counted_in_the_servers_log(tmp_path: Path):
    lines = (
        "@measured|app|7@ LOG:  statement: BEGIN",
        "@measured|app|8@ LOG:  execute <unnamed>: select 1",
        "@measured|app|7@ LOG:  execute prepared: update a set b = 1",
        "@measured|app|7@ DETAIL:  parameters: $1 = '1'",
        "@measured|app|7@ LOG:  statement: SAVEPOINT s",
        "@measured|app|7@ LOG:  statement: ROLLBACK TO s",
        "@measured|app|7@ LOG:  statement: COMMIT",
        "@other|app|9@ LOG:  statement: select 1",
        f"@measured|{OBSERVER}|9@ LOG:  statement: select 1",
    )
    database = PostgresDatabase(ServerFacts("", 0, str(tmp_path / "log"), ""), "measured")
    counted: Counter[str] = Counter()
    inside: set[str] = set()
    for line in lines:
        database._count_line(line, counted, inside)
    assert counted == {"statements": 6, "transactions": 2, "control": 4}


def test_every_peer_and_workload_of_a_run_exists_and_is_described():
    peers, workloads = catalogue.taking_part("FULL")
    assert {catalogue.entry(key).peer for key in peers} == set(catalogue.peer_names())
    assert set(workloads) == set(catalogue.workload_names())
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert [name for name in workloads if f"| `{name}` |" not in readme] == []


def test_every_target_has_a_name_of_its_own():
    labels = [target.label for target in TARGETS]
    assert len(set(labels)) == len(labels)


def test_what_the_picture_shows_is_in_the_report():
    for workload, label, _ in report.SHOWN:
        module = importlib.import_module(f"benchmarks.workloads.{workload}")
        assert label in {figure.label for figure in module.FIGURES}
