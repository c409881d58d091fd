"""What Iceberg adds: snapshots that operators maintain while importers write, conflicts instead of locks, and a catalog that fails."""

import itertools
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from conftest import HEADER, IMAGE, NEW, OLD, ROWS, Desk, iceberg_only, report

from cdmeventimporters.dev.lake.rest_catalog import iceberg_settings
from cdmeventimporters.dev.operate.log import read_logs

pytestmark = iceberg_only

TABLES = ("checkm2", "import_log")


def state(desk) -> list:
    """The snapshots of a desk's tables."""
    ids = "SELECT snapshot_id FROM {}.snapshots ORDER BY committed_at"
    return [[r[0] for r in desk.spark.sql(ids.format(refreshed(desk, table))).collect()] for table in TABLES]


def refreshed(desk, table="checkm2") -> str:
    """The full name of a table, of which the session now sees the newest state."""
    desk.spark.sql(f"REFRESH TABLE {desk.full(table)}")
    return desk.full(table)


def call(desk, procedure, arguments, table="checkm2"):
    """Run one of Iceberg's procedures on a table; the first row of what it reports."""
    return desk.spark.sql(f"CALL my.system.{procedure}(table => '{desk.full(table)}', {arguments})").first()


def properties(desk) -> dict[str, str]:
    """The properties of the table."""
    return {r.key: r.value for r in desk.spark.sql(f"SHOW TBLPROPERTIES {refreshed(desk)}").collect()}


# maintenance

MAINTENANCE = {
    "rewrite_data_files": "options => map('rewrite-all', 'true')",
    "rewrite_manifests": "use_caching => false",
    "expire_snapshots": "older_than => TIMESTAMP '2999-01-01 00:00:00', retain_last => 1",
}


@pytest.fixture(scope="module")
def maintained(lake):
    """A desk with jobs with and without rows; one test after the other maintains its tables."""
    desk = Desk(lake, "maintained")
    return desk, [desk.good(text) for text in (NEW, OLD, HEADER + "\n")]


@pytest.mark.matrix
@pytest.mark.parametrize("procedure", MAINTENANCE)
def test_a_redelivery_after_maintenance_commits_nothing(maintained, procedure):
    desk, jobs = maintained
    rows, log = desk.rows(), desk.log("cts_job_id")
    for table in TABLES:
        assert call(desk, procedure, MAINTENANCE[procedure], table)[0] > 0
    before = state(desk)
    assert procedure != "expire_snapshots" or [len(ids) for ids in before] == [1, 1]
    assert [job.replay().error for job in jobs] == [None] * 3
    assert (state(desk), desk.rows(), desk.log("cts_job_id")) == (before, rows, log)


@pytest.mark.matrix
def test_rows_that_were_rolled_back_come_back_only_when_an_operator_wants_them_again(desk):
    desk.good(NEW)
    [[snapshot], _] = state(desk)
    job = desk.good(OLD)
    call(desk, "rollback_to_snapshot", f"snapshot_id => {snapshot}")
    before = state(desk)
    assert job.replay().error is None
    assert (state(desk), len(desk.rows())) == (before, 4)
    again = desk.lake.deliver(job.job_info, meta={"table": f"{desk.namespace}.checkm2", "again": True})
    assert (again.error, len(desk.rows())) == (None, 7)


def test_a_log_that_was_rolled_back_is_completed_and_no_row_is_doubled(desk):
    desk.good(NEW)
    [_, [snapshot]] = state(desk)
    job = desk.good(OLD)
    call(desk, "rollback_to_snapshot", f"snapshot_id => {snapshot}", "import_log")
    before = state(desk)[0]
    assert job.replay().error is None
    assert (state(desk)[0], desk.log("rows_inserted")) == (before, [(4,), (0,)])


@pytest.mark.matrix
@pytest.mark.parametrize("mode", ["copy-on-write", "merge-on-read"])
def test_data_files_are_rewritten_while_importers_write(desk, mode):
    """Each job replaces a row of the job before, so that its files are those that are rewritten."""
    desk.good(numbered(0))
    desk.spark.sql(f"ALTER TABLE {desk.full('checkm2')} SET TBLPROPERTIES ('write.merge.mode'='{mode}')")
    jobs, stop, rewritten, lost = [], threading.Event(), [], []

    def rewrite():
        while not stop.wait(3):  # a compaction that begins anew at once would win for ever
            try:
                rewritten.append(call(desk, "rewrite_data_files", MAINTENANCE["rewrite_data_files"])[0])
            except Exception as conflict:
                lost.append(str(conflict))

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        while len(jobs) < 4 or (not sum(rewritten) and len(jobs) < 40):
            jobs.append(desk.good(numbered(len(jobs) + 1)))
    finally:
        stop.set()
        thread.join()
    assert sum(rewritten) > 0
    assert [
        text for text in lost if not re.search("CommitFailedException|ValidationException|Cannot commit", text)
    ] == []
    names = [r.Name for r in desk.spark.table(refreshed(desk)).collect()]
    assert sorted(names) == sorted(["common", *(f"own {n}" for n in range(len(jobs) + 1))])
    assert desk.rows("Completeness")["common"] == (float(len(jobs)),)
    before = state(desk)
    assert [job.replay().error for job in jobs] == [None] * len(jobs)
    assert state(desk) == before


