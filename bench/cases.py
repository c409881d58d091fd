"""The cases: what is measured, and on which data."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import chain

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core.batch import import_batch
from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.core.spec import Column, Table
from cdmeventimporters.dev.lake.lake import Lake
from cdmeventimporters.dev.operate.backfill import BATCH
from cdmeventimporters.dev.operate.maintain import maintain, needs_of

from .contenders import BESIDE, CONTENDERS, DELTA_RS, IMAGE, SPARK, Work, bare_append, importer
from .measuring import LIMIT, Bench, memory

HEADER = "\t".join(c.name for c in quality_report.tool_columns)
CELLS = "97.31\t1.84\tNeural Network (Specific Model)\t11\t0.894\t48210\t318.27\t3402118\t0.57\t3042\t131\t214906\tNone"
SIZES = (10_000, 5_000_000)
_made = iter(range(10**9))


def report(rows: int | Iterable[str]) -> str:
    """A CheckM2 report of new genomes, so many or with these names."""
    batch = next(_made)
    names = (f"bin.{batch:06}.{n}" for n in range(rows)) if isinstance(rows, int) else rows
    return "\n".join([HEADER, *(f"{name}\t{CELLS}" for name in names), ""])


def _rotated(names: list[str], n: int) -> list[str]:
    """The names in another order for each round."""
    return names[n % len(names) :] + names[: n % len(names)]


def _table(name: str, contender: str) -> str:
    """A table of its own for each contender of a case."""
    return f"bench.{name}_" + re.sub(r"\W+", "_", contender)


def hundred_rows(bench: Bench):
    """100 new rows from one file, in a warm session; and the redelivery."""
    with Lake() as lake:
        spark = lake.get_spark()
        for n in range(-5, bench.rounds):
            measure = bench.measure if n >= 0 else bench.warm_up
            for name in _rotated([*(CONTENDERS if lake.format == "delta" else (*SPARK, BESIDE))], n):
                work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(100)}), _table("hundred", name))
                measure("100 new rows", name, CONTENDERS[name], work, spark=spark if name != DELTA_RS else None)
                if "importer" in name:
                    measure("redelivery", name, CONTENDERS[name], work, spark=spark)
        bench.samples["redelivery"][LIMIT] = bench.samples["100 new rows"][LIMIT]


def updates(bench: Bench):
    """100 rows, half of them updates of random keys, into a table of 10,000 rows; and 7 rows into a table that has them."""
    with Lake() as lake:
        spark, size = lake.get_spark(), 10_000
        for name in SPARK:
            _fill(lake, _table("updates", name), size, CONTENDERS[name])
        for n in range(-3, bench.rounds):
            measure = bench.measure if n >= 0 else bench.warm_up
            names, few = _half_updates(size), [f"bin.{i}" for i in range(7)]
            for name in _rotated([*SPARK], n):
                work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(names)}), _table("updates", name))
                measure("100 rows, half updates, into 10,000", name, CONTENDERS[name], work, spark=spark)
                work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(few)}), _table("again", name))
                measure("7 rows, all updates, into 7", name, CONTENDERS[name], work, spark=spark)


def thousand_files(bench: Bench):
    """One job of 1,000 files of 10 rows."""
    with Lake() as lake:
        spark = lake.get_spark()
        for n in range(-1, max(3, bench.rounds // 2)):
            measure = bench.measure if n >= 0 else bench.warm_up
            files = [lake.put(f"many/{n}/{i}/quality_report.tsv", report(10)) for i in range(1000)]
            for name in _rotated([*SPARK], n):
                work = Work(lake, lake.job(IMAGE, files), _table("thousand", name))
                measure("1,000 files of 10 rows", name, CONTENDERS[name], work, spark=spark)


def events_as_csep_runs_them(bench: Bench):
    """An event as CSEP runs it, in a new session in a warm JVM; the import alone is measured."""
    with Lake() as lake:
        for n in range(-3, bench.rounds):
            measure = bench.measure if n >= 0 else bench.warm_up
            for name in _rotated([*SPARK], n):
                lake.stop_session()
                lake.get_spark()
                work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(100)}), _table("event", name))
                measure("a new session for each event", name, CONTENDERS[name], work)


def cold_jvm(bench: Bench):
    """The first import in a cold JVM."""
    for name in ("importer", "plain importer"):
        bench.measure("first import in a cold JVM", name, in_new_process, name)


def many_jobs(bench: Bench):
    """300 jobs one after another: does it get slower?"""
    with Lake() as lake:
        for n in range(300):
            work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(100)}), "bench.many")
            measure = bench.measure if 10 <= n < 30 or n >= 280 else bench.warm_up
            measure("300 jobs", "jobs 11 to 30" if n < 30 else "the last 20", importer, work)


def backfill(bench: Bench):
    """1,000 jobs of 100 rows: in batches, one by one (20 of them, times 50), and all files in one bare append."""
    case, table = "1,000 jobs of 100 rows", "bench.backfill"
    with Lake() as lake:
        spark = lake.get_spark()
        jobs = [lake.job(IMAGE, {"quality_report.tsv": report(100)}) for _ in range(1000 + 50)]
        files = [output["file"] for job in jobs for output in job["outputs"]]
        import_jobs(lake, jobs[:20], f"{table}_warm")
        bare_append(Work(lake, lake.job(IMAGE, files[:50]), f"{table}_warm_append"))
        singly = [importer(Work(lake, job, f"{table}_single")) for job in jobs[20:50]][-20:]
        bench.measure(case, "importer, one by one", lambda: sum(singly) * 50)
        bench.measure(case, "importer, in batches", import_jobs, lake, jobs[50:], table, spark=spark)
        bench.measure(case, LIMIT, bare_append, Work(lake, lake.job(IMAGE, files[50:]), f"{table}_append"), spark=spark)
        if (found := lake.table(table).count()) != 100_000:
            raise RuntimeError(f"{found} rows are in the table; expected 100,000.")


def import_jobs(lake: Lake, jobs: list[dict], table: str) -> float:
    """The seconds that jobs take in batches, as `cdm-importers backfill` imports them."""
    start = time.perf_counter()
    for first in range(0, len(jobs), BATCH):
        for result in import_batch(lake.get_spark, jobs[first : first + BATCH], {"table": table}, quality_report):
            if isinstance(result, ImportFailed):
                raise result
    return time.perf_counter() - start


def ten_thousand_jobs(bench: Bench):
    """10,000 jobs of 10 rows in batches, in a JVM of 1 GB: what the driver holds after each 1,000."""
    with Lake(settings={"spark.driver.memory": "1g"}) as lake:
        spark = lake.get_spark()
        for n in range(10):
            jobs = [lake.job(IMAGE, {"quality_report.tsv": report(10)}) for _ in range(1000)]
            seconds = import_jobs(lake, jobs, "bench.ten_thousand")
            if n in (0, 9):
                name = "the last 1,000" if n else "jobs 1 to 1,000"
                bench.measure("10,000 jobs in batches, in a JVM of 1 GB", name, lambda seconds=seconds: seconds)
            python, heap = memory(spark)
            bench.console.print(f"{n + 1},000 jobs · Python {python} MB, Java's heap {heap} MB")


def pairs(bench: Bench):
    """2,000,000 pairs in one file without a header, of MMseqs2."""
    case, image = "2,000,000 pairs (MMseqs2)", "ghcr.io/kbaseincubator/cdm_mmseqs2"
    with Lake() as lake:
        for n in range(-1, 3):
            measure = bench.measure if n >= 0 else bench.warm_up
            lines = (f"rep{n + 1}_{i // 9:07}\tprotein{n + 1}_{i:07}" for i in range(2_000_000))
            job = lake.job(image, [put_large(lake, f"{n}/result_cluster.tsv", lines)])
            for name in _rotated(["importer", LIMIT], n):
                work = Work(lake, job, _table("pairs", name), "representative string, member string", header=False)
                measure(case, name, CONTENDERS[name], work, spark=lake.get_spark())


def large_table(bench: Bench):
    """100 rows into tables of 10,000 and of 5,000,000 rows: all new in a narrow range, or half of them random updates."""
    with Lake() as lake:
        spark, optimize = lake.get_spark(), "spark.databricks.delta.optimizeWrite.enabled"  # nothing on Iceberg
        spark.conf.set(optimize, "false")  # it fills tables slowly
        for size in SIZES:
            _fill(lake, _of(size), size)
        spark.conf.set(optimize, "true")  # as CSEP has it
        _into_each(bench, lake, "new in a narrow range", lambda size: 100)
        _into_each(bench, lake, "half random updates", _half_updates)
        if lake.format == "delta":
            for size in SIZES:
                table = lake.prefix + _of(size)
                lake.get_spark().sql(f"ALTER TABLE {table} SET TBLPROPERTIES (delta.enableDeletionVectors = true)")
            _into_each(bench, lake, "half random updates, deletion vectors", _half_updates)
        else:
            names = [lake.prefix + _of(size) for size in SIZES]
            list(maintain(spark, list(needs_of(spark, names, lambda table: None)), lambda table: None))
            _into_each(bench, lake, "half random updates, maintained", _half_updates)


def _of(size: int) -> str:
    """The table of so many rows."""
    return f"bench.of_{size}"


def _into_each(bench: Bench, lake: Lake, case: str, rows: Callable[[int], int | list[str]]) -> None:
    """Import what `rows` says into the table of each size, in turn."""
    for n in range(-2, bench.rounds):
        measure = bench.measure if n >= 0 else bench.warm_up
        for size in SIZES:
            work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(rows(size))}), _of(size))
            measure(f"100 rows, {case}", f"into {size:,}", importer, work, spark=lake.get_spark())


def _fill(lake: Lake, table: str, size: int, contender: Callable[[Work], float] = importer) -> None:
    """Make a table as a contender makes it, and put so many genomes into it."""
    contender(Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(1)}), table))
    full = lake.prefix + table
    rest = ", ".join(f"`{column}`" for column in lake.table(table).columns if column != "Name")
    one = f"(SELECT * FROM {full} WHERE Name LIKE 'bin.%')"
    for step in range(10):
        ids = f"range({step * size // 10}, {(step + 1) * size // 10})"
        genomes = f"SELECT concat('g', lpad(id, 8, '0')), {rest} FROM {ids} CROSS JOIN {one}"
        lake.get_spark().sql(f"INSERT INTO {full} (Name, {rest}) {genomes}")


def _half_updates(size: int) -> list[str]:
    """50 genomes that a table of this size has, all over it, and 50 that it lacks."""
    step, batch = size // 50, next(_made)
    return [f"g{i * step + batch * 7919 % step:08}{new}" for i in range(50) for new in ("", f".new{batch}")]


def bad_rows(bench: Bench):
    """2,000,000 rows of which half are bad, beside as many good ones."""
    with Lake() as lake:
        importer(Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(100)}), "bench.warm"))
        for name, cell in [("all good", "97.31"), ("half of them bad", "197.31")]:
            lines = (f"g{i:08}\t{CELLS.replace('97.31', cell) if i % 2 else CELLS}" for i in range(2_000_000))
            job = lake.job(IMAGE, [put_large(lake, f"{cell}/quality_report.tsv", lines, HEADER)])
            outcome = lake.deliver(job, meta={"table": "bench.bad"})
            bench.measure("2,000,000 rows", name, lambda outcome=outcome: outcome.seconds)
            if outcome.error:
                bench.console.print(f"An error of {len(str(outcome.error))} characters:\n{outcome.error}")


def twenty_million_rows(bench: Bench):
    """One file of 20,000,000 rows, 1.5 GB, in a JVM of 1 GB."""
    bench.measure("20,000,000 rows in a JVM of 1 GB", "importer", in_new_process, "hits")


def in_new_process(what: str) -> float:
    """The seconds that a first import takes in a JVM of its own: a contender's, or that of the hits."""
    command = [sys.executable, "-m", "bench", "--cold", what]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def cold_import(contender: str) -> float:
    """The seconds of a first import in this process."""
    with Lake() as lake:
        lake.get_spark()
        work = Work(lake, lake.job(IMAGE, {"quality_report.tsv": report(100)}), "bench.cold")
        return CONTENDERS[contender](work)


