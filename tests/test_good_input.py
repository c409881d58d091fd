"""What must be imported, and how it lands."""

import re
from datetime import UTC, datetime
from importlib import import_module

import pytest
from conftest import HEADER, NEW, OLD, ROOT, ROWS, importer, report

from cdmeventimporters.amrfinderplus import elements
from cdmeventimporters.core.spec import Table
from cdmeventimporters.kofamscan import kofamscan

COLUMNS = HEADER.split("\t")
LAYOUT = [
    COLUMNS[0],
    "cts_job_id",
    *COLUMNS[1:],
    "cts_completion_time",
    "cts_image_digest",
    "cts_output_file",
    "_rescued_data",
]
TYPES = (
    ["string"] * 2
    + ["float"] * 2
    + ["string", "int", "float", "int", "float", "int", "float", "int", "int", "int", "string"]
)


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_a_job_with_reports_of_two_versions_lands_typed_and_traceable(desk):
    job = desk.good(
        {"0/quality_report.tsv": NEW, "1/quality_report.tsv": OLD},
        completion_time=datetime(2025, 3, 1, 12, 30, tzinfo=UTC),
    )
    table = desk.spark.table(desk.full("checkm2"))
    assert table.columns == LAYOUT
    assert [kind for _, kind in table.dtypes] == [*TYPES, "timestamp", "string", "string", "string"]
    rows = desk.rows()
    assert len(rows) == 7
    new, old = rows["lakeA_maxbin.001"], rows["soil_bin.10"]
    assert tuple(new[:4]) == ("lakeA_maxbin.001", job.job_info["id"], pytest.approx(97.31), pytest.approx(1.84))
    assert tuple(new[4:8]) == ("Neural Network (Specific Model)", 11, pytest.approx(0.894), 48210)
    assert tuple(new[8:15]) == (pytest.approx(318.27144), 3402118, pytest.approx(0.57), 3042, 131, 214906, None)
    assert (old.Total_Contigs, old.Max_Contig_Length, old.GC_Content) == (None, None, pytest.approx(0.7))
    assert new.cts_output_file in [o["file"] for o in job.job_info["outputs"]]
    assert new.cts_image_digest == job.job_info["image_digest"]
    assert (
        desk.spark.table(desk.full("checkm2")).selectExpr("unix_micros(cts_completion_time)").first()[0]
        == 1740832200 * 10**6
    )
    assert desk.log(
        "status", "files", "rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_rejected"
    ) == [("imported", 2, 7, 7, 0, 0, 0)]


def test_columns_carry_meaning_unit_and_the_table_its_source(desk):
    desk.good(NEW)
    described = {r.col_name: r for r in desk.spark.sql(f"DESCRIBE TABLE {desk.full('checkm2')}").collect()}
    assert described["Average_Gene_Length"].comment == "Average gene length: mean length of the predicted proteins [aa]"
    assert all(described[name].comment for name in LAYOUT)
    assert "doi:10.1038/s41592-023-01940-w" in desk.spark.catalog.getTable(desk.full("checkm2")).description


@pytest.mark.usefixtures("size")
def test_a_header_without_rows_is_an_import_of_no_rows(desk):
    job = desk.good(HEADER + "\n")
    assert desk.rows() == {}
    assert desk.log("status", "rows_read") == [("imported", 0)]
    before = desk.commits()
    assert job.replay().error is None
    assert desk.commits() == before


