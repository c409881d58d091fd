"""What an operator does: run, replay, withdraw, maintain, read the log; and what is said of a mistake."""

import itertools
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from conftest import IMAGE, NEW, OLD, ROWS, SAMPLES, TOOLS, report
from rich.console import Console
from typer.testing import CliRunner

from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.locks import lock_numbers, remembered
from cdmeventimporters.dev.catalog import find_importer
from cdmeventimporters.dev.cli import app
from cdmeventimporters.dev.errors import UsageError
from cdmeventimporters.dev.operate import cts as asking
from cdmeventimporters.dev.operate import named_spark
from cdmeventimporters.dev.operate.backfill import backfill, tally, waiting_jobs
from cdmeventimporters.dev.operate.cts import completed_jobs, cts_job, job_info
from cdmeventimporters.dev.operate.log import import_log, newest, point_in_time, show_log
from cdmeventimporters.dev.operate.replay import as_job_info, failed_jobs, read_documents, replay, summary
from cdmeventimporters.dev.operate.run import output_names, run_files, show_rows
from cdmeventimporters.dev.operate.sql import run_under_lock
from cdmeventimporters.dev.terminal import rows_table

pytestmark = pytest.mark.once
_users = itertools.count()
TOKEN = "t0p-s3cret"


class Cts(ThreadingHTTPServer):
    """A CTS that knows some jobs, tells them to one token, and remembers what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.jobs, self.asked, self.elsewhere = {}, [], None
        self.busy, self.page = [], 1000  # statuses that it answers with first; jobs that it lists at most

    @property
    def url(self):
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def document(self, info) -> dict:
        """Let it know a job; the document of it."""
        known = {k: info[k] for k in ("id", "outputs", "input_file_count", "output_file_count")}
        image = {"name": info["image"], "digest": info["image_digest"], "tag": "1.0.2", "registered_by": "kim"}
        times = [{"state": s, "time": t} for s, t in [("created", "2025-01-01T00:00:00Z"), ("complete", "2025-01-01T00:00:00Z"), ("complete", str(info["completion_time"]))]]  # fmt: skip
        user = info["namespace_prefix"].removeprefix("u_").removesuffix("__")
        known |= {"state": "complete", "user": user, "image": image, "transition_times": times, "job_input": {}}
        return self.jobs.setdefault(info["id"], known)


class Answer(BaseHTTPRequestHandler):
    """What it answers."""

    def do_GET(self):
        cts, path, query = self.server, urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        job = self.listed(query) if path.endswith("/jobs") else cts.jobs.get(unquote(path.rsplit("/", 1)[1]))
        cts.asked.append((self.path, self.headers["Authorization"]))
        if cts.elsewhere:
            self.send_response(302)
            self.send_header("Location", cts.elsewhere + self.path)
        else:
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}" and not (
                self.path.startswith("/admin") and job and job.get("user") == "not an admin"
            )
            status = 403 if not allowed else 200 if job else 404
            self.send_response(cts.busy.pop() if cts.busy else status)
        self.end_headers()
        self.wfile.write(json.dumps(job).encode())

    def listed(self, query) -> dict:
        """The newest jobs between two times, without their outputs."""
        changed = lambda job: datetime.fromisoformat(job["transition_times"][-1]["time"])  # noqa: E731
        before, after = (datetime.fromisoformat(query[end][0]) if end in query else None for end in ("before", "after"))
        found = [
            {k: v for k, v in job.items() if k != "outputs"}
            for job in self.server.jobs.values()
            if job["state"] in query.get("state", [job["state"]])
            and (not before or changed(job) < before)
            and (not after or changed(job) >= after)
            and job["user"] in query.get("user", [job["user"]])
        ]
        limit = min(self.server.page, int(query.get("limit", [1000])[0]))
        return {"jobs": sorted(found, key=changed, reverse=True)[:limit]}

    def log_message(self, *args):
        """Say nothing."""


@contextmanager
def serving():
    """A CTS that answers."""
    cts = Cts()
    threading.Thread(target=cts.serve_forever, daemon=True).start()
    yield cts
    cts.shutdown()
    cts.server_close()


@pytest.fixture
def cts(monkeypatch):
    """A CTS that the environment names."""
    with serving() as cts:
        monkeypatch.setenv("CDM_CTS_URL", cts.url)
        monkeypatch.setenv("CDM_CTS_TOKEN", TOKEN)
        yield cts


class Operator:
    """An operator with a user's namespace, as CSEP's importers write it: `u_opN__autoimport`."""

    def __init__(self, lake):
        self.lake, self.user = lake, f"op{next(_users)}"
        self.namespace = f"u_{self.user}__autoimport"
        self.table = f"{self.namespace}.checkm2"

    def job(self, text, day=1, image=IMAGE) -> dict:
        """A job that completed on that day."""
        at = datetime(2025, 4, day, tzinfo=UTC)
        return self.lake.job(image, {"quality_report.tsv": text}, user=self.user, completion_time=at)

    def replay(self, document, **how):
        """What became of a job."""
        return replay(self.lake.get_spark, document, **how)

    def rows(self) -> list[tuple]:
        """What the table holds."""
        rows = self.lake.get_spark().table(self.table).select("Name", "cts_job_id").collect()
        return sorted(tuple(row) for row in rows)

    def commits(self, name="checkm2"):
        """How often a table was written to."""
        log = f"users-sql-warehouse/{self.lake.user}/{self.namespace}.db/{name}/_delta_log/"
        found = self.lake.s3.client().list_objects_v2(Bucket=self.lake.bucket, Prefix=log)["Contents"]
        return sum(file["Key"].endswith(".json") for file in found)


@pytest.fixture
def operator(lake):
    """A user's namespace that no other test has."""
    return Operator(lake)


