"""Samples of what work takes, in seconds, Spark jobs and tasks, and S3 requests."""

import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

LIMIT = "bare append"  # what all others are compared with
REQUESTS = ("action_http_get_request", "action_http_head_request", "object_list_request", "object_put_request",
            "object_delete_request", "object_bulk_delete_request", "object_multipart_initiated")  # fmt: skip


@dataclass
class Sample:
    """What one piece of work took."""

    seconds: float
    jobs: int | None = None
    tasks: int | None = None
    requests: int | None = None  # to S3


@dataclass
class Bench:
    """All samples of a run."""

    rounds: int
    console: Console
    format: str = "delta"  # of the lakes' tables
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)  # {case: {contender: samples}}

    def measure(
        self, case: str, contender: str, work: Callable[..., float], *given, spark: SparkSession | None = None
    ) -> None:
        """Add a sample of `work(*given)`, which gives its seconds, and of what Spark did for it."""
        count = counters if self.format == "iceberg" else counters_with_requests
        before = count(spark) if spark else []
        seconds = work(*given)
        counts = [new - old for new, old in zip(count(spark), before, strict=True)] if spark else []
        self.samples.setdefault(case, {}).setdefault(contender, []).append(Sample(seconds, *counts))
        self.console.print(f"{case} · {contender} · {seconds:.2f} s")

    def warm_up(self, case: str, contender: str, work: Callable[..., float], *given, spark=None) -> None:
        """Do the same, and note nothing down."""
        work(*given)

    def results(self) -> dict:
        """Medians, spread, and the ratio to the bare append of the same case, if there is one."""
        suffix = ", Iceberg" if self.format == "iceberg" else ""
        return {
            f"{case}{suffix}": {name: self._summary(case, name) for name in found}
            for case, found in self.samples.items()
        }

    def _summary(self, case: str, name: str) -> dict:
        samples, limit = self.samples[case][name], self.samples[case].get(LIMIT)
        seconds = [s.seconds for s in samples]
        median = statistics.median(seconds)
        summary = {
            "median_s": round(median, 3),
            "min_s": round(min(seconds), 3),
            "max_s": round(max(seconds), 3),
            "n": len(samples),
        }
        if limit:
            summary["ratio"] = round(median / statistics.median(s.seconds for s in limit), 2)
        for count in ("jobs", "tasks", "requests"):
            known = [getattr(s, count) for s in samples if getattr(s, count) is not None]
            if known:
                summary[count] = statistics.median(known)
        return summary

    def table(self) -> Table:
        """The results for a terminal."""
        table = Table("case", "who", "median s", "spread s", "ratio", "jobs", "tasks", "S3 requests")
        for case, found in self.results().items():
            for n, (name, r) in enumerate(found.items()):
                counts = (str(int(r[c])) if c in r else "" for c in ("jobs", "tasks", "requests"))
                spread = f"{r['min_s']} to {r['max_s']}"
                table.add_row("" if n else case, name, f"{r['median_s']}", spread, str(r.get("ratio", "")), *counts)
            table.add_section()
        return table


def counters(spark: SparkSession) -> list[int]:
    """Spark jobs and Spark tasks of this session so far."""
    sc = spark.sparkContext
    tracked = sc._jvm.scala.jdk.javaapi.CollectionConverters.asJava(sc._jsc.sc().statusStore().jobsList(None))
    return [len(tracked), sum(job.numCompletedTasks() for job in tracked)]


def counters_with_requests(spark: SparkSession) -> list[int]:
    """The same, and requests to S3; Iceberg has an S3 client of its own, which S3A does not count."""
    # Hadoop's global statistics of S3A are those of the first lake in this JVM
    warehouse = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(spark.conf.get("spark.sql.warehouse.dir"))
    counts = warehouse.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).getIOStatistics().counters()
    return [*counters(spark), sum(counts[name] for name in REQUESTS)]


def memory(spark: SparkSession) -> tuple[int, int]:
    """Megabytes that this process occupies, and that Java's heap holds once it is swept."""
    java = spark.sparkContext._jvm.java.lang
    java.System.gc()
    heap = java.Runtime.getRuntime()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20, (heap.totalMemory() - heap.freeMemory()) // 2**20