FINE = {
    "order": (report(header="\t".join(reversed(COLUMNS))), {}),
    "BOM and CRLF": ("\ufeff" + report().replace("\n", "\r\n"), {}),
    "no line end": (report().rstrip("\n"), {}),
    "empty lines": (report().replace("\n", "\n\n"), {}),
    "quotes": (report(Additional_Notes='5" of "it'), {"Additional_Notes": '5" of "it'}),
    "a backslash": (report(Additional_Notes="C:\\tmp\\n"), {"Additional_Notes": "C:\\tmp\\n"}),
    "a carriage return": (report(Additional_Notes="a\rb"), {"Additional_Notes": "a\rb"}),
    "a comment sign": (report(Name="#1", Additional_Notes="# no comment"), {"Additional_Notes": "# no comment"}),
    "empty cells": (report(Completeness="", Additional_Notes=""), {"Completeness": None, "Additional_Notes": None}),
    "zero fraction": (report(Genome_Size="3402118.0"), {"Genome_Size": 3402118}),
    "exponent": (
        report(Genome_Size="4.1e6", Contamination="1E-2"),
        {"Genome_Size": 4100000, "Contamination": pytest.approx(0.01)},
    ),
    "underflow": (report(Contamination="1e-400"), {"Contamination": 0.0}),
    "the largest int": (report(Genome_Size="2147483647"), {"Genome_Size": 2147483647}),
    "much contamination": (report(Contamination="752.93"), {"Contamination": pytest.approx(752.93)}),
    "digits": (report(Name="007"), {"Name": "007"}),
    "null words": (report(Name="None", Additional_Notes="None"), {"Name": "None", "Additional_Notes": None}),
    "long names": (report(Name="bin:" + "ü🧬" * 99), {"Name": "bin:" + "ü🧬" * 99}),
    "unknown columns": (
        report(ROWS[0] + "\t\tgood", header=HEADER + "\tname\tMood [°]"),
        {"_rescued_data": '{"name":"","Mood [°]":"good"}'},
    ),
}


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_layouts_and_cells_that_are_fine(desk):
    names = {}
    for n, (case, (text, _)) in enumerate(FINE.items()):
        name = f"case {n}" if "Name" not in FINE[case][1] and case != "a comment sign" else None
        names[case] = name or FINE[case][1].get("Name", "#1")
        FINE[case] = (text.replace("lakeA_maxbin.001", name) if name else text, FINE[case][1])
    desk.good({f"{n}/quality_report.tsv": text for n, (text, _) in enumerate(FINE.values())})
    rows = desk.rows()
    assert len(rows) == len(FINE)
    for case, (_, expected) in FINE.items():
        row = rows[names[case]].asDict()
        assert (case, {k: row[k] for k in expected}) == (case, expected)
        if "Genome_Size" not in expected:
            assert row["Genome_Size"] == 3402118


def test_names_that_differ_in_case_are_two_genomes(desk):
    desk.good(report(ROWS[0], ROWS[0].replace("lakeA", "LAKEA")))
    assert set(desk.rows()) == {"lakeA_maxbin.001", "LAKEA_maxbin.001"}


@pytest.mark.usefixtures("size")
def test_equal_rows_are_one_and_the_smallest_path_stays(desk):
    job = desk.good({f"{n}/quality_report.tsv": NEW for n in (2, 0, 1)})
    assert len(desk.rows()) == 4
    assert {r.cts_output_file.split("/")[-2] for r in desk.rows().values()} == {"0"}
    assert desk.log("rows_read", "rows_inserted") == [(12, 4)]
    assert job.error is None


def test_a_file_that_is_listed_twice_is_read_once(desk):
    file = desk.lake.put("once/quality_report.tsv", NEW)
    desk.good([file, file])
    assert desk.log("files", "rows_read") == [(1, 4)]


ODD = [
    "a b",
    "[1]",
    "{x}",
    "st*r",
    "wh?t",
    "h#sh",
    "100%",
    "p%20q",
    "pl+us",
    "co:lon",
    "ü🧬",
    "semi;c,omma",
    "quo'te\"",
    "a|b<c>^`~&$@=!()",
    "tab\there",
    "end ",
]
ODD = {odd: odd.replace("\t", " ") for odd in ODD}


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_paths_with_every_legal_character_beside_decoys(desk):
    files = [desk.lake.put(f"odd/{odd}/quality_report.tsv", report(Name=name)) for odd, name in ODD.items()]
    for decoy in ("1", "x", "star", "what", "p q", "pl us"):
        desk.lake.put(f"odd/{decoy}/quality_report.tsv", report(Name=f"decoy {decoy}"))
    desk.good(files)
    assert {name: row.cts_output_file for name, row in desk.rows().items()} == dict(
        zip(ODD.values(), files, strict=True)
    )


def test_times_as_text_as_datetime_and_naive_are_the_same_instant(desk):
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    for n, same in enumerate(
        [noon, noon.replace(tzinfo=None), "2025-03-01T12:00:00Z", "2025-03-01T14:00:00+02:00", "2025-03-01T12:00:00"]
    ):
        desk.good(report(Name=f"{n}"), completion_time=same)
    times = desk.spark.table(desk.full("checkm2")).selectExpr("unix_micros(cts_completion_time)").distinct().collect()
    assert [t[0] for t in times] == [1740830400 * 10**6]


