"""What an operator learns of the imports of all users: counts, reasons, warnings; as text, JSON, metrics and a page."""

import itertools
import json
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta

import pytest
from browser import headless_chromium, requested
from conftest import FORMAT, ROOT
from promql_parser import parse
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from cdmeventimporters.core.log import LOG_COLUMNS, Entry
from cdmeventimporters.core.platform import table_format
from cdmeventimporters.core.session import import_session
from cdmeventimporters.core.tables import frame_of
from cdmeventimporters.dev.operate.status import (
    as_metrics,
    as_page,
    busy_tables,
    failures,
    imports,
    inputs_without_rows,
    read_status,
    warnings,
)

NOW = datetime.now(UTC).replace(microsecond=0)
CHECKM2, GENOMAD = "ghcr.io/kbasetest/cdm_checkm2", "docker.io/antoniopcamargo/genomad"
BAD = "Name '…', column Completeness: '…' is not a number"
_users = itertools.count()


def message(job: str, table: str, name="bin.1", line=2) -> str:
    """What the engine says of a bad row."""
    return (
        f"CTS job {job} ({CHECKM2}) was not imported into {table}. No table was changed. 1 of {line} rows is bad:\n"
        f"  cts/io/{job}/quality_report.tsv, line {line}, Name {name!r}, column Completeness: '9l.{line}' is not a number\n"
        "Fix the file and replay the job."
    )


class History:
    """A user's log that a test writes."""

    def __init__(self, lake):
        self.spark, self.user = lake.get_spark(), f"st{next(_users)}"
        self.namespace = f"u_{self.user}__autoimport"
        self.log = f"{self.namespace}.import_log"

    def entry(self, job, ago, table="checkm2", image=CHECKM2, failed="", rows=3, seconds=5) -> Entry:
        """An entry that ended so many hours ago."""
        full, end = f"{self.namespace}.{table}", NOW - timedelta(hours=ago)
        numbers = {} if failed or rows is None else {"rows_read": rows, "rows_inserted": rows, "rows_updated": 0}
        times = {"started": end - timedelta(seconds=seconds), "finished": end}
        return Entry(job, table, 1, full, "failed" if failed else "imported", failed or None, image, **times, **numbers)

    def bad(self, job, ago, **more) -> Entry:
        """An entry of a job with a bad row."""
        return self.entry(job, ago, failed=message(job, f"{self.namespace}.checkm2", **more))

    def write(self, *entries: Entry, columns=LOG_COLUMNS) -> None:
        """Append entries to the log."""
        places = [[c.name for c in LOG_COLUMNS].index(c.name) for c in columns]
        rows, tables = [[astuple(e)[n] for n in places] for e in entries], table_format(self.spark)
        tables.create_namespace(self.log)
        with import_session(self.spark, tables.settings), tables.exclusive([self.log], "a test"):
            tables.ensure(self.log, columns, "Import log", tables.check(self.log, columns))
            tables.append(self.log, frame_of(self.spark, columns, rows))

    def status(self, **how):
        """The status of this user."""
        return read_status(self.spark, NOW - timedelta(days=1), user=self.user, **how)


@pytest.fixture
def history(lake):
    """A user's empty log."""
    return History(lake)


@pytest.fixture
def said(run_command):
    """How a command ended, and what it said."""

    def run(*arguments):
        ran = run_command(*arguments)
        return ran.exit_code, ran.stdout

    return run


def test_jobs_count_once_by_what_became_of_them_last(history):
    tables = ("genomad_virus_summary", "genomad_plasmid_summary")
    history.write(
        history.entry("a", 5),
        history.entry("a", 4, rows=None),  # its event came again
        history.bad("b", 3),
        history.entry("b", 2, rows=7, seconds=15),  # and was imported since
        history.bad("c", 3, name="bin 'x'"),
        history.bad("d", 1, name="b, c", line=77),
        history.entry("old", 25, failed="Spark failed."),
        *(history.entry("e", 1, table, GENOMAD, rows=10) for table in tables),
        *(history.entry("f", 1, table, GENOMAD, failed="CTS job f (x) was not imported into a.b. No table was changed. Spark failed:\n  OSError: s3a://a/b: 503") for table in tables),
    )  # fmt: skip
    status = history.status()
    found = [[f[k] for k in ("importer", "reason", "jobs", "job")] for f in failures(status)]
    assert found == [["checkm2", BAD, 2, "d"], ["genomad", "Spark failed: OSError: … n", 1, "f"]]
    assert failures(status)[0]["message"] == message("d", f"{history.namespace}.checkm2", "b, c", 77)
    found = [[i[k] for k in ("importer", "imported", "failed", "rows", "seconds")] for i in imports(status)]
    assert found == [["checkm2", 2, 2, 10, 8.3], ["genomad", 1, 1, 20, 5.0]]
    assert [f["importer"] for f in failures(history.status(importer="genomad"))] == ["genomad"]
    assert warnings(status) == []


