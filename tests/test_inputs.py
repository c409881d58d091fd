"""Which input files of a job have rows: what an import records when it knows them, and what an operator finds out later."""

import logging
from dataclasses import replace

import pytest
from conftest import FORMAT, HEADER, IMAGE, ROWS, delta_only, importer, report

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core import importing
from cdmeventimporters.core.batch import import_batch
from cdmeventimporters.core.importing import write_inputs

pytestmark = [pytest.mark.s3] if FORMAT == "iceberg" else []  # CI has them on Iceberg as well

GENOMES = [row.split("\t")[0] for row in ROWS]
FILES = [f"cts-data/in/{name}.fna.gz" for name in GENOMES]
ROW = "input_file", "data_id", "name", "rows"


def recorded(desk, *columns) -> list[tuple]:
    """The record of inputs, in order; nothing if there is none."""
    if not desk.exists("import_inputs"):
        return []
    rows = desk.spark.table(desk.full("import_inputs")).orderBy("cts_job_id", "input_file")
    return [tuple(row) for row in rows.select(*(columns or ROW)).collect()]


@pytest.mark.matrix
@pytest.mark.parametrize("driver_bytes", [1 << 20, 0], ids=["driver", "spark"])
def test_each_input_has_its_rows_and_the_log_counts_those_without(desk, driver_bytes):
    inputs = [{"file": file, "crc64nvme": None, "data_id": f"kbase:1/{n}"} for n, file in enumerate(FILES)]
    left_out = {"file": "cts-data/in/left.out.fna", "crc64nvme": None, "data_id": None}
    run = importer(quality_report, driver_bytes=driver_bytes)
    job = desk.good(report(*ROWS), input_files=[*inputs, left_out], run_import=run)
    wanted = [(f["file"], f["data_id"], f["file"].split("/")[-1].removesuffix(".fna.gz"), 1) for f in inputs]
    assert recorded(desk) == sorted([*wanted, ("cts-data/in/left.out.fna", None, "left.out", 0)])
    assert set(recorded(desk, "cts_job_id", "importer", "table")) == {
        (job.job_info["id"], "checkm2", desk.full("checkm2"))
    }
    assert desk.log("inputs_without_rows") == [(1,)]


def test_a_redelivery_writes_no_input_again(desk):
    job = desk.good(report(*ROWS), input_files=FILES)
    before = recorded(desk), desk.commits("import_inputs"), desk.commits("import_log")
    assert job.replay().error is None
    assert (recorded(desk), desk.commits("import_inputs"), desk.commits("import_log")) == before


def test_nothing_is_written_where_inputs_are_not_known(desk, caplog):
    caplog.set_level(logging.WARNING, "cdmeventimporters")
    for odd in (None, [], "cts-data/in/a.fna", [7], [{"path": "cts-data/in/a.fna"}]):
        desk.good(report(*ROWS), input_files=odd)
    assert not desk.exists("import_inputs")
    assert {row for (row,) in desk.log("inputs_without_rows")} == {None}
    said = {record.getMessage() for record in caplog.records}
    assert said == {"ignoring input_files: expected a list of paths, or of {'file': 'bucket/key', 'data_id': …}"}


def test_a_table_that_does_not_name_inputs_has_no_record(desk):
    desk.good(report(*ROWS), input_files=FILES, run_import=importer(replace(quality_report, input=None)))
    assert not desk.exists("import_inputs")


AMBIGUOUS = {
    "two folders": ["in/a/x.fna", "in/b/x.fna"],
    "compressed beside plain": ["in/x.fna", "in/x.fna.gz"],
}


