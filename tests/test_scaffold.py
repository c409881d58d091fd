"""What `new` makes of layouts that tools write, and what `check` says of it; all without Java."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import fastcore.test
import pytest
from reference import parse

from cdmeventimporters.core.spec import COMMA, CTS_JOB_ID, CTS_OUTPUT_FILE
from cdmeventimporters.dev.author.infer import InferredTable, evidence, infer_table, read_sample
from cdmeventimporters.dev.author.lint import lint
from cdmeventimporters.dev.author.scaffold import faults_of, scaffold
from cdmeventimporters.dev.catalog import declared_tables
from cdmeventimporters.dev.errors import UsageError

IMAGE = "ghcr.io/acme/tool"
RGI = (
    "ORF_ID\tContig\tStart\tStop\tBest_Hit_ARO\tARO\tDrug Class\tPredicted_Protein\n"
    "k141_7_1\tk141_7\t10\t90\tvgaA\t3000796\tmacrolide antibiotic; streptogramin antibiotic\tMKL\n"
    "k141_7_2\tk141_7\t95\t260\tpenB\t3000010\tpenam; cephalosporin; carbapenem\tMRT\n"
    "k141_12_1\tk141_12\t3\t77\tvanB\t3000237\tglycopeptide antibiotic\tMVV\n"
)


def inferred(folder: Path, text: str, name: str = "x.txt", tool: str = "tool") -> InferredTable:
    """The table of one sample."""
    (folder / name).write_text(text)
    return infer_table(tool, [read_sample(folder / name, "1.0")])


def test_a_list_is_separated_with_the_space_that_always_follows(tmp_path):
    columns = {c.name: c for c in inferred(tmp_path, RGI).table.columns}
    assert (columns["Drug_Class"].type, columns["Drug_Class"].separator) == ("array<string>", "; ")


def test_a_guess_that_may_be_wrong_says_so(tmp_path):
    found = {e.column: e for e in evidence(inferred(tmp_path, RGI))}
    assert found["ARO"].doubt == "only 3 values; may be identifiers"
    assert found["Drug_Class"].doubt == "only 3 values; '; ' may be a part of the text"
    assert found["Contig"].doubt == ""


def test_a_strand_is_no_null_word_in_a_list_either(tmp_path):
    text = "gene\tstrand\tcontig\nrecA\t+;+\tk7 \nvanB\t-\tk9\n"
    _, strand, contig = evidence(inferred(tmp_path, text))
    assert strand.na_values == ""
    assert contig.doubt == "spaces around values, such as 'k7 '"


def test_names_that_only_number_contigs_are_told_apart_by_their_file(tmp_path):
    assert inferred(tmp_path, RGI).table.key == ("ORF_ID", CTS_JOB_ID.name, CTS_OUTPUT_FILE.name)
    named = RGI.replace("k141_7_1", "vgaA").replace("k141_7_2", "penB").replace("k141_12_1", "vanB")
    assert inferred(tmp_path, named).table.key == ("ORF_ID", CTS_JOB_ID.name)


@pytest.mark.parametrize(
    ("name", "files", "extract"),
    [
        ("lakeA.1.rgi.txt", "*.rgi.txt", r"([^/]+?)\.rgi\.txt$"),
        ("rgi_report.txt", "rgi_report.txt", None),
        ("k141_7.txt", "*.txt", None),
    ],
)
def test_a_sample_that_only_the_path_names_becomes_a_column(tmp_path, name, files, extract):
    table = inferred(tmp_path, RGI, name, tool="rgi").table
    assert table.files == files
    assert [c.extract_from_path for c in table.columns if c.extract_from_path] == [extract] * bool(extract)


WRONG = {  # what an author may have declared: what `check` says of it
    ('separator="; "', 'separator=";"'): (
        "column Drug_Class: elements of its lists have spaces around them, such as ' streptogramin antibiotic': "
        "include them in separator="
    ),
    (', "cts_output_file")', ")"): (
        "table rgi: the key ORF_ID is unique in the samples by numbers alone, such as k141_7_1: "
        "other files have the same, so add cts_output_file"
    ),
    ('"*.rgi.txt"', '"lakeA.rgi.txt"'): (
        "table rgi: files='lakeA.rgi.txt' repeats a sample's name, lakeA: put `*` in its place"
    ),
    ('header="Drug Class",', 'header="Drug Class", na_values=("glycopeptide antibiotic",),'): None,
    ('"TODO: description of Predicted_Protein, such as MKL"', '"Protein", na_values=("MVV",)'): (
        "column Predicted_Protein: 'MVV' is NULL here, and looks like a value beside 'MKL': leave it out of na_values="
    ),
}


def test_check_finds_what_would_pass_silently(project, tmp_path):
    sample = tmp_path / "6.0.3/lakeA.rgi.txt"
    sample.parent.mkdir()
    sample.write_text(RGI)
    scaffold("rgi", IMAGE, [sample], project)
    module = project / "cdmeventimporters/rgi.py"
    right = module.read_text()
    known = {str(finding.message) for finding in lint("rgi", project)}
    assert (
        "column ARO: its numbers look like identifiers, such as 3000796: declare it as string, or give a unit=" in known
    )
    for (said, instead), message in WRONG.items():
        assert said in right
        module.write_text(right.replace(said, instead))
        found = {x.message for x in lint("rgi", project)} - known
        assert found - {"is not what its notebook exports: run `make export`"} == ({message} if message else set())


def copied(project: Path, tool: str) -> dict[str, str]:
    """The fixtures of an importer, by path."""
    folder = project / "tests/data" / tool
    return {str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


def sample(folder: Path, text: str, name: str) -> Path:
    """A sample in a folder named by its version."""
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(text)
    return folder / name


def test_rows_that_hold_only_numbers_are_named_by_their_file(project, tmp_path):
    made = scaffold("depths", IMAGE, [sample(tmp_path, "depth\tbreadth\n7.5\t0.5\n", "1.0/lakeA.tsv")], project)
    assert made.inferred.table.key == ("sample", CTS_JOB_ID.name, CTS_OUTPUT_FILE.name)
    assert (project / "cdmeventimporters/depths.py").exists()


def test_fixtures_are_a_few_rows_and_all_kinds_of_cells(project, tmp_path):
    rows = [f"g{n}\t{'NA' if n == 700 else n}\t{'a; b' if n == 800 else 'a'}\n" for n in range(1000)]
    comments = "".join(f"##region {n}\n" for n in range(300))
    scaffold("many", IMAGE, [sample(tmp_path, f"{comments}gene\tn\ttags\n{''.join(rows)}", "1.0/many.tsv")], project)
    [fixture] = copied(project, "many").values()
    assert fixture.splitlines()[20:] == ["gene\tn\ttags", *(rows[n].strip() for n in (0, 1, 2, 3, 4, 700))]


LAYOUTS = {  # text, (layout), rows
    "quoted": (
        '"gene id","note","score"\n"g1","a, b","7"\n"g2","c ""d""","8"\n',
        {"separator": COMMA, "quoted": True},
        [("g1", "a, b", "7"), ("g2", 'c "d"', "8")],
    ),
    "names with digits": (
        "gene\tPfam31\tk2_class\ncas1\tPF00069\tkinase\nrecA\tPF00072\trepair\n",
        {},
        [("cas1", "PF00069", "kinase"), ("recA", "PF00072", "repair")],
    ),
    "behind a mark, aligned": (
        "# tool 2\n# name   hits\n# ----- -----\nabc         7\nabcd       12\n",
        {"header": "# name", "comment": "#", "separator": " {2,}"},
        [("abc", "7"), ("abcd", "12")],
    ),
    "behind a mark, not the last": (
        "#query\thits\n# two hits\nabc\t7\nabd\t12\n",
        {"header": "#query", "comment": "#"},
        [("abc", "7"), ("abd", "12")],
    ),
    "a column per sample": (
        "Genome\ts1.fq Mean\ts1.fq Covered Bases\ts2.fq Mean\ts2.fq Covered Bases\nmag7\t7.5\t90\t1\t8\n",
        {"wide": ("Sample", r"(\S+) (Mean|Covered\ Bases)")},
        [("mag7", "s1.fq", "7.5", "90"), ("mag7", "s2.fq", "1", "8")],
    ),
    "a column per BAM": (
        "gene\tlength\tlakeA.bam\tlakeB.bam\nrecA\t1059\t7\t12\n",
        {"wide": ("Sample", r"(.+)(\.bam)")},
        [("recA", "1059", "lakeA", "7"), ("recA", "1059", "lakeB", "12")],
    ),
    "a column per accession": (
        "#OTU ID\tSRR1007\tSRR1012\tlineage\nOTU1\t7\t0\tFirmicutes\nOTU2\t1\t3\tBacteroidota\n",
        {"wide": ("Sample", r"(?!(?:\#OTU\ ID|lineage)$)(.+)", "value")},
        [
            ("OTU1", "Firmicutes", "SRR1007", "7"),
            ("OTU1", "Firmicutes", "SRR1012", "0"),
            ("OTU2", "Bacteroidota", "SRR1007", "1"),
            ("OTU2", "Bacteroidota", "SRR1012", "3"),
        ],
    ),
    "a column per sample and measure, the measure being value": (
        "gene\ts1.fq value\ts2.fq value\nrecA\t7\t12\n",
        {"wide": ("Sample", r"(\S+) (value)")},
        [("recA", "s1.fq", "7"), ("recA", "s2.fq", "12")],
    ),
    "one column of a sample": (
        "# Pathway\tlakeA_Abundance\nPWY-1\t7.5\nPWY-2\t0\n",
        {"wide": ("Sample", r"(.+)(_Abundance)")},
        [("PWY-1", "lakeA", "7.5"), ("PWY-2", "lakeA", "0")],
    ),
    "a rule under each name": (
        "#                                       -- hmm coord --\n"
        "# target name  query name  E-value  tlen   from     to  description of target\n"
        "#------------ ----------- -------- ----- ------ ------  ----------------------\n"
        "globins_family globin       1.3e-7   147      1    149  Hemoglobin, beta\n"
        "MADE1          globin          0.2    80      2     78  a DNA transposon\n# [ok]\n",
        {"header": "# target name", "comment": "#", "separator": " +"},
        [
            ("globins_family", "globin", "1.3e-7", "147", "1", "149", "Hemoglobin, beta"),
            ("MADE1", "globin", "0.2", "80", "2", "78", "a DNA transposon"),
        ],
    ),
    "only a header": ("gene\tcopies\tnote\n", {"header": ""}, []),
    "transposed": (
        "Assembly\tlake\tsoil\n# contigs\t7\t9\nTotal length\t900\t1000\nGC (%)\t51.5\t49\n",
        {"header": "Assembly\t", "transposed": True},
        [("lake", "7", "900", "51.5"), ("soil", "9", "1000", "49")],
    ),
    "key: value": (
        "organism: Genus species\ncontigs: 7\nURL: https://example.org\n",
        {"header": "organism:", "transposed": True, "separator": ":(?: +|$)"},
        [("Genus species", "7", "https://example.org")],
    ),
    "key = value": (
        "genome = lake\nN50 = 7\nnote = a\n",
        {"header": "genome =", "transposed": True, "separator": " *=(?: +|$)"},
        [("lake", "7", "a")],
    ),
    "names that are years": (
        "species\t2019\t2020\t2021\nabies\t7\t8\t9\nbetula\t1\t2\t3\n",
        {"header": ""},
        [("abies", "7", "8", "9"), ("betula", "1", "2", "3")],
    ),
    "JSON": (
        '{\n  "scaffolds": 59,\n  "gc": 0.65,\n  "file": "lake, A.fna"\n}\n{\n  "scaffolds": 7,\n  "gc": null,\n  "file": "b.fna"\n}\n',
        {"record": ("{", "}")},
        [("59", "0.65", "lake, A.fna"), ("7", "null", "b.fna")],
    ),
    "JSON without an end of line": (
        '{\n"gene": "recA",\n"hits": 7\n}',
        {"record": ("{", "}")},
        [("recA", "7")],
    ),
    "JSON in a list": (
        '[\n  {\n    "gene": "recA",\n    "hits": 7\n  },\n  {\n    "gene": "vanB",\n    "hits": 12\n  }\n]\n',
        {"record": ("  {", "]"), "comment": "["},
        [("recA", "7"), ("vanB", "12")],
    ),
    "JSON lines": (
        '{"gene": "recA", "hits": 7}\n{"gene": "vanB", "hits": 12}\n',
        {"record": ("{", "{")},
        [("recA", "7"), ("vanB", "12")],
    ),
}


