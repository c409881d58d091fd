"""`cdm-importers preview`, without Java: rows are those of an independent reader, and people see what they should, word for word."""

import gzip
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import NEW, ROOT, report
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import check_preview, examples, jobs, outcome
from test_importers import DATA, IMPORTERS, comparable, is_for, names_of
from typer.testing import CliRunner

from cdmeventimporters.core.spec import Table
from cdmeventimporters.dev.author.preview import candidates, judge, matching
from cdmeventimporters.dev.cli import app

pytestmark = pytest.mark.once

TABLES = [
    (module.split(".")[1], x)
    for module in IMPORTERS
    for x in vars(import_module(module)).values()
    if isinstance(x, Table)
]
SAMPLES = [f.relative_to(DATA) for f in sorted(DATA.rglob("*")) if f.is_file()]
BAD = report(Name="bin.7", Completeness="9l.7", Total_Contigs="many")


@pytest.mark.parametrize(("tool", "table"), TABLES, ids=[table.name for _, table in TABLES])
def test_all_samples_have_the_rows_that_an_independent_reader_finds(tool, table):
    samples = {str(path.relative_to(tool)): (DATA / path).read_bytes() for path in SAMPLES if path.parts[0] == tool}
    files = {f"bucket/job/{path}": data for path, data in samples.items() if is_for(path, table)}
    judged = judge(table, files)
    assert (judged.failure, judged.bad) == (None, [])
    expected = outcome(files, table, quarantine=False)
    rows = [row.values | {"_rescued_data": row.rescued, "cts_output_file": row.file} for row in judged.rows]
    found, wanted = (
        sorted(comparable(row[c] for c in names_of(table)) for row in some) for some in (rows, expected.rows)
    )
    assert found == wanted


@pytest.fixture(scope="module")
def among():
    """The tables of all importers."""
    return candidates()


@pytest.mark.parametrize("path", SAMPLES, ids=str)
def test_name_and_content_of_each_sample_tell_its_importer(among, path):
    found = {c.importers[0].py_module for c in matching(str(path), (DATA / path).read_bytes(), among)}
    expected = set() if path.name.endswith(".hypotheticals.tsv") else {f"cdmeventimporters.{path.parts[0]}"}
    assert found == expected


@examples(200)
@given(job=jobs(), quarantine=st.booleans())
def test_odd_reports_are_judged_as_an_independent_reader_does(job, quarantine):
    table, files = job
    check_preview({f"bucket/{path}": data for path, data in files.items()}, table, quarantine)


# what people see


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, columns=80):
    """The command in a terminal that is 80 columns wide; its exit status and its output."""
    done = CliRunner().invoke(app, ["preview", *map(str, arguments)], env={"COLUMNS": str(columns)})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, "\n".join(line.rstrip() for line in done.output.splitlines())


def test_rows_are_shown_as_they_would_be_typed(folder):
    Path("lake_cluster.tsv").write_text("a\tb\na\ta\n")
    assert run("lake_cluster.tsv") == (
        0,
        """\
./lake_cluster.tsv: importer mmseqs2, table autoimport.mmseqs2_clusters
  2 fields without a header line (representative, member), written by mmseqs easy-cluster, easy-linclust and createtsv: 2 rows

  representative   member
 ─────────────────────────
  a                b
  a                a
""",
    )


def test_bad_cells_are_shown_with_line_and_column_and_the_message_is_the_engines(folder):
    Path("quality_report.tsv").write_text(BAD)
    assert run("quality_report.tsv") == (
        1,
        """\
./quality_report.tsv: importer checkm2, table autoimport.checkm2
  a header line: 1 row, 1 bad

  line   column          cell   fault
 ─────────────────────────────────────────────────────
  2      Completeness    9l.7   is not a number
  2      Total_Contigs   many   is not a whole number

1 of 1 rows is bad:
  ./quality_report.tsv, line 2, Name 'bin.7', column Completeness: '9l.7' is not a number
  ./quality_report.tsv, line 2, Name 'bin.7', column Total_Contigs: 'many' is not a whole number
Fix the file and replay the job, or set on_bad_row: quarantine in the importer's YAML file to import the good rows.""",
    )


def test_wide_rows_stand_side_by_side_and_long_cells_are_shortened(folder):
    Path("quality_report.tsv").write_text(report(Name="bin.7", Additional_Notes="note " * 20))
    status, said = run("quality_report.tsv", "--rows", 1)
    lines = [line.split(maxsplit=1) for line in said.splitlines()[3:] if line]
    assert status == 0
    assert all(len(line) <= 80 for line in said.splitlines()[2:])
    assert lines[0] == ["Name", "bin.7"]
    assert lines[1] == ["Completeness", "97.31"]
    assert said.split("Additional_Notes")[1].split() == ["note"] * 12 + ["…"]


