"""Each guard, taken out of a copy of the tree, is missed by the test that is named beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

from tests.interface.conftest import server_url
from tests.mutants.patching import PATCHES, apply, copy_of_tree

PATIENCE = 400.0
RACES = "tests/concurrency"
CRASHES = "tests/crash"
TENANCY = "tests/tenancy"
SITE = "tests/tenants"
# A site with tenants is on PostgreSQL, with settings of its own.
TENANTS = "tenants"
KINDS = {"sqlite": ("sqlite",), "postgresql": ("postgresql", TENANTS)}[connection.vendor]
# Coverage of the copies would be of files that are gone when it is reported.
NOT_INHERITED = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "CLOACA_TESTS_URL")


@dataclass(frozen=True)
class Mutant:
    """A patch that removes one guard, and the test that must fail then.

    ``database`` is the only one that has the guard; elsewhere one proof is enough.
    """

    patch: str
    test: str
    database: str = ""

    @property
    def kind(self) -> str:
        """Return the kind of database it is tried on; those of both share races and crashes."""
        return self.database or ("postgresql" if self.test.startswith(RACES) else "sqlite")

    def __str__(self) -> str:
        return self.patch


MUTANTS = [
    Mutant(
        "no_run_lock",
        f"{RACES}/test_fan_in.py::test_a_branch_whose_sibling_is_being_settled_waits_for_it",
        database="postgresql",
    ),
    Mutant(
        "no_write_lock",
        f"{RACES}/test_fan_in.py::test_a_settle_waits_for_the_writer_before_it_reads",
        database="sqlite",
    ),
    Mutant(
        "stale_memory",
        f"{RACES}/test_fan_in.py::test_a_worker_notices_that_another_moved_a_run_it_remembers",
    ),
    Mutant(
        "no_status_guard",
        f"{RACES}/test_fan_in.py::test_a_move_of_a_task_that_is_no_longer_pending_does_nothing",
    ),
    Mutant(
        "no_claim_token",
        f"{RACES}/test_recovery_races.py"
        "::test_a_late_outcome_is_refused_though_the_same_worker_claimed_again",
    ),
    Mutant(
        "unconditional_requeue",
        f"{RACES}/test_recovery_races.py::test_a_sweep_takes_only_the_claim_that_it_saw",
    ),
    Mutant(
        "ended_runs_accept",
        f"{RACES}/test_cancel_races.py"
        "::test_an_ended_run_accepts_nothing_even_from_a_claim_that_still_holds",
    ),
    Mutant(
        "no_admission_lock",
        f"{RACES}/test_admission.py::test_an_admitter_leaves_the_count_to_another_that_is_at_it",
        database="postgresql",
    ),
    Mutant(
        "two_outcomes",
        f"{RACES}/test_timeout_races.py"
        "::test_a_body_that_ended_before_its_time_was_found_to_be_up_counts",
    ),
    Mutant(
        "no_cap_on_crashes",
        f"{RACES}/test_recovery_races.py::test_a_task_that_loses_every_worker_fails_in_the_end",
    ),
    Mutant(
        "no_reconcile",
        f"{CRASHES}/test_clock.py"
        "::test_a_claim_its_worker_does_not_know_comes_back_though_the_clock_jumps",
    ),
    Mutant(
        "fenced_effects_stay",
        f"{CRASHES}/test_clock.py::test_a_jump_forward_takes_tasks_from_the_living_and_fences_them",
    ),
    Mutant(
        "no_poison_isolation",
        f"{CRASHES}/test_poison.py::test_one_poisoned_outcome_of_64_fails_alone",
    ),
    Mutant(
        "no_unknown_commit",
        f"{CRASHES}/test_unknown_commit.py"
        "::test_an_outcome_whose_commit_has_no_reply_is_accepted_once",
    ),
    Mutant(
        "lost_claims_forgotten",
        f"{CRASHES}/test_unknown_commit.py"
        "::test_claims_whose_commit_has_no_reply_are_taken_back_before_the_next_claim",
    ),
    Mutant(
        "split_fire",
        f"{CRASHES}/test_crash_points.py::test_no_crash_at_any_point_breaks_a_promise[fire]",
    ),
    Mutant(
        "fires_again",
        f"{CRASHES}/test_schedule_clock.py"
        "::test_an_edit_after_a_jump_back_does_not_repeat_what_was_fired",
    ),
    Mutant(
        "no_schedule_lock",
        f"{RACES}/test_schedule_races.py::test_a_change_that_has_the_row_first_decides[disabled]",
        database="postgresql",
    ),
    Mutant(
        "plans_from_now",
        f"{CRASHES}/test_schedule_clock.py::test_ten_days_of_downtime[all-None-100]",
    ),
    Mutant(
        "plan_goes_back",
        f"{CRASHES}/test_schedule_clock.py"
        "::test_a_clock_set_back_while_a_schedule_is_read_leaves_its_plan",
    ),
    Mutant(
        "unordered_parks",
        f"{RACES}/test_schedule_races.py"
        "::test_whoever_brings_the_code_is_not_overtaken_by_a_park[UPDATE cloaca_schedule]",
        database="postgresql",
    ),
    Mutant(
        "no_engine_schema_check",
        f"{TENANCY}/test_isolation.py::test_a_pooler_that_drops_the_startup_options_is_found_out",
        database="postgresql",
    ),
    Mutant(
        "no_schema_check",
        f"{SITE}/test_trunk.py::test_an_entrance_that_leads_elsewhere_is_an_error",
        database=TENANTS,
    ),
    Mutant(
        "no_tenant_check",
        f"{SITE}/test_site_connection.py"
        "::test_a_path_that_could_not_be_set_is_an_error_and_not_the_tenant_before",
        database=TENANTS,
    ),
]
HERE = [mutant for mutant in MUTANTS if mutant.kind in KINDS]


@dataclass(frozen=True)
class Outcome:
    """How a run of pytest ended: 0 all passed, 1 some failed, more: it did not get that far."""

    code: int
    output: str


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    """The directed tests on the tree itself, and each on its mutant, two at a time."""
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(max_workers=2) as pool:
        wanted: dict[str, Future[Outcome]] = {}
        for kind in KINDS:
            tests = [mutant.test for mutant in HERE if mutant.kind == kind]
            wanted[kind] = pool.submit(_run, folder, "", *tests, kind=kind)
        for mutant in HERE:
            wanted[mutant.patch] = pool.submit(
                _run, folder, mutant.patch, mutant.test, kind=mutant.kind
            )
        yield wanted


def _run(folder: Path, patch: str, *tests: str, kind: str) -> Outcome:
    tree = copy_of_tree(folder / (patch or f"itself_{kind}"))
    if patch:
        apply(patch, tree)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider",
         *tests],
        cwd=tree, env=_environment(tree.name, kind), capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout + done.stderr)


def _environment(name: str, kind: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    if connection.vendor == "postgresql":
        # The server is shared; each tree's tests have a database of their own on it.
        inherited["DATABASE_URL"] = server_url(f"mutant_{name}")
    return inherited | {"PYTHONDONTWRITEBYTECODE": "1", "TEST_DATABASE": kind}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_itself_passes_every_directed_test(outcomes, kind):
    outcome = outcomes[kind].result(PATIENCE)
    assert outcome.code == 0, outcome.output


@pytest.mark.slow
@pytest.mark.parametrize("mutant", HERE, ids=str)
def test_a_missing_guard_fails_its_test(outcomes, mutant):
    outcome = outcomes[mutant.patch].result(PATIENCE)
    assert outcome.code == 1, outcome.output
    assert f"FAILED {mutant.test}" in outcome.output


def test_every_patch_has_a_test():
    assert {file.stem for file in PATCHES.glob("*.patch")} == {mutant.patch for mutant in MUTANTS}
