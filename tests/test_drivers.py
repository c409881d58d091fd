"""Several drivers on one table at once, each a process with a JVM, over one metastore: no event is lost, none fails, none counts twice."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from conftest import FORMAT, HEADER, IMAGE, NEW, ROWS, report
from driver import Driver

DRIVERS = 3
JOBS = int(os.environ.get("CDM_DRIVER_JOBS", 6))  # `make test-drivers` takes 60

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def drivers(shared_lake):
    """The drivers."""
    with ExitStack() as stack:
        yield [stack.enter_context(Driver(shared_lake)) for _ in range(DRIVERS)]


@pytest.fixture(scope="module")
def crowd(shared_lake, drivers):
    """All jobs, delivered twice each: what the drivers answered, and what stands in the table and in the log."""
    jobs = [shared_lake.job(IMAGE, {"quality_report.tsv": its_report(n)}) for n in range(JOBS)]
    meta = {"table": "crowd.checkm2"}
    queues = [[job for n, job in enumerate(jobs) if (n - d) % DRIVERS < 2] for d in range(DRIVERS)]
    with ThreadPoolExecutor(DRIVERS) as threads:
        for queue in queues:
            random.Random(len(queue)).shuffle(queue)
        work = lambda driver, queue: [driver.ask(job=job, meta=meta) for job in queue]  # noqa: E731
        answers = [answer for queue in threads.map(work, drivers, queues) for answer in queue]
        return jobs, answers, drivers[0].ask(table="crowd.checkm2"), drivers[0].ask(table="crowd.import_log")


def its_report(n):
    """The report of job `n`: two genomes of its own, and one that all jobs report."""
    genomes = {f"own {n}": n, f"other {n}": n, "common": n}
    cells = [ROWS[0].split("\t") for _ in genomes]
    return report(
        *("\t".join([name, str(value), *row[2:]]) for row, (name, value) in zip(cells, genomes.items(), strict=True))
    )


def test_every_import_ended_in_success(crowd):
    _, answers, _, _ = crowd
    assert len(answers) == 2 * JOBS
    assert [answer["error"] for answer in answers if answer["error"]] == []


def test_every_row_is_in_the_table_once_and_the_common_one_is_of_the_job_that_completed_last(crowd):
    jobs, _, rows, _ = crowd
    own = [(f"{kind} {n}", str(float(n)), job["id"]) for n, job in enumerate(jobs) for kind in ("own", "other")]
    last = ("common", str(float(JOBS - 1)), jobs[-1]["id"])
    assert sorted((r["Name"], r["Completeness"], r["cts_job_id"]) for r in rows) == sorted([*own, last])


def test_the_log_says_of_every_job_that_it_was_imported(crowd):
    jobs, _, _, log = crowd
    assert {(r["cts_job_id"], r["status"]) for r in log} == {(job["id"], "imported") for job in jobs}


def test_a_batch_beside_single_events_of_its_jobs_imports_each_once(shared_lake, drivers):
    jobs = [shared_lake.job(IMAGE, {"quality_report.tsv": its_report(n)}) for n in range(JOBS)]
    meta = {"table": "beside.checkm2"}
    drivers[0].send(jobs=jobs, meta=meta)
    for job in reversed(jobs):
        drivers[1].send(job=job, meta=meta)
    answers = [*drivers[0].answer(), *(drivers[1].answer() for _ in jobs)]
    assert [answer["error"] for answer in answers if answer["error"]] == []
    rows = drivers[2].ask(table="beside.checkm2")
    own = [(f"{kind} {n}", job["id"]) for n, job in enumerate(jobs) for kind in ("own", "other")]
    assert sorted((r["Name"], r["cts_job_id"]) for r in rows) == sorted([*own, ("common", jobs[-1]["id"])])
    log = drivers[2].ask(table="beside.import_log")
    assert {(r["cts_job_id"], r["status"]) for r in log} == {(job["id"], "imported") for job in jobs}


@pytest.mark.parametrize(
    ("case", "text", "rows"), [("rows", NEW, 4), ("none", HEADER + "\n", 0)], ids=["rows", "no rows"]
)
def test_a_job_that_two_drivers_get_at_the_same_moment_is_imported_once(shared_lake, drivers, case, text, rows):
    """On Iceberg both have read the job, and know of no import of it, before either writes; on Delta the second waits for the lock."""
    job, meta, pair = (
        shared_lake.job(IMAGE, {"quality_report.tsv": text}),
        {"table": f"same_{case}.checkm2"},
        drivers[:2],
    )
    stop = {"stop_at": "before the table is made"} if FORMAT == "iceberg" else {}
    for driver in pair:
        driver.send(job=job, meta=meta, **stop)
    if stop:
        for driver in pair:
            driver.wait_until_it_stands_still()
        for driver in pair:
            driver.go_on()
    assert [driver.answer()["error"] for driver in pair] == [None, None]
    assert len(drivers[2].ask(table=meta["table"])) == rows
    log = drivers[2].ask(table=f"same_{case}.import_log")
    assert {(row["cts_job_id"], row["status"]) for row in log} == {(job["id"], "imported")}
    assert sum(int(row["rows_inserted"] or 0) for row in log) == rows
    before = len(log)
    assert drivers[2].ask(job=job, meta=meta)["error"] is None
    assert len(drivers[2].ask(table=f"same_{case}.import_log")) == before
