"""What must not be imported: each case fails with a message that says what is wrong and where, and changes nothing but the log."""

import re

import pytest
from conftest import FORMAT, HEADER, IMAGE, NEW, OLD, ROWS, Desk, report

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core.files import crc64nvme
from cdmeventimporters.dev.author.preview import Judged, judge

pytestmark = [pytest.mark.matrix, pytest.mark.once]

FILE = r"cts/output/JOB/quality_report\.tsv"


def preview(files) -> Judged:
    """What a preview makes of the files of a CheckM2 job; a string stands for its report."""
    files = {"quality_report.tsv": files} if isinstance(files, str | bytes) else files
    contents = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    return judge(quality_report, {f"cts/output/JOB/{name}": data for name, data in contents.items()})


class Previewing(Desk):
    """A place in the lake where the messages for bad files are compared with those of a preview."""

    def bad(self, files, **how) -> str:
        """Deliver a job that must fail, as a preview says; the message."""
        message = super().bad(files, **how)
        if not isinstance(files, list):  # paths
            assert message.endswith(f" No table was changed. {preview(files).failure}")
        return message


@pytest.fixture(scope="module")
def shared(shared):
    """A namespace for all tests here, with one genome in its table."""
    return Previewing(shared.lake, shared.namespace)


def without(column, header=HEADER):
    """The header without a column."""
    return "\t".join(name for name in header.split("\t") if name != column)


BAD_CELLS = {
    "text": ({"Genome_Size": "large"}, "column Genome_Size: 'large' is not a whole number"),
    "fraction": ({"Total_Contigs": "1.5"}, "column Total_Contigs: '1.5' is not a whole number"),
    "overflow": (
        {"Contig_N50": "2147483648"},
        "column Contig_N50: '2147483648' does not fit int (-2147483648 to 2147483647)",
    ),
    "exponent overflow": (
        {"Contig_N50": "1e400"},
        "column Contig_N50: '1e400' does not fit int (-2147483648 to 2147483647)",
    ),
    "tiny": ({"Genome_Size": "1e-18"}, "column Genome_Size: '1e-18' is not a whole number"),
    "blank": ({"Genome_Size": " 12"}, "column Genome_Size: ' 12' is not a whole number"),
    "trailing break": ({"Genome_Size": "12\r"}, "column Genome_Size: '12\r' is not a whole number"),
    "nan": ({"GC_Content": "nan"}, "column GC_Content: 'nan' is not a number"),
    "inf": ({"Contamination": "inf"}, "column Contamination: 'inf' is not a number"),
    "1e400": ({"Contamination": "1e400"}, "column Contamination: '1e400' is too large for float"),
    "1e39": ({"Average_Gene_Length": "1e39"}, "column Average_Gene_Length: '1e39' is too large for float"),
    "Java's float": ({"Contamination": "1f"}, "column Contamination: '1f' is not a number"),
    "hexadecimal": ({"Contamination": "0x1p3"}, "column Contamination: '0x1p3' is not a number"),
    "comma": ({"Completeness": "97,3"}, "column Completeness: '97,3' is not a number"),
    "quoted": ({"Completeness": '"97.3"'}, "column Completeness: '\"97.3\"' is not a number"),
    "too complete": ({"Completeness": "150"}, "column Completeness: '150' is not between 0 and 100"),
    "negative": ({"Contamination": "-0.1"}, "column Contamination: '-0.1' is less than 0"),
    "long": ({"Completeness": "9" * 99}, f"column Completeness: '{'9' * 60}…' is too large for float"),
}


@pytest.mark.usefixtures("size")
def test_each_bad_cell_is_bad_for_the_reason_that_is_said(desk):
    rows = {case: report(**{"Name": case} | cells).split("\n")[1] for case, (cells, _) in BAD_CELLS.items()}
    desk.good(report(ROWS[0], *rows.values()), meta={"on_bad_row": "quarantine"})
    said = {
        row.split("\t")[0]: reason
        for row, reason in desk.rows("row", "reasons", table="checkm2_rejected", key="line").values()
    }
    assert said == {case: reason for case, (_, reason) in BAD_CELLS.items()}
    previewed = preview(report(ROWS[0], *rows.values())).bad
    assert said == {row.line.split("\t")[0]: "; ".join(map(str, row.faults)) for row in previewed}


