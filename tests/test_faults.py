"""What happens when S3 fails in the middle of an import: a proxy between Spark and the S3 server spoils some of the requests.

The lake gives up sooner than a platform does, so that lasting faults are over in seconds; how S3A goes about them is the same.
"""

import itertools
import re
from dataclasses import dataclass

import pytest
from conftest import FORMAT, IMAGE, NEW, Desk, report
from proxy import answer, fault, proxy_before

from cdmeventimporters.dev.lake.lake import Lake

pytestmark = pytest.mark.once

GIVE_UP_SOON = {
    "attempts.maximum": "1",  # of the AWS client; S3A tries on
    "retry.limit": "2",
    "retry.interval": "100ms",
    "retry.throttle.limit": "2",
    "retry.throttle.interval": "100ms",
    "connection.timeout": "15s",  # the least that S3A takes
}
ICEBERG_GIVES_UP_SOON = {"retry.num-retries": "2", "retry.min-wait-ms": "100", "retry.max-wait-ms": "200"}
ALL = (".*", ".*")
LOOK = ("HEAD|GET", r"quality_report\.tsv")  # for the report
READ = ("GET", r"quality_report\.tsv$")  # the report
DATA, LAST = {"delta": ("part-", r"_delta_log/\d{20}\.json$"), "iceberg": ("data/", "metadata/snap-")}[FORMAT]
UPLOAD = ("PUT", f"checkm2/{DATA}")  # a data file of the table
COMMIT = ("PUT", f"checkm2/{LAST}")  # what S3 gets last: on Iceberg, the catalog does the rest
LOG_COMMIT = ("PUT", f"import_log/{LAST}")


@pytest.fixture(scope="module")
def proxied(lake):
    """A lake of its own whose Spark has the proxy between itself and S3, and the proxy."""
    lake.stop_session()
    with Lake(s3=None if lake.s3.name == "environment" else lake.s3.name) as lake, proxy_before(lake) as proxy:
        lake.settings |= {f"spark.hadoop.fs.s3a.{name}": value for name, value in GIVE_UP_SOON.items()}
        lake.settings["spark.hadoop.fs.s3a.endpoint"] = proxy.url
        if FORMAT == "iceberg":  # whose tables are written by a client of its own
            of_tables = ICEBERG_GIVES_UP_SOON | {"endpoint": proxy.url}
            lake.settings |= {f"spark.sql.catalog.my.s3.{name}": value for name, value in of_tables.items()}
        yield lake, proxy
        lake.stop_session()


@pytest.fixture(scope="module")
def proxy(proxied):
    """The proxy."""
    return proxied[1]


@pytest.fixture(scope="module")
def desk(proxied):
    """A namespace with a table of two genomes and a log, for all tests here."""
    desk = Desk(proxied[0], "faults")
    desk.good(report(Name="first"))
    desk.good(report(Name="second"))
    return desk


_jobs = itertools.count()


@dataclass
class Event:
    """An event of a job whose four genomes no other job has."""

    desk: Desk
    job: dict
    text: str  # of its report, ASCII
    stem: str  # with what its genomes' names begin

    def deliver(self):
        """Deliver it."""
        return self.desk.lake.deliver(self.job, meta={"table": f"{self.desk.namespace}.checkm2"})

    def fails(self) -> str:
        """Deliver it; it must fail. The message, without job and paths."""
        error = self.deliver().error
        assert error is not None, "it was imported"
        secrets = (self.desk.lake.s3.access_key, self.desk.lake.s3.secret_key)
        assert not any(word in str(error) for word in ("\tat ", *secrets))
        message = re.sub(r"\d{20}\.json", "N.json", str(error))
        message = re.sub(
            r"stage \d+\.0|TID \d+|\([\d.]+ executor driver\)", lambda told: re.sub("[0-9.]+", "N", told[0]), message
        )
        message = message.replace(f"expected: {len(self.text)};", "expected: SIZE;")
        for name, value in {
            "JOB": self.job["id"],
            "TABLE": self.desk.full("checkm2"),
            "BUCKET": self.desk.lake.bucket,
            "NS": f"users-sql-warehouse/desk/u_desk__{self.desk.namespace}.db",
        }.items():
            message = message.replace(value, name)
        return message

    def rows(self) -> int:
        """How many rows the table has of it."""
        return sum(name.startswith(self.stem) for name in self.desk.rows())

    def log(self) -> list[tuple]:
        """What the import log has of it."""
        return [row for job, *row in self.desk.log("cts_job_id", "status", "rows_inserted") if job == self.job["id"]]

    def is_imported_by_a_redelivery(self):
        """Deliver it again, now that S3 is well: each row is there once, the log has it, and yet another delivery does nothing."""
        assert self.deliver().error is None
        assert self.rows() == 4
        assert [status for status, _ in self.log()].count("imported") == 1
        before = self.desk.commits(), self.desk.commits("import_log")
        assert self.deliver().error is None
        assert (self.desk.commits(), self.desk.commits("import_log")) == before


