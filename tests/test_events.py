"""What was decided for every kind of event: redelivery, lateness, crashes in between, several threads."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from conftest import FORMAT, HEADER, NEW, OLD, ROWS, delta_only, importer, report

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core import importing
from cdmeventimporters.core.platform import table_format
from cdmeventimporters.core.tables import TableSchemas

ROWS_READ_AGAIN = {
    "delta": None,
    "iceberg": 4,
}  # a Delta table knows that it holds a job; without a log, Iceberg reads it again
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.s3


def die(*_, **__):
    """What a crash looks like to the code above it."""
    raise SystemExit("killed")


def test_a_redelivery_reads_nothing_and_commits_nothing(desk, monkeypatch):
    job = desk.good(NEW)
    before, logged = desk.commits(), desk.commits("import_log")
    monkeypatch.setattr(importing, "open_outputs", die)
    assert job.replay().error is None
    assert (desk.commits(), desk.commits("import_log")) == (before, logged)
    assert len(desk.log("status")) == 1


def test_a_dropped_table_is_filled_again_by_the_same_event(desk):
    job = desk.good(NEW)
    desk.spark.sql(f"DROP TABLE {desk.full('checkm2')}")
    assert job.replay().error is None
    assert len(desk.rows()) == 4
    assert desk.log("rows_inserted") == [(4,), (4,)]


def test_deleted_rows_come_back_only_when_an_operator_wants_them_again(desk):
    job = desk.good(NEW)
    desk.spark.sql(f"DELETE FROM {desk.full('checkm2')} WHERE Name LIKE 'lakeA%'")
    assert job.replay().error is None
    assert len(desk.rows()) == 1
    again = desk.lake.deliver(job.job_info, meta={"table": f"{desk.namespace}.checkm2", "again": True})
    assert again.error is None
    assert len(desk.rows()) == 4
    assert desk.log("rows_inserted", "rows_updated", "rows_unchanged") == [(4, 0, 0), (3, 0, 1)]


def test_what_was_wanted_again_counts_as_applied(desk):
    job = desk.good(NEW, meta={"again": True})
    before = desk.commits()
    assert desk.lake.deliver(job.job_info, meta={"table": f"{desk.namespace}.checkm2"}).error is None
    assert desk.commits() == before


def test_a_raised_revision_is_imported_by_the_next_redelivery_and_a_lower_one_not(desk):
    second = replace(quality_report, revision=2)
    job = desk.good(NEW, run_import=importer(quality_report))
    for tables, attempts in [(second, 2), (second, 2), (quality_report, 2)]:
        outcome = desk.lake.deliver(
            job.job_info, run_import=importer(tables), meta={"table": f"{desk.namespace}.checkm2"}
        )
        assert outcome.error is None
        assert len(desk.log("revision")) == attempts
    assert desk.log("revision", "rows_unchanged") == [(1, 0), (2, 4)]


def test_a_missing_log_row_is_written_by_the_redelivery(desk, monkeypatch):
    job = desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": NEW}, completion_time=NOON)
    meta = {"table": f"{desk.namespace}.checkm2"}
    with monkeypatch.context() as dying:
        dying.setattr(importing, "record", die)
        with pytest.raises(SystemExit):
            desk.lake.deliver(job, meta=meta)
    assert not desk.exists("import_log")
    for _ in range(2):
        assert desk.lake.deliver(job, meta=meta).error is None
        assert desk.log("cts_job_id", "status", "rows_read") == [(job["id"], "imported", ROWS_READ_AGAIN[FORMAT])]


def test_if_only_the_log_fails_the_message_says_that_the_rows_are_in(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    desk.spark.sql(f"CREATE VIEW {desk.full('import_log')} AS SELECT 1 AS x")
    outcome = desk.submit(NEW)
    assert f"was imported into {desk.full('checkm2')}, but the import log could not be written:" in str(outcome.error)
    assert "All its rows are in. A redelivery or a replay writes the log." in str(outcome.error)
    assert len(desk.rows()) == 4


def test_a_failure_that_cannot_be_logged_says_so(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    desk.spark.sql(f"CREATE VIEW {desk.full('import_log')} AS SELECT 1 AS x")
    message = desk.bad(report(Completeness="150"))
    assert "'150' is not between 0 and 100" in message
    assert "(The import log could not be written: " in message


# quarantine

SOME_BAD = report(
    ROWS[0], ROWS[1].replace("61.07", "160"), "bin.3\t1", ROWS[3].replace("\t4\t", "\tx\t").replace("8.36", "-1")
)
QUARANTINE = {"on_bad_row": "quarantine"}


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_quarantine_takes_bad_rows_as_they_were_and_the_table_the_good_ones(desk):
    lines = SOME_BAD.split("\n")
    job = desk.good(SOME_BAD + ROWS[2] + "\n", meta=QUARANTINE)
    assert set(desk.rows()) == {"lakeA_maxbin.001", "lakeA_metabat.17"}
    assert desk.rows("row", "reasons", table="checkm2_rejected", key="line") == {
        3: (lines[2], "column Completeness: '160' is not between 0 and 100"),
        4: ("bin.3\t1", "2 fields where 14 are expected"),
        5: (
            lines[4],
            "column Completeness: '-1' is not between 0 and 100; column Translation_Table_Used: 'x' is not a whole number",
        ),
    }
    rejected = desk.rows(table="checkm2_rejected", key="line")[3]
    assert (rejected.cts_job_id, rejected.revision, rejected.cts_output_file) == (
        job.job_info["id"],
        1,
        job.job_info["outputs"][0]["file"],
    )
    assert desk.log("rows_read", "rows_inserted", "rows_rejected") == [(5, 2, 3)]
    commits = desk.commits("checkm2_rejected")
    assert job.replay().error is None
    assert desk.commits("checkm2_rejected") == commits


@pytest.mark.parametrize(
    "text",
    [
        report(Completeness="150"),
        NEW[:600],
        report(ROWS[0], ROWS[0].replace("97.31", "1")),
        HEADER.replace("Name", "Bin") + "\n",
    ],
    ids=["every row bad", "truncated", "conflicting keys", "missing column"],
)
def test_faults_of_a_file_fail_under_quarantine_too(shared, text):
    shared.bad(text, meta=QUARANTINE)
    assert not shared.exists("checkm2_rejected")


def test_the_quarantine_is_written_first_and_a_redelivery_completes_the_rest(desk, monkeypatch):
    tables = type(table_format(desk.spark))
    merge = tables.merge
    job = desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": SOME_BAD})
    meta = {"table": f"{desk.namespace}.checkm2"} | QUARANTINE
    with monkeypatch.context() as dying:
        only_rejected = lambda self, table, *rest: merge(self, table, *rest) if table.endswith("_rejected") else die()  # noqa: E731
        dying.setattr(tables, "merge", only_rejected)
        with pytest.raises(SystemExit):
            desk.lake.deliver(job, meta=meta)
    assert len(desk.rows(table="checkm2_rejected", key="line")) == 3
    assert desk.rows() == {}
    assert desk.lake.deliver(job, meta=meta).error is None
    assert (len(desk.rows(table="checkm2_rejected", key="line")), len(desk.rows())) == (3, 1)


# history

HISTORY = {"history": True}


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_superseded_rows_are_kept_if_an_operator_wants_them_in_whatever_order_jobs_arrive(desk):
    """Three jobs report one genome, the last of them arrives in between; two report it with equal values."""
    values = {0: "1", 1: "2", 2: "2"}
    jobs = {n: dict(completion_time=NOON + timedelta(hours=n), job_id=f"{desk.namespace}-{n}") for n in values}
    for n in (0, 2, 1):
        job = desk.good(report(Completeness=values[n]), meta=HISTORY, **jobs[n])
    assert desk.rows("Completeness", "cts_job_id") == {"lakeA_maxbin.001": (2.0, jobs[2]["job_id"])}
    kept = desk.rows("Completeness", "cts_completion_time", table="checkm2_history", key="cts_job_id")
    assert {job: value for job, (value, _) in kept.items()} == {jobs[0]["job_id"]: 1.0, jobs[1]["job_id"]: 2.0}
    before = desk.commits("checkm2_history")
    assert job.replay().error is None
    assert desk.commits("checkm2_history") == before


def test_rows_of_before_are_kept_and_without_history_none_are(desk):
    desk.good(OLD)
    desk.good(NEW)
    assert not desk.exists("checkm2_history")
    desk.good(report(Completeness="3"), meta=HISTORY)
    assert desk.spark.table(desk.full("checkm2_history")).count() == 1


def test_a_crash_between_history_and_table_doubles_and_loses_nothing(desk, monkeypatch):
    desk.good(NEW, meta=HISTORY)
    tables = type(table_format(desk.spark))
    merge = tables.merge
    job = desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": report(Completeness="3")})
    meta = {"table": f"{desk.namespace}.checkm2"} | HISTORY
    with monkeypatch.context() as dying:
        only_history = lambda self, table, *rest: merge(self, table, *rest) if table.endswith("_history") else die()  # noqa: E731
        dying.setattr(tables, "merge", only_history)
        with pytest.raises(SystemExit):
            desk.lake.deliver(job, meta=meta)
    assert desk.rows("Completeness")["lakeA_maxbin.001"] != (3.0,)
    assert desk.lake.deliver(job, meta=meta).error is None
    assert desk.rows("Completeness")["lakeA_maxbin.001"] == (3.0,)
    assert desk.spark.table(desk.full("checkm2_history")).count() == 1


# several tables

COVERAGE = replace(quality_report, name="second", files="second.tsv")


def submit_two(desk, first, second, **job):
    """Deliver a job for two tables."""
    meta = {"table": None, "tables": {"checkm2": f"{desk.namespace}.checkm2", "second": f"{desk.namespace}.second"}}
    files = {"quality_report.tsv": first, "second.tsv": second}
    return desk.submit(files, meta=meta, run_import=importer(quality_report, COVERAGE), **job)


def test_all_tables_are_checked_before_the_first_is_written(desk):
    outcome = submit_two(desk, NEW, report(Completeness="150"))
    assert (
        f"was not imported into {desk.full('checkm2')}, {desk.full('second')}. No table was changed. 1 of 1 rows is bad:"
        in str(outcome.error)
    )
    assert (desk.exists(), desk.exists("second")) == (False, False)
    assert desk.log("table", "status") == [(desk.full("checkm2"), "failed"), (desk.full("second"), "failed")]


def test_a_failure_between_two_tables_says_which_hold_the_job_and_a_redelivery_completes_it(desk, monkeypatch):
    ensure = TableSchemas.ensure

    def full_disk(self, table, *rest):
        if table.endswith("second"):
            raise RuntimeError("disk full")
        return ensure(self, table, *rest)

    with monkeypatch.context() as failing:
        failing.setattr(TableSchemas, "ensure", full_disk)
        outcome = submit_two(desk, NEW, OLD)
    state = f"It is not known whether {desk.full('second')} holds its rows; a redelivery completes it. {desk.full('checkm2')} holds them. The importer failed:"
    assert state in str(outcome.error)
    assert "  RuntimeError: disk full\n" in str(outcome.error)
    assert desk.log("importer", "status") == [("checkm2", "imported"), ("second", "failed")]
    before = desk.commits()
    assert outcome.replay().error is None
    assert (desk.commits(), len(desk.rows(table="second"))) == (before, 3)


# creation


@delta_only
def test_a_location_left_by_a_creator_that_died_is_adopted(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    location = desk.spark.catalog.getDatabase(desk.full("x").split(".")[0]).locationUri
    desk.spark.createDataFrame([], "Name string").write.format("delta").save(f"{location}/checkm2")
    desk.good(NEW)
    assert len(desk.rows()) == 4


@delta_only
def test_a_location_that_holds_rows_is_left_to_somebody_to_decide(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    location = desk.spark.catalog.getDatabase(desk.full("x").split(".")[0]).locationUri
    desk.spark.createDataFrame([("a",)], "Name string").write.format("delta").save(f"{location}/checkm2")
    message = str(desk.submit(NEW).error)
    assert (
        f"The table {desk.full('checkm2')} cannot be created, because its location holds files that belong to no table in the catalog:\n  {location}/checkm2\n"
        in message
    )
    assert desk.spark.read.format("delta").load(f"{location}/checkm2").count() == 1


# sessions


@pytest.mark.parametrize("text", [NEW, report(Completeness="150")], ids=["success", "failure"])
def test_the_session_is_left_as_it_was(desk, text):
    spark = desk.spark
    spark.conf.set("spark.databricks.delta.write.txnAppId", "the caller's")
    spark.conf.set("spark.databricks.delta.write.txnVersion", "7")
    spark.conf.set("spark.databricks.delta.snapshotPartitions", "3")
    try:
        before, views = settings(spark), temporary_views(spark)
        desk.submit(text)
        assert settings(spark) == before
        assert temporary_views(spark) == views
    finally:
        for name in ("write.txnAppId", "write.txnVersion", "snapshotPartitions"):
            spark.conf.unset(f"spark.databricks.delta.{name}")
    assert desk.submit(text).error is None or text != NEW


@pytest.mark.parametrize(("text", "compiled"), [(NEW, "false"), (report(*ROWS * 6000), "true")], ids=["few", "many"])
def test_spark_compiles_queries_over_many_rows_alone(desk, monkeypatch, text, compiled):
    seen = []

    def look_and_check(*args):
        seen.append(desk.lake.get_spark().conf.get("spark.sql.codegen.wholeStage"))
        return check(*args)

    check = importing.check_rows
    monkeypatch.setattr(importing, "check_rows", look_and_check)
    assert desk.submit(text).error is None
    assert seen == [compiled]


def settings(spark):
    """All settings of a session but the one in which Delta notes its last commit."""
    found = {r.key: r.value for r in spark.sql("SET").collect()}
    return {name: value for name, value in found.items() if not name.endswith("lastCommitVersionInSession")}


def temporary_views(spark):
    """The names of a session's temporary views; `listTables` names them in Hive's catalog only."""
    return spark._jsparkSession.sessionState().catalog().listLocalTempViews("*").mkString(" ")


def test_threads_on_one_session_make_no_wrong_table(desk):
    jobs = [
        desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": report(ROWS[0].replace("97.31", f"{n}"), ROWS[1].replace("002", f"own {n}"))},
                      completion_time=NOON + timedelta(hours=n))
        for n in range(4)
    ]  # fmt: skip
    outcomes = []
    deliver = lambda job: outcomes.append(desk.lake.deliver(job, meta={"table": f"{desk.namespace}.checkm2"}))  # noqa: E731
    threads = [threading.Thread(target=deliver, args=(job,)) for job in [*jobs, *reversed(jobs)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [o.error for o in outcomes] == [None] * 8
    rows = desk.rows()
    assert {*rows} == {"lakeA_maxbin.001", *(f"lakeA_maxbin.own {n}" for n in range(4))}
    assert (rows["lakeA_maxbin.001"].Completeness, rows["lakeA_maxbin.001"].cts_job_id) == (3.0, jobs[3]["id"])
    assert sorted(desk.log("cts_job_id")) == sorted((job["id"],) for job in jobs)