def test_inputs_that_a_tool_left_out_are_listed(history, said, tmp_path):
    known = [
        (history.entry("a", 5), 2),
        (history.entry("b", 4), None),
        (history.entry("b", 3, rows=None), 1),
        (history.entry("c", 2), 0),
    ]
    history.write(*(replace(entry, inputs_without_rows=n) for entry, n in known))
    status, table = history.status(), f"{history.namespace}.checkm2"
    assert [[r[k] for k in ("inputs", "user", "table", "job")] for r in inputs_without_rows(status)] == [
        [1, history.user, table, "b"], [2, history.user, table, "a"]]  # fmt: skip
    assert 'cdm_importers_inputs_without_rows{importer="checkm2"} 3.0' in as_metrics(status, set())
    assert "Inputs without rows" in as_page(status)
    code, shown = said("status", "--since", "24h", "--user", history.user, "--markdown")
    assert code == 0
    assert f"| 2 | checkm2 | {history.user} | {table} | a |" in " ".join(shown.split()).replace("| |", "|\n|")


def test_ten_thousand_failures_with_one_cause_are_one_line(history):
    history.write(*(history.bad(f"job{n}", n / 1000, name=f"bin.{n}", line=n) for n in range(10_000)))
    [failure] = failures(history.status())
    assert (failure["jobs"], failure["reason"], failure["job"]) == (10_000, BAD, "job0")


def test_a_log_of_an_older_version_counts(history):
    names = ("cts_job_id", "importer", "table", "status", "error", "rows_inserted", "started", "finished")
    columns = [c for c in LOG_COLUMNS if c.name in names]
    history.write(history.entry("a", 1), history.bad("b", 1), columns=columns)
    status = history.status()
    assert [(i["importer"], i["imported"], i["failed"], i["rows"]) for i in imports(status)] == [("checkm2", 1, 1, 3)]


def test_a_log_that_cannot_be_read_hides_no_other(history, lake):
    broken = History(lake)
    for one in (history, broken):
        one.write(one.entry("a", 1))
    place = broken.spark.sql(f"DESCRIBE EXTENDED {broken.log}").where("col_name = 'Location'").collect()[0].data_type
    bucket, _, folder = place.split("://")[1].partition("/")
    s3 = lake.s3.client()
    names = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]]
    kept = {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}
    for name in kept:
        s3.delete_object(Bucket=bucket, Key=name)
    try:
        forget_tables(broken.spark)
        status = history.status()
    finally:
        for name, content in kept.items():
            s3.put_object(Bucket=bucket, Key=name, Body=content)
    assert imports(status)[0]["imported"] == 1
    [sentence] = [s for s in warnings(status) if broken.namespace in s]
    assert sentence.startswith(f"The log of {broken.namespace} cannot be read, so it is left out: ")
    assert "\tat " not in sentence


def forget_tables(spark) -> None:
    """Let a session read anew what tables are."""
    if FORMAT == "delta":
        spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def test_a_clock_that_is_ahead_is_named(history):
    history.write(history.entry("a", -2))
    at = f"{NOW + timedelta(hours=2):%Y-%m-%d %H:%M}"
    sentence = f"An entry of {history.namespace} is dated {at}, which is in the future: set the clock of the driver that wrote it."
    assert warnings(history.status()) == [sentence]


def test_the_command_prints_counts_and_ends_with_1_while_a_job_waits(history, said):
    history.write(history.entry("a", 1))
    assert said("status", "--user", history.user)[0] == 0
    history.write(history.bad("b", 1))
    code, text = said("status", "--user", history.user, "--since", "24h")
    assert code == 1
    assert text.index("Failed, and not imported since") < text.index("Imported")
    assert max(map(len, text.splitlines())) <= 80
    code, text = said("status", "--user", history.user, "--json")
    document = json.loads(text)
    assert (code, document["failures"][0]["jobs"], document["imports"][0]["rows"]) == (1, 1, 3)
    code, text = said("status", "--user", history.user, "--markdown")
    assert f"| 1 | checkm2 | {history.user} | Name '…', column Completeness: '…' is not a number |" in text
    assert said("status", "--user", "nobody") == (0, "Failed, and not imported since: none\nImported: none\n")
    assert said("status", "--since", "yesterday")[0] == 1