def numbered(n: int) -> str:
    """The report of job `n`: a genome of its own, and one that all jobs report."""
    return report(*("\t".join([name, str(n), *ROWS[0].split("\t")[2:]]) for name in (f"own {n}", "common")))


# tables of others


def test_a_log_to_which_a_later_version_added_a_column_takes_entries(desk):
    desk.good(NEW)
    desk.spark.sql(f"ALTER TABLE {desk.full('import_log')} ADD COLUMNS (Added_Later array<string>)")
    assert desk.good(OLD).replay().error is None
    assert desk.log("status", "Added_Later") == [("imported", None)] * 2


def test_a_table_under_snapshot_isolation_is_refused(desk):
    desk.good(NEW)
    desk.spark.sql(f"ALTER TABLE {desk.full('checkm2')} SET TBLPROPERTIES ('write.merge.isolation-level'='SNAPSHOT')")
    assert desk.bad(OLD) == (
        "CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. No table was changed. "
        "The table TABLE has write.merge.isolation-level=snapshot, under which two drivers can insert the same rows.\n"
        "Run ALTER TABLE TABLE UNSET TBLPROPERTIES ('write.merge.isolation-level'), then replay the job."
    )
    desk.spark.sql(f"ALTER TABLE {desk.full('checkm2')} UNSET TBLPROPERTIES ('write.merge.isolation-level')")
    desk.good(OLD)
    assert len(desk.rows()) == 7


@pytest.mark.matrix
def test_a_migrated_table_keeps_its_rows_and_is_not_changed_by_a_dry_run(desk):
    desk.good(report(), meta={"table": f"{desk.namespace}.other"})  # so that there is a log
    desk.spark.sql(f"CREATE TABLE {desk.full('checkm2')} (Name string, Completeness float, curator string)")
    desk.spark.sql(f"INSERT INTO {desk.full('checkm2')} VALUES ('before', 50, 'kim'), ('lakeA_maxbin.001', 1, 'ann')")
    before = properties(desk), state(desk)
    desk.good(NEW, meta={"dry_run": True})
    assert (properties(desk), state(desk)) == before
    job = desk.good(NEW)
    assert desk.spark.table(refreshed(desk)).columns[:4] == ["Name", "Completeness", "curator", "cts_job_id"]
    rows = desk.rows("Completeness", "curator")
    assert (len(rows), rows["before"]) == (5, (50.0, "kim"))
    assert rows["lakeA_maxbin.001"] == (pytest.approx(97.31), "ann")
    before = properties(desk), state(desk)
    assert job.replay().error is None
    assert (properties(desk), state(desk)) == before


def test_a_table_that_was_dropped_and_made_again_by_somebody_is_filled_again(desk):
    job = desk.good(NEW)
    desk.spark.sql(f"DROP TABLE {desk.full('checkm2')}")
    desk.good(OLD)
    assert job.replay().error is None
    assert len(desk.rows()) == 7


# faults of the catalog


_jobs = itertools.count()


@dataclass
class Event:
    """An event of a job whose four genomes no other job has."""

    desk: Desk
    job: dict
    stem: str  # with what its genomes' names begin

    def deliver(self):
        """Deliver it."""
        return self.desk.lake.deliver(self.job, meta={"table": f"{self.desk.namespace}.checkm2"})

    def said(self) -> str | None:
        """Deliver it; the message, without what differs from run to run; None if it was imported."""
        if (error := self.deliver().error) is None:
            return None
        assert "\tat " not in str(error)
        assert self.desk.lake.rest_catalog.credential.split(":")[1] not in str(error)
        said = str(error).replace(self.job["id"], "JOB").replace(self.desk.full("checkm2"), "TABLE")
        said = said.replace(self.desk.lake.rest_catalog.uri, "URI").replace(self.desk.namespace, "NS")
        return re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", said)

    def rows(self) -> int:
        """How many rows the table has of it, doubled ones included."""
        rows = self.desk.spark.table(refreshed(self.desk))
        return rows.where(f"Name LIKE '{self.stem}%'").count()

    def log(self) -> list:
        """What the import log has of it: status, and rows that were inserted."""
        refreshed(self.desk, "import_log")
        return [row for job, *row in self.desk.log("cts_job_id", "status", "rows_inserted") if job == self.job["id"]]

    def is_imported_by_a_redelivery(self):
        """Deliver it again, now that the catalog is well: each row is there once, the log has it, and yet another delivery does nothing."""
        assert self.deliver().error is None
        assert (self.rows(), [status for status, _ in self.log()].count("imported")) == (4, 1)
        before = state(self.desk)
        assert self.deliver().error is None
        assert state(self.desk) == before