@pytest.fixture
def event(desk):
    """An event that was not delivered yet."""
    stem = f"job{next(_jobs)}_"
    text = "\n".join(stem + row if n and row else row for n, row in enumerate(NEW.split("\n")))
    return Event(desk, desk.lake.job(IMAGE, {"quality_report.tsv": text}), text, stem)


# faults that pass

PASSING = {
    "busy": answer(503, "SlowDown", ALL, times=2, skip=5),
    "failing": answer(500, "InternalError", LOOK, times=1),
    "slow": fault("delay", LOOK, times=1, skip=1, seconds=2),
    "a report truncated on its way": fault("cut", READ, times=1, bytes=300),
    "an upload broken off": fault("refuse", UPLOAD, times=1),
    "an upload whose answer was lost": fault("lose", UPLOAD, times=1),
    "a commit that was busy": answer(503, "SlowDown", COMMIT, times=1),
}


def test_an_import_survives_faults_that_pass(event, proxy):
    with proxy.spoiling(*PASSING.values()):
        assert event.deliver().error is None
    assert (event.rows(), event.log()) == (4, [["imported", 4]])


def test_a_commit_whose_answer_was_lost_is_made_once(event, proxy):
    before = event.desk.commits()
    with proxy.spoiling(fault("lose", COMMIT, times=1)):
        assert event.deliver().error is None
    assert (event.rows(), event.log(), event.desk.commits()) == (4, [["imported", 4]], before + 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PASSING)
def test_an_import_survives_each_fault_that_passes(event, proxy, kind):
    with proxy.spoiling(PASSING[kind]):
        assert event.deliver().error is None
    assert (event.rows(), event.log()) == (4, [["imported", 4]])
    event.is_imported_by_a_redelivery()


# faults that last

LASTING = {
    "S3 is busy": answer(503, "SlowDown", ALL),
    "S3 fails": answer(500, "InternalError", ALL),
    "the report cannot be read": answer(500, "InternalError", READ),
    "the report is always truncated": fault("cut", READ, bytes=0),
    "unknown key": answer(403, "InvalidAccessKeyId", ALL),
    "wrong secret": answer(403, "SignatureDoesNotMatch", ALL),
    "no access to the report": answer(403, "AccessDenied", LOOK),
    "no access to its text": answer(403, "AccessDenied", READ),
    "no bucket of the report": answer(404, "NoSuchBucket", LOOK),
    "the report was deleted while it was read": answer(404, "NoSuchKey", READ),
    "no access to the table": answer(403, "AccessDenied", UPLOAD),
    "an upload always broken off": fault("refuse", UPLOAD),
    "the commit is refused": answer(403, "AccessDenied", COMMIT),
    "the commit fails": answer(500, "InternalError", COMMIT),
}
IN_CI = {
    "S3 is busy",
    "the report is always truncated",
    "unknown key",
    "no access to the report",
    "the report was deleted while it was read",
    "the commit is refused",
}

REDELIVERED = {"the commit is refused", "an upload always broken off"}

NOTHING_DONE = "No table was changed."
PERHAPS_DONE = "It is not known whether TABLE holds its rows; a redelivery completes it."
SPARK_FAILED = "Spark failed:"
SEE_TO_SPARK = "If the cause was temporary, replay the job; otherwise ask the people who run Spark and its storage."


def said(state, what, *where, todo=SEE_TO_SPARK) -> str:
    """The message about a job that was not imported."""
    head = f"CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. {state} {what}"
    return "\n".join([head, *(f"  {line}" for line in where), todo])


def listing(table, exception, answer) -> str:
    """What Spark says if it cannot list the log of a table."""
    said_by_s3 = (
        f"listObjects() on s3a://BUCKET/NS/{table}/_delta_log: software.amazon.awssdk.services.s3.model.{answer}"
    )
    return f"Py4JJavaError: {exception}: {said_by_s3}"


def nothing_works(exception, answer, answer_about_log=None) -> str:
    """The message if not even the import log can be written."""
    log = listing("import_log", exception.replace("checkm2", "import_log"), answer_about_log or answer)
    return said(
        NOTHING_DONE,
        SPARK_FAILED,
        listing("checkm2", exception, answer),
        f"(The import log could not be written: {log})",
    )


