"""A driver is killed, at each step of an import or of a batch and at any moment: the same events, delivered to another driver, end in the same tables and the same log."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import FORMAT, IMAGE, NEW, ROWS, report
from driver import OF_BATCHES, STEPS, Driver

KILLS = int(os.environ.get("CDM_KILLS", 1))  # at random moments; `make test-kill` takes 30, and all steps
BRIEFLY = [{"delta": "while holding the lock", "iceberg": "before the log"}[FORMAT], "after the commit"]
NAMED = STEPS if KILLS > 1 else BRIEFLY
HOW = ("as a batch again", "one by one") if KILLS > 1 else ("one by one",)  # a batch that died is redelivered
BATCHES = [f"{step}, {how}" for step in OF_BATCHES for how in HOW]
UNRECORDED = "before a batch is recorded"  # the log has its jobs, but the table does not know them
SEED = int(os.environ.get("CDM_KILL_SEED", time.time()))
AT_ONCE = 2
DATA, COMMITS = {"delta": ("", "_delta_log/"), "iceberg": ("data/", "metadata/")}[FORMAT]  # folders of a table

DEAD = 4  # seconds after which the next driver takes the lock, or drops the ticket, of one that was killed
KNOWN_LATER = ("started", "finished", "table", "table_id")  # columns of the log that differ from run to run
COUNTED = ("rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_rejected")

pytestmark = pytest.mark.once


def namespace(case):
    """Where a case has its tables."""
    return "killed_" + "".join(c if c.isalnum() else "_" for c in str(case))


def meta(case):
    """What sends an event to a case's table."""
    return {"table": f"{namespace(case)}.checkm2"}


@pytest.fixture(scope="module")
def jobs(shared_lake):
    """Two jobs that share a genome."""
    reports = [NEW, report(ROWS[0].replace("97.31", "12.5"), ROWS[3].replace("lakeA", "lakeB"))]
    return [shared_lake.job(IMAGE, {"quality_report.tsv": text}) for text in reports]


def dies(driver, **event):
    """What a driver answers to an event at which it is to die: None if it was killed, as it was told, and did not end by an error."""
    answer = driver.ask(**event)
    assert answer is not None or driver.process.wait(60) == -signal.SIGKILL
    return answer


def die_at_step(lake, jobs, step):
    """A driver that dies at a named step of the first job; None if it did."""
    with Driver(lake, DEAD) as driver:
        return dies(driver, job=jobs[0], meta=meta(step), die_at=step)


def die_in_batch(lake, jobs, case):
    """A driver that dies at a step of a batch of both jobs; None if it did."""
    with Driver(lake, DEAD) as driver:
        return dies(driver, jobs=jobs, meta=meta(case), die_at=case.split(", ")[0])


def redeliver(driver, jobs, case):
    """What became of all jobs of a case, delivered again, the later one first."""
    again = [*reversed(jobs)]
    if str(case).endswith("as a batch again"):
        return driver.ask(jobs=again, meta=meta(case))
    return [driver.ask(job=job, meta=meta(case)) for job in again]


def die_after_data_files(lake, jobs):
    """A driver that is killed when its rows are on S3, but not in the table; the case's name."""
    for attempt in range(5):
        case = f"after the data files {attempt}"
        files = lister(lake, case)
        with Driver(lake, DEAD) as driver:
            driver.send(job=jobs[0], meta=meta(case))
            while not any(key.endswith(".parquet") for key in files(DATA)):
                assert driver.process.poll() is None
            driver.kill()
        if len(files(COMMITS)) == 1:  # the table's creation
            return case
    raise AssertionError("the commit was always faster")