@pytest.mark.parametrize("prefix", ["", None, "missing"])
def test_without_a_prefix_the_namespace_stands_alone(desk, prefix):
    job = desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": NEW}, namespace_prefix=prefix)
    if prefix == "missing":
        del job["namespace_prefix"]
    assert desk.lake.deliver(job, meta={"table": f"{desk.namespace}_bare.checkm2"}).error is None
    assert desk.spark.table(f"{desk.namespace}_bare.checkm2").count() == 4


def test_keys_that_csep_may_add_are_ignored(desk):
    desk.good(NEW, input_files=["a.fna"], user="kim", tomorrow={"x": 1})


@pytest.mark.matrix
def test_an_existing_table_keeps_its_rows_and_columns(desk):
    old = [COLUMNS[0], "cts_job_id", *COLUMNS[1:]]
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(old, TYPES, strict=True))
    desk.spark.sql(f"CREATE TABLE {desk.full('checkm2')} ({columns}, curator string) USING {desk.lake.format}")
    values = "'before', 50.0, 5.0, 'm', 11, 0.9, 1, 1.0, 1, 0.5, 1, 1, 1, 'None', 'kim'"
    desk.spark.sql(f"INSERT INTO {desk.full('checkm2')} VALUES ('lakeA_maxbin.001', {values}), ('untouched', {values})")
    desk.good(NEW)
    assert desk.spark.table(desk.full("checkm2")).columns == [*old, "curator", *LAYOUT[15:]]
    rows = desk.rows("Completeness", "cts_job_id", "Additional_Notes", "curator")
    assert rows["untouched"] == (50.0, "before", "None", "kim")
    assert rows["lakeA_maxbin.001"][0] == pytest.approx(97.31)
    assert rows["lakeA_maxbin.001"][3] == "kim"
    assert len(rows) == 5


KOFAM = "ghcr.io/kbaseincubator/cdm_kofamscan"
GENES = "PROKKA_00001\tK00001\nPROKKA_00002\tK00002\n"


@pytest.mark.usefixtures("size")
@pytest.mark.matrix
def test_two_genomes_of_a_job_may_have_genes_of_the_same_names(desk):
    """Their rows stand side by side; those of before the platform kept lineage are recognised."""
    desk.spark.sql(f"CREATE DATABASE {desk.full('x').split('.')[0]}")
    columns = "gene_name string, KO string, cts_job_id string, threshold float, score float, evalue double, KO_definition string"
    desk.spark.sql(f"CREATE TABLE {desk.full('kofamscan')} ({columns}) USING {desk.lake.format}")
    job = desk.lake.job(KOFAM, {f"{genome}/kofamscan.txt": GENES for genome in ("a", "b")})
    desk.spark.sql(
        f"INSERT INTO {desk.full('kofamscan')} SELECT 'PROKKA_00001', 'K00001', '{job['id']}', NULL, NULL, NULL, NULL"
    )
    how = dict(
        meta={"table": f"{desk.namespace}.kofamscan"}, run_import=importer(kofamscan, driver_bytes=desk.driver_bytes)
    )
    assert desk.lake.deliver(job, **how).error is None
    rows = desk.spark.table(desk.full("kofamscan")).select("gene_name", "cts_output_file").collect()
    files = [output["file"] for output in job["outputs"]]
    assert sorted(map(tuple, rows)) == [(f"PROKKA_0000{n}", file) for n in (1, 2) for file in files]
    assert desk.log("rows_inserted", "rows_updated") == [(3, 1)]


@pytest.mark.usefixtures("size")
def test_a_candidate_is_taken_by_its_content_and_others_are_named_in_the_log(desk):
    files = {"result.txt": GENES, "versions.tsv": "tool\tversion\nkofamscan\t1.3\n", "empty.txt": ""}
    reads = importer(kofamscan, driver_bytes=desk.driver_bytes)
    job = desk.good(files, image=KOFAM, meta={"table": f"{desk.namespace}.kofamscan"}, run_import=reads)
    assert set(desk.rows(table="kofamscan", key="gene_name")) == {"PROKKA_00001", "PROKKA_00002"}
    left_out = sorted(o["file"] for o in job.job_info["outputs"] if "result" not in o["file"])
    assert desk.log("files", "left_out") == [(1, left_out)]