def test_the_log_command_ends_with_1_while_a_job_waits(history, said):
    history.write(history.entry("a", 1), history.bad("b", 30))
    code, text = said("log", "--namespace", history.namespace, "--json")
    assert (code, [row["job_id"] for row in json.loads(text)["failed"]]) == (1, ["b"])
    assert json.loads(text)["failed"][0]["user"] == history.user
    code, text = said("log", "--namespace", history.namespace, "--since", "24h")
    assert (code, "Failed, and not imported since: none" in text) == (0, True)


DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())


def test_prometheus_gets_figures_by_importer_and_busy_tables(history):
    history.write(history.entry("a", 2, seconds=4), history.bad("b", 1))
    status = history.status()
    busy = busy_tables(history.spark, status.tables)
    lines = as_metrics(status, busy | {f"{history.namespace}.checkm2"}).splitlines()
    for line in ("imported_jobs", "failed_jobs", "busy_tables"):
        assert f'cdm_importers_{line}{{importer="checkm2"}} 1.0' in lines
    [last] = [line.split()[1] for line in lines if line.startswith("cdm_importers_last_success_timestamp_seconds{")]
    assert float(last) == (NOW - timedelta(hours=2)).timestamp()
    assert "cdm_importers_unreadable_logs 0.0" in lines


def test_a_table_is_busy_while_an_importer_holds_it_or_waits(history):
    table = f"{history.namespace}.checkm2"
    history.write(history.entry("a", 1))
    tables = table_format(history.spark)
    tables.ensure(table, LOG_COLUMNS[:1], "A table", {})
    assert busy_tables(history.spark, [table]) == set()
    if FORMAT == "iceberg":
        history.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('cdm-importers.waiting.1.a'='waiting')")
        assert busy_tables(history.spark, [table]) == {table}
    else:
        with tables.exclusive([table], "a test"):
            assert busy_tables(history.spark, [table]) == {table}
        assert busy_tables(history.spark, [table]) == set()


def test_the_dashboard_asks_for_metrics_that_there_are(history):
    history.write(history.entry("a", 1))
    text = as_metrics(history.status(), set())
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert len(queries) == len(DASHBOARD["panels"])
    for query in queries:
        assert any(name in parse(query).prettify() for name in names)
    shown = " ".join(queries)
    assert {name for name in names if name not in shown} == {"cdm_importers_window_seconds"}


def test_text_in_a_page_stays_text(history):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    history.write(history.entry("a", 1), history.entry(hostile, 1, failed=f"CTS job x was not imported: {hostile}"))
    page = as_page(history.status())
    assert "<img" not in page
    assert page.count("<script") == 2
    assert "&lt;img src=x onerror=alert(2)&gt;" in page


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with headless_chromium() as chrome:
        yield chrome


def test_the_page_in_a_browser_filters_and_shows_hostile_text_as_text(lake, browser, tmp_path):
    kim, lee = History(lake), History(lake)
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    kim.write(kim.entry("a", 1, rows=5), kim.entry(hostile, 1, failed=f"CTS job x was not imported: {hostile}"))
    lee.write(*(lee.entry(f"b{n}", 2) for n in range(3)), lee.bad("c", 3))
    file = tmp_path / "status.html"
    file.write_text(as_page(read_status(lake.get_spark(), NOW - timedelta(days=1))))
    _ = requested(browser), browser.get_log("browser")  # what pages before did
    browser.get(file.as_uri())

    def shown(selector):
        return [e.text for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def counts():
        return shown("#imported") + shown("#failed")

    user = Select(browser.find_element(By.NAME, "user"))
    user.select_by_visible_text(kim.user)
    assert counts() == ["1", "1"]
    [reason] = shown("summary")
    assert reason.startswith(f"1 of checkm2, {kim.user}: ")
    next(e for e in browser.find_elements(By.TAG_NAME, "summary") if e.is_displayed()).click()
    assert f"CTS job x was not imported: {hostile}" in shown("pre")
    user.select_by_visible_text(lee.user)
    assert counts() == ["3", "1"]
    assert shown("summary") == [f"1 of checkm2, {lee.user}: {BAD}"]
    bars = browser.find_elements(By.CSS_SELECTOR, "#timeline rect")
    assert sorted(bar.get_attribute("class") for bar in bars) == ["failed", "imported"]
    browser.find_element(By.NAME, "text").send_keys("no such text")
    assert shown("summary") == []
    assert browser.execute_script("return [document.images.length, document.scripts.length]") == [0, 2]
    assert browser.get_log("browser") == []
    assert requested(browser) == {file.as_uri()}