def shown(*what, width=200) -> str:
    """What a terminal of this width shows."""
    console = Console(file=StringIO(), width=width)
    for one in what:
        console.print(one)
    return console.file.getvalue()


def said(*arguments) -> tuple[int, str]:
    """How a command ended, and what it said."""
    ran = CliRunner().invoke(app, [str(x) for x in arguments])
    assert "Traceback" not in ran.output
    return ran.exit_code, ran.output


# run


def test_files_of_one_name_keep_the_folders_that_tell_them_apart(tmp_path):
    paths = [tmp_path / x for x in ("a/out/report.tsv", "b/out/report.tsv", "b/log.txt")]
    assert output_names(paths) == {"a/out/report.tsv": paths[0], "b/out/report.tsv": paths[1], "b/log.txt": paths[2]}
    assert output_names([paths[0], tmp_path / "b/../a/out/report.tsv"]) == {"report.tsv": paths[0]}


def test_run_imports_local_files_and_shows_the_rows(lake):
    steps, console = [], Console(file=StringIO(), width=100)
    imported = run_files(
        lake, "checkm2", [SAMPLES / v / "quality_report.tsv" for v in ("1.0.1", "1.0.2")], steps.append
    )
    assert steps == ["starting Spark", "importing 2 files", "reading the table"]
    for name, rows in imported.items():
        show_rows(console, name, rows)
    text = console.file.getvalue()
    assert text.startswith("autoimport.checkm2: 7 rows")
    assert "Completeness" in text
    assert "20231107" in text
    assert "cts_job_id" not in text
    assert "_rescued_data" not in text


def test_a_name_in_a_table_is_no_markup():
    from pyspark.sql import Row

    assert "[red]bin[/] [1]" in shown(rows_table([Row(Name="[red]bin[/] [1]")], 80))


def test_what_run_says_of_mistakes(tmp_path):
    assert said("run", "checkm3", SAMPLES / "1.0.2/quality_report.tsv") == (
        1,
        f"No importer is called checkm3; there are {', '.join(TOOLS)}.\n",
    )
    assert said("run", "--format", "icebreg", "checkm2", SAMPLES / "1.0.2/quality_report.tsv") == (
        1,
        "The format is icebreg; expected delta or iceberg.\n",
    )
    code, text = said("run", "checkm2", tmp_path / "nothing.tsv")
    assert (code, "does not exist" in text) == (2, True)