def test_a_bad_cell_is_named_by_file_line_key_and_column(shared):
    assert shared.bad(report(Name="bin.7", Completeness="150")) == (
        "CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. No table was changed. 1 of 1 rows is bad:\n"
        "  cts/output/JOB/quality_report.tsv, line 2, Name 'bin.7', column Completeness: '150' is not between 0 and 100\n"
        "Fix the file and replay the job, or set on_bad_row: quarantine in the importer's YAML file to import the good rows."
    )


def test_an_empty_key_is_named_by_its_line(shared):
    assert "line 2, column Name: '' is empty" in shared.bad(report(Name=""))


@pytest.mark.usefixtures("size")
def test_the_first_cases_of_many_are_named_and_all_are_counted(shared):
    rows = [
        ROWS[0].replace("97.31", "x").replace("001", f"{n:03}") if n % 2 else ROWS[0].replace("001", f"{n:03}")
        for n in range(500)
    ]
    message = shared.bad(report(*rows))
    assert "250 of 500 rows are bad:" in message
    assert re.findall(r"line (\d+), Name 'lakeA_maxbin.(\d+)'", message) == [
        (str(n + 2), f"{n:03}") for n in (1, 3, 5, 7, 9)
    ]
    assert "  … and 245 more rows\n" in message
    assert len(message) < 4096


def test_a_line_with_another_number_of_fields_than_the_header_is_named(shared):
    lines = ("bin.1\t97", ROWS[0] + "\tmore", "   ", ROWS[1])
    message = shared.bad(report(*lines))
    assert "3 of 4 rows are bad:" in message
    assert re.findall(f"{FILE}, (.+)\n", message) == [
        "line 2, Name 'bin.1': 2 fields where 14 are expected",
        "line 3, Name 'lakeA_maxbin.001': 15 fields where 14 are expected",
        "line 4, Name '   ': 1 fields where 14 are expected",
    ]


WRONG_FILES = {
    "empty": ("", "the file is empty; expected a header line"),
    "only line breaks": ("\n\r\n\n", "the file is empty; expected a header line"),
    "no key column": (
        report(header=without("Name")),
        "the header lacks Name; it has only Completeness, Contamination, ",
    ),
    "no required column": (
        report(header=without("Contamination")),
        "the header lacks Contamination; it has only Name, Completeness, ",
    ),
    "other case": (
        report(header=HEADER.replace("GC_Content", "gc_content")),
        "the header lacks GC_Content; its columns that are not declared: gc_content\n",
    ),
    "double column": (report(header=HEADER + "\tName"), "the header names 'Name' twice"),
    "another tool's": ("bin_id\tcompleteness\n17\t99.1\n", "the header lacks Name, Completeness, Contamination, "),
    "truncated": (NEW[:600], "the last line has 2 of 14 fields, so the file is truncated: '20231107\\t8."),
    "truncated in the header": (HEADER[:100], "the header lacks "),
    "not UTF-8": (report(Name="bïn").encode("latin1"), "not UTF-8: 'b�n\\t97.31"),
    "not UTF-8 in the header": (b"\xff\xfe" + HEADER.encode(), "not UTF-8: '"),
    "UTF-16": (report().encode("utf-16"), "not UTF-8: '"),
}


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("part", range(3))
def test_a_faulty_file_is_named(shared, part):
    cases = list(WRONG_FILES)[part * 4 : part * 4 + 4]
    message = shared.bad({f"{n}/quality_report.tsv": WRONG_FILES[case][0] for n, case in enumerate(cases)})
    assert "No table was changed. 4 of 4 output files cannot be imported:\n" in message
    for n, case in enumerate(cases):
        assert f"\n  cts/output/JOB/{n}/quality_report.tsv: {WRONG_FILES[case][1]}" in message, case


