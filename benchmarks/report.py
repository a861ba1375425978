"""The report: one Markdown table people can read, and all records as JSON."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import OWN, Entry
from benchmarks.figures import Figure, merged

if TYPE_CHECKING:
    from benchmarks.rounds import Results


def write(results: Results, markdown: Path, as_json: Path) -> None:
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(_page(results), encoding="utf-8")
    as_json.write_text(json.dumps(_everything(results), indent=1) + "\n", encoding="utf-8")


def _page(results: Results) -> str:
    parts = [
        "# Benchmarks",
        _introduction(results),
        _table(results),
        "## Settings of each",
        _settings(results),
        "## Machine",
        _machine(results),
    ]
    if results.errors or results.failures:
        parts += ["## What failed", _failures(results)]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> str:
    rounds = results.facts["plan"]["rounds"]
    return (
        f"Measured on {results.facts['date']} by `python -m benchmarks` in one run of "
        f"{results.facts['minutes']} minutes: {rounds} interleaved rounds, medians. In brackets: "
        "how many times better `cloaca_django` is than that peer in this run. Compare within one "
        "run only; below 1.3 x a difference in wall time means nothing on a shared machine, and "
        "CPU per run is the steadiest figure. `benchmarks/README.md` says what each row is."
    )


def _table(results: Results) -> str:
    titles = [entry.title for entry in results.entries]
    lines = [_row(["", *titles]), _row(["---", *["---:"] * len(titles)])]
    for workload in results.workloads:
        module = importlib.import_module(f"benchmarks.workloads.{workload}")
        lines.append(_row([f"**{module.TITLE}**", *[""] * len(titles)]))
        lines += [_figure_row(results, workload, figure) for figure in module.FIGURES]
    lines.append(_row(["**Machine meanwhile**", *[""] * len(titles)]))
    lines.append(_probe_row(results))
    return "\n".join(lines)


def _figure_row(results: Results, workload: str, figure: Figure) -> str:
    values = [_value(results, workload, entry, figure) for entry in results.entries]
    own = next((v for v, e in zip(values, results.entries, strict=True) if e.key == OWN), None)
    cells = []
    for entry, value in zip(results.entries, values, strict=True):
        if value is None:
            cells.append("failed" if (workload, entry.key) in results.errors else "-")
        else:
            cells.append(rounded(value) + ("" if entry.peer == OWN else _ratio(own, value, figure)))
    return _row([figure.label, *cells])


def _value(results: Results, workload: str, entry: Entry, figure: Figure) -> float | None:
    records = results.records.get((workload, entry.key))
    return figure.of(merged(records)) if records else None


def _ratio(own: float | None, theirs: float, figure: Figure) -> str:
    """`` (3.2 x)``: how many times better ours is."""
    if figure.better == "neither" or not own or not theirs:
        return ""
    ratio = own / theirs if figure.better == "more" else theirs / own
    return f" ({rounded(ratio)} x)"


def _probe_row(results: Results) -> str:
    """The commit rate beside the measurements of each peer: equal, or the run was unfair."""
    cells = []
    for entry in results.entries:
        probes = [
            record["probe_commits_per_s"]
            for (_, key), records in results.records.items()
            for record in records
            if key == entry.key and "probe_commits_per_s" in record
        ]
        probes.sort()
        cells.append(rounded(probes[len(probes) // 2]) if probes else "-")
    return _row(["single-row commits per second, median of the probes", *cells])


def _settings(results: Results) -> str:
    lines = []
    for entry in results.entries:
        found = results.versions.get(entry.key, {})
        versions = ", ".join(f"{name} {version}" for name, version in found.items())
        lines.append(f"- **{entry.title}** ({versions or 'not installed'}): {entry.settings}.")
    return "\n".join(lines)


def _machine(results: Results) -> str:
    facts = results.facts
    about = facts["machine"]
    settings = ", ".join(f"{key} = {value}" for key, value in facts["settings"].items())
    sizes = ", ".join(f"{key} {value}" for key, value in facts["plan"].items())
    return "\n".join(
        [
            f"- {about['processor']}, {about['cores']} cores, {about['memory']}, "
            f"{about['system']}; load {facts['load_at_start']} when it began",
            f"- Python {about['python']}; PostgreSQL {facts['postgresql']} on "
            f"{facts['file_system']}: {settings}",
            f"- This project at {facts['revision']}",
            f"- Sizes ({facts['size']}): {sizes}",
        ]
    )


def _failures(results: Results) -> str:
    lines = [f"- {key}: {text}" for key, text in results.failures.items()]
    lines += [f"- {key}, {workload}: {text}" for (workload, key), text in results.errors.items()]
    return "\n".join(lines)


def _everything(results: Results) -> dict[str, Any]:
    measurements: dict[str, dict[str, Any]] = {}
    for (workload, key), records in results.records.items():
        measurements.setdefault(workload, {})[key] = {
            "rounds": records,
            "merged": merged(records),
        }
    return {
        "facts": results.facts,
        "entries": {entry.key: entry.settings for entry in results.entries},
        "versions": results.versions,
        "measurements": measurements,
        "errors": [[*place, text] for place, text in results.errors.items()],
        "failures": results.failures,
    }


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def rounded(value: float) -> str:
    """Three significant digits, no more: the machine gives no better."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