def lister(lake, case):
    """A function that lists a folder of the case's table."""
    place = f"iceberg/{namespace(case)}" if FORMAT == "iceberg" else f"{lake.prefix}{namespace(case)}.db"
    client, table = lake.s3.client(), f"users-sql-warehouse/{lake.user}/{place}/checkm2/"

    def files(folder):
        found = client.list_objects_v2(Bucket=lake.bucket, Prefix=table + folder, Delimiter="/")
        return [x["Key"] for x in found.get("Contents", ()) if x["Key"].endswith((".parquet", ".json"))]

    return files


def die_at_random(lake, jobs, case):
    """A driver that is killed while it imports, at a moment that the seed decides; which one that was."""
    dice = random.Random(f"{SEED} {case}")
    answered, part, seconds = dice.randrange(len(jobs)), dice.random(), 10
    with Driver(lake, DEAD) as driver:
        driver.ask(**meta(case))  # until it can say that there is no table, there is nothing to disturb
        for job in jobs:
            driver.send(job=job, meta=meta(case))
        for _ in range(answered):
            seconds = driver.answer()["seconds"] / 2
        time.sleep(part * seconds)
    return f"{case}: {part * seconds:.1f} s after {answered} answers"


@pytest.fixture(scope="module")
def redelivered(shared_lake, jobs):
    """All victims are killed; then one driver gets all events, those of a calm run among them. The rows of each table by case."""
    print(f"CDM_KILL_SEED={SEED}")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        named = [threads.submit(die_at_step, shared_lake, jobs, step) for step in NAMED]
        batches = [threads.submit(die_in_batch, shared_lake, jobs, case) for case in BATCHES]
        written = [threads.submit(die_after_data_files, shared_lake, jobs)] if KILLS > 1 else []
        dice = [threads.submit(die_at_random, shared_lake, jobs, n) for n in range(KILLS)]
        assert {done.result() for done in (*named, *batches)} == {None}  # an answer would be a survivor's
        print(*(done.result() for done in dice), sep="\n")
    cases = ["calm", *(done.result() for done in written), *NAMED, *BATCHES, *range(KILLS)]
    with Driver(shared_lake, DEAD) as driver:
        answers = {case: redeliver(driver, jobs, case) for case in cases}
        tables = {case: driver.ask(**meta(case)) for case in cases}
        logs = {case: driver.ask(table=f"{namespace(case)}.import_log") for case in cases}
    return answers, tables, logs


def test_every_redelivered_event_is_imported(redelivered):
    answers, _, _ = redelivered
    assert [x["error"] for case in answers.values() for x in case if x["error"]] == []


def test_the_tables_equal_those_of_a_calm_run_in_every_column(redelivered):
    _, tables, _ = redelivered
    sort = lambda rows: sorted(rows, key=lambda row: row["Name"])  # noqa: E731
    calm = sort(tables.pop("calm"))
    assert len(calm) == len({row["Name"] for row in calm}) > 0
    for case, rows in tables.items():
        assert sort(rows) == calm, case


def test_the_logs_say_the_same_as_that_of_a_calm_run(redelivered):
    _, _, logs = redelivered
    calm = imported(logs.pop("calm"))
    for case, rows in logs.items():
        assert imported(first_of_each_job(rows) if UNRECORDED in str(case) else rows) == calm, case


def first_of_each_job(log):
    """The log of a batch that died before it was recorded, without its redelivery's entries, which say that nothing changed."""
    first, again = {}, []
    for row in sorted(log, key=lambda row: row["started"]):
        again += [row] if first.setdefault(row["cts_job_id"], row) is not row else []
    assert [(row["status"], row["rows_inserted"], row["rows_updated"]) for row in again] == [("imported", "0", "0")] * 2
    return [*first.values()]


def imported(log):
    """What the log says was imported: all but times, the table's own name, and numbers, which a redelivery of what is there cannot know."""
    rows = [row for row in log if row["status"] == "imported"]
    known = [{k: v for k, v in row.items() if k not in (*KNOWN_LATER, *COUNTED)} for row in rows]
    return sorted(known, key=lambda row: row["cts_job_id"])
