"""The results as a plot and as a table in README.md."""

import math
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt

from cdmeventimporters.dev.lake.jars import ICEBERG_PACKAGES

from .measuring import LIMIT


def write_report(results: dict, folder: Path) -> None:
    """Write results.png, and the results into README.md."""
    _plot(results, folder / "results.png")
    readme = folder / "README.md"
    text = f"<!-- results -->\n{_where()}\n\n{_markdown(results)}\n<!-- end -->"
    readme.write_text(re.sub(r"<!-- results -->.*<!-- end -->", lambda _: text, readme.read_text(), flags=re.DOTALL))


def _where() -> str:
    """When and on what the results were measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("pyspark", "delta-spark", "deltalake"))
    versions += f", Iceberg {ICEBERG_PACKAGES[version('pyspark')][0].rsplit(':', 1)[1]}"
    memory = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    size = f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "?"
    cores = len(os.sched_getaffinity(0))
    return f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores, {size}, Python {platform.python_version()}, {versions}, SeaweedFS."


def _markdown(results: dict) -> str:
    """The results as a table."""
    lines = [
        "| case | who | median s | spread s | times the bare append | Spark jobs | tasks | S3 requests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, found in results.items():
        for name, r in found.items():
            counts = " | ".join(f"{r[c]:.0f}" if c in r else "" for c in ("jobs", "tasks", "requests"))
            lines.append(
                f"| {case} | {name} | {r['median_s']} | {r['min_s']} to {r['max_s']} | {r.get('ratio', '')} | {counts} |"
            )
    return "\n".join(lines)


def _plot(results: dict, file: Path) -> None:
    """Each contender's time beside the limit, case by case."""
    compared = {case: found for case, found in results.items() if LIMIT in found}
    if not compared:
        return
    columns, rows = min(4, len(compared)), math.ceil(len(compared) / 4)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 3 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(compared) :]:
        axis.remove()
    for axis, (case, found) in zip(axes.flat, compared.items(), strict=False):
        medians = [r["median_s"] for r in found.values()]
        spread = [
            [r["median_s"] - r["min_s"] for r in found.values()],
            [r["max_s"] - r["median_s"] for r in found.values()],
        ]
        bars = axis.barh(
            list(found), medians, xerr=spread, color=["tab:blue", "tab:gray", "tab:green", "tab:orange"][: len(found)]
        )
        axis.bar_label(bars, [f"{r['ratio']} x" for r in found.values()], padding=4)
        axis.set(title=case, xlabel="seconds", xlim=(0, 1.4 * max(r["max_s"] for r in found.values())))
        axis.invert_yaxis()
    figure.savefig(file, dpi=80)
    plt.close(figure)