def typed(cell: str, kind: str):
    """What a cell becomes in a column of this type."""
    return None if cell == "null" else pytest.approx(float(cell)) if kind in ("int", "float", "double") else cell


@pytest.mark.parametrize(("text", "layout", "rows"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_declared_so_that_an_independent_reader_gets_its_rows(tmp_path, text, layout, rows):
    found = inferred(tmp_path, text, "lake.txt")
    [declared] = found.table.layouts
    assert {name: getattr(declared, name) for name in layout} == layout
    assert [tuple(row) for row in found.samples[0].rows] == rows
    columns = [c for c in found.table.columns if not c.extract_from_path]
    read = parse({"bucket/lake.txt": text.encode()}, found.table, quarantine=False).rows
    wanted = [[typed(cell, c.type) for c, cell in zip(columns, row, strict=True)] for row in rows]
    assert len(read) == len(rows)
    assert [row for row in wanted if row not in [[one[c.name] for c in columns] for one in read]] == []
    assert [row["_rescued_data"] for row in read] == [None] * len(rows)


@pytest.mark.parametrize(("text", "rows"), [(text, len(rows)) for text, _, rows in LAYOUTS.values()], ids=LAYOUTS)
def test_an_importer_of_a_layout_is_written_and_reads_its_fixture(project, tmp_path, text, rows):
    scaffold("odd", IMAGE, [sample(tmp_path, text, "1.0/lake.txt")], project)
    [table] = declared_tables(project / "cdmeventimporters")["cdmeventimporters.odd"]
    [fixture] = copied(project, "odd").values()
    assert len(parse({"bucket/lake.txt": fixture.encode()}, table, quarantine=False).rows) == rows
    assert [x.message for x in lint("odd", project) if "to do" not in x.message] == []
    cells = json.loads((project / "nbs/importers/odd.ipynb").read_text())["cells"]
    [bad] = [code for cell in cells if "bad = lake.submit" in (code := "".join(cell["source"]))]
    submit = lambda image, files: SimpleNamespace(error="".join(faults_of("".join(files.values()).encode(), table)))  # noqa: E731
    names = {"files": [project / "tests/data/odd/1.0/lake.txt"], "image": IMAGE, "test_eq": fastcore.test.test_eq}
    exec(bad, names | {"lake": SimpleNamespace(submit=submit)})


def test_a_few_rows_of_each_layout_become_fixtures(project, tmp_path):
    many = range(9)
    names = "\t".join(f"a{n}" for n in many)
    made = {
        "lines": "".join([f"Assembly\t{names}\n# contigs", "\t7" * 9, "\nGC (%)", "\t51.5" * 9, "\n"]),
        "objects": "".join(f'{{\n "gene": "g{n}",\n "hits": {n}\n}}\n' for n in many),
        "wide": "Genome\ts1.fq Mean\ts2.fq Mean\n" + "".join(f"m{n}\t7.5\t{n}\n" for n in many),
    }
    for tool, text in made.items():
        scaffold(tool, f"{IMAGE}/{tool}", [sample(tmp_path, text, f"{tool}-1.0/report.txt")], project)
    fixtures = {tool: next(iter(copied(project, tool).values())) for tool in made}
    assert fixtures["lines"].split("\n")[0] == "Assembly\ta0\ta1\ta2\ta3\ta4"
    assert fixtures["objects"] == made["objects"].partition(' "gene": "g5"')[0].rpartition("{")[0]
    assert fixtures["wide"].splitlines() == made["wide"].splitlines()[:4]


PROSE = [
    "100 + 0 in total (QC-passed reads + QC-failed reads)\n7 + 0 secondary\n93 + 0 mapped (93.00% : N/A)\n",
    "Dear all,\nthe run has ended, and all is well.\n",
    "The tool found 7 genomes.\nIt took 12 minutes, on 2 cores.\nNothing else is to be said of the 3 runs.\n",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_no_table(tmp_path, text):
    with pytest.raises(UsageError, match=r"x\.txt is not a table: neither tabs nor commas nor spaces"):
        inferred(tmp_path, text)


@pytest.mark.parametrize("text", ['{"hits": [{"score": 7}], "gene": "x"}', '{"a": {"b": 7}}'])
def test_json_that_patterns_cannot_read_is_refused(tmp_path, text):
    with pytest.raises(UsageError) as refused:
        inferred(tmp_path, text)
    assert str(refused.value).endswith(
        "x.txt is JSON that the engine cannot read: expected objects of plain values, each beginning on a line of its own. "
        "Convert it to a table first."
    )


@pytest.mark.parametrize("names", ["N50 (scaffolds)\tN50 (contigs)", "N50 scaffolds\tN50 contigs"])
def test_one_size_of_two_things_is_no_sample(tmp_path, names):
    assert inferred(tmp_path, f"Bin Id\t{names}\nmag7\t900\t800\n").table.layouts[0].wide is None


def test_a_column_per_sample_is_a_guess(tmp_path):
    found = {e.column: e.doubt for e in evidence(inferred(tmp_path, LAYOUTS["a column per BAM"][0]))}
    assert found["Sample"] == "headers may name something else"


def test_a_notebook_is_written_as_todays_are(project, tmp_path):
    files = [sample(tmp_path, RGI, f"{version}/lakeA.rgi.txt") for version in ("6.0.2", "6.0.3")]
    scaffold("rgi", IMAGE, files, project)
    cells = json.loads((project / "nbs/importers/rgi.ipynb").read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for code in codes:
        compile(code, "cell", "exec")
        assert not code.rstrip().endswith(".toPandas()")
        assert ".style" not in code
    assert codes[-1].startswith("#| fig-alt: TODO")
    assert all(f"{name}=" in codes[-1] for name in ("xlabel", "title"))
    shown = [
        node
        for code in codes
        for node in ast.walk(ast.parse(code))
        if getattr(node, "func", None) and ast.unparse(node.func) == "show"
    ]
    assert len(shown) == 4  # two samples, the data dictionary, the table
    assert ast.unparse(shown[-1]).endswith(".orderBy('ORF_ID', 'cts_completion_time'))")


def test_only_what_is_uncertain_has_a_comment_in_the_notebook(project, tmp_path):
    text = "gene\tstrand\tlength\n" + "".join(
        f"rec{x}\t{'NA' if x == 'B' else '+'}\t{n}\n" for n, x in enumerate("ABCDEF")
    )
    scaffold("genes", IMAGE, [sample(tmp_path, text, "1.0/genes.tsv")], project)
    lines = (project / "cdmeventimporters/genes.py").read_text().splitlines()
    assert [line.partition("  # ")[2] for line in lines if "Column(" in line] == ["", "'NA' may be a value", ""]
