"""Batches end where single imports do: the same rows, outcomes, messages and log, whatever is among the jobs and wherever a batch dies."""

from datetime import UTC, datetime, timedelta

import pytest
from conftest import FORMAT, HEADER, IMAGE, ROWS, Desk, importer, report

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core import batch
from cdmeventimporters.core.batch import attempts_together, check_together, import_batch
from cdmeventimporters.core.delta import Delta
from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.iceberg import Iceberg
from cdmeventimporters.core.platform import table_format
from cdmeventimporters.core.session import import_session
from cdmeventimporters.core.spec import CTS_JOB_ID, Column, Layout, Table

hits = Table(
    "hits",
    "Hits of genes",
    files="hits.tsv",
    key=("gene", "cts_job_id"),
    columns=[Column("gene", "string", "Gene"), CTS_JOB_ID, Column("score", "double", "Score", between=(0, None))],
    optional=True,
)
TABLES = quality_report, hits
NUMBERS = "rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_rejected"


def job(desk, name, quality, scores=None, **more):
    """A job with a report of CheckM2, and perhaps one of hits; the later in the alphabet, the later completed."""
    files = {"quality_report.tsv": quality} if quality is not None else {}
    files |= {"hits.tsv": f"gene\tscore\n{scores}"} if scores is not None else {}
    done = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=ord(name))
    return desk.lake.job(IMAGE, files, **{"job_id": f"{desk.namespace}-{name}", "completion_time": done} | more)


def jobs_of_all_kinds(desk):
    """Jobs as a year brings them, not in the order in which they completed."""
    a, b, c = (report(Name=name, Completeness=value) for name, value in [("x", "1"), ("x", "2"), ("y", "3")])
    gone = job(desk, "g", report(Name="gone"))
    desk.lake.s3.client().delete_object(Bucket=desk.lake.bucket, Key=gone["outputs"][0]["file"].split("/", 1)[1])
    changed = job(desk, "h", report(Name="changed"))
    changed["outputs"][0]["crc64nvme"] = "AAAAAAAAAAA="
    twice = report(ROWS[0], ROWS[0])
    return [
        job(desk, "b", b, "p\t1\nq\t2\n"),
        job(desk, "a", a, "p\t5\n"),
        job(desk, "c", c),
        job(desk, "d", report(Name="d", Completeness="150")),
        job(desk, "e", twice),
        job(desk, "f", HEADER + "\n", "r\t7\n"),
        gone,
        changed,
        job(desk, "i", "", "s\t1\n"),
        job(desk, "j", report(Name="j"), "t\tmuch\n"),
        {"id": f"{desk.namespace}-k", "outputs": []},
        job(desk, "l", None, "u\t1\n"),
        job(desk, "m", report(Name="m")) | {"completion_time": None},
    ]


def meta_of(desk, **more):
    """What the YAML says of the two tables."""
    return {"tables": {t.name: f"{desk.namespace}.{t.name}" for t in TABLES}} | more


def run(desk, jobs, driver_bytes=None, **more):
    """What became of each job of a batch."""
    how = {} if driver_bytes is None else {"driver_bytes": driver_bytes}
    return list(map(said, import_batch(desk.lake.get_spark, jobs, meta_of(desk, **more), *TABLES, **how)))


def said(result):
    """The statuses of a job's tables, or its message."""
    return str(result) if isinstance(result, ImportFailed) else [entry.status for entry in result]


def run_singly(desk, jobs):
    """The same of single imports."""
    results = []
    for one in jobs:
        try:
            results.append(importer(*TABLES)(desk.lake.get_spark, one, meta_of(desk)))
        except ImportFailed as error:
            results.append(error)
    return list(map(said, results))


def rows(desk, name, *columns):
    """The rows of a table, in order."""
    desk.spark.sql(f"REFRESH TABLE {desk.full(name)}")
    found = desk.spark.table(desk.full(name))
    return texts(map(tuple, found.select(*columns or found.columns).collect()))


def texts(values):
    """Texts of values, in order."""
    return sorted(map(str, values))


def log(desk):
    """What the log says of each job and table."""
    return rows(desk, "import_log", "cts_job_id", "importer", "status", "files", "error", "job_info", *NUMBERS)


@pytest.fixture(scope="module")
def desks(lake):
    """Places for a batch and for single imports of the same jobs; the same after each."""
    first, other = Desk(lake, "batched"), Desk(lake, "singly")
    jobs = jobs_of_all_kinds(first)
    return first, other, jobs, run(first, jobs), run_singly(other, jobs)


def as_batch(text):
    """A text of single imports as it would be of the batch."""
    return text.replace("singly.", "batched.")


def test_each_job_ends_as_it_would_alone(desks):
    _, _, _, batched, singly = desks
    assert batched == [as_batch(x) if isinstance(x, str) else x for x in singly]
    assert sum(isinstance(x, list) for x in batched) == 5


def test_the_tables_hold_the_same_rows(desks):
    batched, singly, *_ = desks
    for table in TABLES:
        assert rows(batched, table.name) == [as_batch(row) for row in rows(singly, table.name)] != []
    assert rows(batched, "checkm2", "Name", "Completeness", "cts_job_id") == texts(
        [("lakeA_maxbin.001", 97.30999755859375, "batched-e"), ("x", 2.0, "batched-b"), ("y", 3.0, "batched-c")]
    )


