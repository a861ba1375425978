"""The hand-written SQL that deletes old runs. Both databases share it."""

from __future__ import annotations

from cloaca_django.dialect.sql import Fragments, in_batch


def _is_old(d: Fragments) -> str:
    # Ids are ordered by time and a run ends after it was made, so its key's index finds it.
    return f"""r.id > %(after)s{d.uuid} AND r.id < %(before)s{d.uuid}
          AND r.finished_at < {d.later(f"-%(age)s{d.float}")}
          AND r.status IN (SELECT o_status FROM {d.source("status text")})"""


def old_runs(d: Fragments) -> str:
    """Choose the oldest ended runs of some statuses, and keep other pruners off them."""
    return f"""
        SELECT r.id FROM cloaca_run r WHERE {_is_old(d)}
        ORDER BY r.id LIMIT %(room)s {d.lock_or_skip}"""


def count_old_runs(d: Fragments) -> str:
    """Count the runs that ``old_runs`` would choose in the end, by status."""
    return f"""
        SELECT r.status, count(*) FROM cloaca_run r WHERE {_is_old(d)} GROUP BY r.status"""


def _tasks(d: Fragments) -> str:
    return f"SELECT t.id FROM cloaca_task t WHERE {in_batch(d, 't.run_id')}"


def delete_logs(d: Fragments) -> str:
    """Delete what the tasks of some runs logged."""
    return f"DELETE FROM cloaca_log WHERE {d.among('task_id', _tasks(d))}"


def delete_attempts(d: Fragments) -> str:
    """Delete the failed attempts of the tasks of some runs."""
    return f"DELETE FROM cloaca_attempt WHERE {d.among('task_id', _tasks(d))}"


def delete_tasks(d: Fragments) -> str:
    """Delete the tasks of some runs."""
    return f"DELETE FROM cloaca_task WHERE {in_batch(d, 'run_id')} RETURNING id"


def delete_fires(d: Fragments) -> str:
    """Delete the fires that started some runs."""
    return f"DELETE FROM cloaca_fire WHERE {in_batch(d, 'run_id')}"


def free_fires(d: Fragments) -> str:
    """Keep the fires that started some runs: their times are used up."""
    return f"UPDATE cloaca_fire SET run_id = NULL WHERE {in_batch(d, 'run_id')}"


def awaited_runs(d: Fragments) -> str:
    """Choose those of some runs that a task of an open run started, and may be waiting for."""
    return f"""
        SELECT r.id FROM cloaca_run r JOIN cloaca_run p ON {d.is_at("p.id", "r.parent_id")}
        WHERE {in_batch(d, "r.id")} AND r.parent_task_id IS NOT NULL AND p.finished_at IS NULL"""


def _is_passed_over(d: Fragments) -> str:
    return f"f.claimed_at < {d.later(f'-%(age)s{d.float}')} AND f.run_id IS NULL"


def count_passed_over(d: Fragments) -> str:
    """Count the fires that ``delete_passed_over`` would delete in the end."""
    return f"SELECT count(*) FROM cloaca_fire f WHERE {_is_passed_over(d)}"


def delete_passed_over(d: Fragments) -> str:
    """Delete old fires that started no run: their schedule passed them over."""
    old = f"""
        SELECT f.id FROM cloaca_fire f {d.by("cloaca_fire_claimed")} WHERE {_is_passed_over(d)}
        ORDER BY f.claimed_at LIMIT %(room)s {d.lock_or_skip}"""
    return f"DELETE FROM cloaca_fire WHERE {d.among('id', old)} RETURNING id"


def forget_parents(d: Fragments) -> str:
    """Keep the children of some runs, without their parents."""
    return f"UPDATE cloaca_run SET parent_id = NULL WHERE {in_batch(d, 'parent_id')}"


def delete_runs(d: Fragments) -> str:
    """Delete runs that nothing refers to any more."""
    return f"DELETE FROM cloaca_run WHERE {in_batch(d, 'id')} RETURNING id"