@pytest.fixture(scope="module")
def faulty(lake):
    """A namespace with a table and a log, for all faults."""
    desk = Desk(lake, "faulty")
    desk.good(report(Name="first"))
    return desk


@pytest.fixture
def event(faulty):
    """An event that was not delivered yet; after the test, the catalog is well."""
    stem = f"job{next(_jobs)}_"
    text = "\n".join(stem + row if n and row else row for n, row in enumerate(NEW.split("\n")))
    yield Event(faulty, faulty.lake.job(IMAGE, {"quality_report.tsv": text}), stem)
    faulty.lake.rest_catalog.faults.clear()


_catalogs = itertools.count()


@contextmanager
def catalog_beside(desk, **changes):
    """Within, the session has one more catalog, the lake's with these changes, which it asks only once more if it fails; its name."""
    name, spark = f"catalog{next(_catalogs)}", desk.spark
    settings = iceberg_settings(replace(desk.lake.rest_catalog, **changes), desk.lake.s3, name)
    settings = {k: v for k, v in settings.items() if k.startswith(f"spark.sql.catalog.{name}")}
    settings[f"spark.sql.catalog.{name}.rest.client.max-retries"] = "1"
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        yield name
    finally:
        for key in settings:
            spark.conf.unset(key)


@contextmanager
def session_on(desk, **changes):
    """Within, the session reaches its catalog in another way."""
    with catalog_beside(desk, **changes) as name:
        desk.spark.conf.set("spark.sql.defaultCatalog", name)
        try:
            yield
        finally:
            desk.spark.conf.set("spark.sql.defaultCatalog", "my")


def test_the_logs_of_a_catalog_with_several_names_are_those_of_the_current_one(desk):
    desk.good(NEW)
    with catalog_beside(desk, warehouse="user_nobody") as away, catalog_beside(desk):
        logs = read_logs(desk.spark, desk.namespace)
        assert [row.namespace for row in logs.rows.collect()] == [desk.namespace]
    assert list(logs.unreadable) == [away]


COMMIT = r"POST .*/namespaces/faulty/tables/checkm2$"
LOG_COMMIT = r"POST .*/namespaces/faulty/tables/import_log$"

UNKNOWN = (
    "Py4JJavaError: org.apache.iceberg.exceptions.CommitStateUnknownException: Service failed: {0}: a fault that was asked for\n"
    "Cannot determine whether the commit was successful or not, the underlying data files may or may not be needed. "
    "Manual intervention via the Remove Orphan Files Action can remove these files when a connection to the Catalog can be re-established if the commit was actually unsucce"
    " … caused by org.apache.iceberg.exceptions.ServiceFailureException: Service failed: {0}: a fault that was asked for"
)
HTTP = "org.apache.iceberg.shaded.org.apache.hc"
REQUEST = "Py4JJavaError: org.apache.iceberg.exceptions.RESTException: Error occurred while processing POST request … caused by"
NO_ANSWER = f"{REQUEST} {HTTP}.core5.http.NoHttpResponseException: ADDRESS failed to respond"
NOTHING_DONE = "No table was changed."
PERHAPS_DONE = "It is not known whether TABLE holds its rows; a redelivery completes it."
IS_IT_UP = "Check that it is up, then replay the job."


def refused(state, what, where, todo) -> str:
    """The message about a job that was not imported."""
    return f"CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. {state} {what}\n  {where}\n{todo}"


def not_logged(where) -> str:
    """The message about a job that is not in the import log."""
    imported = "CTS job JOB was imported into TABLE, but the import log could not be written:"
    return f"{imported}\n  {where}\nAll its rows are in. A redelivery or a replay writes the log."


LOG_SAID = {
    "500, not done": not_logged(UNKNOWN.format(500)),
    "500, done": None,
    "503, not done": not_logged(UNKNOWN.format(503)),
    "503, done": None,
    "no answer, not done": not_logged(NO_ANSWER),
    "no answer, done": not_logged(NO_ANSWER),
}
ONCE = {
    "500, not done": dict(status=500),
    "500, done": dict(status=500, reached=True),
    "503, not done": dict(status=503),
    "503, done": dict(status=503, reached=True),
    "no answer, not done": dict(),
    "no answer, done": dict(reached=True),
}


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ONCE)
def test_a_commit_that_fails_once_is_made_once(event, kind):
    [before, _] = state(event.desk)
    fault = event.desk.lake.rest_catalog.fail(COMMIT, **ONCE[kind])
    assert event.deliver().error is None
    assert fault.times == 0
    inserted = [(status, rows) for status, rows in event.log()]
    assert (event.rows(), inserted, len(state(event.desk)[0])) == (4, [("imported", 4)], len(before) + 1)
    event.is_imported_by_a_redelivery()