_PLAIN = ("length", "mismatch", "gapopen", "qstart", "qend", "sstart", "send")
HITS = Table(
    "hits",
    "Hits of a search",
    files="hits.tsv",
    key=("qseqid", "sseqid"),
    columns=[
        Column("qseqid", "string", "Query"),
        Column("sseqid", "string", "Subject"),
        Column("pident", "float", "Identical positions", unit="%"),
        *(Column(name, "int", name) for name in _PLAIN),
        Column("evalue", "double", "E-value"),
        Column("bitscore", "float", "Bit score"),
    ],
)


def import_hits() -> float:
    """The seconds that the import of 20,000,000 rows takes, with 1 GB for driver and executor together."""
    with Lake(settings={"spark.driver.memory": "1g"}) as lake:
        rest = "98.4\t312\t5\t0\t1\t312\t17\t328\t3.1e-120\t431.7"
        lines = (f"contig_{i // 25}_{i % 7}\tUniRef90_{i:010}\t{rest}" for i in range(20_000_000))
        file = put_large(lake, "hits.tsv", lines, "\t".join(c.name for c in HITS.columns))
        outcome = lake.deliver(
            lake.job("example.org/hits", [file]),
            run_import=lambda *given: import_tables(*given, HITS),
            meta={"table": "bench.hits"},
        )
        if outcome.error:
            raise outcome.error
        if (found := lake.table("bench.hits").count()) != 20_000_000:
            raise RuntimeError(f"{found} rows are in the table; expected 20,000,000.")
        return outcome.seconds


def put_large(lake: Lake, key: str, lines: Iterable[str], *header: str) -> str:
    """Put a file that is too large for the memory; `bucket/key`."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{line}\n" for line in chain(header, lines))
        file.flush()
        lake.s3.client().upload_file(file.name, lake.bucket, key)
    return f"{lake.bucket}/{key}"