def s3_said(status, more="") -> str:
    """An answer of S3 as Spark tells it."""
    return f"S3Exception: (Service: S3, Status Code: {status}, Request ID: null){more}"


SDK = "software.amazon.awssdk"
DENIED = "java.nio.file.AccessDeniedException"
REPORT = "s3a://BUCKET/cts/output/JOB/quality_report.tsv"
READING = f"Py4JJavaError: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file {REPORT}.  SQLSTATE: KD001 … caused by"
WRITING = "Py4JJavaError: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to s3a://BUCKET/NS/checkm2. SQLSTATE: 58030 … caused by"
COMMITTING = "Writing Object on NS/checkm2/_delta_log/N.json:"

SAID = {
    "S3 is busy": nothing_works(
        "org.apache.hadoop.fs.s3a.AWSServiceThrottledException", s3_said(503, f":SlowDown: {s3_said(503)[13:]}")
    ),
    "S3 fails": nothing_works(
        "org.apache.hadoop.fs.s3a.AWSStatus500Exception", s3_said(500, f":InternalError: {s3_said(500)[13:]}")
    ),
    "the report cannot be read": said(NOTHING_DONE, SPARK_FAILED, f"{READING} {SDK}.services.s3.model.{s3_said(500)}"),
    "the report is always truncated": said(
        NOTHING_DONE,
        SPARK_FAILED,
        f"{READING} {SDK}.thirdparty.org.apache.http.ConnectionClosedException: Premature end of Content-Length delimited message body (expected: SIZE; received: 0)",
    ),
    "unknown key": nothing_works(f"{DENIED}: s3a://BUCKET/NS/checkm2/_delta_log", s3_said(403, ":InvalidAccessKeyId")),
    "wrong secret": nothing_works(
        f"{DENIED}: s3a://BUCKET/NS/checkm2/_delta_log", s3_said(403, ":SignatureDoesNotMatch")
    ),
    "no access to the report": said(
        NOTHING_DONE,
        "The output files cannot be read.",
        f"Py4JJavaError: {DENIED}: {REPORT}: getFileStatus on {REPORT}: {SDK}.services.s3.model.S3Exception: Forbidden (Service: S3, Status Code: 403, Request ID: null):null",
        todo="Check the storage and its credentials, then replay the job.",
    ),
    "no access to its text": said(NOTHING_DONE, SPARK_FAILED, f"{READING} {SDK}.services.s3.model.{s3_said(403)}"),
    "no bucket of the report": said(
        NOTHING_DONE,
        "An output file that the job lists is not on S3:",
        "BUCKET/cts/output/JOB/quality_report.tsv",
        todo="Restore it if it was deleted or moved, then replay the job.",
    ),
    "the report was deleted while it was read": said(
        NOTHING_DONE,
        SPARK_FAILED,
        f"Py4JJavaError: org.apache.spark.SparkException: [FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file {REPORT}. File does not exist. It is possible the underlying files have been updated.\nYou can explicitly invalidate the cache in Spark by running 'REFRESH TABLE tableName' command in SQL or by recreating … caused by {SDK}.services.s3.model.NoSuchKeyException: (Service: S3, Status Code: 404, Request ID: null)",
    ),
    "no access to the table": said(PERHAPS_DONE, SPARK_FAILED, f"{WRITING} {SDK}.services.s3.model.{s3_said(403)}"),
    "an upload always broken off": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"{WRITING} {SDK}.thirdparty.org.apache.http.NoHttpResponseException: The target server failed to respond",
    ),
    "the commit is refused": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"Py4JJavaError: {DENIED}: NS/checkm2/_delta_log/N.json: {COMMITTING} {SDK}.services.s3.model.{s3_said(403, ':AccessDenied')}",
    ),
    "the commit fails": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"Py4JJavaError: org.apache.hadoop.fs.s3a.AWSStatus500Exception: {COMMITTING} {SDK}.services.s3.model.{s3_said(500, f':InternalError: {s3_said(500)[13:]}')}",
    ),
    "the answer to the commit is lost": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"Py4JJavaError: org.apache.hadoop.fs.s3a.HttpChannelEOFException: {COMMITTING} {SDK}.core.exception.SdkClientException: Unable to execute HTTP request: The target server failed to respond … caused by {SDK}.thirdparty.org.apache.http.NoHttpResponseException: The target server failed to respond",
    ),
    "the log is refused": "CTS job JOB was imported into TABLE, but the import log could not be written:\n"
    f"  Py4JJavaError: {DENIED}: NS/import_log/_delta_log/N.json: {COMMITTING.replace('checkm2', 'import_log')} {SDK}.services.s3.model.{s3_said(403, ':AccessDenied')}\n"
    "All its rows are in. A redelivery or a replay writes the log.",
}