@pytest.mark.parametrize("kind", ONCE)
def test_a_log_whose_commit_fails_once_is_completed_by_a_redelivery(event, kind):
    fault = event.desk.lake.rest_catalog.fail(LOG_COMMIT, **ONCE[kind])
    assert event.said() == LOG_SAID[kind]
    assert (fault.times, event.rows()) == (0, 4)
    event.is_imported_by_a_redelivery()


SILENT = "The catalog does not answer."
CODE_500 = 'org.apache.iceberg.exceptions.RESTException: Unable to process (code: 500, type: null): {"error": {"message": "a fault that was asked for", "type": "ServiceFailureException", "code": 500}}'
# {kind: (the requests that fail, the answer, the message)}
LASTING = {
    "the commit fails": (COMMIT, 500, refused(PERHAPS_DONE, SILENT, UNKNOWN.format(500), IS_IT_UP)),
    "the commit finds the catalog busy": (COMMIT, 503, refused(PERHAPS_DONE, SILENT, UNKNOWN.format(503), IS_IT_UP)),
    "the commit has no answer": (COMMIT, None, refused(PERHAPS_DONE, SILENT, NO_ANSWER, IS_IT_UP)),
    "the commit is forbidden": (
        COMMIT,
        403,
        refused(
            PERHAPS_DONE,
            "The catalog does not allow the importer to do this.",
            "Py4JJavaError: org.apache.iceberg.exceptions.ForbiddenException: Forbidden: a fault that was asked for",
            "Grant the right to the importer's principal, then replay the job.",
        ),
    ),
    "the catalog fails": (".*", 500, refused(NOTHING_DONE, SILENT, f"Py4JJavaError: {CODE_500}", IS_IT_UP)),
    "the catalog does not answer": (".*", None, refused(NOTHING_DONE, SILENT, NO_ANSWER, IS_IT_UP)),
}


@pytest.mark.parametrize("kind", LASTING)
def test_a_fault_that_lasts_is_one_message_and_a_redelivery_completes_the_import(event, kind):
    [before, _], (request, status, expected) = state(event.desk), LASTING[kind]
    with session_on(event.desk):
        event.desk.lake.rest_catalog.fail(request, status, times=10**6)
        said = event.said()
    event.desk.lake.rest_catalog.faults.clear()
    assert said == expected
    assert state(event.desk)[0] == before
    event.is_imported_by_a_redelivery()


# {kind: (how the session reaches the catalog, the message)}
AWAY = {
    "nobody is there": (
        dict(uri="http://127.0.0.1:1"),
        f"{SILENT}\n  {REQUEST} {HTTP}.client5.http.HttpHostConnectException: Connect to http://ADDRESS failed: Connection refused\n{IS_IT_UP}",
    ),
    "unknown warehouse": (
        dict(warehouse="user_nobody"),
        "The catalog does not have the user's warehouse.\n"
        "  Py4JJavaError: org.apache.iceberg.exceptions.NoSuchWarehouseException: Unable to find warehouse user_nobody\n"
        "Create it, then replay the job.",
    ),
    "unknown credential": (
        dict(credential="desk:guessed"),
        "The catalog does not accept the session's credential.\n"
        "  Py4JJavaError: org.apache.iceberg.exceptions.BadRequestException: Malformed request: unauthorized_client: The client is not authorized\n"
        "Correct the credential in the platform's settings, then replay the job.",
    ),
}


@pytest.mark.parametrize("kind", AWAY)
def test_a_catalog_that_cannot_be_reached_is_one_message(event, kind):
    before, (changes, expected) = state(event.desk), AWAY[kind]
    with session_on(event.desk, **changes):
        said = event.said()
    assert said == f"CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. {NOTHING_DONE} {expected}"
    assert state(event.desk) == before
    event.is_imported_by_a_redelivery()


def test_a_namespace_that_cannot_be_created_is_one_message(event, desk):
    forbidden = "Py4JJavaError: org.apache.iceberg.exceptions.ForbiddenException: Forbidden: a fault that was asked for"
    event.desk.lake.rest_catalog.fail("POST .*/namespaces$", status=403, times=10**6)
    assert desk.bad(NEW) == refused(
        NOTHING_DONE,
        "The catalog does not allow the importer to do this.",
        f"{forbidden}\n  (The import log could not be written: {forbidden})",
        "Grant the right to the importer's principal, then replay the job.",
    )
    event.desk.lake.rest_catalog.faults.clear()
    desk.good(NEW)