def test_if_no_candidate_fits_all_are_explained(desk):
    outcome = desk.submit(
        {"versions.tsv": "tool\tversion\n"}, image=KOFAM, meta={"table": f"{desk.namespace}.kofamscan"}
    )
    assert "1 of 1 output files cannot be imported:" in str(outcome.error)
    assert "versions.tsv: expected one of 3 layouts: (1) a header line that begins with '#\\tgene name\\t'" in str(
        outcome.error
    )


def test_equal_base_names_in_a_seqkit_report_are_refused(desk):
    text = (
        "file\tformat\ttype\tnum_seqs\tsum_len\tmin_len\tavg_len\tmax_len\n" + "a.fa\tFASTA\tDNA\t1\t4\t4\t4.0\t4\n" * 2
    )
    outcome = desk.submit(
        {"stats.tsv": text}, image="ghcr.io/kbasetest/cdm_seqkit", meta={"table": f"{desk.namespace}.seqkit"}
    )
    assert str(outcome.error).endswith(
        "1 key has several rows:\n"
        f"  {outcome.job_info['outputs'][0]['file']}, line 2, file 'a.fa' and {outcome.job_info['outputs'][0]['file']}, line 3: they are equal\n"
        "Run seqkit stats without -b, so that it writes each file's path, then replay the job."
    ), str(outcome.error)


ELEMENTS = (ROOT / "tests/data/amrfinderplus/3.11.20-proteins/soil_bin.2.amrfinder.tsv").read_text()


def test_rows_that_lack_columns_of_the_key_are_recognised(desk, size):
    """A report on proteins alone, read again, and one of its rows twice; then one row changed."""
    names = dict(image="docker.io/ncbi/amr", meta={"table": f"{desk.namespace}.elements", "again": True})
    run_import = importer(elements, driver_bytes=desk.driver_bytes)
    job = desk.submit({"amr.tsv": ELEMENTS + ELEMENTS.splitlines()[1] + "\n"}, run_import=run_import, **names)
    assert (job.error, job.replay().error) == (None, None)
    rows = desk.rows("Contig_id", "Start", table="elements", key="Element_symbol")
    assert rows == {"vanG": (None, None), "icaC": (None, None), "fosB": (None, None)}
    assert desk.spark.table(desk.full("elements")).count() == 3
    several = desk.submit({"amr.tsv": ELEMENTS + ELEMENTS.splitlines()[1].replace("99.17", "98.00") + "\n"}, **names)
    assert "1 key has rows that differ:" in str(several.error)
    assert "line 5, Element_symbol 'vanG', Protein_id 'soil2_00033', Element_name" in str(several.error)


@pytest.mark.parametrize("kind", ["dist", "screen"])
def test_a_job_may_lack_the_files_of_an_optional_table(desk, kind):
    [sample] = (ROOT / "tests/data/mash").glob(f"*/*_{kind}.tab")
    meta = {"table": None, "tables": {f"mash_{name}": f"{desk.namespace}.{name}" for name in ("dist", "screen")}}
    job = desk.submit({sample.name: sample.read_bytes()}, image="quay.io/biocontainers/mash", meta=meta)
    assert (job.error, job.replay().error) == (None, None)
    assert [desk.exists(name) for name in ("dist", "screen")] == [kind == "dist", kind == "screen"]
    assert desk.log("importer", "status") == [(f"mash_{kind}", "imported")]
    neither = desk.submit({"mash.tab": sample.read_bytes()}, image="quay.io/biocontainers/mash", meta=meta)
    assert "No output file is named '*dist*' or '*screen*'. The job has 1 output file:" in str(neither.error)


OUTPUTS = {
    "bakta": "X_genomic.fna.tsv",
    "eggnog_mapper": "X_genomic.fna.gz.emapper.annotations",
    "genomad": "X_genomic.fasta_virus_summary.tsv",
    "psortb": "X_genomic.faa_psortb_gramneg.txt",
}


@pytest.mark.parametrize(("tool", "name"), OUTPUTS.items())
def test_a_genome_has_one_name_in_the_tables_of_all_tools(tool, name):
    """That of its file without the usual extensions, as CheckM2 and GTDB-Tk write it."""
    declared = [x for x in vars(import_module(f"cdmeventimporters.{tool}")).values() if isinstance(x, Table)]
    [pattern] = {c.extract_from_path for table in declared for c in table.columns if c.name == "genome"}
    assert {re.search(pattern, f"bucket/out/{n}")[1] for n in (name, name.replace(".fna", ""))} == {"X_genomic"}