@pytest.mark.parametrize("files", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("spelled", ["x", "x.fna"])
def test_what_names_do_not_tell_stays_open(desk, files, spelled):
    desk.good(report(Name=spelled), input_files=[*files, "in/y.fna"])
    assert recorded(desk, "input_file", "rows") == [*((file, None) for file in files), ("in/y.fna", 0)]
    assert desk.log("inputs_without_rows") == [(1,)]


def test_rows_that_spell_out_each_file_tell_them_apart(desk):
    desk.good(report(*(row.replace(name, f"x.fna{end}", 1) for row, name, end in zip(ROWS[:2], GENOMES, ["", ".gz"], strict=False))), input_files=["in/x.fna", "in/x.fna.gz"])  # fmt: skip
    assert recorded(desk, "input_file", "name", "rows") == [("in/x.fna", "x.fna", 1), ("in/x.fna.gz", "x.fna.gz", 1)]


def test_a_tool_that_may_have_renamed_an_input_left_nothing_out(desk):
    bad = ROWS[1].replace("\t61.07", "\t161.07")
    assert bad != ROWS[1]
    for second in (ROWS[1].replace(GENOMES[1], "renamed"), bad):
        job = desk.good(report(ROWS[0], second), input_files=FILES[:2], meta={"on_bad_row": "quarantine"})
        found = [n for job_id, n in recorded(desk, "cts_job_id", "rows") if job_id == job.job_info["id"]]
        assert found == [1, None]


@delta_only
def test_an_applied_job_commits_nothing_when_its_lock_has_forgotten_it(desk):
    job = desk.good(report(*ROWS))
    for row in desk.spark.sql(f"SHOW VIEWS IN {desk.full('x').split('.')[0]}").collect():
        desk.spark.sql(f"DROP VIEW {desk.full(row.viewName)}")
    before, meta = desk.commits(), {"table": f"{desk.namespace}.checkm2"}
    info = job.job_info | {"input_files": FILES}
    assert desk.lake.deliver(info, run_import=importer(quality_report), meta=meta).error is None
    assert (desk.commits(), desk.exists("import_inputs")) == (before, False)


def test_a_tool_with_names_of_its_own_left_nothing_out(desk):
    desk.good(report(*ROWS), input_files=["in/GCF_000001.fna", "in/GCF_000002.fna"])
    assert recorded(desk, "rows") == [(None,), (None,)]
    assert desk.log("inputs_without_rows") == [(None,)]


def test_a_report_without_rows_left_all_inputs_out(desk):
    desk.good(HEADER + "\n", input_files=FILES)
    assert recorded(desk, "rows") == [(0,)] * len(FILES)
    assert desk.log("inputs_without_rows") == [(len(FILES),)]


def test_a_crash_after_the_record_leaves_one_row_for_each_input(desk, monkeypatch):
    def write_and_die(*given):
        write_inputs(*given)
        raise SystemExit("killed")

    job = desk.lake.job(IMAGE, {"quality_report.tsv": report(*ROWS)}, input_files=FILES)
    meta, run = {"table": f"{desk.namespace}.checkm2"}, importer(quality_report)
    with monkeypatch.context() as dying:
        dying.setattr(importing, "write_inputs", write_and_die)
        with pytest.raises(SystemExit):
            desk.lake.deliver(job, run_import=run, meta=meta)
    assert len(recorded(desk)) == len(FILES)
    before = desk.commits("import_inputs")
    assert desk.lake.deliver(job, run_import=run, meta=meta).error is None
    assert recorded(desk, "rows") == [(1,)] * len(FILES)
    assert desk.commits("import_inputs") == before
    assert len(desk.rows()) == len(ROWS)


def test_a_batch_records_what_single_imports_record(desk):
    jobs = [
        desk.lake.job(IMAGE, {"quality_report.tsv": text}, job_id=f"{desk.namespace}-{n}", input_files=files)
        for n, (text, files) in enumerate([
            (report(Name="x"), ["in/x.fna", "in/gone.fna"]),
            (report(Name="x"), ["in/x.fna"]),  # its row replaces that of the first job
            (report(Name="y"), None),
            (report(Name="x"), ["in/bins.tar.gz"]),  # its row has the name of an input of others
            (report(ROWS[0], ROWS[0]), FILES[:1]),  # imported alone, because a row comes twice
        ])
    ]  # fmt: skip
    for infos, namespace in ((jobs, f"{desk.namespace}_batch"), *(([job], desk.namespace) for job in jobs)):
        results = import_batch(desk.lake.get_spark, infos, {"table": f"{namespace}.checkm2"}, quality_report)
        assert [entry.status for result in results for entry in result] == ["imported"] * len(infos)
    singly, desk.namespace = recorded(desk, "cts_job_id", *ROW), f"{desk.namespace}_batch"
    assert recorded(desk, "cts_job_id", *ROW) == singly
    assert [row[2:] for row in singly] == [
        (None, "gone", 0), (None, "x", 1), (None, "x", 1), (None, "bins.tar", None), (None, GENOMES[0], 1)]  # fmt: skip
    assert sorted(desk.log("cts_job_id", "inputs_without_rows")) == [
        (job["id"], n) for job, n in zip(jobs, (1, 0, None, None, 0), strict=True)
    ]


def test_a_log_without_the_column_gets_it(desk):
    desk.good(report(*ROWS))
    others = ", ".join(c for c in desk.spark.table(desk.full("import_log")).columns if c != "inputs_without_rows")
    old = desk.full("import_log").replace(desk.namespace, f"{desk.namespace}_old")
    desk.spark.sql(f"CREATE DATABASE {old.split('.')[0]}")
    desk.spark.sql(f"CREATE TABLE {old} USING {FORMAT} AS SELECT {others} FROM {desk.full('import_log')}")
    desk.namespace += "_old"
    desk.good(report(*ROWS), input_files=FILES)
    assert [n for (n,) in desk.log("inputs_without_rows")] == [None, 0]