# documents


def test_documents_come_alone_in_lists_or_one_after_the_other(tmp_path):
    file = tmp_path / "x.json"
    for text, ids in [
        ('{"id": 1}', [1]),
        ('\ufeff[{"id": 1}, {"id": 2}]', [1, 2]),
        ('{"id": 1}\n{"id": 2}\r\n\n [{"id": 3}]\n', [1, 2, 3]),
        ('{"jobs": [{"id": 1}, {"id": 2}]}', [1, 2]),
    ]:
        file.write_text(text, encoding="utf-8")
        assert [x["id"] for x in read_documents(file)] == ids
    for text, message in [
        ("{'id': 1}", f"{file} cannot be read as JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("", f"{file} must hold job documents, dead letters, job_info or ids of jobs."),
        ("[1]", f"{file} must hold job documents, dead letters, job_info or ids of jobs."),
    ]:  # fmt: skip
        file.write_text(text)
        assert said("replay", file) == (1, message + "\n")


def test_a_job_document_becomes_what_csep_hands_over(cts):
    info = {"id": "j1", "outputs": [{"file": "b/k", "crc64nvme": None}], "namespace_prefix": "u_kim__", "image": IMAGE,
            "image_digest": "sha256:ab", "input_file_count": 1, "output_file_count": 1, "completion_time": "2025-04-01T00:00:00Z"}  # fmt: skip
    document = cts.document(info)
    assert job_info(document) == info
    assert job_info(document | {"job_input": {"input_files": ["in/a.fna"]}}) == info | {"input_files": ["in/a.fna"]}
    assert as_job_info({"job_id": "j1", "state": "complete", "error_dlq": "…"}) == info
    assert as_job_info(info | {"more": 1}) == info | {"more": 1}
    assert cts.asked == [("/admin/jobs/j1", f"Bearer {TOKEN}")]


def test_who_is_no_administrator_asks_for_jobs_of_his_own(cts):
    cts.jobs["j1"] = {"user": "not an admin"}
    assert cts_job("j1") == {"user": "not an admin"}
    assert [path for path, _ in cts.asked] == ["/admin/jobs/j1", "/jobs/j1"]


def refusal(job_id="j 1/x"):
    """What a replay says of a dead letter."""
    return replay(None, {"job_id": job_id}).error


def test_what_is_said_if_the_cts_does_not_tell(cts, monkeypatch):
    assert refusal() == "The CTS did not return CTS job j 1/x: it answered 404."
    assert cts.asked[-1][0] == "/admin/jobs/j%201%2Fx"
    monkeypatch.setenv("CDM_CTS_TOKEN", "another")
    assert refusal() == "The CTS did not return CTS job j 1/x: it answered 403, so it does not accept CDM_CTS_TOKEN."
    unset = "Only the CTS knows CTS job j 1/x, and it cannot be asked.\nSet CDM_CTS_URL to its address (https://…) and CDM_CTS_TOKEN to a token for it."
    monkeypatch.setenv("CDM_CTS_TOKEN", f"{TOKEN}\nand more")
    assert refusal() == unset
    monkeypatch.setenv("CDM_CTS_TOKEN", TOKEN)
    monkeypatch.setenv("CDM_CTS_URL", "file:///etc/passwd")
    assert refusal() == unset
    monkeypatch.setattr(asking, "WAITS", (0, 0))
    monkeypatch.setenv("CDM_CTS_URL", "http://127.0.0.1:9")
    assert refusal() == "The CTS did not return CTS job j 1/x: it cannot be reached: [Errno 111] Connection refused."


def test_the_token_does_not_follow_a_redirection(cts):
    with serving() as other:
        cts.elsewhere = other.url
        assert "it answered 403" in refusal("j1")
        assert [token for _, token in other.asked] == [None, None]


def test_a_cts_that_is_busy_is_asked_again(cts, monkeypatch):
    monkeypatch.setattr(asking, "WAITS", (0, 0, 0))
    cts.jobs["j1"] = {"user": "kim"}
    cts.busy = [503, 429, 500]
    assert cts_job("j1") == {"user": "kim"}
    cts.busy = [503] * 4
    assert refusal("j1") == "The CTS did not return CTS job j1: it answered 503."


def listed(cts, count, **more):
    """Let a CTS know jobs that completed on different days, two a day; their ids, the newest first."""
    for n in range(count):
        done = [{"state": "complete", "time": f"2025-05-{n // 2 + 1:02}T00:00:00Z"}]
        image = {"name": IMAGE, "digest": "sha256:ab"}
        cts.jobs[f"j{n}"] = {"id": f"j{n}", "state": "complete", "user": "kim", "image": image, "outputs": [], "transition_times": done} | more  # fmt: skip
    return [f"j{n}" for n in reversed(range(count))]


def test_a_list_is_read_page_by_page(cts):
    ids = listed(cts, 9)
    cts.jobs["other"] = cts.jobs["j0"] | {"id": "other", "state": "error"}
    cts.page = 3
    assert sorted(job["id"] for job in completed_jobs()) == sorted(ids)
    assert len(cts.asked) > 3
    day = lambda n: datetime(2025, 5, n, tzinfo=UTC)  # noqa: E731
    assert {job["id"] for job in completed_jobs(day(2), day(4))} == {"j2", "j3", "j4", "j5"}
    assert list(completed_jobs(user="lee")) == []


def test_more_jobs_at_one_moment_than_a_page_holds_are_an_error(cts, monkeypatch):
    listed(cts, 6, transition_times=[{"state": "complete", "time": "2025-05-01T00:00:00Z"}])
    monkeypatch.setattr(asking, "PAGE", 3)
    with pytest.raises(ImportFailed) as refused:
        list(completed_jobs())
    assert str(refused.value) == (
        "The CTS cannot list all jobs: 3 or more changed their state at 2025-05-01T00:00:00Z.\nReplay those by their ids."
    )


# coverage


def test_coverage_finds_what_the_tool_left_out_of_jobs_that_were_imported(operator, cts, monkeypatch):
    lake, inputs = operator.lake, [f"in/{row.split(chr(9))[0]}.fna" for row in ROWS]
    jobs = [
        operator.job(report(*ROWS), day=1),
        operator.job(report(ROWS[0]), day=2),
        operator.job(report(*ROWS), day=3),
    ]
    jobs.append(operator.job(report(ROWS[1], ROWS[1]), day=4))  # read by itself, because a row comes twice
    for info in jobs:
        cts.document(info)["job_input"] = {"input_files": inputs}
    cts.jobs[jobs[1]["id"]]["job_input"] = {"input_files": [*inputs, {"file": "in/a.fa.gz", "data_id": "d:1"}]}
    for info in (jobs[0], jobs[1], jobs[3]):  # the third was never imported
        assert lake.deliver(info).error is None
    gone = jobs[0]["outputs"][0]["file"].split("/", 1)[1]
    lake.s3.client().delete_object(Bucket=lake.bucket, Key=gone)
    monkeypatch.setattr(named_spark, "named_spark", lake.get_spark)
    code, message = said("coverage", "checkm2", "--user", operator.user)
    assert code == 1, message
    assert "checkm2: 9 inputs of 2 jobs recorded; 7 of them have no rows" in message
    assert gone in message.replace("\n", "")
    rows = lake.get_spark().table(f"{operator.namespace}.import_inputs").where("rows > 0")
    assert [tuple(r) for r in rows.orderBy("cts_completion_time").select("cts_job_id", "input_file", "rows").collect()] == [
        (jobs[1]["id"], inputs[0], 1), (jobs[3]["id"], inputs[1], 1)]  # fmt: skip
    log = lake.get_spark().table(f"{operator.namespace}.import_log").where("inputs_without_rows > 0")
    assert {(r.cts_job_id, r.inputs_without_rows) for r in log.collect()} == {(jobs[1]["id"], 4), (jobs[3]["id"], 3)}

    def commits() -> list[int]:
        names = [f"{operator.namespace}.{name}" for name in ("import_inputs", "import_log")]
        return [lake.get_spark().sql(f"DESCRIBE HISTORY {name}").count() for name in names]

    before = commits()
    lake.put(gone, report(*ROWS))
    assert said("coverage", "checkm2", "--user", operator.user)[0] == 0
    assert commits() == [n + 1 for n in before]


def test_coverage_needs_a_table_that_names_inputs():
    said_what = "No table of psortb names the inputs of a job: none declares input=."
    assert said("coverage", "psortb") == (1, f"{said_what}\n")


# backfill


def test_a_backfill_goes_on_where_it_ended(operator, cts, tmp_path):
    """Of five jobs one is imported, one is malformed and one of another tool; the first run is limited."""
    lake, importer = operator.lake, find_importer("checkm2")
    bad = operator.job(NEW.replace("97.31", "x"), day=3)
    infos = [operator.job(OLD, day=1), operator.job(NEW, day=2), bad, operator.job(report(Name="late"), day=4)]
    for info in [*infos, operator.job("x", day=5, image="example.org/other")]:
        cts.document(info)
    assert operator.replay(infos[0]).status == "imported"
    waiting = waiting_jobs(importer, point_in_time("2025-04-01"), point_in_time("2026-01-01"), operator.user)
    assert [job.id for job in waiting] == [info["id"] for info in infos]

    statuses = lambda *how: [done.status for done in backfill(lake.get_spark, importer, waiting, *how)]  # noqa: E731
    assert statuses(None, True) == ["applied", "checked", "failed", "checked"]
    assert statuses(1) == ["applied", "imported"]
    assert statuses() == ["applied", "applied", "failed", "imported"]
    cts.busy, asked = [], len(cts.asked)
    file, console = tmp_path / "report.jsonl", Console(file=StringIO(), width=200)
    counts = tally(backfill(lake.get_spark, importer, waiting), lambda _: None, console, file)
    assert counts == {"applied": 3, "failed": 1}
    assert len(cts.asked) == asked + 1  # the document of the bad one
    assert [json.loads(line)["status"] for line in file.read_text().splitlines()] == ["applied"] * 3 + ["failed"]
    assert "column Completeness: 'x' is not a number" in console.file.getvalue()
    assert ("late", infos[3]["id"]) in operator.rows()


def test_a_backfill_says_what_it_cannot_do(cts):
    assert said("backfill", "checkm2", "--since", "March") == (
        1, "'March' is no time; expected one like 2025-03-01, 2025-03-01T12:00:00Z, or 24h.\n",
    )  # fmt: skip
    cts.busy = [401]
    code, message = said("backfill", "checkm2")
    assert code == 1, message
    assert message.endswith(
        "The CTS did not return the list of jobs: it answered 401, so it does not accept CDM_CTS_TOKEN.\n"
    )


# replay


def test_failed_jobs_are_replayed_until_they_are_imported(operator, cts):
    spark, key = operator.lake.get_spark(), f"lost/{operator.user}/quality_report.tsv"
    lost = operator.job(NEW)
    lost["outputs"] = [{"file": f"{operator.lake.bucket}/{key}", "crc64nvme": None}]
    good = operator.job(OLD, day=2)
    assert [operator.replay(x).status for x in (lost, good)] == ["failed", "imported"]
    [failed] = failed_jobs(spark, operator.namespace)
    assert failed == lost | {"completion_time": str(lost["completion_time"])}

    operator.lake.put(key, NEW)
    logged, commits = operator.commits("import_log"), operator.commits()
    tried = operator.replay(failed, dry_run=True)
    assert (tried.job, tried.importer, tried.table, tried.status, tried.rows) == (
        lost["id"], "checkm2", operator.table, "checked", "4 read",
    )  # fmt: skip
    assert operator.replay(good, dry_run=True).status == "applied"
    assert operator.replay(good, dry_run=True, again=True).rows == "3 read"
    assert (operator.commits("import_log"), operator.commits()) == (logged, commits)
    done = operator.replay(cts.document(lost))
    assert (done.status, done.rows) == ("imported", "4 read, 4 new")
    assert failed_jobs(spark, operator.namespace) == []
    assert operator.replay(failed).status == "applied"


def test_a_dry_run_that_fails_says_why_and_writes_nothing(operator):
    tried = operator.replay(operator.job(report(Completeness="150")), dry_run=True)
    assert tried.status == "failed"
    assert "No table was changed. 1 of 1 rows is bad:" in tried.error
    assert not operator.lake.get_spark().catalog.databaseExists(operator.namespace)


def test_what_is_said_of_jobs_that_cannot_be_replayed(operator, cts):
    job = operator.job(NEW)
    assert [operator.replay(x).error for x in (
        job | {"image": "example.org/blast"}, cts.document(job) | {"state": "error"}, {"name": "x"},
    )] == [
        "No importer is for the image example.org/blast.\n`cdm-importers list` shows the images that have one.",
        f"CTS job {job['id']} is in state error; only complete jobs are imported.",
        "This is not a job document of the CTS, nor a dead letter, nor job_info: it has name.",
    ]  # fmt: skip
    text = shown(summary([operator.replay(job | {"image": "[x]"})]))
    assert all(x in text for x in ("job", "importer", "table", "status", "rows", "error", job["id"], "[x]", "failed"))


def test_a_wrong_job_is_withdrawn(operator, cts):
    spark = operator.lake.get_spark()
    first, wrong = (
        operator.job(NEW),
        operator.job(report(ROWS[0].replace("97.31", "12"), ROWS[1].replace("002", "x")), day=2),
    )
    assert [operator.replay(x).status for x in (first, wrong)] == ["imported"] * 2
    assert {job for _, job in operator.rows()} == {first["id"], wrong["id"]}
    for job in (first, wrong):
        cts.document(job)

    run_under_lock(spark, operator.table, f"DELETE FROM {operator.table} WHERE cts_job_id = '{wrong['id']}'")
    assert len(operator.rows()) == 3
    letter = {"job_id": first["id"]}
    assert operator.replay(letter).status == "applied"
    assert operator.replay(letter, again=True).rows == "4 read, 1 new, 3 unchanged"
    assert operator.replay({"job_id": wrong["id"]}).status == "applied"
    assert {job for _, job in operator.rows()} == {first["id"]}
    assert len(operator.rows()) == 4


# sql


def test_maintenance_runs_under_the_lock_and_gives_it_back(operator):
    spark, table = operator.lake.get_spark(), operator.table
    operator.replay(operator.job(NEW))
    before = remembered(spark, table)
    [done] = run_under_lock(spark, table, f"DELETE FROM `{operator.namespace}`.CheckM2 WHERE Name LIKE 'lakeA%'")
    assert done.num_affected_rows == 3
    with pytest.raises(UsageError) as failed:
        run_under_lock(spark, table, f"DELETE FROM {table} WHERE Nmae = 1")
    assert str(failed.value).startswith(
        f"The statement failed, and the lock of {table} was released: AnalysisException: [UNRESOLVED_COLUMN"
    )
    assert "JVM" not in str(failed.value)
    assert len(before) == 1
    assert remembered(spark, table) == before
    held = run_under_lock(
        spark, table, f"SELECT text FROM {table}_lock_{lock_numbers(spark, table)[-1] + 1} WHERE '{table}' <> ''"
    )
    assert held[0].text.startswith("SELECT by an operator on ")


def test_optimize_restore_and_vacuum_leave_a_table_that_imports(operator):
    spark, table = operator.lake.get_spark(), operator.table
    operator.replay(operator.job(NEW))
    operator.replay(operator.job(report(ROWS[0].replace("lakeA", "lakeZ")), day=2))
    [optimized] = run_under_lock(spark, table, f"OPTIMIZE {table}")
    assert (optimized.metrics.numFilesRemoved, optimized.metrics.numFilesAdded) == (2, 1)
    before = spark.sql(f"DESCRIBE HISTORY {table}").where("operation = 'WRITE'").agg({"version": "min"}).first()[0]
    [restored] = run_under_lock(spark, table, f"RESTORE TABLE {table} TO VERSION AS OF {before}")
    assert restored.num_restored_files == 1
    assert len(operator.rows()) == 4
    run_under_lock(spark, table, f"VACUUM {table} RETAIN 0 HOURS")
    assert len(spark.table(table).inputFiles()) == len(files_of(operator)) == 1
    assert operator.replay(operator.job(report(ROWS[0].replace("lakeA", "lakeY")), day=3)).rows == "1 read, 1 new"
    assert len(operator.rows()) == 5


def files_of(operator):
    """The Parquet files in the folder of the operator's table."""
    spark = operator.lake.get_spark()
    location = spark.sql(f"DESCRIBE DETAIL {operator.table}").first().location
    files = spark.read.format("binaryFile").option("pathGlobFilter", "*.parquet").load(location)
    return [row.path for row in files.select("path").collect()]


def test_what_sql_says_of_mistakes(lake):
    spark = lake.get_spark()
    for table, statement, message in [
        ("checkm2", "VACUUM checkm2", "The table to lock is checkm2; expected namespace.table."),
        ("ns.checkm2", "VACUUM ns.checkm2_rejected", "The statement does not name ns.checkm2, whose lock it would run under: VACUUM ns.checkm2_rejected"),
        ("ns.checkm2", "VACUUM ns.checkm2", "There is no table ns.checkm2."),
    ]:  # fmt: skip
        with pytest.raises(UsageError) as refused:
            run_under_lock(spark, table, statement)
        assert str(refused.value) == message


def test_a_backfill_wants_times():
    message = "'March' is no time; expected one like 2025-03-01, 2025-03-01T12:00:00Z, or 24h.\n"
    for option in ("--since", "--until"):
        assert said("backfill", "checkm2", option, "March") == (1, message)


# log


def test_the_log_shows_failures_first_and_open_ones_only_if_asked(operator):
    spark = operator.lake.get_spark()
    broken, good = operator.job(report(Completeness="150")), operator.job(NEW, day=2)
    for job in (broken, good):
        operator.replay(job)
    log, console = import_log(spark, operator.namespace), Console(file=StringIO(), width=200)
    show_log(console, newest(log))
    text = console.file.getvalue()
    assert text.index("Failed, and not imported since") < text.index(broken["id"]) < text.index(good["id"])
    assert "'150' is not between 0 and 100" in text
    console.file = StringIO()
    show_log(console, newest(log, failed=True))
    assert good["id"] not in console.file.getvalue()
    with pytest.raises(UsageError) as refused:
        import_log(spark, "u_nobody__autoimport")
    assert str(refused.value) == "There is no import log in u_nobody__autoimport: nothing was imported there."


# the command line


def test_which_spark_is_meant_must_be_named(monkeypatch, tmp_path):
    for name in ("SPARK_REMOTE", "SPARK_CONF_DIR", "SPARK_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDM_LAKE", str(tmp_path))
    message = "No Spark is named: set SPARK_REMOTE to a Spark Connect server, or SPARK_CONF_DIR or SPARK_HOME to where spark-defaults.conf is; or start a lake with `make lake`, and set CDM_LAKE if it is not this project's.\n"
    for command in (["log"], ["replay", "--failed"], ["sql", "--lock", "a.b", "VACUUM a.b"]):
        assert said(*command) == (1, message)
    monkeypatch.delenv("CDM_LAKE")
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:9/;token=s3cret")
    message = "SPARK_REMOTE names a Spark Connect server that does not answer, at 127.0.0.1: [Errno 111] Connection refused.\n"
    assert said("log") == (1, message)


def test_replay_wants_files_or_failed(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    for arguments in ([], ["--failed", tmp_path / "x.json"]):
        code, text = said("replay", *arguments)
        assert (code, "give files, or --failed" in text) == (2, True)
