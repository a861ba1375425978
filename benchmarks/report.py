"""The report: one Markdown table people can read, and all records as JSON."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import picture
from benchmarks.catalogue import OWN, Entry
from benchmarks.figures import Figure, merged
from benchmarks.wanted import TARGETS

if TYPE_CHECKING:
    from benchmarks.rounds import Results

DATABASES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
SHOWN = (  # workload, figure, title: the rows of the picture
    ("drain", "runs drained per second", "Runs drained per second"),
    ("live", "runs per second", "Runs per second, one call each"),
    ("live", "CPU ms per run", "CPU ms per run, all processes"),
    ("latency", "chain of three, p50 ms", "Chain of three, median ms"),
)


def write(results: Results, markdown: Path, as_json: Path) -> None:
    """The page, its pictures beside it, and the records."""
    markdown.parent.mkdir(parents=True, exist_ok=True)
    everything = _everything(results)
    as_json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    pictures = picture.draw(_panels(results), markdown)
    markdown.write_text(_page(results, pictures), encoding="utf-8")


def _page(results: Results, pictures: dict[str, str]) -> str:
    parts = ["# Benchmarks", _introduction(results)]
    if pictures:
        parts.append(_picture(pictures))
    parts += ["## Targets", _targets(results)]
    for kind, title in DATABASES.items():
        entries = [entry for entry in results.entries if entry.database == kind]
        if entries:
            parts += [f"## {title}", _table(results, entries)]
    parts += ["## Settings of each", _settings(results), "## Machine", _machine(results)]
    if results.errors or results.failures:
        parts += ["## What failed", _failures(results)]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> str:
    return (
        "<!-- Written by `python -m benchmarks`; do not edit. -->\n\n"
        f"Measured on {results.facts['date']} in interleaved rounds; the figures are medians over "
        "them. In brackets: how many times better `cloaca_django` is than that peer in the same "
        "run, on the same kind of database. Compare within one run only; below 1.3 x a difference "
        "in wall time means nothing on a shared machine, and CPU per run is the steadiest figure. "
        "[How to read it, how fair it is, how to repeat it](explanation/benchmarks.md). What was "
        "measured together, and how much of it, is said under [Machine](#machine)."
    )


def _picture(pictures: dict[str, str]) -> str:
    """The one that suits the reader's page."""
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="{pictures["dark"]}">\n'
        f'  <img alt="Bars: rates, time of a chain and CPU per run of each peer; the tables below '
        f'have the same figures" src="{pictures["light"]}">\n'
        "</picture>"
    )


def _targets(results: Results) -> str:
    """Every target of this project with what this run found."""
    merged_records = {place: merged(records) for place, records in results.records.items()}
    lines = [_row(["", "Wanted", "Found", ""]), "| --- | ---: | ---: | --- |"]
    for target in TARGETS:
        found = target.read(merged_records)
        verdict = "not measured"
        if found is not None:
            verdict = "met" if target.is_met(found) else "**not met**"
        shown = "-" if found is None else rounded(found)
        wanted = f"{target.wanted} {rounded(target.bound)}"
        lines.append(_row([target.label, wanted, shown, verdict]))
    return "\n".join(lines)


def _table(results: Results, entries: list[Entry]) -> str:
    titles = [entry.title for entry in entries]
    lines = [_row(["", *titles]), _row(["---", *["---:"] * len(titles)])]
    for workload in results.workloads:
        module = importlib.import_module(f"benchmarks.workloads.{workload}")
        rows = [_figure_row(results, entries, workload, figure) for figure in module.FIGURES]
        if any(rows):
            lines.append(_row([f"**{module.TITLE}**", *[""] * len(titles)]))
            lines += filter(None, rows)
    lines.append(_row(["**Machine meanwhile**", *[""] * len(titles)]))
    lines.append(_probe_row(results, entries))
    return "\n".join(lines)


def _panels(results: Results) -> list[picture.Panel]:
    """What the picture shows, each of PostgreSQL and of SQLite."""
    panels = []
    for workload, label, title in SHOWN:
        module = importlib.import_module(f"benchmarks.workloads.{workload}")
        figure = next(figure for figure in module.FIGURES if figure.label == label)
        for kind, name in DATABASES.items():
            bars = [
                picture.Bar(entry.title.partition(",")[0], value, is_own=entry.peer == OWN)
                for entry in results.entries
                if entry.database == kind
                and (not entry.variant or entry.variant == kind)
                and (value := _value(results, workload, entry, figure)) is not None
            ]
            panels.append(picture.Panel(f"{title}, {name}", figure.better, bars))
    return panels


def _figure_row(
    results: Results, entries: list[Entry], workload: str, figure: Figure
) -> str | None:
    """None when no entry has the figure."""
    values = [_value(results, workload, entry, figure) for entry in entries]
    failed = [(workload, entry.key) in results.errors for entry in entries]
    if not any(failed) and all(value is None for value in values):
        return None
    own = next((v for v, e in zip(values, entries, strict=True) if _is_reference(e)), None)
    cells = []
    for entry, value, has_failed in zip(entries, values, failed, strict=True):
        if value is None:
            cells.append("failed" if has_failed else "-")
        else:
            cells.append(rounded(value) + ("" if entry.peer == OWN else _ratio(own, value, figure)))
    return _row([figure.label, *cells])


def _is_reference(entry: Entry) -> bool:
    """Ours with its defaults, on its kind of database."""
    return entry.peer == OWN and entry.variant in {"", entry.database}


def _value(results: Results, workload: str, entry: Entry, figure: Figure) -> float | None:
    records = results.records.get((workload, entry.key))
    return figure.of(merged(records)) if records else None


def _ratio(own: float | None, theirs: float, figure: Figure) -> str:
    """`` (3.2 x)``: how many times better ours is."""
    if figure.better == "neither" or not own or not theirs:
        return ""
    ratio = own / theirs if figure.better == "more" else theirs / own
    return f" ({rounded(ratio)} x)"


def _probe_row(results: Results, entries: list[Entry]) -> str:
    """The commit rate beside the measurements of each peer: equal, or the run was unfair."""
    cells = []
    for entry in entries:
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
    return "\n".join(
        [
            f"- {about['processor']}, {about['cores']} cores, {about['memory']}, {about['system']}",
            f"- Python {about['python']}; PostgreSQL {facts['postgresql']} on "
            f"{facts['file_system']}: {settings}",
            *(_part(part) for part in (facts, *facts.get("earlier", ()))),
        ]
    )


def _part(facts: dict[str, Any]) -> str:
    """What was measured together, and how much of it."""
    sizes = ", ".join(f"{key} {value}" for key, value in facts["plan"].items())
    return (
        f"- {', '.join(facts['workloads'])}: `{facts['command']}` on {facts['date']}, "
        f"{facts['minutes']} minutes, of this project at {facts['revision']}, load "
        f"{facts['load_at_start']} when it began; {sizes}"
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