def test_the_log_says_the_same_but_which_of_two_rows_was_replaced(desks):
    """Of two jobs in a batch that report one genome, only the row of the later one is written."""
    batched, singly, *_ = desks
    of_one_genome = ("batched-a", "batched-b")
    others = lambda lines: [line for line in lines if not ("'checkm2'" in line and any(j in line for j in of_one_genome))]  # noqa: E731  # fmt: skip
    assert others(log(batched)) == others(map(as_batch, log(singly)))
    assert len(log(batched)) == len(log(singly))


def test_nothing_is_done_twice_alone_or_in_a_batch(desks):
    first, _, jobs, before, _ = desks
    good = [one for one, result in zip(jobs, before, strict=True) if isinstance(result, list)]
    tables, logged = [first.commits(t.name) for t in TABLES], log(first)
    applied = [["applied"] * len(result) for result in before if isinstance(result, list)]
    assert run(first, good) == applied
    assert run_singly(first, good) == applied
    assert ([first.commits(t.name) for t in TABLES], log(first)) == (tables, logged)


def test_a_dry_run_finds_the_same_and_writes_nothing(desks):
    first, _, jobs, before, _ = desks
    place = Desk(first.lake, "tried")
    tried = run(place, jobs, dry_run=True)
    assert [["imported"] * len(x) if x[0] == "checked" else x for x in tried] == [
        x.replace("batched.", "tried.") if isinstance(x, str) else x for x in before
    ]
    assert [place.exists(name) for name in ("checkm2", "import_log")] == [False, False]


@pytest.mark.matrix
def test_rows_that_spark_holds_are_the_same(desk):
    """A second batch adds to tables that hold rows: a genome of an earlier job, which gives way, and one of a later job, which stays."""
    assert run(desk, [job(desk, "b", report(Name="x")), job(desk, "z", report(Name="y"), "p\t1\n")]) == [
        ["imported"],
        ["imported"] * 2,
    ]
    more = [job(desk, "m", report(Name="x", Completeness="7")), job(desk, "n", report(Name="y"), "p\t2\n")]
    assert run(desk, more, driver_bytes=0) == [["imported"], ["imported"] * 2]
    assert rows(desk, "checkm2", "Name", "Completeness", "cts_job_id") == texts(
        [("x", 7.0, f"{desk.namespace}-m"), ("y", 97.30999755859375, f"{desk.namespace}-z")]
    )
    assert len(rows(desk, "hits")) == 2


STEPS = {
    "after one of two tables": (batch, "_write_table", True),
    "before the log": (batch, "record", False),
    "after the log": ({"delta": Delta, "iceberg": Iceberg}[FORMAT], "record_batch", False),
    "after one of two records": ({"delta": Delta, "iceberg": Iceberg}[FORMAT], "record_batch", True),
}


class Died(BaseException):
    """What ends a batch as a kill would: nothing catches it."""


def die_at(monkeypatch, step):
    """Let the next batch end there."""
    owner, name, after = STEPS[step]
    function = getattr(owner, name)

    def dying(*arguments, **named):
        if after:
            function(*arguments, **named)
        raise Died

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize("step", STEPS)
def test_a_batch_that_died_is_completed_by_the_next_or_by_single_events(desk, monkeypatch, step):
    jobs = [job(desk, name, report(Name=f"genome {name}"), f"gene\t{n}\n") for n, name in enumerate("ab")]
    with monkeypatch.context() as dying:
        die_at(dying, step)
        with pytest.raises(Died):
            run(desk, jobs)
    assert run_singly(desk, jobs[:1]) + run(desk, jobs[1:]) != []
    assert run(desk, jobs) == [["applied", "applied"]] * 2
    assert rows(desk, "checkm2", "Name", "cts_job_id") == texts((f"genome {j['id'][-1]}", j["id"]) for j in jobs)
    assert rows(desk, "hits", "score", "cts_job_id") == texts((float(n), j["id"]) for n, j in enumerate(jobs))
    logged = desk.log("cts_job_id", "importer", "status")
    assert sorted(set(logged)) == sorted((j["id"], t.name, "imported") for j in jobs for t in TABLES)


def test_a_table_that_was_dropped_is_filled_again(desk):
    jobs = [job(desk, name, report(Name=f"genome {name}")) for name in "ab"]
    assert run(desk, jobs) == [["imported"]] * 2
    desk.spark.sql(f"DROP TABLE {desk.full('checkm2')}")
    assert run_singly(desk, jobs[:1]) + run(desk, jobs) == [["imported"], ["applied"], ["imported"]]
    assert len(rows(desk, "checkm2")) == 2


def test_rows_that_are_gathered_from_several_lines_are_in_few_partitions(desk):
    columns = [Column("Assembly", "string", "Assembly"), CTS_JOB_ID, Column("N50", "int", "N50", unit="bp")]
    layout = Layout(header="Assembly\t", transposed=True)
    sizes = Table("sizes", "Sizes", files="*.txt", key=("Assembly", "cts_job_id"), columns=columns, layouts=layout)
    jobs = [desk.lake.job(IMAGE, {"sizes.txt": f"Assembly\ta{n}\nN50\t{n}\n"}) for n in range(3)]
    [attempts], spark = attempts_together(jobs, {"table": desk.full("sizes")}, [sizes]), desk.lake.get_spark()
    with import_session(spark, table_format(spark).settings):
        _, [found] = check_together(spark, attempts, [sizes], driver_bytes=0)
        assert sorted(row.N50 for row in found.rows.collect()) == [0, 1, 2]
        assert found.persisted.rdd.getNumPartitions() < 10  # and not the session's 200
        found.persisted.unpersist()