def test_rows_and_faults_are_limited(folder):
    Path("lake_cluster.tsv").write_text("".join(f"a\tb{n}\n" if n > 2 else "a b\tc\n" for n in range(9)))
    status, said = run("lake_cluster.tsv", "--rows", 2)
    assert status == 1
    assert "9 rows, 3 bad\n" in said
    assert ("b4" in said, "b5" in said) == (True, False)
    assert "\n  … and 1 more fault\n3 of 9 rows are bad:\n" in said


FAULTY = {
    "empty": (
        {"quality_report.tsv": b""},
        "./quality_report.tsv: importer checkm2, table autoimport.checkm2\n"
        "  no layout fits its content\n"
        "1 of 1 output files cannot be imported:\n"
        "  ./quality_report.tsv: the file is empty; expected a header line\n"
        "Write an empty, truncated or damaged file again, and replay the job.",
    ),
    "other columns": (
        {"quality_report.tsv": b"Name\tcompleteness\n"},
        "./quality_report.tsv: importer checkm2, table autoimport.checkm2\n"
        "  no layout fits its content\n"
        "1 of 1 output files cannot be imported:\n"
        "  ./quality_report.tsv: the header lacks Completeness, Contamination, Completeness_Model_Used, Translation_Table_Used,"
        " Coding_Density, Contig_N50, Average_Gene_Length, Genome_Size, GC_Content, Total_Coding_Sequences, Additional_Notes;"
        " its columns that are not declared: completeness\n"
        "Check which version and options of the tool wrote the file; if they are right, declare its layout in the importer.",
    ),
    "truncated": (
        {"lake_cluster.tsv": b"a\tb\na\ta\nc\tc\nd"},
        "./lake_cluster.tsv: importer mmseqs2, table autoimport.mmseqs2_clusters\n"
        "  2 fields without a header line (representative, member), written by mmseqs easy-cluster, easy-linclust and createtsv\n"
        "1 of 1 output files cannot be imported:\n"
        "  ./lake_cluster.tsv: the last line has 1 of 2 fields, so the file is truncated: 'd'\n"
        "Write an empty, truncated or damaged file again, and replay the job.",
    ),
    "not UTF-8": (
        {"quality_report.tsv": report(Name="bïn").encode("latin1")},
        "./quality_report.tsv: importer checkm2, table autoimport.checkm2\n"
        "  a header line\n"
        "1 of 1 output files cannot be imported:\n"
        "  ./quality_report.tsv: not UTF-8: 'b�n\\t97.31\\t1.84\\tNeural Network (Specific Model)\\t11\\t0.894\\t48210\\t318.27144970414202'\n"
        "Write an empty, truncated or damaged file again, and replay the job.",
    ),
    "renamed": (
        {"mine.csv": b"gene1\tK00001\n"},
        "No importer takes ./mine.csv: no layout of an importer that takes such a name fits its content. "
        "`uv run cdm-importers list` names the importers, and --importer says what one of them expects.",
    ),
    "unknown": (
        {"notes.tsv": b"day\tnote\n"},
        "No importer takes ./notes.tsv: no layout of an importer that takes such a name fits its content. "
        "`uv run cdm-importers list` names the importers, and --importer says what one of them expects.",
    ),
    "empty and unknown": (
        {"notes.tsv": b"\n"},
        "No importer takes ./notes.tsv: it is empty. "
        "`uv run cdm-importers list` names the importers, and --importer says what one of them expects.",
    ),
    "binary": (
        {"plot.png": b"\x89PNG\r\n\x1a\n\0\0\0\r"},
        "No importer takes ./plot.png: it is not UTF-8. "
        "`uv run cdm-importers list` names the importers, and --importer says what one of them expects.",
    ),
    "ambiguous name": (
        {"stats.log": b"done\n"},
        "No importer takes ./stats.log: no layout of an importer that takes such a name fits its content. "
        "By its name, it may be for bbmap_stats or seqkit: choose one by --importer to see what is expected.",
    ),
    "compressed": (
        {"quality_report.tsv": gzip.compress(NEW.encode())},
        "./quality_report.tsv is compressed by gzip, and importers read text. Decompress it and preview the result.",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_or_unknown_file_is_told(folder, case):
    files, said = FAULTY[case]
    for name, data in files.items():
        Path(name).write_bytes(data)
    assert run(*files) == (1, said)


def test_a_renamed_file_is_shown_with_the_message_of_a_job_that_has_no_other(folder):
    Path("of_mine.txt").write_text(NEW)
    status, said = run("of_mine.txt")
    assert status == 1
    assert said.startswith("./of_mine.txt: importer checkm2, table autoimport.checkm2\n  a header line: 4 rows\n")
    assert said.endswith(
        "\nNo output file is named 'quality_report.tsv' or '*_checkm2_report.tsv'. The job has 1 output file:\n"
        "  of_mine.txt\n"
        "Check the job's logs: the tool may have failed, or written its output under another name."
    )


def test_a_file_that_fits_several_importers_needs_a_choice(folder):
    Path("kofam_cluster.tsv").write_text("gene\tK00001\n")
    assert run("kofam_cluster.tsv") == (
        1,
        "./kofam_cluster.tsv may be for kofamscan or mmseqs2, as layouts of each fit its content: choose one by --importer.",
    )
    status, said = run("kofam_cluster.tsv", "--importer", "mmseqs2")
    assert (status, said.splitlines()[0]) == (
        0,
        "./kofam_cluster.tsv: importer mmseqs2, table autoimport.mmseqs2_clusters",
    )


def test_a_chosen_importer_says_what_it_expects(folder):
    Path("notes.tsv").write_text("genome\tnote\n")
    status, said = run("notes.tsv", "--importer", "mash")
    assert status == 1
    assert said.startswith(
        "./notes.tsv: importer mash, table autoimport.mash_dist\n"
        "  no layout fits its content\n"
        "1 of 1 output files cannot be imported:\n"
        "  ./notes.tsv: expected 5 fields without a header line (Reference_ID, Query_ID, Distance, …), written by mash dist,"
        " but the first line has 2 fields: 'genome\\tnote'\n"
    )
    assert "\n./notes.tsv: importer mash, table autoimport.mash_screen\n  no layout fits its content\n" in said


def test_files_of_one_table_are_one_jobs(folder):
    for n, cell in enumerate(("1", "2")):
        Path(str(n)).mkdir()
        Path(f"{n}/quality_report.tsv").write_text(report(Name="bin.7", Completeness=cell))
    status, said = run("1/quality_report.tsv", "0/quality_report.tsv")
    assert status == 1
    assert said.endswith(
        "\n1 key has rows that differ:\n"
        "  0/quality_report.tsv, line 2, Name 'bin.7' and 1/quality_report.tsv, line 2: they differ in Completeness\n"
        "Deliver one row for each key, then replay the job."
    )


def test_a_file_beside_others_may_be_left_out(folder):
    Path("quality_report.tsv").write_text(NEW)
    Path("of_none_checkm2_report.tsv").write_text("bin\tscore\n")
    status, said = run("quality_report.tsv", "of_none_checkm2_report.tsv", "--importer", "checkm2")
    assert status == 0
    assert said.startswith(
        "./of_none_checkm2_report.tsv: importer checkm2, table autoimport.checkm2\n"
        "  no layout fits its content: an import leaves it out\n"
    )


def test_json_has_all_rows_and_bad_cells(folder):
    Path("quality_report.tsv").write_text(NEW.rstrip() + "\n" + BAD.split("\n")[1] + "\tmore\n")
    status, said = run("quality_report.tsv", "--json", "--rows", 1)
    [found] = json.loads(said)
    assert status == 1
    assert (found["importer"], found["table"]) == ("checkm2", "autoimport.checkm2")
    assert found["files"] == [{"file": "./quality_report.tsv", "layout": "a header line", "rows": 5}]
    assert [(row["Name"], row["Completeness"]) for row in found["rows"]][:2] == [
        ("lakeA_maxbin.001", 97.31),
        ("lakeA_maxbin.002", 61.07),
    ]
    assert found["bad"] == [
        {"file": "./quality_report.tsv", "line": 6, "column": None, "cell": None, "reason": "15 fields where 14 are expected"}
    ]  # fmt: skip
    assert found["message"].startswith("1 of 5 rows is bad:\n")


def test_json_of_a_file_without_importer(folder):
    Path("notes.tsv").write_text("day\tnote\n")
    status, said = run("notes.tsv", "--json")
    [found] = json.loads(said)
    assert (status, found.pop("message")[:35]) == (1, "No importer takes ./notes.tsv: no l")
    files = [{"file": "./notes.tsv", "layout": None, "rows": None}]
    assert found == {"importer": None, "table": None, "files": files, "rows": [], "bad": []}


def test_missing_files_and_folders_are_refused(folder):
    status, said = run("gone.tsv", columns=200)
    assert (status, "file 'gone.tsv' does not exist." in said) == (2, True)
    status, said = run(".", columns=200)
    assert (status, "file '.' is a directory." in said) == (2, True)


def test_importers_that_cannot_be_used_are_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "cdmeventimporters.mash", None)
    Path("lake_cluster.tsv").write_text("a\tb\n")
    status, said = run("lake_cluster.tsv")
    assert status == 0
    assert said.endswith("\nmash cannot be imported, and is left out; `uv run cdm-importers check mash` says why.")
    assert run("lake_cluster.tsv", "--importer", "mash") == (
        1,
        "cdmeventimporters.mash cannot be imported; `uv run cdm-importers check mash` says why.",
    )
    status, said = run("lake_cluster.tsv", "--importer", "ribo")
    assert (status, said.split(";")[0]) == (1, "No importer is called ribo")


def test_it_answers_at_once_and_needs_no_java(folder):
    Path("quality_report.tsv").write_text(NEW)
    command = [Path(sys.executable).parent / "cdm-importers", "preview", "quality_report.tsv"]
    used = os.times().children_user
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.times().children_user - used < 2  # seconds of CPU