def nothing_works_on_iceberg(word, status) -> str:
    """The message if not even the import log can be read; the client of Iceberg's tables names no file."""
    told = f"{ANSWER}{s3_said(status).replace(': ', f': {word} ', 1)}"
    return said(NOTHING_DONE, SPARK_FAILED, told, f"(The import log could not be written: {told})")


ANSWER = f"Py4JJavaError: {SDK}.services.s3.model."
ABORTED = "Py4JJavaError: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage N failed 1 times, most recent failure: Lost task 0.0 in stage N (TID N) (N executor driver): java.io.UncheckedIOException: Failed to close current writer … caused by"

ON_ICEBERG = {
    "S3 is busy": nothing_works_on_iceberg("Service Unavailable", 503),
    "S3 fails": nothing_works_on_iceberg("Internal Server Error", 500),
    "unknown key": nothing_works_on_iceberg("Forbidden", 403),
    "wrong secret": nothing_works_on_iceberg("Forbidden", 403),
    "no access to the table": said(PERHAPS_DONE, SPARK_FAILED, f"{ABORTED} {SDK}.services.s3.model.{s3_said(403)}"),
    "an upload always broken off": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"{ABORTED} {SDK}.thirdparty.org.apache.http.NoHttpResponseException: The target server failed to respond",
    ),
    "the commit is refused": said(PERHAPS_DONE, SPARK_FAILED, f"{ANSWER}{s3_said(403)}"),
    "the commit fails": said(PERHAPS_DONE, SPARK_FAILED, f"{ANSWER}{s3_said(500)}"),
    "the answer to the commit is lost": said(
        PERHAPS_DONE,
        SPARK_FAILED,
        f"Py4JJavaError: {SDK}.core.exception.SdkClientException: Unable to execute HTTP request: The target server failed to respond … caused by {SDK}.thirdparty.org.apache.http.NoHttpResponseException: The target server failed to respond",
    ),
    "the log is refused": "CTS job JOB was imported into TABLE, but the import log could not be written:\n"
    f"  {ANSWER}{s3_said(403)}\n"
    "All its rows are in. A redelivery or a replay writes the log.",
}
if FORMAT == "iceberg":
    SAID |= ON_ICEBERG


def some_in_ci(kinds):
    """The kinds of faults, those marked as slow that CI leaves out."""
    return [pytest.param(kind, marks=() if kind in IN_CI else pytest.mark.slow, id=kind) for kind in kinds]


@pytest.mark.parametrize("kind", some_in_ci(LASTING))
def test_a_fault_that_lasts_is_one_message_and_changes_nothing(event, proxy, kind):
    before = event.desk.commits()
    with proxy.spoiling(LASTING[kind]):
        message = event.fails()
    assert message == SAID[kind]
    assert event.desk.commits() == before
    if kind in REDELIVERED:
        event.is_imported_by_a_redelivery()


def test_a_commit_whose_answer_is_always_lost_is_found_by_the_redelivery(event, proxy):
    """On Delta, what S3 got is the commit; on Iceberg, the catalog was never asked to make it."""
    before = event.desk.commits()
    with proxy.spoiling(fault("lose", COMMIT)):
        assert event.fails() == SAID["the answer to the commit is lost"]
    done = {"delta": (4, before + 1), "iceberg": (0, before)}[FORMAT]
    assert (event.rows(), event.desk.commits()) == done
    event.is_imported_by_a_redelivery()
    assert event.desk.commits() == before + 1


@pytest.mark.slow
def test_a_log_that_cannot_be_written_is_written_by_the_redelivery(event, proxy):
    with proxy.spoiling(answer(403, "AccessDenied", LOG_COMMIT)):
        assert event.fails() == SAID["the log is refused"]
    assert event.rows() == 4
    event.is_imported_by_a_redelivery()


@pytest.mark.parametrize("size", ["in the driver", pytest.param("in Spark", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("where", ["in a row", pytest.param("in the last field", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("size")
def test_a_body_that_ends_early_and_says_that_it_is_whole_is_not_half_an_import(event, proxy, where):
    behind = {"in a row": 100, "in the last field": 3}[where]
    with proxy.spoiling(fault("shorten", READ, times=1, bytes=len(event.text) - behind)):
        said = event.fails()
    assert "No table was changed." in said
    event.is_imported_by_a_redelivery()