def test_a_fault_in_one_of_many_files_names_that_file(shared):
    message = shared.bad(
        {"0/quality_report.tsv": NEW, "1/quality_report.tsv": OLD.rsplit("\t", 3)[0], "2/quality_report.tsv": OLD}
    )
    assert (
        "1 of 3 output files cannot be imported:\n  cts/output/JOB/1/quality_report.tsv: the last line has " in message
    )


@pytest.mark.usefixtures("size")
def test_a_header_in_the_middle_is_an_error(shared):
    message = shared.bad(NEW + "\n" + NEW)
    assert "A file does not consist of one header line and rows, or it changed while it was read:" in message
    assert "quality_report.tsv: 9 rows, of which 8 could be read" in message


@pytest.mark.usefixtures("size")
def test_an_output_that_is_not_on_s3_is_named(shared):
    there = shared.lake.put("somewhere/quality_report.tsv", NEW)
    gone = there.replace("somewhere", "no [where]")
    message = shared.bad([there, gone])
    assert "An output file that the job lists is not on S3:\n  no [where]/quality_report.tsv\n" in message


@pytest.mark.usefixtures("size")
def test_one_key_with_different_rows_is_an_error(shared):
    message = shared.bad(
        {"0/quality_report.tsv": NEW, "1/quality_report.tsv": report(ROWS[1].replace("61.07", "61.08"))}
    )
    assert (
        "No table was changed. 1 key has rows that differ:\n"
        "  cts/output/JOB/0/quality_report.tsv, line 3, Name 'lakeA_maxbin.002' and cts/output/JOB/1/quality_report.tsv, line 2: they differ in Completeness\n"
        "Deliver one row for each key, then replay the job."
    ) in message


def test_rows_that_differ_only_in_what_is_not_declared_are_an_error(shared):
    header = HEADER + "\tMood"
    assert "they differ in _rescued_data" in shared.bad(report(ROWS[0] + "\tgood", ROWS[0] + "\tbad", header=header))


def test_the_log_has_the_failure_and_the_job(shared):
    outcome = shared.submit(report(Completeness="150"))
    status, error, info = shared.log("status", "error", "job_info")[-1]
    assert (status, error) == ("failed", str(outcome.error))
    assert outcome.job_info["id"] in info


