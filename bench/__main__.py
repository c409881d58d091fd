"""Measure, print, and note down."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import cases
from .measuring import Bench
from .report import write_report

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
QUICK = [cases.hundred_rows, cases.updates, cases.events_as_csep_runs_them, cases.cold_jvm]
FULL = [
    *QUICK,
    cases.thousand_files,
    cases.many_jobs,
    cases.backfill,
    cases.pairs,
    cases.large_table,
    cases.bad_rows,
    cases.ten_thousand_jobs,
    cases.twenty_million_rows,
]


def main(
    full: Annotated[bool, typer.Option(help="All cases; half an hour")] = False,
    only: Annotated[str, typer.Option(help="Only the case of this function in cases.py")] = "",
    cold: Annotated[str, typer.Option(hidden=True)] = "",
):
    """What an import costs, beside the limit and the alternatives."""
    if cold:
        print(cases.import_hits() if cold == "hits" else cases.cold_import(cold))
        return
    console, format = Console(stderr=True), os.environ.get("CDM_FORMAT") or "delta"
    bench = Bench(9 if full else 4, console, format)
    for case in FULL if full or only else QUICK:
        if only in ("", case.__name__):
            bench.console.rule(case.__doc__.split(":")[0])
            case(bench)
            _note_down(bench.results())
    bench.console.print(bench.table())


def _note_down(new: dict) -> None:
    """Write the results so far over earlier ones of the same cases."""
    results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | new
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, FOLDER)


if __name__ == "__main__":
    typer.run(main)