def test_a_table_with_another_type_is_left_alone(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    desk.spark.sql(
        f"CREATE TABLE {desk.full('checkm2')} (Name string, Completeness string, Genome_Size bigint) USING {desk.lake.format}"
    )
    assert desk.bad(NEW) == (
        "CTS job JOB (ghcr.io/kbasetest/cdm_checkm2) was not imported into TABLE. No table was changed. The table TABLE cannot take the rows, because types differ:\n"
        "  column Completeness is string, and the importer writes float\n"
        "  column Genome_Size is bigint, and the importer writes int\n"
        "Name another table in the importer's YAML file, or change this one to the importer's types."
    )


def test_a_table_of_another_format_is_left_alone(desk):
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    desk.spark.sql(f"CREATE VIEW {desk.full('checkm2')} AS SELECT 'a' AS Name")
    outcome = desk.submit(NEW)
    expected = {"delta": "a Delta table", "iceberg": "an Iceberg table"}[FORMAT]
    assert f"{desk.full('checkm2')} is a view; expected {expected}." in str(outcome.error)


BEFORE_A_SESSION = {
    "no output": (
        dict(files={}),
        "No output file is named 'quality_report.tsv' or '*_checkm2_report.tsv'. The job has 0 output files.",
    ),
    "no match": (
        dict(files={"checkm2.log": "", "Quality_Report.tsv": NEW}),
        "No output file is named 'quality_report.tsv' or '*_checkm2_report.tsv'. The job has 2 output files:\n  Quality_Report.tsv\n  checkm2.log\n",
    ),
    "no completion time": (
        dict(completion_time=None),
        "completion_time is None; expected an ISO 8601 string or a datetime.",
    ),
    "no time": (dict(completion_time="yesterday"), "completion_time is 'yesterday', which is not an ISO 8601 time."),
    "no time in UTC": (
        dict(completion_time="9999-12-31T23:59:59-01:00"),
        "completion_time is '9999-12-31 23:59:59-01:00', which UTC cannot express.",
    ),
    "a number": (
        dict(meta={"table": None, "tables": 5}),
        "importer_meta has tables: 5; expected a mapping.",
    ),
    "the log": (
        dict(meta={"table": "a.Import_Log"}),
        "importer_meta names the table 'a.Import_Log'; such names are reserved for the import log, records of batches, inputs, quarantines and histories.",
    ),
    "prefix": (
        dict(namespace_prefix="u_kim.lee-2__"),
        "namespace_prefix is 'u_kim.lee-2__', but a database name takes only letters, digits and '_'.",
    ),
    "table": (
        dict(meta={"table": "checkm2"}),
        "importer_meta names the table 'checkm2'; expected namespace.table, of letters, digits and '_'.",
    ),
    "three parts": (dict(meta={"table": "a.b.c"}), "importer_meta names the table 'a.b.c'; expected namespace.table"),
    "both": (
        dict(meta={"deltatable": "a.b"}),
        "importer_meta has table and deltatable; expected exactly one of table, deltatable, tables.",
    ),
    "bad rows": (
        dict(meta={"on_bad_row": "skip"}),
        "on_bad_row is 'skip' in importer_meta; expected fail or quarantine.",
    ),
}


@pytest.mark.parametrize("case", BEFORE_A_SESSION)
def test_what_can_be_known_before_a_session_fails_before_one(shared, case):
    how, expected = BEFORE_A_SESSION[case]
    files, how = how.get("files", {"quality_report.tsv": NEW}), {k: v for k, v in how.items() if k != "files"}
    job = shared.lake.job("ghcr.io/kbasetest/cdm_checkm2", files)
    outcome = shared.lake.deliver(
        job | {k: v for k, v in how.items() if k != "meta"},
        meta={"table": f"{shared.namespace}.checkm2"} | how.get("meta", {}),
    )
    assert (outcome.sessions, type(outcome.error).__name__) == (0, "ImportFailed")
    assert expected in str(outcome.error)
    assert str(outcome.error).startswith(f"CTS job {job['id']} (ghcr.io/kbasetest/cdm_checkm2) was not imported")
    assert outcome.dead_letter["error_dlq"] == str(outcome.error)


@pytest.mark.parametrize("key", ["//", "/./", "/../"])
def test_a_path_that_hadoop_would_take_for_another_is_refused(shared, key):
    job = shared.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": NEW})
    job["outputs"][0]["file"] = f"bucket/a{key}quality_report.tsv"
    outcome = shared.lake.deliver(job)
    assert (outcome.sessions, "Hadoop would take it for another path" in str(outcome.error)) == (0, True)


def test_a_small_file_that_is_not_what_the_job_wrote(desk):
    job = desk.lake.job(IMAGE, {"quality_report.tsv": NEW})
    path, written = job["outputs"][0]["file"], job["outputs"][0]["crc64nvme"]
    text = NEW.replace("97.31", "79.31")
    desk.lake.put(path.split("/", 1)[1], text)
    deliver = lambda job: desk.lake.deliver(job, meta={"table": f"{desk.namespace}.checkm2"}).error  # noqa: E731
    assert str(deliver(job)).split("No table was changed. ")[1] == (
        "1 of 1 output files differs from what the job wrote:\n"
        f"  {path}: crc64nvme {crc64nvme(text.encode())}, expected {written}\n"
        "Restore a damaged file. If somebody edited it on purpose, replay the job without this file's crc64nvme."
    )
    assert not desk.exists()
    assert deliver(job | {"outputs": [{"file": path, "crc64nvme": None}]}) is None
    assert len(desk.rows()) == 4
